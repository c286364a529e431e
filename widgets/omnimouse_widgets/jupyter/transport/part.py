"""Base class of the notebook's widgets: views of one controller.

A part contains no analysis, and no state except its appearance. Small values are
traits, which code can set, read and observe. Large values are sent as messages, because
a saved notebook contains the traits. Message handlers return at once: the drawing
thread draws and the engine computes. Handlers may be called on any thread.

A message from the page is `{"op": name, ...}` and calls the method `on_<name>`. A
message with a `seq` is acknowledged before it is handled; this is the flow control of
the page, and keeps the comm alive while a cell runs. `handled` contains the latest
`seq` that was handled. All drawing functions of a part share one message to the page,
which the page confirms once: a message or a confirmation costs the page as much as a
small drawing.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from threading import Timer
from time import monotonic
from typing import Any, ClassVar, Final, NamedTuple

import anywidget
import numpy as np
from psygnal import SignalInstance
from traitlets import Dict, TraitError, Unicode

from omnimouse_model.errors import SettingError, StoppedError, ToldError, WorkerError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.editor import CODE_NAMES, checked_code
from omnimouse_widgets.jupyter.transport.draw_thread import FRAME_S, Board, Draw, drawing_paused
from omnimouse_widgets.views.text.controls import (
    COPIED,
    COPY,
    COPY_TIP,
    PAGE,
    error_details,
    error_text,
)

logger = logging.getLogger(__name__)

Buffer = np.ndarray | bytes
MAX_DELAY_S: Final = 0.2
"""Longest wait in seconds of a drawing for a result that it could include."""
OVERDUE_S: Final = 30.0
"""Time in seconds without a confirmation after which a page is treated as closed."""
LOST_STROKE_S: Final = 5.0
"""Time in seconds without a confirmation after which a page's stroke is ended, if
another page has begun to show the part."""
CHECK_MARGIN_S: Final = 0.05
"""Time in seconds after which a view that was almost overdue is checked again."""
PASSIVE_OPS: Final = frozenset({"hover", "rows", "chunks", "lost"})
"""Messages without a user action; they do not clear the message in `problem`."""


REFUSALS: Final = (
    *(ValueError, TraitError, OSError, ModuleNotFoundError),
    *(WorkerError, StoppedError),
)
"""Errors whose message answers a user action; any other error is a fault."""


class ProblemWidget(anywidget.AnyWidget):
    """Widget whose page shows the latest error below its content.

    Attributes
    ----------
    problem
        Error message of the last user action, or "".
    """

    problem = Unicode("").tag(sync=True)
    # Details of a fault, with the texts of the button that copies them.
    _fault = Dict({}).tag(sync=True)

    @property
    def details(self) -> str:
        """The error in `problem` with its traceback if it is a fault, or ""."""
        return str(self._fault.get("details", ""))

    @contextmanager
    def showing_problems(self, *, is_passive: bool = False) -> Iterator[list[str]]:
        """Show errors of the `with` block in `problem` instead of raising them.

        A message handler has no caller that could report the error. A block that needs
        to know of an error appends to the yielded list as its last step.
        """
        try:
            yield []
        except Exception as error:
            logger.info("A message of the page failed.", exc_info=True)
            self.show_problem(error)
        else:
            if self.problem and not is_passive:
                self._fault, self.problem = {}, ""

    def show_problem(self, error: Exception) -> None:
        """Show an error of a user action; a fault with its details."""
        if isinstance(error, REFUSALS):
            self._fault, self.problem = {}, str(error) or type(error).__name__
        else:
            self.show_fault(error)

    def show_fault(self, error: Exception) -> None:
        """Show an error that nobody expects, with its details."""
        details = error_details(error)
        self._fault = {"details": details, "copy": COPY, "tip": COPY_TIP, "note": COPIED}
        self.problem = error_text(error)


class Drawing(NamedTuple):
    """A drawing function, and the signals that request it.

    Attributes
    ----------
    draw
        The drawing function.
    signals
        Signals after which it is called without delay.
    results
        Signals after which it is called without delay, except while `Part.is_awaiting`.
        Then it is delayed by `MAX_DELAY_S`: the coming result replaces the drawing.
    requests
        Signals that start a request: the call is always delayed, so that a fast result
        is drawn together with the change.
    """

    draw: Draw
    signals: Sequence[Any] = ()
    results: Sequence[Any] = ()
    requests: Sequence[Any] = ()


def keep_subshell(widget: Any) -> None:
    """Keep the messages of a page on the subshell that the page chose.

    ipykernel 7.4 gives a message of the page to the shell that published last on the
    comm. After a message from a cell or a thread this is the main shell, where the
    message would wait until the running cell ends.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = None


