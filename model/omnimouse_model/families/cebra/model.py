"""CEBRA: its networks, checkpoints, predictor of behaviour, and training.

The networks are those of the package (extra `cebra`), which is imported when one is made.

Behaviour is that of the nearest neighbours in the training embedding. A sample is embedded
where all neurons are shown, because the networks read the whole population; others are not
decoded. Responses are not predicted, behaviour is not read.

The module is long because the training embedding, in which neighbours are sought, is made by
the training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import validation_starts
from omnimouse_model.extras import named_extras
from omnimouse_model.families.parts.network_predictor import MaskedWindow, NetworkPredictor
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.checkpoint_file import Checkpoint, load_strictly, weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, check_request
from omnimouse_model.progress import Cancelled, stop_if
from omnimouse_model.storage.trees import Within
from omnimouse_model.training.config import Count, TrainFields
from omnimouse_model.training.loop import SUMMARY, TrainingRun, has_finite_gradients, seeded
from omnimouse_model.training.metrics_log import SCORED_WINDOWS
from omnimouse_model.training.sessions import TrainingSession, check_alone, without_windows

FAMILY, TITLE = "cebra", "CEBRA"
_NETWORKS = "networks"
PARTS = ("bank", "labels", "mean")
"""Tensors of a session beside its network; see `Bank`."""
CHUNK = 2**22
"""Most distances that are computed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CebraConfig:
    """Sizes of the networks and rule of the pairs; the defaults are the published ones.

    Attributes
    ----------
    architecture
        Name of a convolutional model of the package. The paper gives none.
    hidden, output
        Units of the inner layers, and of the embedding.
    temperature
        Of the loss, which compares by cosine.
    time_offset
        Samples whose change of behaviour is that between the samples of a pair.
    rate_hz, window_s, channels
        Samples per second of responses and behaviour, length of a window, and behaviour
        that is decoded.
    """

    architecture: str = "offset10-model"
    hidden: Count = 256
    output: Count = 128
    temperature: float = 1.0
    time_offset: Count = 5
    rate_hz: float = 20.0
    window_s: float = 2.0
    channels: tuple[str, ...] = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y", "running")

    @property
    def spec(self) -> WindowSpec:
        """Specification of the windows that the model reads."""
        behavior = BehaviorSpec(self.rate_hz, self.channels)
        return WindowSpec(self.window_s, self.rate_hz, behavior=behavior)


def new_networks(config: CebraConfig, n_neurons: Sequence[int]) -> nn.ModuleList:
    """Return a network of the package for each session.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed; the message names the extra.
    ValueError
        The package has no such convolutional model.
    """
    with named_extras():
        import cebra.models
    known = cebra.models.get_options("offset*-model")
    if config.architecture not in known:
        raise ValueError(
            f"model.architecture is {config.architecture!r}; cebra has {', '.join(known)}"
        )
    sizes = {"num_units": config.hidden, "num_output": config.output}
    return nn.ModuleList(
        cebra.models.init(config.architecture, num_neurons=count, **sizes) for count in n_neurons
    )


def reach(network: Any) -> tuple[int, int]:  # the models of the package have no types
    """Return the samples before a sample, and from it on, that its embedding reads."""
    offset = network.get_offset()
    return offset.left, offset.right


@torch.inference_mode()
def embed(
    network: nn.Module, responses: Float[np.ndarray, "time neuron"], piece: Int[np.ndarray, " time"]
) -> Float[np.ndarray, "time dim"]:
    """Return the embedding of each sample; the first and last ones of a piece are repeated."""
    left, right = reach(network)
    device = next(network.parameters()).device
    found = []
    for values in np.split(responses, np.flatnonzero(np.diff(piece)) + 1):
        padded = np.pad(values.astype(np.float32), ((left, right - 1), (0, 0)), "edge")
        maps: Tensor = network.eval()(torch.from_numpy(padded.T[None].copy()).to(device))
        # Of a single sample, the package drops the axis of time.
        found.append(maps.reshape(maps.shape[1], -1).T.cpu().numpy())
    return np.concatenate(found)


