"""Training of CEBRA on the train tiers of sessions, by the steps of the package.

    RUN/model.safetensors, .json   the last networks and training embeddings
    RUN/best.safetensors, .json    those of the best validation score so far

The number of neighbours is the one with which validation windows are decoded best.
"""

from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from torch import nn

from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.tier_windows import validation_starts
from omnimouse_model.families.cebra.embedding import (
    Batch,
    CebraConfig,
    Pairs,
    Samples,
    embed,
    nearest,
    new_networks,
    new_solver,
    reach,
    solve,
)
from omnimouse_model.families.cebra.predictor import (
    TITLE,
    Bank,
    CebraCheckpoint,
    CebraPredictor,
)
from omnimouse_model.metrics import correlation
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count, TrainFields
from omnimouse_model.training.loop import (
    SUMMARY,
    TrainingRun,
    seeded,
)
from omnimouse_model.training.sessions import TrainingSession, check_alone, without_windows

FEW = 9
"""Neighbours without a validation window."""
Neighbours = Annotated[tuple[Count, ...], Within(1, 1000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CebraTrainConfig(TrainFields):
    """Settings of a training; the defaults are the published ones.

    Attributes
    ----------
    batch, lr, steps
        References of each session in a step, learning rate of Adam, and number of steps.
    neighbours
        Numbers of neighbours of which validation chooses one.
    validation_windows
        Windows of each session in a validation; None for all.
    """

    model: CebraConfig = field(default_factory=CebraConfig)
    batch: Count = 512
    lr: float = 3e-4
    steps: Count = 50_000
    neighbours: Neighbours = (1, 4, 9, 25, 49, 100, 225, 400, 625)
    validate_every: Count = 500
    validation_windows: Count | None = 100

    @property
    def total_steps(self) -> int:
        """Number of steps."""
        return self.steps


def recorded_samples(source: TrainingSession, config: CebraConfig) -> tuple[Samples, np.ndarray]:
    """Return the samples of the train windows, and the mean response of each neuron.

    Missing responses of single neurons have the mean; samples without behaviour are left
    out, and a new piece begins after them.
    """
    spec = config.spec
    responses, behavior, times = [], [], []
    for start_s in source.starts.tolist():
        window = source.session.window(start_s, spec)
        usable = window.valid["responses"] & window.valid["behavior"]
        usable &= np.isfinite(window.behavior).all(axis=1)
        responses.append(window.responses[usable])
        behavior.append(window.behavior[usable])
        times.append(start_s + spec.sample_times_s[usable])
    joined = np.concatenate(responses).astype(np.float32)
    n_known = np.isfinite(joined).sum(axis=0)
    mean = (np.nansum(joined, axis=0, dtype=np.float64) / np.maximum(n_known, 1)).astype(np.float32)
    np.copyto(joined, mean, where=~np.isfinite(joined))
    moments = np.concatenate(times)
    # Half a sample of room for starts on the grid of the screen.
    is_pause = np.diff(moments) > 1.5 / spec.response_rate_hz
    piece = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_pause)])[: len(moments)]
    return Samples(joined, np.concatenate(behavior).astype(np.float32), piece), mean


