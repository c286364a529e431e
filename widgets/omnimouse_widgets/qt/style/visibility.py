"""Detection of whether a panel is visible to the user, not in a covered tab.

Qt reports a panel in a covered tab as visible; costly work must be avoided for it.
"""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget


class InView(QObject):
    """Call `tell(is_seen)` after each change, in the next event loop iteration.

    Parameters
    ----------
    panel
        The observed panel and the Qt parent of this object.
    tell
        Called with True when the panel becomes visible, False when it is covered.
    """

    def __init__(self, panel: QWidget, tell: Callable[[bool], None]) -> None:
        super().__init__(panel)
        self.is_seen = False
        self._panel, self._tell = panel, tell
        self._dock: QDockWidget | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        # `visibleRegion` is up to date only after Qt has handled the event, so look in
        # the next iteration of the event loop.
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._follow)
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Check again after events that can change the visibility."""
        kind = event.type() if event is not None else None
        if kind in (QEvent.Type.Show, QEvent.Type.Hide, QEvent.Type.Close) or (
            # A covered panel gets no paint event, so the first one shows that it came
            # to the front. Later ones give no information.
            kind == QEvent.Type.Paint and not self.is_seen
        ):
            self._timer.start()
        return False

    def tell(self) -> None:
        """Check now, and call `tell` even if nothing changed."""
        self._look()
        self._tell(self.is_seen)

    def _follow(self) -> None:
        was_seen = self.is_seen
        self._look()
        if self.is_seen != was_seen:
            self._tell(self.is_seen)

    def _look(self) -> None:
        self._find_dock()
        is_covered = self._panel.visibleRegion().isEmpty()
        self.is_seen = self._panel.isVisible() and not is_covered

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
