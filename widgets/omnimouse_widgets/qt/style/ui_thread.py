"""How a result reaches the Qt thread: a queued signal that runs what it carries."""

from collections.abc import Callable

from qtpy.QtCore import QCoreApplication, QObject, Qt, Signal, Slot

Call = Callable[[], None]


class _Hop(QObject):
    """Lives on the application's thread; calls posted from any thread run there."""

    posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        queued = Qt.ConnectionType.QueuedConnection
        # PyQt's stubs do not know the connection type.
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
    hop.moveToThread(app.thread())

    def post(call: Call) -> None:
        hop.posted.emit(call)

    return post
