"""Training of neural data transformers over several sessions.

    omnimouse train ndt-jiang --sessions FOLDER --out RUN

A batch has trials of one session under one masking scheme. The transformer is shared;
each session has stitchers of its own, which a step on another session does not move.

    RUN/model.safetensors, .json   all sessions (`checkpoint`)
    RUN/best.safetensors, .json    the same for the best validation score so far

The file is long because a training is read from top to bottom in it: its config, the trials
of a session, the steps, the start values, and last the fine-tuning to a new session.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import isfinite, sqrt
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session, require_events, require_trials
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, FinetuneError, UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import validation_starts
from omnimouse_model.families.ndt.network import (
    CAUSAL,
    PROMPTS,
    Block,
    Ndt,
    NdtConfig,
    poisson_loss,
)
from omnimouse_model.families.ndt.predictor import (
    RATE_OF,
    SCHEMES_OF,
    SESSION_TABLE,
    TRIALS,
    NdtCheckpoint,
    NdtPredictor,
)
from omnimouse_model.masks.schemes import RATIO, SCHEMES, SchemeSettings, draw_scheme
from omnimouse_model.metrics.information import bits_per_spike
from omnimouse_model.predict.devices import on_device
from omnimouse_model.storage.trees import Within, decode
from omnimouse_model.training.checkpoints import rank_files, read_state
from omnimouse_model.training.config import ADDED, Count, TrainFields, TransferOptions
from omnimouse_model.training.loop import SUMMARY, TrainingRun, seeded, train
from omnimouse_model.training.metrics_log import SCORED_NEURONS, SCORED_WINDOWS
from omnimouse_model.training.sessions import (
    TrainingSession,
    check_distinct,
    check_name,
    key_number,
    shuffled,
)

# -- optimiser and learning rate -------------------------------------------------------
LR = 1e-4
WEIGHT_DECAY = 0.01
RISE = 0.15
"""Share of the steps over which the rate rises."""
START, END = 10.0, 1e4
"""The first rate is the highest divided by `START`, the last the first by `END`."""


def one_cycle(
    parameters: Iterable[Tensor],
    total_steps: int,
    lr: float = LR,
    weight_decay: float = WEIGHT_DECAY,
) -> tuple[torch.optim.AdamW, OneCycleLR]:
    """Return AdamW, and the schedule that is stepped after each of its steps.

    Weight decay acts on all parameters. The rate rises and falls along a cosine; beta1
    goes from .95 to .85 and back.
    """
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = OneCycleLR(
        optimiser,
        max_lr=lr,
        total_steps=total_steps,
        pct_start=RISE,
        div_factor=START,
        final_div_factor=END,
    )
    return optimiser, schedule


# -- configuration, read from one YAML file --------------------------------------------
Ratio = Annotated[float, Within(1e-9, 1.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NdtTrainConfig(TrainFields):
    """All settings of a training; the defaults are those of Jiang et al. 2025.

    Each session is visited in proportion to its number of batches; its weight is not read.

    Attributes
    ----------
    model
        Sizes of the network.
    spec
        Trials: duration, bins per second, and start relative to the onset.
    stride_s
        Time between the starts of train windows that are not aligned to trials; None lets
        them follow each other without overlap.
    schemes
        Masking schemes, of which each batch has one.
    ratio, causal_ratio
        Share of neurons, and of bins under "causal", that are hidden.
    horizon
        Fewest and most last bins that "causal" hides, as a forecast does; None hides
        random bins, by `causal_ratio`.
    allow_degenerate
        Use "inter-region" for sessions with one region, too, where it hides everything.
    batch
        Trials of one session per step.
    epochs, steps
        The run ends after so many passes over all trials, or after so many steps, if
        they are given.
    lr, weight_decay, clip
        Highest rate of the cycle; weight decay of all parameters; largest norm of the
        gradient, None for no limit.
    reduction
        Loss of a batch: the mean over its targets, or their sum, as in the public code.
    trained
        "all", or the stitchers of the sessions alone, on a frozen transformer.
    mean_rates
        Initialise the biases of the readout from the mean rates of the neurons.
    start
        "random" values, or a linear forecast of principal "components".
    validation_trials
        Trials of each session in a validation; None for all.
    """

    model: NdtConfig = field(default_factory=NdtConfig)
    spec: WindowSpec = TRIALS
    stride_s: Annotated[float, Within(0.0, 3600.0)] | None = field(default=None, metadata=ADDED)
    schemes: tuple[str, ...] = PROMPTS
    ratio: Ratio = RATIO
    causal_ratio: Ratio = RATIO
    horizon: tuple[Count, Count] | None = field(default=None, metadata=ADDED)
    allow_degenerate: bool = False
    batch: Count = 16
    epochs: Count = 1000
    steps: Count | None = None
    lr: float = LR
    weight_decay: float = WEIGHT_DECAY
    clip: float | None = 1.0
    reduction: Literal["mean", "sum"] = "mean"
    trained: Literal["all", "stitchers"] = "all"
    mean_rates: bool = False
    start: Literal["random", "components"] = field(default="random", metadata=ADDED)
    validate_every: Count = 500
    validation_trials: Count | None = 48

    def __post_init__(self) -> None:
        model, n_samples = self.model, self.spec.n_samples
        if n_samples > model.n_bins:
            raise ValueError(f"spec has {n_samples} bins; model.n_bins is {model.n_bins}")
        is_wide = model.mult == 1 and model.d_model >= model.d_token + 3
        if self.start == "components" and not (is_wide and CAUSAL in self.schemes):
            raise ValueError(
                "start: components needs model.mult 1, a d_model of at least d_token + 3, and the "
                f"scheme {CAUSAL}"
            )
        known = PROMPTS if model.has_prompt else SCHEMES
        if not self.schemes or not set(self.schemes) <= set(known):
            raise ValueError(f"schemes are {self.schemes}; choose of {known}")
        if self.horizon and not self.horizon[0] <= self.horizon[1] < n_samples:
            raise ValueError(
                f"horizon is {self.horizon}; expected two numbers in order, below the "
                f"{n_samples} bins"
            )

    @property
    def total_steps(self) -> int:
        """Number of training steps; 0 until the epochs are converted into steps (`NdtTraining`)."""
        return self.steps or 0


MIN_TRIALS = 2
"""A session needs at least as many."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Trials of one session under one scheme.

    Attributes
    ----------
    seen, counts
        float32 (B, T, N): counts, without and with the hidden entries.
    scored
        bool (B, T, N): the targets.
    """

    session: str
    scheme: str
    seen: Tensor
    counts: Tensor
    scored: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Counts of a session's trials, for training and for validation.

    Attributes
    ----------
    train, validation
        (trial, bin, neuron): whole numbers below 256, or float32 with NaN where a
        neuron was not observed.
    regions
        Region of each neuron; "" where the recording does not state it.
    schemes
        Schemes that are possible in this session.
    """

    key: str
    train: np.ndarray
    validation: np.ndarray
    regions: tuple[str, ...]
    schemes: tuple[str, ...]
    _batches: dict[str, Batch] = field(default_factory=dict, repr=False)

    @property
    def mean_counts(self) -> np.ndarray:
        """Mean count per bin of each neuron over the train trials, float64 (N,)."""
        total = np.nansum(self.train, axis=(0, 1), dtype=np.float64)
        observed = np.isfinite(self.train).sum(axis=(0, 1))
        return np.asarray(total / np.maximum(observed, 1))

    def batch(
        self, config: NdtTrainConfig, epoch: int, place: int, rng: np.random.Generator
    ) -> Batch:
        """Return a batch of an epoch under a scheme that `rng` draws."""
        order = shuffled(config.seed, self.key, epoch, len(self.train))
        chosen = order[place * config.batch : (place + 1) * config.batch]
        scheme = self.schemes[rng.integers(len(self.schemes))]
        return self._masked(self.train[chosen], scheme, config, rng)

    def validation_batch(self, config: NdtTrainConfig, scheme: str) -> Batch:
        """Return the validation trials under a scheme, always with the same masks."""
        if scheme not in self._batches:
            number = config.schemes.index(scheme)
            rng = np.random.default_rng([config.seed, key_number(self.key), number])
            batch = self._masked(self.validation, scheme, config, rng)
            self._batches[scheme] = batch
        return self._batches[scheme]

    def _masked(
        self, counts: np.ndarray, scheme: str, config: NdtTrainConfig, rng: np.random.Generator
    ) -> Batch:
        n_trials, n_bins, n_neurons = counts.shape
        ratio = config.causal_ratio if scheme == CAUSAL else config.ratio
        masks = scheme
        settings = SchemeSettings(ratio=ratio, allow_degenerate=config.allow_degenerate)
        if scheme == CAUSAL and config.horizon and rng.random() < 0.5:
            first = n_bins - int(rng.integers(*config.horizon, endpoint=True))
            masks, settings = "forward-pred", SchemeSettings(bins=(*range(first, n_bins),))
        drawn = draw_scheme(masks, (n_trials, n_bins, n_neurons), self.regions, rng, settings)
        values = counts.astype(np.float32)
        # Missing counts are hidden, and are no targets.
        observed = np.isfinite(values)
        values = np.where(observed, values, np.float32(0))
        seen = np.where(drawn.hidden, np.float32(0), values)
        scored = np.ascontiguousarray(drawn.target & observed)
        return Batch(self.key, scheme, *map(torch.from_numpy, (seen, values, scored)))


