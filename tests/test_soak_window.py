"""A few acts of what `python -m tests.soak.window` does for minutes."""

import pytest

from tests.soak.resources import Faults
from tests.soak.window import soak_window

pytestmark = pytest.mark.gui


@pytest.mark.process
@pytest.mark.slow
def test_random_work_raises_nothing_leaves_nothing_and_ends_with_right_numbers(
    qapp, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMNIMOUSE_CONFIG", str(tmp_path))
    found = soak_window(tmp_path, seed=1, lives=2, acts=20)
    assert found["acts"] == 40


def test_a_fault_on_any_way_out_is_told_with_the_acts_before_it(qapp):
    import logging
    import threading

    from qtpy.QtCore import QTimer, qWarning

    from omnimouse_app.hand import wait_for

    faults = Faults()
    with faults.watched():
        faults.acts.append("click")
        QTimer.singleShot(0, lambda: 1 / 0)
        thread = threading.Thread(target=lambda: [][0])
        thread.start()
        thread.join()
        qWarning("a complaint")
        logging.getLogger("omnimouse_app").error("an answer was lost")
        wait_for(lambda: len(faults.found) == 4, "four faults", 20)
    said = ("ZeroDivisionError", "IndexError", "a complaint", "an answer was lost")
    with pytest.raises(AssertionError, match="click") as told:
        faults.check()
    assert [words for words in said if words not in str(told.value)] == []
