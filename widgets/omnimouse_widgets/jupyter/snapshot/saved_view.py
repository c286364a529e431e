"""Notebook output with a static picture of the view, for use without a kernel.

The picture is a separate output, hidden by the live output (`static/style.css`), which
finds it by the output below it: its description. It is replaced when the view has
settled: `QUIET_S` after the last change, with all results received and no open stroke.
Until then the description says that the view or a result has changed since, because
the notebook may be saved meanwhile. If no page shows the live view, the picture is
drawn at the end of a cell without this delay, so that a notebook executed without a
browser contains the results.

The file is long because the picture and the moment at which it is made belong together.
"""

import atexit
import logging
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from time import monotonic
from typing import Any, Final
from uuid import uuid4
from weakref import ref

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.masks import MIXED
from omnimouse_model.storage.files import plain_text
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.snapshot import drawing
from omnimouse_widgets.views.field.colours import (
    STATE_CORE,
    STATE_RIM,
    core_and_rim,
    flat_rows,
    table_of,
)
from omnimouse_widgets.views.field.layout import Field, field_of
from omnimouse_widgets.views.field.text import ORDER, UNIFORM, counted
from omnimouse_widgets.views.raster import (
    GREY,
    OVERLAYS,
    TITLES,
    age_text,
    blended,
    coloured,
    images_of,
    overlay_table,
    picture,
)
from omnimouse_widgets.views.rows.raster import Arrangement, RasterImage, RasterRows, arrange
from omnimouse_widgets.views.text.tier_score import SCORING, no_score_text, tier_score_lines
from omnimouse_widgets.views.traces import Shown, trace_rows

logger = logging.getLogger(__name__)

# -- static picture of the current view, drawn in the kernel without a page -----------
# The picture contains field and raster in their colours on screen, and the traces of the
# first selected neurons. A saved notebook shows it without a kernel.
SIDE: Final = 480
"""Maximum side of the field, and height of the raster with its title, in points."""
TOP: Final = 32
"""Height of the caption in points."""
BELOW: Final = 30
"""Height of the legend below the field in points."""
AXIS: Final = 84
"""Width of the row labels left of the raster in points."""
MAX_TRACES: Final = 8
_MOST_LETTERS: Final = 100
"""Of a name in the caption."""
NOT_YET: Final = "not computed yet"
BLOCK: Final = 4
GREY_STEP: Final = 16
"""Side of a block of the mean image in pixels, and step of its grey levels."""
MAX_EXACT_COLOURS: Final = 32
"""Maximum number of neuron colours that stay exact; scores have more."""
BASE_GREY: Final = 36
"""Grey level behind translucent neurons."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A PNG with its description; width and height are in points."""

    png: bytes
    text: str
    width: int
    height: int


def draw_snapshot(controller: Controller, field: Field | None) -> Snapshot:
    """Draw the current view; `field` is that of the open session."""
    text = caption(controller)
    state = controller.state
    # Without a recording, the picture is only its caption.
    if field is None or state.window is None or state.mask is None:
        sheet = drawing.Sheet(drawing.WIDTH, TOP)
        sheet.text(drawing.EDGE, 9, text, drawing.TEXT, 13)
        return Snapshot(sheet.png(), text, drawing.WIDTH, TOP)
    traces = trace_rows(Shown.of(controller))
    below = TOP + SIDE + BELOW
    height = below + drawing.traces_height(min(len(traces), MAX_TRACES))
    sheet = drawing.Sheet(drawing.WIDTH, height)
    sheet.text(
        drawing.EDGE, 9, drawing.cut(text, drawing.WIDTH - 2 * drawing.EDGE, 13), drawing.TEXT, 13
    )
    _draw_field(sheet, controller, field)
    _draw_legend(sheet, controller)
    _draw_raster(sheet, controller)
    if traces:
        n_omitted = max(len(traces) - MAX_TRACES, 0)
        drawing.draw_traces(sheet, controller, traces[:MAX_TRACES], below, n_omitted)
    return Snapshot(sheet.png(), text, drawing.WIDTH, height)


