"""Simulated sample recordings; each is simulated once, in a separate process."""

from dataclasses import replace
from typing import Final

from omnimouse_model.live.recording.loader import OpenRequest
from omnimouse_model.simulate.demo import MODELS, SimulatedSession


def _sample(name: str, animal: str) -> OpenRequest:
    return OpenRequest(SimulatedSession(name), message=f"Simulating {animal}")


DEMO = _sample("demo", "the demo mouse")
UNSEEN = _sample("unseen", "an unseen mouse")
SPIKES = _sample("spikes", "an animal with spikes")
UNSEEN_SPIKES = _sample("unseen-spikes", "an unseen animal with spikes")
SAMPLES: Final = {
    "demo": DEMO,
    "unseen": UNSEEN,
    "spikes": SPIKES,
    "unseen-spikes": UNSEEN_SPIKES,
}
"""Sample recordings by their names on the command line and in notebooks."""


def with_model(name: str) -> OpenRequest:
    """Return a request that opens a sample and chooses the model trained on it."""
    predictor = MODELS.get(name, "")
    return replace(SAMPLES[name], restore=lambda view: replace(view, predictor=predictor))
