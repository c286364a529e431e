import threading
from functools import partial

from qtpy.QtCore import QCoreApplication, QThread

from omnimouse_widgets.qt.style.ui_thread import qt_post
from tests.widgets.pointer import wait


def test_calls_run_on_the_qt_thread_in_order(qtbot):
    post, calls = qt_post(), []

    def call(number: int) -> None:
        is_there = QThread.currentThread() is QCoreApplication.instance().thread()
        calls.append((number, is_there))

    def work() -> None:
        for number in range(20):
            post(partial(call, number))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert calls == []  # posting never runs the call, and never waits
    wait(qtbot, lambda: len(calls) == 20)
    assert calls == [(number, True) for number in range(20)]


def test_a_call_from_the_qt_thread_is_also_put_off(qtbot):
    calls: list[int] = []
    post = qt_post()
    post(partial(calls.append, 1))
    assert calls == []
    wait(qtbot, lambda: calls == [1])