# -- the caption --------------------------------------------------------------------
def caption(controller: Controller) -> str:
    """Return the text below a saved picture: recording, window, mask, score and model.

    For example, `demo · window 12.0 s · 743 visible, 257 target · r = 0.41 [0.34, 0.54] …`.
    """
    state, results = controller.state, controller.results
    if state.session is None or state.window is None or state.mask is None:
        return (
            "The recording is being opened."
            if controller.loader.is_busy
            else "No recording is open."
        )
    states = _state_text(controller)
    start, stop = state.active_span
    if (start, stop) != (0, state.mask.n_samples):
        states += f" in samples {start}–{stop}"
    name = model_name(state.predictor_name)
    # Jupyter in a terminal prints it, and names come from files.
    return " · ".join(
        [
            plain_text(state.session.id, _MOST_LETTERS),
            f"window {state.window.start_s:z.1f} s",
            states,
            _score_text(controller),
            plain_text(f"model {name}" if name else "no model", _MOST_LETTERS),
            *([plain_text(f"error: {results.error}")] if results.error else []),
        ]
    )


def _state_text(controller: Controller) -> str:
    """Return numbers of neurons: `743 visible, 200 target; 57 visible, then target`."""
    counts, *changes = counted(controller.state)
    texts = [f"{counts[k]:,} {palette.STATE_NAMES[k]}" for k in UNIFORM if counts[k]]
    return "; ".join(filter(None, [", ".join(texts), *changes]))


def _score_text(controller: Controller) -> str:
    """Return the score of the bar with its windows, or why there is none."""
    state, results = controller.state, controller.results
    lines = tier_score_lines(results.tier_score, state.metric, None, "")[:2]
    if not lines:
        # Of one window, a score would say nothing; in a file, nothing is being scored.
        reason = no_score_text(state, results)
        return f"score: {NOT_YET if reason == SCORING else reason}"
    older = " (of an older request)" if results.are_scores_old else ""
    return f"{', '.join(lines)}{older}"


# -- the field ----------------------------------------------------------------------
def field_pixels(controller: Controller, field: Field) -> np.ndarray:
    """Return uint8 (H, W, 3): the neurons in their colours over the mean image."""
    pixels = np.zeros((*field.labels.shape, 3), np.uint8)
    if field.mean is not None:
        grey = _coarse(coloured(field.mean, field.levels, GREY))
        # Only the common part, in case the mean image has another size than the labels.
        height, width = np.minimum(grey.shape[:2], pixels.shape[:2])
        pixels[:height, :width] = grey[:height, :width]
    colours = core_and_rim(controller.state, controller.results, controller.colouring, field)
    if colours is not None:
        # One colour per label; the place before them is the background, label 0.
        rows = flat_rows(controller.state, controller.planes, field, *colours)
        is_drawn = np.concatenate([[False], rows[:, 3] > 0])[field.labels]
        table = np.concatenate([np.zeros((1, 3), np.uint8), label_colours(rows)])
        pixels[is_drawn] = table[field.labels[is_drawn]]
    return pixels


def label_colours(rows: np.ndarray) -> np.ndarray:
    """Blend RGBA rows (n, 4) with one grey; return uint8 (n, 3).

    Blending with the mean image instead would give every pixel its own colour, and a
    much larger PNG.
    """
    share = rows[:, 3:]
    colours = 255 * rows[:, :3] * share + BASE_GREY * (1 - share)
    return np.asarray(colours.round(), np.uint8)


