"""Redraw a panel on state changes while it is on screen; transfer of calls to the Qt thread.

A hidden panel has no connections, so it costs nothing and cannot be called after its
deletion. Showing a panel connects its signals and draws every part. Each signal marks
its parts as pending; pending parts are drawn once in the next event loop iteration, or
a little later during a stroke on the field.
Qt treats a panel in a covered tab as visible; such a panel is drawn when it comes to
the front.
"""

import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from traceback import walk_tb
from types import TracebackType
from typing import Any, ClassVar
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import QApplication, QDockWidget, QFrame, QHBoxLayout, QToolButton, QWidget

from omnimouse_widgets.qt.style.plain_text import keep_texts_plain
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.record import REST_S
from omnimouse_widgets.views.text.controls import COPY, COPY_TIP, error_details, error_text

# -- transfer of calls to the Qt thread by a queued signal ------------------------------
Call = Callable[[], None]


class _Hop(QObject):
    """Object on the application's thread that runs calls posted from any thread."""

    posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        queued = Qt.ConnectionType.QueuedConnection
        # PyQt's stubs lack the connection type argument.
        self.posted.connect(self._run, queued)  # type: ignore[call-arg]

    @Slot(object)
    def _run(self, call: Call) -> None:
        call()


def qt_post() -> Callable[[Call], None]:
    """Return a function that runs calls on the Qt thread, soon and in order.

    It may be called from any thread and never waits. Needs a QApplication.
    """
    app = QCoreApplication.instance()
    if app is None:
        raise RuntimeError("qt_post needs a QApplication: create one first.")
    hop = _Hop()
    # The caller may be on another thread: slots run on the thread of their object.
    hop.moveToThread(app.thread())

    def post(call: Call) -> None:
        hop.posted.emit(call)

    return post


# -- notice in a panel that has an error: the error, and its details to copy ----------
MARGIN = 4
_log = logging.getLogger(__name__)


class FaultNotice(QFrame):
    """Frame over the top of a panel; the user closes it."""

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._details = ""
        self.setFrameShape(QFrame.Shape.Panel)
        self.setAutoFillBackground(True)
        self.label = wrapped_label("problem", is_selectable=True)
        self.copy = QToolButton()
        self.copy.setText(COPY)
        self.copy.setToolTip(COPY_TIP)
        self.copy.clicked.connect(self._copy)
        close = QToolButton()
        close.setText("×")
        close.setAccessibleName("Close this notice")
        close.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        row.addWidget(self.label, 1)
        for button in (self.copy, close):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        panel.installEventFilter(self)
        self.hide()

    def show_error(self, error: BaseException) -> None:
        """Show an error; one that is shown already changes nothing."""
        details = error_details(error)
        if details == self._details:
            return
        self._details = details
        _log.error("A panel has an error.", exc_info=error)
        self.label.setText(error_text(error))
        self._fit()
        self.show()
        self.raise_()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the width of the panel."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._fit()
        return False

    def _fit(self) -> None:
        panel = self.parentWidget()
        if panel is not None:
            width = panel.width()
            self.setGeometry(0, 0, width, self.heightForWidth(width))

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self._details)


# -- drawing after signals ------------------------------------------------------------
Draw = Callable[[], None]
_WAIT_MS = 33
"""Time by which panels are drawn after the field during a stroke: a frame or two."""
_PAUSE_S = 0.01
"""Work that begins after a longer pause belongs to another turn of the event loop."""
_LONG_S = 0.015
"""Work of a turn that lasts longer than this is long: a click should be handled after it."""
_MOST_WAITS = 3
"""Maximum number of turns that a panel or a frame waits."""
TURN_MS = 2
"""Time until the next turn.

Qt may call timers of 0 ms several times in a turn, and others that become due in it.
"""


class TurnTime:
    """Time that one kind of work, such as drawing panels, has taken in the latest turn.

    A turn of the event loop draws several panels; their times are added.
    """

    def __init__(self) -> None:
        self._took_s = self._end_s = 0.0

    def add(self, begin_s: float) -> None:
        """Add work that began at `begin_s` and has ended now."""
        before_s = self._took_s if begin_s - self._end_s < _PAUSE_S else 0.0
        self._end_s = monotonic()
        self._took_s = before_s + self._end_s - begin_s

    @property
    def is_long(self) -> bool:
        """Whether the work was long and has just ended."""
        return self._took_s > _LONG_S and monotonic() - self._end_s < _PAUSE_S


class WaitCount:
    """Number of turns that a panel or a frame has waited, so that clicks are handled."""

    def __init__(self) -> None:
        self._count = 0

    def must_wait(self, other: TurnTime) -> bool:
        """Return whether to wait for a turn, because the other kind of work was long."""
        self._count = (self._count + 1) % (_MOST_WAITS + 1) if other.is_long else 0
        return self._count > 0