# -- opening -------------------------------------------------------------------------
def trial_session(
    session: Session, spec: WindowSpec, stride_s: float | None = None
) -> TrainingSession:
    """Return a session with the starts of its train trials.

    Windows on the grid follow each other after `stride_s`, by default without overlap.
    """
    apart_s = spec.duration_s if stride_s is None else stride_s
    stride = 1 if spec.align == "trial" else max(1, grid_points(apart_s))
    starts = session.window_starts("train", stride, spec=spec)
    return TrainingSession(session=session, starts=starts, weight=1.0, truth=None)


def read_trials(source: TrainingSession, config: NdtTrainConfig) -> Trials:
    """Read the train and validation trials of a session.

    Validation trials are those that the source holds out, else those of the tier.

    Raises
    ------
    ValueError
        The session has too few trials, or no scheme is possible in it.
    """
    session, spec = source.session, config.spec
    if len(source.starts) < MIN_TRIALS:
        raise ValueError(
            f"Session {session.id!r} has {len(source.starts)} whole trials of "
            f"{spec.duration_s:g} s in tier 'train'; expected at least {MIN_TRIALS}. "
            f"Its tiers are {', '.join(session.tiers()) or 'none'}."
        )
    held_out = validation_starts(session, source.held_out, spec, config.validation_trials)
    regions = session.units.region_of
    schemes = config.schemes
    if len({*regions} - {""}) < 2 and not config.allow_degenerate:
        schemes = tuple(name for name in schemes if name != "inter-region")
        if schemes != config.schemes:
            _log.warning(
                "Session %s has one region or none: inter-region would hide all its "
                "neurons and is left out.",
                session.id,
            )
    if not schemes:
        raise ValueError(
            f"Session {session.id!r} has fewer than two regions, and inter-region is the "
            "only scheme: choose more schemes, or allow_degenerate."
        )
    train = _read(session, source.starts, spec)
    validation = _read(session, held_out, spec)
    return Trials(source.key, train, validation, regions, schemes)


