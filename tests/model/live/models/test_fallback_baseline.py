"""Fallback baseline for sessions that the model does not know."""

import pytest

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.presets import HALF
from omnimouse_model.masks import VISIBLE
from tests import SESSIONS


@pytest.fixture
def controller():
    made = Controller(synchronous=True)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["suite2p_small", "experanto_small"])
def test_the_fallback_gets_a_mask_that_it_supports(controller, name):
    controller.choose_predictor("mean")
    controller.open_session(SESSIONS / name)
    mask = controller.state.mask
    controller.choose_fallback_baseline()
    assert controller.results.error is None
    assert controller.results.freshness == "fresh"
    assert controller.state.predictor_name == "context-ridge"
    assert controller.state.preset == HALF
    controller.undo()
    assert controller.state.mask == mask


def test_a_supported_mask_stays(controller):
    controller.open_session(SESSIONS / "experanto_small")
    controller.apply_preset("video_behavior")
    controller.paint([0, 1], VISIBLE)
    painted = controller.state.mask
    controller.choose_fallback_baseline()
    assert controller.state.mask == painted
    assert controller.results.error is None