class Part(ProblemWidget):
    """A widget that shows one controller; see the module docstring.

    Parameters
    ----------
    controller
        Controller with the state, the results and the methods for user actions.

    Attributes
    ----------
    spec_changed
        Emitted when the window is one of another model: other rates and sizes.
    handled
        For each view, the `seq` of its latest handled message. A drawing function reads
        `handled` before the state and sends both, so that the page knows which of its
        strokes the drawing contains.
    """

    INTERVAL_S: ClassVar[float] = FRAME_S
    """Minimum interval of two drawings in seconds; larger for slow drawings."""
    AHEAD: ClassVar[int] = 1
    """Number of drawings per confirmation of the page; larger for small drawings.

    A front end marks the kernel as busy for every message of a page, which takes
    longer than a small drawing."""

    PURPOSE: ClassVar[str] = "work with it live"
    """What running the cell is for, as a page without widgets says."""

    _texts = Dict(PAGE).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._state, self._editor = controller.state, controller.editor
        self._navigation = controller.navigation
        self._views: set[str] = set()
        self._overdue: set[str] = set()
        self._unconfirmed_s: dict[str, float] = {}  # view: time of the first message
        self._painting = ""
        self.handled: dict[str, int] = {}
        self._links: list[tuple[Any, Callable[[], None]]] = []
        self._messages: list[tuple[dict[str, Any], Sequence[Buffer]]] = []
        self._last: dict[str, tuple[dict[str, Any], list[bytes]]] = {}
        self._initial = traits
        self._spec = controller.state.spec
        self.spec_changed = SignalInstance()
        super().__init__(**traits)
        self._link(controller.state.events.window, self._check_spec)
        drawings = self.drawings()
        self._board = Board(
            [drawing.draw for drawing in drawings],
            self.show_fault,
            self._send_messages,
            self.INTERVAL_S,
            self.AHEAD,
        )
        # `_slot` binds `number` for each drawing; a lambda here would see the last one.
        for number, drawing in enumerate(drawings):
            for signal in drawing.signals:
                self._link(signal, self._slot(number, lambda: False))
            for signal in drawing.results:
                self._link(signal, self._slot(number, self.is_awaiting))
            for signal in drawing.requests:
                self._link(signal, self._slot(number, lambda: True))
        self.on_msg(self._receive)

    @property
    def is_visible(self) -> bool:
        """Whether a page shows the part in its visible area."""
        return bool(self._views)

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of this part with their signals."""
        return ()

    def is_awaiting(self) -> bool:
        """Return whether a coming result will replace the whole drawing."""
        return False

    def activate(self) -> None:
        """Start the computations that only a visible part needs."""

    def deactivate(self) -> None:
        """Stop the computations that only a visible part needs."""

    def open(self) -> None:
        """Open the comm to the page and keep its messages on the page's subshell."""
        super().open()
        keep_subshell(self)

    # -- traits -----------------------------------------------------------------------
    def bind(
        self,
        trait: str,
        signals: Any,
        read: Callable[[], Any],
        write: Callable[[Any], object] | None = None,
    ) -> None:
        """Synchronise a trait with the live state; called in `__init__`.

        If the state rejects a value, the trait returns to the value of the state; code
        receives the exception, and the page shows it as `problem`. A value passed to
        the constructor is written to the state.

        Parameters
        ----------
        trait
            Name of the trait.
        signals
            One or several signals after which the state's value may have changed.
        read
            Return the state's value.
        write
            Set the state's value; None for a trait that only follows.
        """

        def follow() -> None:
            value = read()
            if getattr(self, trait) != value:
                self.set_trait(trait, value)

        def changed(change: Any) -> None:
            # Comparing values ends the loop trait -> state -> signal -> trait.
            if change["new"] == read():
                return
            if write is None:
                follow()
                return
            try:
                # NaN differs from itself: the loop would never end.
                values = change["new"] if isinstance(change["new"], tuple) else (change["new"],)
                if any(isinstance(value, float) and isnan(value) for value in values):
                    raise SettingError(f"{trait} needs a number, not NaN.")
                write(change["new"])
            except Exception as error:
                follow()
                # A notebook shows the message alone, without our code.
                if isinstance(error, ValueError) and not isinstance(error, ToldError):
                    raise SettingError(str(error)) from error
                raise
            # The state may have corrected the value, e.g. limited it to a range.
            follow()

        follow()
        for signal in signals if isinstance(signals, (list, tuple)) else (signals,):
            self._link(signal, follow)
        self.observe(changed, trait)
        # `follow` above has replaced a value from the constructor: set it once more,
        # now with the observer, which writes it to the state.
        if trait in self._initial:
            self.set_trait(trait, self._initial[trait])

    def bind_field(self, trait: str, write: Callable[[Any], object], field: str = "") -> None:
        """Synchronise a trait with a field of the live state, by default of its name.

        See `bind`.
        """
        name, state = field or trait, self._state
        self.bind(trait, getattr(state.events, name), lambda: getattr(state, name), write)

    # -- to the page ------------------------------------------------------------------
    def add_message(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """Add a message to the current drawing; only for drawing functions."""
        # The page replaces the content of an earlier message of the same name.
        self._last.pop(op, None)
        self._messages.append(({"op": op, **fields}, buffers))

    def add_if_changed(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """Add a message as `add_message` does, unless the page has this content."""
        content = fields, [_raw(buffer) for buffer in buffers]
        if self._last.get(op) != content:
            self.add_message(op, content[1], **fields)
            self._last[op] = content

    def send_now(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """Send a message at once, without flow control."""
        self.send({"op": op, **fields}, [_raw(buffer) for buffer in buffers])

    def _send_messages(self) -> None:
        """Send the messages of all drawing functions as one message."""
        messages, self._messages = self._messages, []
        if not messages:
            return
        # The page splits the list of buffers by these counts.
        parts = [{**fields, "buffers": len(buffers)} for fields, buffers in messages]
        all_buffers = [buffer for _, buffers in messages for buffer in buffers]
        must_confirm = self._board.count_message()
        if must_confirm:
            self._expect_confirmation()
        self.send_now("drawing", all_buffers, parts=parts, confirm=must_confirm)

    def _expect_confirmation(self) -> None:
        """Expect a confirmation from every view; remove views that are overdue."""
        # A page that crashed or lost its connection sends no "gone".
        now_s = monotonic()
        for view in sorted(self._views):
            if now_s - self._unconfirmed_s.setdefault(view, now_s) > OVERDUE_S:
                self._remove_view(view)
                self._overdue.add(view)

    # -- from the page ----------------------------------------------------------------
    def _receive(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        op = str(content.get("op"))
        if "seq" in content:
            self.send_now("ack", seq=content["seq"], view=content.get("view"))
        view = str(content.get("view"))
        # Any message proves that the view exists.
        self._unconfirmed_s.pop(view, None)
        is_back = view in self._overdue
        self._overdue.discard(view)
        if op == "gone":
            self._remove_view(view)
            return
        if op == "ready" or is_back:
            self._add_view(view)
        if op == "drawn":
            self._board.confirm()
        elif op != "ready":
            self._handle(op, content, [bytes(b) for b in buffers])

    def _add_view(self, view: str) -> None:
        """Add a view and draw everything: a new view has no earlier content."""
        self._views.add(view)
        # All views share the messages of the part, so the others are drawn again, too.
        self._last = {}
        self._board.request_all()
        if self._painting not in ("", view):
            # Probably the same page after a reload, whose "gone" can be lost.
            self._check_stroke(self._painting, LOST_STROKE_S)
        if len(self._views) == 1:
            self.activate()

    def _check_stroke(self, view: str, wait_s: float) -> None:
        """Call `_end_lost_stroke` after a time."""
        timer = Timer(wait_s, self._end_lost_stroke, [view])
        timer.daemon = True
        timer.start()

    def _end_lost_stroke(self, view: str) -> None:
        """Remove a view that has confirmed no drawing for `LOST_STROKE_S`.

        This ends its stroke. A view with a younger unconfirmed drawing is checked
        later.
        """
        # No drawing reads the views meanwhile.
        with drawing_paused():
            since_s = self._unconfirmed_s.get(view)
            if view != self._painting or since_s is None:
                return
            left_s = LOST_STROKE_S - (monotonic() - since_s)
            if left_s > 0:
                self._check_stroke(view, left_s + CHECK_MARGIN_S)
                return
            self._remove_view(view)
            self._overdue.add(view)

    def _remove_view(self, view: str) -> None:
        """Remove a view and end its stroke."""
        self._views.discard(view)
        self._unconfirmed_s.pop(view, None)
        # A page that disappears sends no end of its stroke.
        if view == self._painting:
            self._handle("end", {"view": view}, [])
        if not self._views:
            self._board.stop()
            self.deactivate()

    def _handle(self, op: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Handle a message; after a rejected stroke, draw the unchanged state."""
        # No drawing starts between the change of the state and the update of `handled`.
        with drawing_paused():
            with self.showing_problems(is_passive=op in PASSIVE_OPS) as successes:
                if "begin" in content:
                    self._begin(content | content["begin"])
                try:
                    self._handler(op)(content, buffers)
                finally:
                    if content.get("end"):
                        self.on_end(content, [])
                successes.append(op)
            # A rejected message counts as handled, too: the page then removes the cells
            # that it had drawn in advance.
            view, seq = str(content.get("view")), int(content.get("seq", 0))
            self.handled[view] = max(self.handled.get(view, 0), seq)
            if op == "paint" and not successes and self._views:
                self._board.request_all()

    def _handler(self, op: str) -> Callable[[dict[str, Any], list[bytes]], object]:
        """Return the handler of a message.

        Only methods of `Part` and its subclasses are handlers. ipywidgets has methods
        named `on_...`, too, which a page must not call.

        Raises
        ------
        ValueError
            If the part has no handler for this message.
        """
        name = f"on_{op}"
        parts = (owner for owner in type(self).__mro__ if issubclass(owner, Part))
        if not any(name in vars(owner) for owner in parts):
            raise ValueError(f"{type(self).__name__} takes no message {op!r}.")
        return getattr(self, name)

    # A stroke is one undo step. Its first message contains `begin` and its last message
    # contains `end`: separate messages would cost more than these fields.
    def stroke_name(self, content: dict[str, Any]) -> str:
        """Return the name of a stroke's undo step; "{n}" is the number of neurons."""
        return f"Paint {{n}} neurons {CODE_NAMES[checked_code(content['code'])]}"

    def _begin(self, content: dict[str, Any]) -> None:
        """Begin a stroke; it ends at the latest when its view is removed."""
        self._editor.begin_stroke(self.stroke_name(content))
        self._painting = str(content["view"])

    def on_end(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """End the stroke."""
        self._painting = ""
        self._editor.end_stroke()

    # Keyboard shortcuts that all parts share; see `commonKeys` in `common.js`.
    def on_undo(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Undo the latest step."""
        self._editor.undo()

    def on_redo(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Redo the step that was undone last."""
        self._editor.redo()

    def on_code(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set the code of the brush: 0 hidden, 1 visible, 2 target."""
        self._editor.set_brush(int(content["code"]))

    def on_step(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move the cursor by samples; past an end of the window, the window moves."""
        self._navigation.step_cursor(int(content["n"]))

    def on_steps(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move the cursor by samples, or the window by multiples of its length."""
        if content.get("windows"):
            self._navigation.step_window(int(content["windows"]))
        if content.get("samples"):
            self._navigation.step_cursor(int(content["samples"]))

    def on_trial(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move by `n` trials."""
        self._navigation.step_trial(int(content["n"]))

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Set traits from the page; errors appear in `problem`."""
        with self.showing_problems():
            super().set_state(sync_data)

    # -- signals ----------------------------------------------------------------------
    def _slot(self, number: int, is_delayed: Callable[[], bool]) -> Callable[[], None]:
        def request() -> None:
            self._board.request(number, MAX_DELAY_S if is_delayed() else 0.0)

        return request

    def _check_spec(self) -> None:
        """Emit `spec_changed` if needed; windows move often, their spec rarely."""
        spec = self._state.spec
        if spec != self._spec:
            self._spec = spec
            self.spec_changed.emit()

    def _link(self, signal: Any, slot: Callable[[], None]) -> None:
        def call() -> None:
            # An error of this part must not reach the other listeners of the signal.
            try:
                slot()
            except Exception as error:
                logger.exception("A part could not follow a change.")
                self.show_fault(error)

        signal.connect(call)
        self._links.append((signal, call))

    def __repr__(self) -> str:
        return f"Run this cell to {self.PURPOSE}."

    def close(self) -> None:
        """Remove the part from every page and disconnect it from the controller."""
        while self._links:
            signal, slot = self._links.pop()
            signal.disconnect(slot, missing_ok=True)
        if "_board" in vars(self):  # missing if the constructor raised an error
            self._board.stop()
        if self._painting:
            self.on_end({}, [])
        if self._views:
            self._views.clear()
            self.deactivate()
        super().close()


def _raw(buffer: Buffer) -> bytes:
    return buffer.tobytes() if isinstance(buffer, np.ndarray) else buffer
