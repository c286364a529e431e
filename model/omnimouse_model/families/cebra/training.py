"""Training of CEBRA on the train tiers of sessions, by the steps of the package.

    RUN/model.safetensors, .json   the last networks and training embeddings
    RUN/best.safetensors, .json    those of the best validation score so far

The loss and its steps are those of the package (extra `cebra`). Pairs are drawn here: never
across a pause, and each step from a generator of its number, so that a run can be continued.
The number of neighbours is the one with which validation windows are decoded best.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.tier_windows import validation_starts
from omnimouse_model.extras import named_extras
from omnimouse_model.families.cebra.predictor import (
    CHUNK,
    TITLE,
    Bank,
    CebraCheckpoint,
    CebraConfig,
    CebraPredictor,
    embed,
    nearest,
    new_networks,
    reach,
)
from omnimouse_model.metrics import correlation
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count, TrainFields
from omnimouse_model.training.loop import SUMMARY, TrainingRun, has_finite_gradients, seeded
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


# -- recorded samples ------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of one session, without those that were not recorded.

    Attributes
    ----------
    piece
        Number of the stretch without a pause to which each sample belongs, ascending.
    """

    responses: Float[np.ndarray, "time neuron"]
    behavior: Float[np.ndarray, "time channel"]
    piece: Int[np.ndarray, " time"]


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


# -- pairs -----------------------------------------------------------------------------
Batch = list[tuple[Tensor, Tensor, Tensor]]
"""Responses (B, neuron, reach) of references, positive and negative samples by session."""


@dataclass(slots=True, eq=False)
class Pairs:
    """Draws samples and partners whose behaviour differs as behaviour does in some time.

    As `cebra.distributions.MultisessionSampler`: a partner is the sample, of a session that
    is drawn, whose behaviour is nearest to that of the reference plus a recorded change.

    Parameters
    ----------
    sessions
        Recorded samples.
    reach
        As of `reach`: only samples are drawn whose reach lies in one piece.
    time_offset
        Samples of a change.
    """

    sessions: Sequence[Samples]
    reach: tuple[int, int]
    time_offset: int
    allowed: list[np.ndarray] = field(init=False)
    changes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        left, right = self.reach
        self.allowed = [_inside(one.piece, left, right - 1) for one in self.sessions]
        offset = self.time_offset
        self.changes = np.concatenate(
            [
                (one.behavior[offset:] - one.behavior[:-offset])[
                    one.piece[offset:] == one.piece[:-offset]
                ]
                for one in self.sessions
            ]
        )

    def indices(
        self, size: int, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return references, positive and negative samples by session, and the order.

        Positive samples are mixed over sessions: that of reference k, counted over all
        sessions, is at `order[k]`.
        """
        references = [rng.choice(one, size) for one in self.allowed]
        negatives = [rng.choice(one, size) for one in self.allowed]
        pairs = zip(self.sessions, references, strict=True)
        wanted = np.concatenate([one.behavior[rows] for one, rows in pairs])
        wanted = wanted + self.changes[rng.integers(len(self.changes), size=len(wanted))]
        mixed = rng.permutation(len(wanted))
        parts = np.split(wanted[mixed], len(self.sessions))
        positives = [
            allowed[_closest(one.behavior[allowed], part)]
            for one, allowed, part in zip(self.sessions, self.allowed, parts, strict=True)
        ]
        return references, positives, negatives, np.argsort(mixed)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
        """Return the responses of a batch, and the order of its positive samples."""
        *kinds, order = self.indices(size, rng)
        near = np.arange(-self.reach[0], self.reach[1])
        batch = []
        for place, session in enumerate(self.sessions):
            rows = (session.responses[kind[place][:, None] + near] for kind in kinds)
            reference, positive, negative = (
                torch.from_numpy(one.transpose(0, 2, 1).copy()) for one in rows
            )
            batch.append((reference, positive, negative))
        return batch, order


def _inside(piece: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return the samples with so many samples of their piece on both sides."""
    rows = np.arange(len(piece))
    first, last = np.searchsorted(piece, piece), np.searchsorted(piece, piece, "right") - 1
    return rows[(rows - before >= first) & (rows + after <= last)]


def _closest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the row of `values` with the smallest distance to each wanted one."""
    square = (values**2).sum(axis=1)
    parts = np.array_split(wanted, max(1, len(wanted) * len(values) // CHUNK))
    return np.concatenate([(square - 2 * part @ values.T).argmin(axis=1) for part in parts])


def new_solver(networks: nn.ModuleList, config: CebraConfig, lr: float) -> Any:
    """Return the solver of the package, whose `step` trains on a batch."""
    with named_extras():
        import cebra.models
        import cebra.solver
    loss = cebra.models.criterions.FixedCosineInfoNCE(temperature=config.temperature)
    optimizer = torch.optim.Adam(networks.parameters(), lr=lr)

    def skip_if_not_finite(*_: Any) -> None:
        # Adam leaves weights without gradients alone.
        if not has_finite_gradients(networks):
            optimizer.zero_grad()

    optimizer.register_step_pre_hook(skip_if_not_finite)
    parts = {"model": networks, "criterion": loss, "optimizer": optimizer}
    return cebra.solver.init("multi-session", **parts, tqdm_on=False)


def solve(solver: Any, batch: Batch, order: np.ndarray) -> float:
    """Train on a batch, and return its loss; one with infinite gradients changes no weight."""
    import cebra.data

    index = torch.from_numpy(order)
    packed = [
        cebra.data.Batch(*parts, index=index.argsort(), index_reversed=index) for parts in batch
    ]
    return float(solver.step(packed)["total"])


# -- the run ---------------------------------------------------------------------------
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
