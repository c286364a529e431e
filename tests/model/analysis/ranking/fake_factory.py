"""Models of known worth: what a core is worth follows from its sessions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import omnimouse_model as om
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.predict.predictor import Needs, Predictor
from omnimouse_model.progress import Job
from tests.model.poisson_world import poisson_arrays

SPEC = om.WindowSpec(0.4, 50.0, responses="count", align="trial")
WORTH = {"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.3}
BEST_FIRST = ("b", "d", "c", "a")
SCRATCH = 0.5


def opened(name: str, n_trials: int = 20) -> Session:
    # Of its own numbers: a copy under another name is refused.
    seed = int.from_bytes(name.encode())
    arrays, _ = poisson_arrays(name, n_trials=n_trials, n_bins=20, n_neurons=3, seed=seed)
    return om.open_session(arrays)


class FakeModel(Predictor):
    """A model of which only its worth matters."""

    predictor_id = "fake"
    needs = Needs(spec=SPEC)

    def __init__(self, worth: float) -> None:
        self.worth = worth


@dataclass(frozen=True)
class FakeFactory:
    """Counts its trainings in a log, and stops before one of them if it is asked to.

    Seeds add what averages out over the seeds 0, 1 and 2.
    """

    log: Path
    worth: Mapping[str, float] = field(default_factory=lambda: dict(WORTH))
    spec: om.WindowSpec = SPEC

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"worth": dict(self.worth)}

    @property
    def transfer_settings(self) -> Mapping[str, Any]:
        return {}

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        ids = [session.id for session in sessions]
        assert not any(len(s.window_starts("test", spec=SPEC)) for s in sessions)
        self._note(["pretrain", ids, seed], job)
        job.progress(0.5, 1.0)
        if set(ids) <= set(self.worth):
            noise = (seed - 1) * self.worth[ids[0]] * 2
            return FakeModel(sum(self.worth[name] for name in ids) + noise)
        return FakeModel(SCRATCH)

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        assert isinstance(model, FakeModel)
        assert not len(session.window_starts("test", spec=SPEC))
        self._note(["transfer", [session.id], seed], job)
        return FakeModel(model.worth)

    def trainings(self) -> list[Any]:
        text = self.log.read_text("utf-8") if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _note(self, entry: list[Any], job: Job) -> None:
        if job.cancelled():
            raise StoppedError
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


@dataclass(frozen=True)
class WorthScore:
    """The worth of a model; it reads what it scores, as real ones do."""

    name: str = "worth"
    unit: str = "worth"
    is_higher_better: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)

    def score(self, model: Predictor, session: Session, tier: str) -> float:
        assert isinstance(model, FakeModel)
        for start in session.window_starts(tier, spec=SPEC):
            assert np.isfinite(session.window(float(start), SPEC).responses).all()
        return model.worth if self.is_higher_better else -model.worth
