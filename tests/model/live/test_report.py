"""Reports of pins without a prediction."""

from contextlib import closing

import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.report import report_of_screen
from omnimouse_model.live.state_store import LastSession, write_last_session
from tests.predictors import EchoPredictor
from tests.small_sessions import write_session


@pytest.fixture
def controller(tmp_path):
    """Controller restored after a crash."""
    folder, memory = write_session(tmp_path / "m", 5), tmp_path / "live.json"
    write_last_session(LastSession(str(folder), start_s=3.0, run="999999999 x"), memory)
    with closing(Controller(synchronous=True, session_file=memory)) as made:
        made.model.choose(EchoPredictor())
        made.project.restore()
        made.editor.apply_preset("video_behavior")
        yield made


def test_the_tier_scores_of_pins_are_found_and_repeats_are_left_out(controller):
    controller.requests.finish_scores()
    in_tier = controller.results.tier_score
    controller.pins.pin("first")
    controller.pins.pin("first again")
    controller.editor.apply_preset("causal_response_25_behavior")
    controller.pins.pin("not scored")
    controller.editor.apply_preset("nothing")
    screen, first, other = report_of_screen(controller).conditions
    assert (screen.kind, screen.tier_score) == ("screen", None)
    assert (first.letter, first.name) == ("A", "first (also B first again)")
    assert in_tier.is_complete
    assert first.tier_score.score == in_tier.score
    assert (other.letter, other.tier_score) == ("C", None)


@pytest.mark.parametrize(("is_shown", "words"), [(False, "switched off"), (True, "stopped")])
def test_a_report_states_why_a_pin_has_no_prediction(controller, is_shown, words):
    controller.pins.pin()
    assert report_of_screen(controller).conditions[-1].refusal == ""
    controller.pins.show(0, is_shown)
    controller.pins.predictions.stop()
    controller.pins.predictions.windows.clear()
    told = report_of_screen(controller).conditions[-1]
    assert (told.kind, told.prediction) == ("pin", None)
    assert words in told.refusal
