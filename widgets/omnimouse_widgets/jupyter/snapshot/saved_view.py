"""Notebook output with a static picture of the view, for use without a kernel.

The picture is a separate output, hidden by the live output (`static/style.css`), which
finds it by the output below it: its description. It is replaced when the view has
settled: `QUIET_S` after the last change, with all results received and no open stroke.
Until then the description says that the view has changed since, because the notebook
may be saved meanwhile. If no page shows the live view, the picture is drawn at the end
of a cell without this delay, so that a notebook executed without a browser contains the
results.
"""

import atexit
import logging
import threading
from base64 import b64encode
from collections.abc import Callable
from html import escape
from time import monotonic
from typing import Any, Final
from uuid import uuid4
from weakref import ref

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.snapshot.drawing import WIDTH
from omnimouse_widgets.jupyter.snapshot.picture import Snapshot, draw_snapshot
from omnimouse_widgets.views.field.layout import field_of

logger = logging.getLogger(__name__)

QUIET_S: Final = 2.0
"""Time in seconds without a change after which the view counts as settled."""
AWAITED: Final = ("running", "stale")
"""States of a prediction whose replacement is still to come."""
MOST_QUIETS: Final = 5
"""Results that never rest, as while it is scored, are drawn after so many quiet times."""
CHANGED: Final = (
    "The view has changed since this picture was drawn: the notebook was saved too early for "
    "the next one."
)
MAX_ATTEMPTS: Final = 3
"""Maximum number of attempts if the view changes during a drawing."""
Bundle = dict[str, Any]


