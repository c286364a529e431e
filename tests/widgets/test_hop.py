import threading

from qtpy.QtCore import QCoreApplication, QThread

from omnimouse_widgets.qt.hop import qt_post


def test_calls_run_on_the_qt_thread_in_order(qtbot):
    post = qt_post()
    seen: list[tuple[int, bool]] = []
    application = QCoreApplication.instance()
    assert application is not None

    def call(number: int) -> None:
        seen.append((number, QThread.currentThread() is application.thread()))

    def work() -> None:
        for number in range(20):
            post(lambda number=number: call(number))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == []  # posting never runs the call, and never waits
    qtbot.waitUntil(lambda: len(seen) == 20)
    assert seen == [(number, True) for number in range(20)]


def test_a_call_from_the_qt_thread_is_also_put_off(qtbot):
    post = qt_post()
    seen: list[int] = []
    post(lambda: seen.append(1))
    assert seen == []
    qtbot.waitUntil(lambda: seen == [1])
