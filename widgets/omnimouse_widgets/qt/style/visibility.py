"""Tells whether a panel is really seen: shown, and not in a tab behind another.

Qt calls a panel visible that lies in a tab behind another; what costs something is not
to be done for it.
"""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget


class InView(QObject):
    """Calls `tell(is_seen)` after each change, once the event loop comes round.

    Parameters
    ----------
    panel
        Which panel; this ends with it.
    tell
        Given True when it is seen, False when it is no more.
    """

    def __init__(self, panel: QWidget, tell: Callable[[bool], None]) -> None:
        super().__init__(panel)
        self.is_seen = False
        self._panel, self._tell = panel, tell
        self._dock: QDockWidget | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._follow)
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look again after whatever may have changed it."""
        kind = event.type() if event is not None else None
        if kind in (QEvent.Type.Show, QEvent.Type.Hide, QEvent.Type.Close) or (
            kind == QEvent.Type.Paint and not self.is_seen
        ):
            self._timer.start()
        return False

    def tell(self) -> None:
        """Look now, and tell how it is, whether that has changed or not."""
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
        """The dock it stands in says when its tab goes behind another."""
        above = self._panel.parentWidget()
        while above is not None and not isinstance(above, QDockWidget):
            above = above.parentWidget()
        if above is not self._dock:
            self._dock = above
            if above is not None:
                above.visibilityChanged.connect(lambda _: self._timer.start())