def nearest(
    bank: Float[np.ndarray, "time dim"], queries: Float[np.ndarray, "query dim"], count: int
) -> Int[np.ndarray, "query count"]:
    """Return the bank samples with the largest cosine to each query, nearest first.

    The rows of both arrays are unit vectors.
    """
    count = min(count, len(bank))
    parts, stored = [], torch.from_numpy(bank)
    for query in np.array_split(queries, max(1, len(queries) * len(bank) // CHUNK)):
        likeness = torch.from_numpy(query) @ stored.T
        parts.append(likeness.topk(count, dim=1).indices.numpy())
    return np.concatenate(parts)


# -- prediction ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Embedding of the train tier of one session, in which neighbours are sought.

    Attributes
    ----------
    bank
        float32 (time, dim): unit vectors.
    labels
        float32 (time, channel): z-scored behaviour of the same samples.
    mean
        float32 (neuron,): mean responses, in place of missing ones.
    """

    bank: np.ndarray
    labels: np.ndarray
    mean: np.ndarray

    def decoded(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Return the mean behaviour of the nearest neighbours (query, channel)."""
        return np.asarray(self.labels[nearest(self.bank, queries, count)].mean(axis=1))

    def filled(self, responses: np.ndarray) -> np.ndarray:
        """Return responses with the mean of the neuron where one was not recorded."""
        return np.where(np.isfinite(responses), responses, self.mean).astype(np.float32)


@dataclass(slots=True, eq=False, repr=False)
class CebraPredictor(NetworkPredictor):
    """Behaviour of the sessions that the networks know, from the whole population.

    Parameters
    ----------
    net
        A network for each session, in the order of `banks`.
    banks
        Session -> its training embedding.
    neighbours
        Number of neighbours whose behaviour is averaged.
    """

    solution = f"Fit it to this recording: omnimouse fit {FAMILY} SESSION, or om.fit."
    net: nn.ModuleList
    config: CebraConfig
    banks: Mapping[str, Bank]
    neighbours: int

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "CebraPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        ModuleNotFoundError
            The package `cebra` is not installed.
        """
        found = CebraCheckpoint.read(Path(path))
        net = found.build().requires_grad_(False).to(resolve_device(device))
        digest = weights_hash(found.state)
        return cls(Path(path).stem, digest, net, found.config, found.banks, found.neighbours)

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint, without the package."""
        found = CebraCheckpoint.read(path)
        return replace(found, state=found.networks).described(
            TITLE,
            network=f"{found.config.architecture}, {found.config.output} dimensions",
            sees="responses of the whole population",
            decodes=", ".join(found.config.channels),
            neighbours=found.neighbours,
            training_samples=sum(len(bank.bank) for bank in found.banks.values()),
        )

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            predicts_behavior=True,
            predicts_responses=False,
            spec=self.config.spec,
            sessions=frozenset(self.banks),
            n_neurons={session: len(bank.mean) for session, bank in self.banks.items()},
        )

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: tuple[Window, Mask, np.ndarray | None]) -> None:
        window, mask, _ = request
        check_request(self.predictor_id, self.needs, window, mask)
        if not mask.visible.all(axis=1).any():
            raise UnsupportedRequestError(
                f"{self.name!r} reads the whole population: show all {mask.n_neurons:,} neurons "
                "at some samples."
            )
        self.prepare(window.session)

    def _key(self, window: Window, mask: Mask) -> Any:
        return mask.visible.all(axis=1).tobytes()

    def _states(
        self, requests: Sequence[MaskedWindow], cancelled: Cancelled
    ) -> Sequence[np.ndarray]:
        """Return the decoded behaviour (time, channel) of windows of one session."""
        session = requests[0][0].session.id
        network, bank = self.net[[*self.banks].index(session)], self.banks[session]
        found = []
        for window, mask in requests:
            stop_if(cancelled)
            # Nothing was recorded of the population in a pause.
            shown = mask.visible.all(axis=1) & window.valid["responses"]
            decoded = np.full((len(shown), len(self.config.channels)), np.nan, np.float32)
            if shown.any():
                # A new piece begins wherever samples between are hidden.
                rows = np.flatnonzero(shown)
                queries = embed(
                    network, bank.filled(window.responses[rows]), rows - np.arange(len(rows))
                )
                decoded[rows] = bank.decoded(queries, self.neighbours)
            found.append(decoded)
        return found


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class CebraCheckpoint(Checkpoint):
    """Content of the files of a checkpoint: config, weights and embeddings, no network yet.

    Tensors of a session have its place in the order of the networks in their names.

    Attributes
    ----------
    neighbours
        Number of neighbours whose behaviour is averaged.
    """

    family = FAMILY
    prefixes = ()
    config: CebraConfig
    neighbours: Count

    @classmethod
    def of_networks(
        cls,
        networks: nn.ModuleList,
        config: CebraConfig,
        banks: Mapping[str, Bank],
        neighbours: int,
    ) -> "CebraCheckpoint":
        """Return networks with training embeddings; sessions are in the order of the networks."""
        state = {f"{_NETWORKS}.{name}": value for name, value in networks.state_dict().items()}
        for place, bank in enumerate(banks.values()):
            state |= {f"{part}.{place}": torch.from_numpy(getattr(bank, part)) for part in PARTS}
        sessions = {session: len(bank.mean) for session, bank in banks.items()}
        return cls(config=config, neighbours=neighbours, sessions=sessions, state=state)

    def check(self) -> None:
        """Raise `CheckpointError` without a session, or for embeddings of other shapes or NaN."""
        if not self.sessions:
            raise CheckpointError(f"{self.source} names no session.")
        for place, (session, count) in enumerate(self.sessions.items()):
            found = {part: self.state.get(f"{part}.{place}") for part in PARTS}
            shapes = {part: () if one is None else (*one.shape,) for part, one in found.items()}
            length = max([1, *shapes["bank"][:1]])
            expected = {"bank": (length, self.config.output), "mean": (count,)}
            expected["labels"] = (length, len(self.config.channels))
            if shapes != expected:
                raise CheckpointError(
                    f"{self.source}: the embedding of session {session[:80]!r} has the shapes "
                    f"{shapes}, expected {expected}."
                )
            for part, one in found.items():
                # Of the precision in which it is used.
                if one is not None and not one.float().isfinite().all():
                    raise CheckpointError(
                        f"{self.source}: {part} of session {session[:80]!r} is not finite."
                    )

    @property
    def networks(self) -> dict[str, Tensor]:
        """Tensors of the networks."""
        return {k: v for k, v in self.state.items() if k.startswith(f"{_NETWORKS}.")}

    @property
    def banks(self) -> dict[str, Bank]:
        """Session -> its training embedding."""
        return {
            session: Bank(**{part: self.state[f"{part}.{place}"].float().numpy() for part in PARTS})
            for place, session in enumerate(self.sessions)
        }

    def build(self) -> nn.ModuleList:
        """Build the networks, which needs the package."""
        own = {k.removeprefix(f"{_NETWORKS}."): v for k, v in self.networks.items()}
        counts = [*self.sessions.values()]
        with named_extras():
            import cebra.models  # noqa: F401  # `load_strictly` would hide which extra is missing
        return load_strictly(lambda: new_networks(self.config, counts), own, self.source)


# -- training on the train tiers of sessions, by the steps of the package --------------
#     RUN/model.safetensors, .json   the last networks and training embeddings
#     RUN/best.safetensors, .json    those of the best validation score so far
#
# The loss and its steps are those of the package (extra `cebra`). Pairs are drawn here: never
# across a pause, and each step from a generator of its number, so that a run can be continued.
# The number of neighbours is the one with which validation windows are decoded best.
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
        n_windows = 0.0
        for network, (key, source) in zip(self.net, self.by_key.items(), strict=True):
            starts = validation_starts(
                source.session, source.held_out, spec, config.validation_windows
            )
            if not len(starts):
                continue
            windows = [source.session.window(start_s, spec) for start_s in starts.tolist()]
            n_windows += len(windows)
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
        summary = {SUMMARY: float(np.nanmean(found[self.neighbours])), SCORED_WINDOWS: n_windows}
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
