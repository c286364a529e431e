"""Merge of all update requests of one event-loop turn into one window update.

Qt composes a window with an OpenGL canvas as a whole, whatever part of it changed;
without a graphics card this takes 20 ms. Qt's graphics views each request the update
immediately, so a time step that redraws five panels would compose the window five
times.
"""

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget


class OneFrame(QObject):
    """Hold a window's update requests until the next event-loop turn; send one.

    Parameters
    ----------
    window
        The top-level window; it is also the Qt parent of this object.
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
        """Hold a request back; Qt sends no second one before the first is answered."""
        if event is None or event.type() != QEvent.Type.UpdateRequest or self._is_due:
            return False
        self._timer.start()
        return True

    def _compose(self) -> None:
        # While this is True the filter lets the request through.
        self._is_due = True
        try:
            QCoreApplication.sendEvent(self._window, QEvent(QEvent.Type.UpdateRequest))
        finally:
            self._is_due = False
