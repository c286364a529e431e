"""The baseline that is offered where a model does not know the session."""

from dataclasses import replace

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.masks import VISIBLE, Mask
from omnimouse_model.predict.predictor import Encoded, Needs
from omnimouse_model.progress import Cancelled, never
from tests import SESSIONS
from tests.predictors import EchoPredictor, open_controller
from tests.small_sessions import write_session


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


class Specialist(EchoPredictor):
    """A model that knows the session "known" alone."""

    @property
    def needs(self) -> Needs:
        return replace(super().needs, sessions=frozenset({"known"}), n_neurons={"known": 12})

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        if window.session.id != "known":
            raise UnsupportedRequestError("does not know this recording")
        return super().encode(window, mask, cancelled)


def test_a_recording_that_the_model_does_not_know_opens_with_the_fallback(tmp_path):
    known, own = (open_session(write_session(tmp_path / name, 12)) for name in ("known", "own"))
    known, own = replace(known, id="known"), replace(own, id="own")
    with open_controller(known, "specialist", load=load) as controller:
        model, state, results = controller.model, controller.state, controller.results
        assert (state.predictor_name, model.unfamiliar) == ("specialist", "")
        controller.loader.open_now(own)
        assert (state.predictor_name, model.unfamiliar) == ("linear-gaussian", "specialist")
        assert (results.error, results.freshness) == (None, "fresh")
        # Back in a recording that the model knows, it answers again.
        controller.loader.open_now(known)
        assert (state.predictor_name, model.unfamiliar) == ("specialist", "")
        assert (results.error, results.freshness) == (None, "fresh")
        # A model that the user chooses for a recording stays, with the reason.
        controller.loader.open_now(own)
        model.choose("specialist")
        assert (state.predictor_name, model.unfamiliar) == ("specialist", "")
        assert results.error == "does not know this recording"
        # Known although it answered nothing: views offer a fine-tuning.
        assert results.needs.sessions == {"known"}


def load(name, *_):
    return Specialist() if name == "specialist" else load_in_process(name, *_)
