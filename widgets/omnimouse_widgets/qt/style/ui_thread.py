"""Transfer of calls to the Qt thread by a queued signal."""

from collections.abc import Callable

from qtpy.QtCore import QCoreApplication, QObject, Qt, Signal, Slot

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
