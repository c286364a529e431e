"""The baseline that is offered where a model does not know the session."""

import pytest

from omnimouse_model.masks import VISIBLE
from tests import SESSIONS
from tests.predictors import open_controller


@pytest.mark.slow
@pytest.mark.parametrize("name", ["suite2p_small", "experanto_small"])
def test_it_predicts_under_the_mask_on_screen(name):
    with open_controller(SESSIONS / name, "mean") as controller:
        controller.editor.paint([0, 1], VISIBLE)
        mask = controller.state.mask
        controller.model.choose(controller.model.suitable)
        assert controller.results.error is None
        assert controller.results.freshness == "fresh"
        assert controller.state.predictor_name == "linear-gaussian"
        assert controller.state.mask == mask
