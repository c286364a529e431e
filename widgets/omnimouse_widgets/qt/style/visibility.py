"""Detection of whether a panel is visible to the user, not in a covered tab.

Qt reports a panel in a covered tab as visible; costly work must be avoided for it.
"""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget


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
            # At once: a panel that is closed may be deleted before the next iteration.
            self._timer.stop()
            if self.is_visible:
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