class SavedPicture:
    """Static picture of a live view, updated from `show` to `close`.

    Parameters
    ----------
    controller
        Controller with the state and the results to draw.
    on_error
        Called with each exception of a drawing; no exception is raised.
    is_live
        Return whether a page shows the live view; the end of a cell then does not wait
        for a drawing.
    quiet_s
        Time in seconds without a change before the picture is drawn again.

    Attributes
    ----------
    display_id
        Constant id of the output.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        on_error: Callable[[Exception], None] = lambda error: None,
        is_live: Callable[[], bool] = lambda: False,
        quiet_s: float = QUIET_S,
    ) -> None:
        self.display_id = f"omnimouse-last-{uuid4().hex}"
        self._controller, self._on_error = controller, on_error
        self._is_live, self._quiet_s = is_live, quiet_s
        self._changed, self._drawing = threading.Condition(), threading.Lock()
        self._first_s = self._changed_s = self._acted_s = 0.0
        self._told: tuple[str, str] | None = None
        self._is_due = self._is_closed = False
        self._thread: threading.Thread | None = None
        self._output: Bundle | None = None
        self._links: list[tuple[Any, Callable[[], None]]] = []

    # -- actions ----------------------------------------------------------------------
    def show(self) -> None:
        """Display a picture of the current view and start to follow changes."""
        if not self._links:
            self._follow()
        with self._drawing:
            self._output = self._draw() or _bundle("The picture is being drawn.")
            self._publish(self._output, self.display_id)
            self._tell("" if self._is_settled and not self._is_due else CHANGED, is_first=True)

    def draw(self) -> None:
        """Draw at once if the picture is outdated and the view has settled."""
        if self._is_due and self._is_settled and not self._is_closed:
            self._update()

    def close(self) -> None:
        """Stop following changes; the picture remains."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        while self._links:
            signal, note = self._links.pop()
            signal.disconnect(note, missing_ok=True)

    # -- following --------------------------------------------------------------------
    def _follow(self) -> None:
        controller = self._controller
        actions = [controller.state.events, controller.editor.history_changed]
        results = [
            controller.results.changed,
            controller.baseline.changed,
            controller.pins.changed,
            controller.colouring.changed,
            controller.neuron_order.changed,
            controller.loader.changed,  # the end of an opening that fails
        ]
        self._links = [(signal, self._note_action) for signal in actions]
        self._links += [(signal, self._note_change) for signal in results]
        for signal, note in self._links:
            signal.connect(note)
        _draw_after_cells(self)
        atexit.register(_end, ref(self))

    def _note_action(self) -> None:
        self._acted_s = monotonic()
        self._note_change()

    def _note_change(self) -> None:
        """Note a possible change; called often and on any thread."""
        with self._changed:
            self._changed_s = monotonic()
            self._first_s = self._first_s if self._is_due else self._changed_s
            self._is_due = True
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(
                    target=self._watch, name="omnimouse-picture", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    @property
    def _is_settled(self) -> bool:
        results = self._controller.results
        is_awaited = results.freshness in AWAITED or results.population_freshness in AWAITED
        is_opening = self._controller.loader.is_busy
        return not (is_awaited or is_opening or self._controller.editor.in_stroke)

    def _watch(self) -> None:
        """Draw each time the view has settled; end when no drawing is due."""
        is_due = True
        while is_due:
            # Not while it is drawn at the end of a cell: that may end the change.
            with self._drawing:
                if self._is_due:
                    self._tell(CHANGED)
            if is_due := self._wait_until_due():
                self._update()

    def _wait_until_due(self) -> bool:
        """Wait for the next drawing; return False if none is due."""
        with self._changed:
            while self._is_due and not self._is_closed:
                latest_s = self._first_s + MOST_QUIETS * self._quiet_s
                due_s = min(self._changed_s + self._quiet_s, latest_s)
                # A drawing takes half a second of the kernel: not between two strokes.
                wait_s = max(due_s, self._acted_s + self._quiet_s) - monotonic()
                if wait_s <= 0 and self._is_settled:
                    return True
                # The end of a stroke or of a request is a change, too, which wakes this
                # thread; waking every `_quiet_s` is only a safeguard.
                self._changed.wait(max(wait_s, 0.0) or self._quiet_s)
            # Under the lock: `_note` then either finds this thread or starts a new one.
            self._thread = None
            return False

    # -- drawing ----------------------------------------------------------------------
    def _update(self) -> None:
        """Replace the picture if it differs; runs on the calling thread."""
        with self._drawing:
            output = self._draw()
            if output is None or self._is_closed:
                return
            if output != self._output:
                self._output = output
                self._publish(output, self.display_id, update=True)
            if not self._is_due:
                self._tell("")

    def _tell(self, note: str, *, is_first: bool = False) -> None:
        """Set the text below the picture: what it shows, and that it is not of the view."""
        told = (self._output or {}).get("text/plain", ""), note
        # Without a first text, nothing is shown yet.
        if is_first or (self._told is not None and told != self._told):
            self._told = told
            text = " ".join(filter(None, told))
            html = f'<div class="omnimouse-last omnimouse-below">{escape(text)}</div>'
            below: Bundle = {"text/plain": note, "text/html": html}
            self._publish(below, f"{self.display_id}-note", update=not is_first)

    def _publish(self, output: Bundle, display_id: str, *, update: bool = False) -> None:
        from IPython.display import display

        about = {"width": WIDTH, "alt": output["text/plain"]}
        metadata = {"image/png": about} if "image/png" in output else {}
        try:
            display(output, raw=True, metadata=metadata, display_id=display_id, update=update)
        except Exception as error:  # the kernel may be shutting down
            self._report(error)

    def _draw(self) -> Bundle | None:
        """Return the output; None if every attempt failed because of a change.

        A change during a drawing can mix two views, so the drawing is repeated up to
        `MAX_ATTEMPTS` times. If the view keeps changing, the drawing remains due.
        """
        output = None
        for _ in range(MAX_ATTEMPTS):
            # Cleared before the state is read: a change during the drawing sets it.
            self._is_due = False
            try:
                session = self._controller.state.session
                field = None if session is None else field_of(session)
                output = _bundle(draw_snapshot(self._controller, field))
            except Exception as error:
                # Objects of two views may not fit together: such an error is no fault.
                if self._is_due:
                    continue
                self._report(error)
                return _bundle(f"The picture could not be drawn: {error}")
            if not self._is_due:
                break
        return output

    def _report(self, error: Exception) -> None:
        logger.warning("The static picture could not be shown.", exc_info=error)
        self._on_error(error)


def _bundle(content: Snapshot | str) -> Bundle:
    """Return an output: a picture with its text, or a text alone."""
    if isinstance(content, str):
        html = f'<div class="omnimouse-last">{escape(content)}</div>'
        return {"text/plain": f"OmniMouse, last view: {content}", "text/html": html}
    data = b64encode(content.png).decode("ascii")
    return {"text/plain": f"OmniMouse, last view: {content.text}", "image/png": data}


def _draw_after_cells(picture: SavedPicture) -> None:
    """Draw at the end of every cell, until the object is closed or deleted."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    # Weak, because IPython keeps its event handlers for ever.
    weak = ref(picture)

    def on_cell_end(_: object) -> None:
        picture = weak()
        if picture is None or picture._is_closed:
            shell.events.unregister("post_run_cell", on_cell_end)
        elif not picture._is_live():
            picture.draw()

    shell.events.register("post_run_cell", on_cell_end)


def _end(weak: "ref[SavedPicture]") -> None:
    """Stop the thread before Python exits.

    Python stops daemon threads at any instruction, possibly while they hold a lock.
    """
    picture = weak()
    if picture is None:
        return
    picture.close()
    if (thread := picture._thread) is not None:
        thread.join(QUIET_S)
