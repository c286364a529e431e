"""Start of child processes without the user's script."""

import sys
import threading

from omnimouse_model.process import without_main_module


def test_two_threads_that_start_processes_at_once_leave_the_script_in_its_place():
    script = sys.modules["__main__"]
    has_begun, may_end = threading.Event(), threading.Event()

    def begin() -> None:
        with without_main_module():
            has_begun.set()
            may_end.wait(10.0)

    second = threading.Thread(target=begin)
    try:
        with without_main_module():
            second.start()
            assert sys.modules["__main__"] is not script
            has_begun.wait(0.2)  # It would begin within the first, and end after it.
        may_end.set()
        second.join()
        assert sys.modules["__main__"] is script
    finally:
        sys.modules["__main__"] = script
