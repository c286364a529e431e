"""What carries messages to a predictor elsewhere."""

import sys
import threading

from omnimouse_model.predict.link import without_main


def test_processes_started_by_two_threads_at_once_leave_the_script_in_its_place() -> (
    None
):
    script = sys.modules["__main__"]
    has_begun = threading.Event()

    def begin() -> None:
        with without_main():
            has_begun.set()
            may_end.wait(10.0)

    may_end = threading.Event()
    second = threading.Thread(target=begin)
    with without_main():
        second.start()
        assert sys.modules["__main__"] is not script
        assert not has_begun.wait(0.2)
    assert has_begun.wait(10.0)
    may_end.set()
    second.join()
    assert sys.modules["__main__"] is script