def _read(session: Session, starts: np.ndarray, spec: WindowSpec) -> np.ndarray:
    """Return the responses (trial, bin, neuron) of windows, small where possible.

    Missing responses are NaN.
    """
    shape = (len(starts), spec.n_samples, session.n_neurons)
    counts: np.ndarray = np.zeros(shape, np.uint8)
    for number, start in enumerate(starts):
        # The Poisson loss needs responses that are not negative.
        values = np.maximum(session.window(float(start), spec).responses, 0)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        is_small = counts.dtype != np.uint8 or (
            values.max(initial=0) < 256 and np.array_equal(values, np.rint(values))
        )
        if not is_small:
            counts = counts.astype(np.float32)
        counts[number] = values
    return counts


LEAST_RATE = 1e-3
"""Lowest mean count per bin from which a bias is initialised."""


@dataclass(slots=True)
class NdtTraining(TrainingRun):
    """A training of a transformer: network, trials and optimiser of one process.

    Attributes
    ----------
    trials
        Sessions of this rank; the network has the stitchers of all ranks.
    of_ranks
        Sessions of each rank, with their numbers of neurons.
    shared
        Trained parameters that all ranks share.
    """

    title = "a neural data transformer"
    config = NdtTrainConfig
    checkpoint = NdtCheckpoint
    load_model = NdtPredictor.load
    parts = ("net", "optimiser", "schedule")
    unit = "bits per spike"
    trials: tuple[Trials, ...] = field(init=False)
    of_ranks: list[dict[str, int]] = field(init=False)
    net: Ndt = field(init=False)
    schedule: OneCycleLR = field(init=False)

    def __post_init__(self) -> None:
        """Build the network and its optimiser; count epochs in steps."""
        config = self.settings
        if config.steps is None:
            own = sum(-(-len(source.starts) // config.batch) for source in self.sessions)
            # An epoch is as long as that of the rank with most batches; others repeat theirs.
            steps = config.epochs * max(1, *self.team.gather(own))
            config = self.settings = replace(config, steps=steps)
        self.trials = tuple(read_trials(source, config) for source in self.sessions)
        check_distinct(self.sessions, self.team)
        self.of_ranks = self.team.gather({s.key: s.session.n_neurons for s in self.sessions})
        counts = {key: count for rank in self.of_ranks for key, count in rank.items()}
        with seeded(config.seed):
            self.net = Ndt(config.model, counts).to(self.device)
        if config.trained == "stitchers":
            for _, parameter in self.net.shared():
                parameter.requires_grad_(False)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        n_steps = max(1, config.total_steps)
        self.optimiser, self.schedule = one_cycle(trained, n_steps, config.lr, config.weight_decay)

    # -- as parts of a `Family` -------------------------------------------------------
    @staticmethod
    def read(tree: Mapping[str, Any]) -> NdtTrainConfig:
        """Return the training config of neural data transformers from a parsed file.

        Raises
        ------
        ValueError
            A field is unknown, missing or out of range; the message names it.
        """
        if isinstance(trials := tree.get("spec", {}), Mapping):
            tree = {**tree, "spec": asdict(TRIALS) | dict(trials)}
        return decode(NdtTrainConfig, tree, "the file")

    windows = attrgetter("spec")

    @staticmethod
    def opened(session: Session, config: NdtTrainConfig) -> TrainingSession:
        """Return a session with the starts of its train trials."""
        return trial_session(session, config.spec, config.stride_s)

    @classmethod
    def of_transfer(
        cls, origin: NdtCheckpoint, session: Session, options: TransferOptions
    ) -> tuple[NdtTrainConfig, TrainingSession]:
        """Return config and trials of a fine-tuning; see `SHARE`.

        Raises
        ------
        CheckpointError
            The card names other masking schemes.
        """
        check_name(session)
        spec = origin.spec
        for code, require in (("no_spikes", require_events), ("no_train", require_trials)):
            try:
                require(session, spec)
            except UnsupportedRequestError as error:
                raise FinetuneError(code, str(error)) from error
        source = trial_session(session, spec)
        if (n_trials := len(source.starts)) <= MIN_TRIALS:
            raise FinetuneError(
                "no_train" if not n_trials else "too_short",
                f"Session {session.id!r} has {n_trials} whole trials of "
                f"{spec.duration_s:g} s in tier 'train'; expected more than "
                f"{MIN_TRIALS}. Its tiers are {', '.join(session.tiers()) or 'none'}.",
            )
        if not len(session.window_starts("validation", spec=spec)):
            order = np.random.default_rng(options.seed).permutation(n_trials)
            held = np.sort(order[: max(1, round(SHARE * n_trials))])
            starts = source.starts
            source = replace(source, starts=np.delete(starts, held), held_out=starts[held])
        # The rate of the model's training, if it is known.
        rate = origin.card.get(RATE_OF, LEAST_LR)
        is_known = isinstance(rate, float) and isfinite(rate)
        # A card without schemes stands for those of the paper.
        schemes = origin.card.get(SCHEMES_OF, PROMPTS)
        known = PROMPTS if origin.config.has_prompt else SCHEMES
        if not isinstance(schemes, list | tuple) or not set(schemes) <= set(known):
            raise CheckpointError(
                f"{origin.source}: card.{SCHEMES_OF} is {schemes!r}; expected some of "
                f"{', '.join(known)}."
            )
        config = NdtTrainConfig(
            seed=options.seed,
            model=origin.config,
            spec=spec,
            schemes=tuple(schemes),
            batch=options.batch,
            steps=options.steps,
            lr=max(LEAST_LR, rate) if is_known else LEAST_LR,
            trained="stitchers" if options.train == "embeddings" else "all",
            mean_rates=True,
            validate_every=max(1, options.steps // VALIDATIONS),
        )
        return config, source

    @property
    def shared(self) -> list[Tensor]:
        """Trained parameters that all ranks share."""
        return [p for _, p in self.net.shared() if p.requires_grad]

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        """Set the start values; True if they are those of a trained model."""
        if self.settings.mean_rates:
            for trials in self.trials:
                bias = self.net.readouts[trials.key].bias
                assert isinstance(bias, Tensor)
                rates = np.maximum(trials.mean_counts, LEAST_RATE)
                with torch.no_grad():
                    bias.copy_(torch.from_numpy(np.log(rates)))
        if self.settings.start == "components":
            with seeded(self.settings.seed):
                _start_transformer(self.net)
            for trials in self.trials:
                _start_stitchers(self.net, trials, self.device)
        if self.origin is None:
            return False
        origin: NdtCheckpoint = self.origin
        state = origin.shared
        sessions = self.net.sessions
        if SESSION_TABLE in state:
            # The embedding of an unknown session is the mean of the trained ones.
            table, known = state[SESSION_TABLE], list(origin.sessions)
            state[SESSION_TABLE] = torch.stack(
                [table[known.index(name)] if name in known else table.mean(0) for name in sessions]
            )
        for name, count in sessions.items():
            if origin.sessions.get(name) == count:
                state |= origin.own(name)
        self.net.load_state_dict(self.net.state_dict() | state)
        return True

    @property
    def fixed(self) -> dict[str, Any]:
        """Number of all steps, on which the learning rate depends, and sessions of all ranks."""
        return {"steps": self.settings.total_steps, "sessions": dict(self.net.sessions)}

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> Batch:
        """Draw the batch of a step, from a generator of its number."""
        config = self.settings
        places = [
            (index, place)
            for index, trials in enumerate(self.trials)
            # The last batch of an epoch may be smaller.
            for place in range(-(-len(trials.train) // config.batch))
        ]
        epoch, turn = divmod(number, len(places))
        order = np.random.default_rng([config.seed, epoch]).permutation(len(places))
        index, place = places[int(order[turn])]
        rng = np.random.default_rng([config.seed, number, self.team.rank])
        return self.trials[index].batch(config, epoch, place, rng)

    def step(self, drawn: Batch) -> dict[str, float]:
        """Train on one batch, and return the values to log."""
        config, lr = self.settings, self.optimiser.param_groups[0]["lr"]
        self.net.train()
        self.optimiser.zero_grad()
        loss = self._backward(on_device(drawn, self.device))
        self.team.start_average(self.shared)()
        # Gradients of a rank's own sessions become means over the ranks, too. The norm is that
        # of the gradients of all ranks.
        both = (self.net.stitchers, self.net.readouts)
        own = [p.grad for part in both for p in part.parameters() if p.grad is not None]
        if own and self.team.size > 1:
            torch._foreach_div_(own, self.team.size)
        shared = [p.grad for p in self.shared if p.grad is not None]
        (squares,) = self.team.sums([_squares(own)])
        norm = sqrt(squares + _squares(shared))
        number = self.state.step
        loss, updates = self.counted([loss], is_usable=isfinite(norm))
        if updates:
            if config.clip is not None and norm > config.clip:
                gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
                torch._foreach_mul_(gradients, config.clip / norm)
            self.optimiser.step()
        # A skipped step is a step of the cycle, too.
        if number + 1 < config.total_steps:
            self.schedule.step()
        return {
            "loss": loss,
            "norm": norm,
            "windows": float(self.team.size * len(drawn.counts)),
            "step": self.state.step,
            "lr": lr,
        }

    def _backward(self, batch: Batch) -> float:
        """Add the gradients of a batch, and return its loss."""
        config = self.settings
        seed = (config.seed + 1) * 1_000_003 + self.state.step * 1009 + self.team.rank
        with seeded(seed, self.device):
            output = self.net(batch.seen, batch.session, batch.scheme)
        loss = poisson_loss(output, batch.counts, batch.scored, is_sum=config.reduction == "sum")
        if loss.isfinite():
            loss.backward()
        return float(loss.detach())

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return bits per spike by scheme, mean over sessions, and their mean."""
        self.net.eval()
        rows = [
            (scheme, self._bits(trials, scheme))
            for trials in self.trials
            if len(trials.validation)
            for scheme in trials.schemes
        ]
        listed = [row for of_rank in self.team.gather(rows) for row in of_rank]
        scores = {}
        for scheme in self.settings.schemes:
            values = [v for name, v in listed if name == scheme and isfinite(v)]
            if values:
                scores[scheme] = float(np.mean(values))
        if not scores:
            return {}
        scored = [trials.validation for trials in self.trials if len(trials.validation)]
        sizes = sum(map(len, scored)), sum(one.shape[2] for one in scored)
        n_trials, n_neurons = self.team.sums([float(size) for size in sizes])
        summary = {SUMMARY: float(np.mean(list(scores.values())))}
        return scores | summary | {SCORED_WINDOWS: n_trials, SCORED_NEURONS: n_neurons}

    @torch.inference_mode()
    def _bits(self, trials: Trials, scheme: str) -> float:
        """Return the bits per spike of all targets of a session, pooled."""
        batch = trials.validation_batch(self.settings, scheme)
        size = self.settings.batch
        rates = [
            self.net(part.to(self.device), trials.key, scheme).exp().cpu()
            for part in batch.seen.split(size)
        ]
        counts = torch.where(batch.scored, batch.counts, torch.nan).numpy()
        predicted = torch.cat(rates).numpy()
        # Rates that are not finite are the worst, not an error.
        if not np.isfinite(predicted).all():
            return float("nan")
        return bits_per_spike(predicted, counts).value

    def model(self, folder: Path) -> NdtCheckpoint:
        """Return the network with the stitchers of all ranks."""
        tensors = dict(self.net.state_dict())
        for path, own in zip(rank_files(folder)[1:], self.of_ranks[1:], strict=True):
            tensors |= {
                name: value
                for name, value in read_state(path)["net"].items()
                if name.startswith(NdtCheckpoint.prefixes) and name.split(".")[1] in own
            }
        return NdtCheckpoint(
            config=self.settings.model,
            spec=self.settings.spec,
            sessions=dict(self.net.sessions),
            state=tensors,
        )

    @property
    def notes(self) -> dict[str, Any]:
        """Schemes and rate of the training: a fine-tuning trains under the same ones."""
        return {SCHEMES_OF: list(self.settings.schemes), RATE_OF: self.settings.lr}


train_ndt = partial(train, NdtTraining)
"""Function that trains a transformer; `origin` is an `NdtCheckpoint`."""


def _squares(gradients: list[Tensor]) -> float:
    """Return the sum of squares of all entries."""
    if not gradients:
        return 0.0
    norms = torch.stack(torch._foreach_norm(gradients))
    return float(norms.double().square().sum())


# -- start at a linear forecast --------------------------------------------------------
_BIN = 6
"""Bins over which responses are averaged before their components are computed."""
_STITCHED, _PROJECTED = 0.1, 3.0
"""Gains of a component before and after the softsign."""
_RAMP, _CONSTANT = 3.0, 8.0
"""Of the position: a ramp over the bins, and constants that steady the layer norms."""
_TAU = 2.0
"""Bins within which the weight of the last visible ones falls."""
_SEEN = 25.0
"""How much more a visible bin weighs than one without activity, as a logarithm."""
_SHARED, _SHARED_PENALTY = 8, 1.0
"""Components that all neurons share in a forecast, and the penalty of their regression."""


@torch.no_grad()
def _start_transformer(net: Ndt) -> None:
    """Let each bin add the mean of the last bins that are visible to what it has.

    The tokens have the components, the activity, a ramp over the bins and two constants.
    The first block attends from every bin to active and late ones; all else adds nothing.
    """
    config, encoder = net.config, net.encoder
    embedder, n = encoder.embedder, config.d_token
    for layer, gain in ((embedder.embed_spikes, 1.0), (embedder.projection, _PROJECTED)):
        torch.nn.init.eye_(layer.weight).mul_(gain)
        layer.bias.zero_()
    position = embedder.embed_pos.weight.zero_()
    bins = torch.arange(config.n_bins)
    position[:, n] = _RAMP * (2 * bins / config.n_bins - 1)
    position[:, n + 1], position[:, n + 2] = _CONSTANT, -_CONSTANT
    for number, block in enumerate(encoder.layers):
        assert isinstance(block, Block)
        for last in (block.attn.out_proj, block.mlp.down_proj):
            last.weight.zero_()
            last.bias.zero_()
        if number:
            continue
        attention = block.attn
        torch.nn.init.eye_(attention.out_proj.weight)
        attention.value.weight.zero_().fill_diagonal_(1.0)
        attention.value.weight[n - 1 :] = 0.0
        attention.value.bias.zero_()
        first = torch.arange(attention.n_heads) * attention.head_size
        attention.query.weight[first], attention.query.bias[first] = 0.0, attention.head_size**0.5
        attention.key.weight[first], attention.key.bias[first] = 0.0, 0.0
        # The activity of a visible bin is about 1, before the softsign of three times it.
        attention.key.weight[first, n - 1] = _SEEN / (0.75 * _PROJECTED)
        attention.key.weight[first, n] = config.n_bins / (2 * _RAMP * _TAU)


@torch.no_grad()
def _start_stitchers(net: Ndt, trials: Trials, device: torch.device) -> None:
    """Start at the components of a session, and at a forecast of its neurons from them.

    A forecast is a regression on the first components, and a share of what all have of the
    neuron itself.
    """
    values = torch.from_numpy(np.nan_to_num(trials.train).astype(np.float32)).to(device)
    n_bins = values.shape[1]
    binned = values[:, : n_bins // _BIN * _BIN].unflatten(1, (-1, _BIN)).mean(2).flatten(0, 1)
    mean = binned.mean(0)
    _, spreads, axes = torch.linalg.svd(binned - mean, full_matrices=False)
    n = min(net.config.d_token - 1, len(axes))
    axes, spreads = axes[:n], spreads[:n] / len(binned) ** 0.5
    stitcher, readout = net.stitchers[trials.key], net.readouts[trials.key]
    assert isinstance(stitcher, nn.Linear)
    assert isinstance(readout, nn.Linear)
    stitcher.weight.zero_()
    stitcher.bias.zero_()
    stitcher.weight[:n] = _STITCHED * axes / spreads[:, None]
    stitcher.bias[:n] = -stitcher.weight[:n] @ mean
    stitcher.weight[net.config.d_token - 1] = 3.0 * mean / (mean @ mean)
    # Forecasts of the second halves of the trials.
    half = n_bins // 2
    seen = values.clone()
    seen[:, half:] = 0.0
    net.eval()
    encoded = [net.encode(part, trials.key, CAUSAL)[:, -half:] for part in seen.split(32)]
    found, wanted = torch.cat(encoded).flatten(0, 1), values[:, half:].flatten(0, 1)
    middle, level = found.mean(0), wanted.mean(0).clamp(min=LEAST_RATE)
    found, wanted = found - middle, wanted - level
    shared = found[:, :_SHARED]
    square = shared.T @ shared
    square += _SHARED_PENALTY * square.diagonal().mean() * torch.eye(len(square), device=device)
    common = torch.linalg.solve(square, shared.T @ wanted).T
    own = (axes * spreads[:, None]).T / found[:, :n].std(0).mean()
    rest = wanted - shared @ common.T
    # Each component has a share of its own, because most of them are noise a second later.
    kept = found[:, :n].square().sum(0) * own.square().sum(0)
    share = (found[:, :n] * (rest @ own)).sum(0) / kept.clamp(min=1e-9)
    own = own * share.clamp(min=0.0)
    own[:, :_SHARED] += common
    slopes = own / level.clamp(min=0.2)[:, None]
    # Rates are exponentials: full slopes would make large ones too large.
    losses = {}
    for scale in (0.25, 0.5, 0.75, 1.0):
        log_rates = level.log() + scale * found[:, :n] @ slopes.T
        losses[scale] = float((log_rates.exp() - (wanted + level) * log_rates).mean())
    scale = min(losses, key=lambda one: losses[one])
    readout.weight.zero_()
    readout.weight[:, :n] = scale * slopes
    readout.bias.copy_(level.log() - readout.weight @ middle)


# -- fine-tuning of a neural data transformer: two stitchers for a new session --------
# With `train="embeddings"` the transformer is frozen, and the embedding of the session is
# the mean of those that it was trained with. With "all" everything is trained, as in the
# scaling experiment of Jiang et al. 2025.
LEAST_LR = 1e-3
"""Rate for a single session, as in the public code; small cores have a higher one."""
VALIDATIONS = 10
SHARE = 0.1
"""Share of the train trials that are held out where there is no validation tier."""
