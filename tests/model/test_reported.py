"""What a report tells of pins without an answer."""

import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.memory import Remembered, remember
from omnimouse_model.live.reported import reported
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session


@pytest.mark.parametrize(
    ("is_shown", "words"), [(False, "switched off"), (True, "predicting was stopped")]
)
def test_why_a_pin_has_no_answer_is_told(tmp_path, is_shown, words):
    controller = Controller(synchronous=True)
    controller.choose_predictor(EchoPredictor())
    controller.open_session(write_session(tmp_path / "m", 5))
    controller.apply_preset("video_behavior")
    controller.pins.pin()
    assert reported(controller).conditions[-1].refusal == ""
    controller.pins.show(0, is_shown)
    controller.pins.stop()
    controller.pins.windows.clear()
    told = reported(controller).conditions[-1]
    assert (told.kind, told.prediction) == ("pin", None)
    assert words in told.refusal
    controller.close()


def test_that_it_was_recovered_is_nothing_for_who_reads_the_report(tmp_path):
    folder, memory = write_session(tmp_path / "m", 5), tmp_path / "live.json"
    remember(Remembered(str(folder), run="999999999 x"), memory)
    controller = Controller(synchronous=True, memory=memory)
    controller.choose_predictor(EchoPredictor())
    controller.restore()
    controller.apply_preset("video_behavior")
    analyses = controller.analyses
    assert "ended unexpectedly" in analyses.told[0]
    analyses.told = (*analyses.told, "The recording's files are not the same.")
    assert reported(controller).told == analyses.told[1:]
    controller.close()
