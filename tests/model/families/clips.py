"""What the tests of all models of video clips share: small weights, and checks."""

from typing import Any

import torch

import omnimouse_model as om
from omnimouse_model.families.parts.clips import GrayLevels
from omnimouse_model.training.checkpoints import MODEL
from omnimouse_model.training.loop import train
from omnimouse_model.training.sessions import training_session
from tests.model.few_steps import train_some


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


def check_resumed(training, config, session, folder) -> Any:
    """A training that was stopped and resumed is the uninterrupted one; return its model."""
    sessions = [training_session(session)]
    whole = train(training, config, sessions, folder / "whole")
    train_some(training, config, sessions, folder / "parts", 3)
    parts = train(training, config, sessions, folder / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    loaded = om.load_predictor(folder / "parts" / MODEL, device="cpu")
    assert loaded.needs.sessions == {session.id}
    return loaded, whole