@contextmanager
def field_first() -> Iterator[None]:
    """Have panels drawn a little after the changes of a block, which is a stroke.

    The field under the pointer is then drawn at once. Panels would take longer than it.
    """
    Redraw.wait_ms = _WAIT_MS
    try:
        yield
    finally:
        Redraw.wait_ms = 0


class Redraw(QObject):
    """Draw the parts of a panel when the signals they depend on fire.

    Attributes
    ----------
    wait_ms
        Time from a signal to the drawing; see `field_first`.
    panels, frames
        Time of the panels and of the frames of all windows; after long work of one kind,
        the other waits for a turn.

    Parameters
    ----------
    panel
        The widget whose showing and hiding switches the work on and off.
    parts
        Drawing functions, each with the signals after which it runs. Drawn in this order.
    resting
        Numbers of the parts that are drawn at most every `REST_S`.
    """

    wait_ms: ClassVar[int] = 0
    panels: ClassVar[TurnTime] = TurnTime()
    frames: ClassVar[TurnTime] = TurnTime()

    def __init__(
        self, panel: QWidget, *parts: tuple[Draw, Sequence[Any]], resting: Collection[int] = ()
    ) -> None:
        super().__init__(panel)
        self._panel = panel
        self._parts = tuple((draw, tuple(signals)) for draw, signals in parts)
        self._pending: set[int] = set()
        # Time at which a resting part may be drawn again.
        self._due_s = dict.fromkeys(resting, 0.0)
        self._notice: FaultNotice | None = None
        self._slots: list[tuple[Any, Draw]] = []
        self._waits = WaitCount()
        # One for the next iteration of the event loop, and one for parts that rest.
        self._timer, self._rest_timer = QTimer(self), QTimer(self)
        for timer in (self._timer, self._rest_timer):
            timer.setSingleShot(True)
            timer.timeout.connect(self._flush_if_visible)
        keep_texts_plain()
        # An event filter, so that panels need not inherit from a common base class.
        panel.installEventFilter(self)

    @property
    def is_live(self) -> bool:
        """Whether the panel is shown and connected."""
        return bool(self._slots)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Start when the panel is shown, and stop when it is hidden or closed."""
        kind = event.type() if event is not None else None
        if kind == QEvent.Type.Show:
            self.start()
        elif kind in (QEvent.Type.Hide, QEvent.Type.Close):
            self.stop()
        elif kind == QEvent.Type.Paint:
            # Again and again: napari sets its own hook when the event loop starts.
            _show_errors_of_handlers()
            if self._pending and not self._timer.isActive():
                self._timer.start(0)  # the panel came to the front
        # Never consume an event: the panel must still receive it.
        return False

    def start(self) -> None:
        """Connect the signals and draw every part."""
        if not self._slots:
            for number, (_, signals) in enumerate(self._parts):
                for signal in signals:
                    self._connect(signal, number)
        self._pending = set(range(len(self._parts)))
        self.flush()

    def stop(self) -> None:
        """Drop all connections and pending parts."""
        self._timer.stop()
        self._rest_timer.stop()
        self._pending.clear()
        _disconnect(self._slots)

    def flush(self, *, is_due: bool = False) -> None:
        """Draw the pending parts now; an error is shown in the panel.

        With `is_due`, parts that rest stay pending.
        """
        self._timer.stop()
        now_s = monotonic()
        resting = {n for n, due_s in self._due_s.items() if is_due and due_s > now_s}
        # Replace the set first: a part may request another part while it is drawn.
        pending, self._pending = self._pending - resting, self._pending & resting
        for number in self._pending:
            self._wait_for(number, now_s)
        for number in sorted(pending):
            if number in self._due_s:
                self._due_s[number] = now_s + REST_S
            try:
                self._parts[number][0]()
            # Whatever fails, e.g. on odd values of a recording or of a user's model:
            # the other parts and panels remain usable.
            except Exception as error:
                self.show_error(error)
        Redraw.panels.add(now_s)

    def show_error(self, error: Exception) -> None:
        """Show an error over the top of the panel."""
        if self._notice is None:
            self._notice = FaultNotice(self._panel)
        self._notice.show_error(error)

    def _flush_if_visible(self) -> None:
        # In a covered tab the parts stay pending until the paint event; see
        # `eventFilter`.
        if self._panel.visibleRegion().isEmpty():
            return
        if self._waits.must_wait(Redraw.frames):
            self._timer.start(TURN_MS)
        else:
            self.flush(is_due=True)

    def _connect(self, signal: Any, number: int) -> None:
        slot = _slot_of(self, number)
        signal.connect(slot)
        self._slots.append((signal, slot))

    def request(self, number: int) -> None:
        """Draw one part in the next event loop iteration, or after its rest."""
        self._pending.add(number)
        now_s = monotonic()
        if self._due_s.get(number, 0.0) > now_s:
            self._wait_for(number, now_s)
        # Restarting a running timer would postpone the drawing as long as signals
        # arrive.
        elif not self._timer.isActive():
            self._timer.start(self.wait_ms)

    def _wait_for(self, number: int, now_s: float) -> None:
        """Have a part drawn after its rest, or before with another one."""
        if not self._rest_timer.isActive():
            self._rest_timer.start(max(round(1000 * (self._due_s[number] - now_s)), 1))


def _show_errors_of_handlers() -> None:
    """Have errors of handlers of buttons and keys shown in their panel.

    Qt has no caller that could catch them; they arrive at `sys.excepthook`. Errors of
    no panel go to the hook before.
    """
    before = sys.excepthook
    if isinstance(before, _PanelHook):
        return
    sys.excepthook = _PanelHook(before)


class _PanelHook:
    """A `sys.excepthook` that shows an error in the panel whose handler raised it."""

    def __init__(self, before: Callable[..., Any]) -> None:
        self._before = before

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        redraw = _redraw_of(trace) if isinstance(error, Exception) else None
        if redraw is not None and isinstance(error, Exception):
            redraw.show_error(error)
        else:
            self._before(kind, error, trace)


def _redraw_of(trace: TracebackType | None) -> Redraw | None:
    """Return the `Redraw` of the panel in which an error arose.

    The panel is the first in the traceback whose method was running; None if no panel's
    method was.
    """
    for frame, _ in walk_tb(trace):
        owner = frame.f_locals.get("self")
        while isinstance(owner, QObject) and isalive(owner):  # type: ignore[no-untyped-call]  # qtpy
            for child in owner.children():
                if isinstance(child, Redraw):
                    return child
            owner = owner.parent()
    return None


def _slot_of(redraw: Redraw, number: int) -> Draw:
    """Return a slot that holds `redraw` weakly: signals must not keep a panel alive."""
    weakly = ref(redraw)

    def slot() -> None:
        alive = weakly()
        if alive is not None and isalive(alive):  # type: ignore[no-untyped-call]  # qtpy
            alive.request(number)

    return slot


def _disconnect(slots: list[tuple[Any, Draw]]) -> None:
    while slots:
        signal, slot = slots.pop()
        signal.disconnect(slot, missing_ok=True)


class VisibilityMonitor(QObject):
    """Call `report(is_visible)` after each change, in the next event loop iteration.

    Parameters
    ----------
    panel
        The observed panel and the Qt parent of this object.
    report
        Called with True when the panel becomes visible, False when it is covered.
    """

    def __init__(self, panel: QWidget, report: Callable[[bool], object]) -> None:
        super().__init__(panel)
        self.is_visible = False
        self._panel, self._report = panel, report
        self._dock: QDockWidget | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        # `visibleRegion` is up to date only after Qt has handled the event, so it is
        # read in the next iteration of the event loop.
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._follow)
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Check again after events that can change the visibility."""
        kind = event.type() if event is not None else None
        if kind == QEvent.Type.Hide:
            # At once: a panel that is closed may be deleted before the next iteration. It
            # may also have been shown since the last one.
            was_shown = self.is_visible or self._timer.isActive()
            self._timer.stop()
            if was_shown:
                self.is_visible = False
                self._report(False)
        elif kind == QEvent.Type.Show or (
            # A covered panel gets no paint event, so the first one shows that it came
            # to the front. Later ones give no information.
            kind == QEvent.Type.Paint and not self.is_visible
        ):
            self._timer.start()
        return False

    def update(self) -> None:
        """Check now, and call `report` even if nothing changed."""
        self._measure()
        self._report(self.is_visible)

    def _follow(self) -> None:
        was_visible = self.is_visible
        self._measure()
        if self.is_visible != was_visible:
            self._report(self.is_visible)

    def _measure(self) -> None:
        self._find_dock()
        is_covered = self._panel.visibleRegion().isEmpty()
        self.is_visible = self._panel.isVisible() and not is_covered

    def _find_dock(self) -> None:
        """Connect to the enclosing dock, which signals when its tab is covered."""
        above = self._panel.parentWidget()
        while above is not None and not isinstance(above, QDockWidget):
            above = above.parentWidget()
        # The panel may be placed in a dock after its construction; connect once to
        # each.
        if above is not self._dock:
            self._dock = above
            if above is not None:
                above.visibilityChanged.connect(lambda _: self._timer.start())
