"""One composition of the window for all that changed in a turn of the event loop.

A window with an OpenGL canvas is composed anew, whole, for whatever is drawn in it;
without a graphics card that costs 20 ms. Qt's graphics views ask for it each on their
own and at once, so a step in time that redraws five panels would compose five times.
"""

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget


class OneFrame(QObject):
    """Holds a window's update requests until the event loop comes round: sends one.

    Parameters
    ----------
    window
        The top-level window; this lives as long as it.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._is_due = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._compose)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep a request back; Qt asks no second time before it was met."""
        if event is None or event.type() != QEvent.Type.UpdateRequest or self._is_due:
            return False
        self._timer.start()
        return True

    def _compose(self) -> None:
        self._is_due = True
        try:
            QCoreApplication.sendEvent(self._window, QEvent(QEvent.Type.UpdateRequest))
        finally:
            self._is_due = False
