"""What the tests of all models of video clips share: small weights, and checks."""

from typing import Any

import numpy as np
import torch

import omnimouse_model as om
from omnimouse_model.families.parts.clips import GrayLevels
from omnimouse_model.training.checkpoints import MODEL
from omnimouse_model.training.loop import train
from omnimouse_model.training.sessions import training_session


def written(kind, make, folder, spread=0.2):
    """Write a checkpoint of a network with random weights; return its path."""
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += spread * torch.randn_like(parameter)
    path, gray = folder / "small.safetensors", GrayLevels(110.0, 40.0)
    state, sessions = net.state_dict(), net.n_neurons
    kind(config=net.config, gray=gray, sessions=sessions, state=state).save(path)
    return path


def mask_of_all(session, predictor):
    """Return the mask that shows video and behaviour and asks for all responses."""
    made = om.Mask.nothing(session, predictor.needs.spec).ask(slice(None), slice(None))
    return made.with_frames(True).with_behavior("visible").with_guard(guarded=False)


def check_hidden_inputs(predictor, window, mask, session):
    """Hidden video and behaviour change nothing; visible ones do."""
    hidden = mask.with_frames(False).with_behavior("hidden")
    seen, unseen = predictor.predict(window, mask), predictor.predict(window, hidden)
    assert not np.allclose(seen.responses, unseen.responses)
    frames = (np.full((60, 36, 64), gray, np.uint8) for gray in (0, 255))
    clips = (om.Clip(session=session, frames=one, rate_hz=30.0).at(window.spec) for one in frames)
    one, other = (predictor.predict(clip, hidden).responses for clip in clips)
    np.testing.assert_array_equal(one, other)


def check_parts(predictor, window, mask, session, order=(5, 2, 9)):
    """Predictions of some neurons, and of several windows, are those of the whole."""
    whole, order = predictor.predict(window, mask), np.array(order)
    part = predictor.decode(predictor.encode(window, mask), order)
    np.testing.assert_allclose(part.responses, whole.responses[:, order], rtol=1e-5)
    other = session.window(14.0, predictor.needs.spec)
    many = list(predictor.predict_many([(other, mask, None), (window, mask, None)]))
    np.testing.assert_allclose(many[1].responses, whole.responses, rtol=1e-4, atol=1e-5)


def check_resumed(training, config, session, folder) -> Any:
    """A training that was stopped and resumed is the uninterrupted one; return its model."""
    sessions = [training_session(session)]
    whole = train(training, config, sessions, folder / "whole")
    train(training, config, sessions, folder / "parts", max_steps=3)
    parts = train(training, config, sessions, folder / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    loaded = om.load_predictor(folder / "parts" / MODEL, device="cpu")
    assert loaded.needs.sessions == {session.id}
    return loaded, whole