@dataclass(slots=True, eq=False)
class CebraTraining(TrainingRun):
    """A training: the networks and samples of sessions, and the solver of the package."""

    title = TITLE
    config = CebraTrainConfig
    checkpoint = CebraCheckpoint
    load_model = CebraPredictor.load
    parts = ("net", "optimiser", "neighbours")
    samples: dict[str, Samples] = field(init=False)
    means: dict[str, np.ndarray] = field(init=False)
    net: nn.ModuleList = field(init=False)
    pairs: Pairs = field(init=False)
    solver: Any = field(init=False)
    neighbours: int = FEW
    _banks: tuple[int, dict[str, Bank]] = field(default=(-1, {}), repr=False)

    def __post_init__(self) -> None:
        """Build the networks, and read the samples.

        Raises
        ------
        ValueError
            There are several processes, or a session has nothing to train on.
        """
        config, sessions = self.settings, self.sessions
        check_alone(sessions, self.team, TITLE)
        with seeded(config.seed):
            counts = [source.session.n_neurons for source in sessions]
            self.net = new_networks(config.model, counts).to(self.device)
        found = {}
        for source in sessions:
            _check(source, config.model)
            found[source.key] = recorded_samples(source, config.model)
        self.samples = {key: one for key, (one, _) in found.items()}
        self.pairs = Pairs([*self.samples.values()], reach(self.net[0]), config.model.time_offset)
        for key, allowed in zip(self.samples, self.pairs.allowed, strict=True):
            if not len(allowed):
                raise ValueError(f"Session {key!r} has no second of train samples in a row.")
        self.solver = new_solver(self.net, config.model, config.lr)
        self.optimiser = self.solver.optimizer
        self.means = {key: mean for key, (_, mean) in found.items()}

    # -- as parts of a `Family` --------------------------------------------------------
    windows = attrgetter("model.spec")

    @staticmethod
    def opened(session: Session, config: CebraTrainConfig) -> TrainingSession:
        """Return a session with train windows that follow each other without overlap."""
        spec = config.model.spec
        starts = session.window_starts("train", include_blanks=True, spec=spec)
        # The first start of each free stretch, then one window after the other.
        kept, end_s = [], -np.inf
        for start_s in starts.tolist():
            if start_s > end_s - 1e-6:
                kept.append(start_s)
                end_s = start_s + spec.duration_s
        return TrainingSession(session=session, starts=np.array(kept), weight=1.0, truth=None)

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        """Begin with the networks of the package; there is no first score."""
        return False

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> tuple[Batch, np.ndarray]:
        """Draw the pairs of a step, from a generator of its number."""
        rng = np.random.default_rng([self.settings.seed, number])
        return self.pairs.draw(self.settings.batch, rng)

    def step(self, drawn: tuple[Batch, np.ndarray]) -> dict[str, float]:
        """Train on one batch."""
        self.net.train()
        with seeded((self.settings.seed + 1) * 1_000_003 + self.state.step):
            loss = solve(self.solver, *drawn)
        self.state.count(is_skipped=all(p.grad is None for p in self.net.parameters()))
        samples = float(self.settings.batch * len(self.sessions))
        return {"loss": loss, "samples": samples, "step": self.state.step}

    # -- validation and results --------------------------------------------------------
    @property
    def banks(self) -> dict[str, Bank]:
        """Embeddings of the train samples, by the networks of this step."""
        if self._banks[0] != self.state.step:
            found = {
                key: Bank(embed(network, one.responses, one.piece), one.behavior, self.means[key])
                for network, (key, one) in zip(self.net, self.samples.items(), strict=True)
            }
            self._banks = self.state.step, found
        return self._banks[1]

    def scores(self) -> dict[str, float]:
        """Return the correlation of each channel, with the best number of neighbours."""
        spec, config = self.settings.model.spec, self.settings
        by_count: dict[int, list[np.ndarray]] = {count: [] for count in config.neighbours}
        for network, (key, source) in zip(self.net, self.by_key.items(), strict=True):
            starts = validation_starts(
                source.session, source.held_out, spec, config.validation_windows
            )
            if not len(starts):
                continue
            windows = [source.session.window(start_s, spec) for start_s in starts.tolist()]
            bank = self.banks[key]
            responses = np.concatenate([bank.filled(window.responses) for window in windows])
            piece = np.repeat(np.arange(len(windows)), spec.n_samples)
            order = nearest(bank.bank, embed(network, responses, piece), max(config.neighbours))
            truth = np.concatenate([window.behavior for window in windows])
            known = np.concatenate([window.valid["behavior"] for window in windows])
            known &= np.isfinite(truth).all(axis=1)
            for count, scores in by_count.items():
                decoded = bank.labels[order[:, :count]].mean(axis=1)
                scores.append(correlation(decoded[known], truth[known]))
        found = {count: np.nanmean(scores, axis=0) for count, scores in by_count.items() if scores}
        if not found:
            return {}
        self.neighbours = max(found, key=lambda count: float(np.nanmean(found[count])))
        channels = zip(config.model.channels, found[self.neighbours].tolist(), strict=True)
        summary = {SUMMARY: float(np.nanmean(found[self.neighbours]))}
        return dict(channels) | {"neighbours": float(self.neighbours)} | summary

    def model(self, folder: Path) -> CebraCheckpoint:
        """Return the networks with the embeddings of the train samples."""
        parts = self.net, self.settings.model, self.banks, self.neighbours
        return CebraCheckpoint.of_networks(*parts)


def _check(source: TrainingSession, model: CebraConfig) -> None:
    """Raise `ValueError` if a session lacks behaviour or train windows."""
    session = source.session
    if missing := [name for name in model.channels if name not in session.behavior_names]:
        raise ValueError(
            f"Session {session.id!r} has no {', '.join(missing)}, which {TITLE} decodes: leave "
            "it out of model.channels."
        )
    if not len(source.starts):
        raise ValueError(without_windows(session))