def _coarse(grey: np.ndarray) -> np.ndarray:
    """Return the mean image in blocks with few greys.

    At full resolution, noise would take most of the bytes of the PNG.
    """
    # Incomplete blocks at the right and lower edges keep their first pixel.
    blocks = grey[::BLOCK, ::BLOCK].copy()
    height, width = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    whole = grey[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK, -1)
    blocks[:height, :width] = whole.mean(axis=(1, 3))
    blocks = (blocks // GREY_STEP) * GREY_STEP + GREY_STEP // 2
    large = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    return np.asarray(large[: grey.shape[0], : grey.shape[1]])


def field_place(field: Field) -> tuple[float, float, float, float]:
    """Return left, top, width and height of the field in points."""
    height, width = field.labels.shape
    zoom = SIDE / max(height, width)
    return drawing.EDGE, TOP, zoom * width, zoom * height


def _draw_field(sheet: drawing.Sheet, controller: Controller, field: Field) -> None:
    colours = core_and_rim(controller.state, controller.results, controller.colouring, field)
    # Exact colours let a reader match neurons with the legend.
    if colours is not None:
        rows = label_colours(flat_rows(controller.state, controller.planes, field, *colours))
        distinct = np.unique(rows, axis=0)
        if len(distinct) <= MAX_EXACT_COLOURS:
            sheet.keep_exact(*map(drawing.hex_of, distinct))
    sheet.picture(field_pixels(controller, field), *field_place(field))


def _draw_legend(sheet: drawing.Sheet, controller: Controller) -> None:
    """Draw the legend: states with numbers of neurons, or the scale of a quantity."""
    y, (counts, changes, _) = TOP + SIDE + 8, counted(controller.state)
    scale = controller.colouring.scale
    x: float = drawing.EDGE + 6
    if scale is None or not scale.is_known:
        for code in ORDER if changes else UNIFORM:
            core, rim = (
                _on_background(STATE_CORE[code]),
                _on_background(STATE_RIM[code]),
            )
            sheet.disk(x, y + 7, 5, core, rim)
            label = f"{palette.STATE_NAMES[code]} {counts[code]:,}"
            if code == MIXED:
                label = changes
            x = sheet.text(x + 10, y, label, drawing.TEXT) + 20
        return
    x = sheet.text(x, y, f"{scale.quantity.label}:", drawing.TEXT) + 8
    if not scale.categories:
        low, high = scale.ends
        x = sheet.text(x, y, low, drawing.TEXT) + 6
        sheet.picture(table_of(scale.quantity)[None], x, y + 3, 120, 9)
        x = sheet.text(x + 126, y, high, drawing.TEXT) + 20
        colouring = controller.colouring
        marks = (
            (colouring.unknown_text, drawing.BACKGROUND),
            (colouring.untuned_text, palette.UNSCORED),
        )
        for text, fill in marks:
            if text:
                sheet.disk(x, y + 7, 5, fill, palette.UNKNOWN_RING)
                x = sheet.text(x + 10, y, text, drawing.TEXT) + 16
        return
    for name, colour in zip(
        scale.categories, palette.area_table(len(scale.categories)), strict=True
    ):
        # Categories that do not fit under the field are omitted.
        if x + drawing.width_of(name) > drawing.EDGE + SIDE:
            sheet.text(x, y, "…", drawing.TEXT)
            return
        sheet.disk(x + 5, y + 7, 5, drawing.hex_of(colour), drawing.hex_of(colour))
        x = sheet.text(x + 15, y, name, drawing.TEXT) + 14


def _on_background(colour: np.ndarray) -> str:
    return drawing.blended_over(drawing.hex_of(255 * colour[:3]), float(colour[3]))


# -- the raster ---------------------------------------------------------------------
def _arrangement(controller: Controller) -> Arrangement:
    state = controller.state
    assert state.session is not None
    assert state.mask is not None
    return arrange(
        state.raster_order,
        state.session.units,
        state.mask,
        state.active_span,
        controller.results.shown_scores,
        controller.neuron_order.order,
    )


def raster_pixels(controller: Controller, shown: RasterImage, rows: RasterRows) -> np.ndarray:
    """Return uint8 (rows, n_samples, 3): values blended with the tints of the mask."""
    state = controller.state
    assert state.window is not None
    assert state.mask is not None
    source = picture(shown, state.window, controller.results.population)
    base = coloured(rows.mean(source.values), source.levels, source.table)
    # A prediction of an older request is shown at half the brightness.
    if shown != "truth" and controller.results.is_population_old:
        base = base // 2
    codes = rows.codes(state.mask, state.window)
    return blended(base, codes, overlay_table(OVERLAYS[shown]))


def _draw_raster(sheet: drawing.Sheet, controller: Controller) -> None:
    state, spec = controller.state, controller.state.spec
    arrangement = _arrangement(controller)
    order = arrangement.order
    rows, n = RasterRows.of(order, 0, len(order)), max(len(order), 1)
    left, top, height = drawing.EDGE + SIDE + AXIS, TOP + 16, SIDE - 16
    for row, label in arrangement.ticks:
        # Lines are 13 points high; the block of lines is centred on its row.
        lines = label.split("\n")
        y = top + height * row / n - 6.5 * len(lines)
        for number, line in enumerate(lines):
            short = drawing.cut(line, AXIS - 14, 10)
            x = left - 8 - drawing.width_of(short, 10)
            sheet.text(x, y + 13 * number, short, drawing.QUIET, 10)
    names = images_of(state.raster_view)
    width = (drawing.WIDTH - drawing.EDGE - left - drawing.GAP * (len(names) - 1)) / len(names)
    row_of = {int(neuron): row for row, neuron in enumerate(order.tolist())}
    for number, name in enumerate(names):
        x = left + number * (width + drawing.GAP)
        title = TITLES[name]
        if name != "truth" and (age := age_text(controller.results)):
            title = f"{title} · {age}"
        sheet.text(x, TOP, drawing.cut(title, width, 10), drawing.QUIET, 10)
        sheet.picture(raster_pixels(controller, name, rows), x, top, width, height)
        # The middle of the sample.
        cursor = x + width * (state.cursor + 0.5) / spec.n_samples
        sheet.line([(cursor, top), (cursor, top + height)], palette.CURSOR)
        for share in (0, 0.5, 1):
            # Left-aligned, centred and right-aligned: the labels stay inside.
            tick = f"{share * spec.duration_s:.3g} s"
            shift = share * drawing.width_of(tick, 10)
            sheet.text(x + share * width - shift, top + height + 3, tick, drawing.QUIET, 10)
    for neuron in state.selection:
        if neuron in row_of:
            y = top + height * (row_of[neuron] + 0.5) / n
            sheet.wedge(left - 1, y, palette.RECORDED)


# -- the output ------------------------------------------------------------------------
QUIET_S: Final = 2.0
"""Time in seconds without a change after which the view counts as settled."""
AWAITED: Final = ("running", "stale")
"""States of a prediction whose replacement is still to come."""
MOST_QUIETS: Final = 5
"""Results that never rest, as while it is scored, are drawn after so many quiet times."""
CHANGED: Final = (
    "The view or a result has changed since this picture was drawn: the notebook was saved too "
    "early for the next one."
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
        self._drawn: tuple[Snapshot, Bundle] | None = None
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

        about = {"width": drawing.WIDTH, "alt": output["text/plain"]}
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
                content = draw_snapshot(self._controller, field)
                # One that shows the same keeps the time of the first.
                if self._drawn is None or content != self._drawn[0]:
                    self._drawn = content, _bundle(content)
                output = self._drawn[1]
            except Exception as error:
                # Objects of two views may not fit together: such an error is no fault.
                if self._is_due:
                    continue
                self._report(error)
                return _bundle(f"The picture could not be drawn: {plain_text(str(error))}")
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
        return {"text/plain": f"OmniMouse: {content}", "text/html": html}
    data = b64encode(content.png).decode("ascii")
    # A page that was reloaded does not take a later picture: the time tells its age.
    text = f"OmniMouse, view of {datetime.now():%Y-%m-%d %H:%M}: {content.text}"
    return {"text/plain": text, "image/png": data}


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
