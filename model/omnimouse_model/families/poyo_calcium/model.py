"""Calcium POYO+, behaviour from visible responses: checkpoints, predictor and training.

Each visible response is a token, and hidden or missing ones are none, so that any mask
can be answered. Responses are not predicted, and behaviour is not read.

Weights are safetensors with the public names; a JSON file beside them has the config and
the neurons of each session, in the order of their embeddings.

The module is long because it has all of the model but its network.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import CheckpointError, FinetuneError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.results import BehaviorScore
from omnimouse_model.evaluation.shard import validation_results
from omnimouse_model.evaluation.tier_windows import spread_starts
from omnimouse_model.families.parts.network_predictor import MaskedWindow, NetworkPredictor
from omnimouse_model.families.parts.ridge import Sums, weights
from omnimouse_model.families.poyo_calcium.network import (
    PADDING,
    Item,
    PoyoConfig,
    PoyoNetwork,
    Tokens,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.checkpoint_file import (
    MAX_NEURONS,
    MAX_SESSIONS,
    UNSTORED,
    Checkpoint,
    load_strictly,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.predict.predictor import Needs, Request, check_request, check_responses_shown
from omnimouse_model.progress import Cancelled, never, stop_if
from omnimouse_model.storage.trees import Within, decode, refused_as
from omnimouse_model.training.config import ADDED, Count, TrainFields, TransferOptions
from omnimouse_model.training.loop import (
    SUMMARY,
    TrainingRun,
    has_finite_gradients,
    scored_over,
    seeded,
)
from omnimouse_model.training.sessions import (
    TrainingSession,
    check_alone,
    check_name,
    hold_out,
    without_windows,
)

FAMILY = "poyo_calcium"
TITLE = "calcium POYO+"
UNITS, SESSIONS = "unit_emb.weight", "session_emb.weight"
"""Tables with a row for each neuron and each session, after that of the padding."""
_PREFIX = "model."
"""Of the names in a file of PyTorch Lightning."""

Names = Annotated[tuple[str, ...], Within(1, MAX_NEURONS)]


# -- checkpoints -----------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class PoyoCheckpoint(Checkpoint):
    """Content of a file of POYO+: config, weights and neurons of its sessions, no network yet.

    Attributes
    ----------
    units
        Session -> names of its neurons; both in the order of their rows.
    """

    family = FAMILY
    prefixes = ()
    tables = (UNITS, SESSIONS)
    config: PoyoConfig
    units: Annotated[dict[str, Names], Within(0, MAX_SESSIONS)]
    sessions: dict[str, int] = field(default_factory=dict, metadata=UNSTORED)

    def __post_init__(self) -> None:
        # The class is frozen, and the numbers follow from the names.
        counts = {session: len(names) for session, names in self.units.items()}
        object.__setattr__(self, "sessions", counts)

    @classmethod
    def of(
        cls, about: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
    ) -> "PoyoCheckpoint":
        """Return tensors with what the JSON file says, in our form or that of the public code."""
        if "units" not in about and "published" in about:
            state, about = _public(state, about, path.with_suffix(".json"))
        return super().of(about, state, path)

    def build(self) -> PoyoNetwork:
        """Build the network.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        return load_strictly(lambda: network_of(self.config, self.units), self.state, self.source)

    def trained(self, session: str, frozen: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the tensors that a fine-tuning trains: with a frozen core, the tables."""
        return [v for k, v in self.state.items() if not frozen or k in self.tables]

    def renamed(self, names: Mapping[str, str]) -> "PoyoCheckpoint":
        """Return the model with other keys of sessions."""
        return replace(self, units={names.get(key, key): own for key, own in self.units.items()})

    def joined(self, other: "PoyoCheckpoint") -> "PoyoCheckpoint":
        """Return the network with the sessions of another one of the same core, too."""
        # The first row is that of the padding.
        tables = {k: torch.cat([self.state[k], other.state[k][1:]]) for k in self.tables}
        return replace(other, units={**self.units, **other.units}, state={**self.state, **tables})


def network_of(config: PoyoConfig, units: Mapping[str, tuple[str, ...]]) -> PoyoNetwork:
    """Return a new network for the neurons of some sessions."""
    words = [word for session, names in units.items() for word in words_of(session, names)]
    return PoyoNetwork(config, [PADDING, *words], [PADDING, *units])


def words_of(session: str, names: Sequence[str]) -> list[str]:
    """Return the words of a session's neurons in the vocabulary, as in the public code."""
    return [f"{session}/{name}" for name in names]


# -- weights of the public code, from `omnimouse convert-weights` -----------------------
def _public(
    state: Mapping[str, Tensor], about: Mapping[str, Any], described: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and description of published weights in our form.

    The file had both vocabularies, mappings from words to rows, beside its tensors. Sizes
    are those of the tensors where the description states none; it states the tasks.

    Raises
    ------
    CheckpointError
        A vocabulary, a tensor or the tasks are missing, or do not fit.
    """
    state = {name.removeprefix(_PREFIX): value for name, value in state.items()}
    with refused_as(CheckpointError):
        stated = decode(dict[str, Any], about.get("config") or {}, described, "config")
        found = decode(dict[str, Any], about["published"], described, "published")
        beside: Any = found.get("settings")
        for name in str(found.get("part", "")).split("."):
            beside = beside.get(name) if name and isinstance(beside, dict) else beside
        beside = decode(dict[str, Any], beside, described, "published.settings")
        beside = {name.removeprefix(_PREFIX): value for name, value in beside.items()}
        rows, session_rows = (
            decode(dict[str, int], beside.get(name), described, name)
            for name in ("unit_emb.vocab", "session_emb.vocab")
        )
    if "tasks" not in stated:
        raise CheckpointError(
            f"{described} has no config.tasks: name each task with its number, its size and "
            "the channels of recordings that its values are."
        )
    sessions = sorted(session_rows.keys() - {PADDING}, key=session_rows.__getitem__)
    units: dict[str, list[str]] = {name: [] for name in sessions}
    for word in sorted(rows.keys() - {PADDING}, key=rows.__getitem__):
        session, _, name = word.rpartition("/")
        if session not in units:
            raise CheckpointError(f"{described}: neuron {word[:80]!r} is of no session of it.")
        units[session].append(name)
    # A session without neurons cannot be decoded.
    kept = [0, *(session_rows[name] for name in units if units[name])]
    units = {name: names for name, names in units.items() if names}
    # The rows of the neurons, session after session.
    order = [0, *(rows[w] for name, names in units.items() for w in words_of(name, names))]
    try:
        state |= {UNITS: state[UNITS][order], SESSIONS: state[SESSIONS][kept]}
        config = _sizes_of(state) | stated
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{described}: the weights have no {error} of {TITLE}.") from error
    default = PoyoConfig()
    assumed = [
        f"{name} of {getattr(default, name):g}, which no tensor tells"
        for name in ("window_s", "step_s", "rate_hz")
        if name not in stated
    ]
    return state, {**about, "config": config, "units": units, "assumed": assumed}


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of a config that tensors tell; `KeyError` for a missing tensor."""
    omega = state["rotary_emb.omega"]
    head, turned = 2 * len(omega), 2 * int(omega.count_nonzero())
    n_latents, width = state["latent_emb.weight"].shape
    return {
        "n_latents": n_latents,
        "width": width,
        "depth": len({name.split(".")[1] for name in state if name.startswith("proc_layers.")}),
        "head": head,
        "cross_heads": len(state["enc_atn.to_q.weight"]) // head,
        "self_heads": len(state["proc_layers.0.0.to_qkv.weight"]) // (3 * head),
        "turned": turned,
        "shortest_s": 2 * math.pi / float(omega[0]),
        "longest_s": 2 * math.pi / float(omega[turned // 2 - 1]),
        "mult": state["enc_ffn.1.net.3.weight"].shape[1] // width,
    }


# -- prediction ------------------------------------------------------------------------
_TOKENS = 60_000
"""Most tokens that are computed at once, unless one window has more."""


@dataclass(slots=True, eq=False, repr=False)
class PoyoPredictor(NetworkPredictor):
    """Behaviour of the sessions that a network knows, from their responses.

    Parameters
    ----------
    net
        The network, with the embeddings of all its sessions.
    units
        Session -> names of its neurons.
    device
        Where it computes.
    checkpoint
        Returns the weights, from which a fine-tuning starts; None for a network that
        is still trained.
    """

    net: PoyoNetwork
    units: Mapping[str, tuple[str, ...]]
    device: torch.device
    checkpoint: Callable[[], PoyoCheckpoint] | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "PoyoPredictor":
        """Load a predictor from a checkpoint (`Family.load`).

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        path, place = Path(path), resolve_device(device)
        checkpoint = PoyoCheckpoint.read(path)
        net = checkpoint.build().requires_grad_(False).to(place)
        digest = weights_hash(checkpoint.state)
        return cls(path.stem, digest, net, checkpoint.units, place, lambda: checkpoint)

    @staticmethod
    def describe(path: Path) -> Description:
        """Return what `omnimouse info` prints of a checkpoint (`Family.describe`)."""
        checkpoint = PoyoCheckpoint.read(path)
        config = checkpoint.config
        others = sorted(config.tasks.keys() - config.decoded.keys())
        return checkpoint.described(
            TITLE,
            network=f"{config.depth} layers of width {config.width}, {config.self_heads} heads",
            sees="responses",
            decodes=", ".join(config.decoded) or "nothing",
            **({"tasks without a channel": ", ".join(others)} if others else {}),
        )

    @property
    def needs(self) -> Needs:
        """What it can see and predict, and which sessions it knows."""
        return Needs(
            predicts_behavior=bool(self.net.config.decoded),
            predicts_responses=False,
            spec=self.net.config.spec,
            sessions=frozenset(self.units),
            n_neurons={session: len(names) for session, names in self.units.items()},
            methods=frozenset({"embeddings"}),
        )

    @torch.inference_mode()
    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the embeddings of the neurons, float32 (P, d)."""
        stop_if(cancelled)
        self.prepare(session)
        rows = self.net.units.rows(words_of(session.id, self.units[session.id]))
        return self.net.unit_emb.weight[torch.from_numpy(rows)].cpu().numpy()

    # -- parts ------------------------------------------------------------------------
    def _check(self, request: Request) -> None:
        window, mask, _ = request
        if not self.net.config.decoded:
            raise UnsupportedRequestError(
                f"{self.name!r} decodes no channel of a recording: its tasks are "
                f"{', '.join(self.net.config.tasks)}."
            )
        check_request(self.predictor_id, self.needs, window, mask)
        check_responses_shown(self.name, mask)
        self.prepare(window.session)

    def _key(self, window: Window, mask: Mask) -> Any:
        return np.packbits(mask.visible).tobytes()

    def _states(
        self, requests: Sequence[MaskedWindow], cancelled: Cancelled
    ) -> Sequence[np.ndarray]:
        """Return the decoded behaviour (time, channel) of windows of one session."""
        config = self.net.config
        queries = dict.fromkeys(config.decoded, behavior_times_s(config.spec))
        items = [
            window_item(window, self.units[window.session.id], queries, mask.visible)
            for window, mask in requests
        ]
        # Items of a batch are padded to the longest one.
        size = max(1, _TOKENS // max(1, *(item.n_tokens for item in items)))
        decoded: list[np.ndarray] = []
        for start in range(0, len(items), size):
            stop_if(cancelled)
            decoded += self._decoded(items[start : start + size], cancelled)
        return decoded

    @torch.inference_mode()
    def _decoded(self, items: list[Item], cancelled: Cancelled) -> list[np.ndarray]:
        net, tokens = self.net, self.net.tokens(items).to(self.device)
        latents = net.encode(tokens, lambda _name, _value: stop_if(cancelled))
        answers = net.answers(net.decode(latents, tokens), tokens)
        columns = torch.cat([answers[name] for name in net.config.decoded], -1)
        found = columns.unflatten(0, (len(items), -1)).cpu().numpy()
        # Nothing is known of a window without any recorded response that is shown.
        empty = np.array([item.n_tokens == 0 for item in items])
        return list(np.where(empty[:, None, None], np.float32(np.nan), found))


def behavior_times_s(spec: WindowSpec) -> np.ndarray:
    """Return the times of the behaviour samples in a window, float64."""
    assert spec.behavior is not None  # requests without are refused
    return np.arange(spec.n_behavior) / spec.behavior.rate_hz


def window_item(
    window: Window,
    units: Sequence[str],
    queries: Mapping[str, np.ndarray],
    shown: np.ndarray | None = None,
) -> Item:
    """Return the responses of a window that are recorded, and shown if that is given."""
    responses, session = window.responses, window.session.id
    known = np.isfinite(responses) & window.valid["responses"][:, None]
    known = known if shown is None else known & shown
    times_s, is_whole = window.spec.sample_times_s, bool(known.all())
    words = words_of(session, units)
    return Item(session, words, responses, times_s, queries, None if is_whole else known)


# -- training over several sessions, and of a new session on a model -------------------
#     RUN/model.safetensors, .json   the last weights
#     RUN/best.safetensors, .json    those of the best validation score so far
#
# A batch has windows of all sessions, each with some neurons that are drawn. The loss is
# the squared error of z-scored behaviour.
STEADY, LAST = 0.5, 1e-4
"""Share of the steps before the learning rate falls, along a cosine, and its last part."""
MOMENTA = 0.95, 0.85
"""The first beta at both ends of the cycle, and in its middle."""
TRANSFER_LR = 5e-3
"""Rate of the embeddings of a new session on a frozen core, with AdamW."""
CORE_LR = 5e-4
VALIDATIONS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PoyoTrainConfig(TrainFields):
    """Settings of a training; the defaults are the published ones for many sessions.

    Attributes
    ----------
    model
        Sizes of the network, and what it decodes.
    units
        Smallest, most frequent and largest number of neurons that a window keeps in
        training (a triangular distribution); None keeps all.
    batch
        Windows per step.
    epochs, steps
        The run ends after so many passes over the recorded time, or after so many steps,
        if they are given.
    optimiser, base_lr, weight_decay
        Its learning rate is `base_lr` per window of a batch.
    validation_windows
        Windows of each session in a validation; None for all.
    trained
        "all", or the embeddings of neurons and sessions alone, on a frozen core.
    start
        "random" values, or those of a "ridge" regression.
    """

    model: PoyoConfig = field(default_factory=PoyoConfig)
    units: tuple[Count, Count, Count] | None = (10, 50, 300)
    batch: Count = 512
    epochs: Count = 2000
    steps: Count | None = None
    optimiser: Literal["lamb", "adamw"] = "lamb"
    base_lr: float = 3.125e-5
    weight_decay: float = 1e-4
    validate_every: Count = 500
    validation_windows: Count | None = 100
    trained: Literal["all", "embeddings"] = "all"
    start: Literal["random", "ridge"] = field(default="random", metadata=ADDED)

    def __post_init__(self) -> None:
        if not self.model.decoded:
            raise ValueError("model.tasks: no task has a channel of a recording")
        if self.units is not None and list(self.units) != sorted(self.units):
            raise ValueError(f"units: found {self.units}, expected three numbers in order")

    @property
    def total_steps(self) -> int:
        """Number of training steps; 0 until the epochs are converted into steps."""
        return self.steps or 0


# -- optimiser -------------------------------------------------------------------------
class Lamb(torch.optim.Optimizer):
    """LAMB as POYO+ uses it: without correction of the first steps.

    Rows without a gradient, such as neurons that are not in a batch, keep their values,
    and their moments are forgotten (as in the public code).
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        defaults = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # the loop passes no closure
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
        first, second = group["betas"]
        is_used = gradient.new_ones(())
        if gradient.ndim > 1:
            is_used = (gradient != 0).any(-1, keepdim=True).to(gradient.dtype)
        mean = state["mean"].mul_(first).add_(gradient, alpha=1 - first).mul_(is_used)
        square = state["square"].mul_(second)
        square.addcmul_(gradient, gradient, value=1 - second).mul_(is_used)
        update = mean / (square.sqrt() + group["eps"]) + group["weight_decay"] * parameter
        size, of_update = parameter.norm().clamp(max=10.0), update.norm()
        trust = torch.where((size > 0) & (of_update > 0), size / of_update, 1.0)
        parameter.sub_(update * is_used * trust * group["lr"])


def one_cycle(number: int, n_steps: int) -> tuple[float, float]:
    """Return the learning rate of a step, as a part of the highest, and the first beta.

    As `torch.optim.lr_scheduler.OneCycleLR` without a rise, of any number of steps.
    """
    # A cycle of fewer steps has no steady part.
    last = max(3, n_steps) - 1
    middle = STEADY * (last + 1) - 1
    parts = number / middle, max(number - middle, 0.0) / (last - middle)
    first, second = (math.cos(math.pi * min(part, 1.0)) for part in parts)
    outer, inner = MOMENTA
    rate = LAST + (1 - LAST) * (1 + second) / 2
    return rate, inner + (outer - inner) * (2 + first - second) / 2


OPTIMISERS = {"lamb": Lamb, "adamw": torch.optim.AdamW}


Batch = tuple[Tokens, dict[str, Tensor]]
"""Windows of several sessions, and their targets: task -> float32 (n, size) in the order of
the queries, NaN where nothing was recorded."""


@dataclass(slots=True, eq=False)
class PoyoTraining(TrainingRun):
    """A training: network, sessions and optimiser.

    Attributes
    ----------
    units
        Names of the neurons of each session, by key.
    """

    title = TITLE
    config = PoyoTrainConfig
    checkpoint = PoyoCheckpoint
    load_model = PoyoPredictor.load
    unit = "correlation of decoded behaviour"
    units: dict[str, tuple[str, ...]] = field(init=False)
    net: PoyoNetwork = field(init=False)

    def __post_init__(self) -> None:
        """Build the network and its optimiser.

        Raises
        ------
        ValueError
            There are several processes, or a session has nothing to train on.
        """
        config, sessions = self.settings, self.sessions
        check_alone(sessions, self.team, TITLE)
        for lack in filter(None, (_lack(source, config.model) for source in sessions)):
            raise ValueError(lack)
        if config.steps is None:
            starts = [(len(s.starts), np.median(np.diff(s.session.start_grid))) for s in sessions]
            seconds = float(sum(count * apart_s for count, apart_s in starts))
            per_epoch = max(1, round(seconds / config.model.window_s / config.batch))
            config = self.settings = replace(config, steps=config.epochs * per_epoch)
        with seeded(config.seed):
            self.units = {s.key: tuple(map(str, range(s.session.n_neurons))) for s in sessions}
            self.net = network_of(config.model, self.units).to(self.device)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(config.trained == "all" or name in (UNITS, SESSIONS))
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = OPTIMISERS[config.optimiser](
            trained, lr=config.base_lr * config.batch, weight_decay=config.weight_decay
        )

    # -- as parts of a `Family` --------------------------------------------------------
    windows = attrgetter("model.spec")

    @staticmethod
    def opened(session: Session, config: PoyoTrainConfig) -> TrainingSession:
        """Return a session with the starts of its train windows."""
        starts = session.window_starts("train", include_blanks=True, spec=config.model.spec)
        return TrainingSession(session=session, starts=starts, weight=1.0, truth=None)

    @classmethod
    def of_transfer(
        cls, origin: PoyoCheckpoint, session: Session, options: TransferOptions
    ) -> tuple[PoyoTrainConfig, TrainingSession]:
        """Return config and windows of a fine-tuning, which may train embeddings alone."""
        check_name(session)
        source = hold_out(session, options.seed)
        if lack := _lack(source, origin.config):
            raise FinetuneError("no_train", lack)
        rate = TRANSFER_LR if options.train == "embeddings" else CORE_LR
        config = PoyoTrainConfig(
            seed=options.seed,
            model=origin.config,
            batch=options.batch,
            steps=options.steps,
            optimiser="adamw",
            base_lr=rate / options.batch,
            validate_every=max(1, options.steps // VALIDATIONS),
            trained=options.train,
        )
        return config, source

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        """Take the core of a model, or fit start values; True then, for a first score."""
        if self.origin is not None:
            self.net.load_state_dict(self.net.state_dict() | self.origin.core)
        elif self.settings.start == "ridge":
            self._start_at_ridge()
        return self.origin is not None or self.settings.start == "ridge"

    @torch.no_grad()
    def _start_at_ridge(self) -> None:
        """Fit the first values of the neurons' embeddings, then the readouts, by regressions.

        These values are the weights of neurons from which a ridge regression decodes the
        behaviour. The attention of a network with random weights has sums of them that
        follow the responses, but these are small beside all else that it has, and so they
        are learned slowly: the readouts are fitted to them.
        """
        net, units = self.net.eval(), self.units
        tasks, spec = net.config.decoded, net.config.spec
        of_answers = {name: Sums(net.config.width, task.size) for name, task in tasks.items()}
        for source in self.sessions:
            starts = spread_starts(source.starts, _START_WINDOWS)
            windows = [source.session.window(float(start), spec) for start in starts]
            rows = torch.from_numpy(net.units.rows(words_of(source.key, units[source.key])))
            first = torch.from_numpy(_decoding_weights(windows)[:, : net.unit_emb.embedding_dim])
            net.unit_emb.weight[rows, : first.shape[1]] = first.float().to(self.device)
            queries = dict.fromkeys(tasks, behavior_times_s(spec))
            for window in windows:
                tokens = net.tokens([window_item(window, units[source.key], queries)])
                tokens = tokens.to(self.device)
                embedded, values = net.decode(net.encode(tokens), tokens), _recorded(window)
                for name, task in tasks.items():
                    wanted = values[:, [window.behavior_names.index(c) for c in task.channels]]
                    known = np.isfinite(wanted).all(1)
                    found = embedded[tokens.tasks == task.number].cpu().numpy()
                    of_answers[name].add(found[known], wanted[known])
        for name, sums in of_answers.items():
            if not sums.count:  # of no recording
                continue
            covariance, readout = sums.covariance(), net.readout.projections[name]
            assert isinstance(readout, nn.Linear)
            weight = weights(covariance, _READOUT_PENALTY)
            bias = covariance.mean_y - covariance.mean_x @ weight
            readout.weight.copy_(torch.from_numpy(weight.T))
            readout.bias.copy_(torch.from_numpy(bias))

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> Batch:
        """Draw the windows of a step, from a generator of its number."""
        config, rng = self.settings, np.random.default_rng([self.settings.seed, number])
        sources = self.sessions
        items: list[Item] = []
        targets: dict[str, list[np.ndarray]] = {name: [] for name in config.model.decoded}
        spec, sizes = config.model.spec, [len(s.starts) * s.weight for s in sources]
        times_s = behavior_times_s(spec)
        for index in rng.choice(len(sources), config.batch, p=np.array(sizes) / sum(sizes)):
            source = sources[index]
            window = source.session.window(float(rng.choice(source.starts)), spec)
            names = window.behavior_names
            recorded = set(names) - set(window.missing_channels)
            tasks = {k: t for k, t in config.model.decoded.items() if recorded & {*t.channels}}
            places = rng.permutation(source.session.n_neurons)
            least, mode, most = config.units or 3 * (len(places),)
            # Three equal numbers are a distribution, too.
            shown = places < int(rng.triangular(least, mode, most + 1e-6))
            queries = dict.fromkeys(tasks, times_s)
            items.append(window_item(window, self.units[source.key], queries, shown))
            values = _recorded(window)
            for name, task in tasks.items():
                targets[name].append(values[:, [names.index(one) for one in task.channels]])
        joined = {k: np.concatenate(found) for k, found in targets.items() if found}
        wanted = {k: torch.from_numpy(found.astype(np.float32)) for k, found in joined.items()}
        return self.net.tokens(items), wanted

    def step(self, drawn: Batch) -> dict[str, float]:
        """Train on one batch."""
        config = self.settings
        lr, momentum = one_cycle(self.state.step, config.total_steps)
        lr *= config.base_lr * config.batch
        for group in self.optimiser.param_groups:
            group["lr"], group["betas"] = lr, (momentum, group["betas"][1])
        self.net.train()
        self.optimiser.zero_grad()
        tokens, targets = drawn
        with seeded((config.seed + 1) * 1_000_003 + self.state.step, self.device):
            answers = self.net(tokens.to(self.device))
        loss = torch.zeros((), device=self.device)
        for name, target in targets.items():
            wanted = target.to(self.device)
            is_known = wanted.isfinite()
            error = (answers[name] - wanted)[is_known].square().sum() / is_known.sum().clamp(min=1)
            # A task weighs as the windows that have it.
            loss = loss + error * len(target) / (config.batch * config.model.spec.n_behavior)
        loss.backward()
        is_finite = has_finite_gradients(self.net)
        self.state.count(is_skipped=not is_finite)
        if is_finite:
            self.optimiser.step()
        row = {"loss": float(loss.detach()), "windows": float(config.batch), "lr": lr}
        return row | {"step": self.state.step}

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return the correlation of each channel with all neurons, and their mean."""
        step = str(self.state.step)
        predictor = PoyoPredictor("training", step, self.net.eval(), self.units, self.device)

        def ask(session: Session) -> Mask:
            mask = Mask.nothing(session, predictor.needs.spec).show(slice(None))
            return mask.with_behavior("target")

        sources = ((one.session, one.held_out) for one in self.sessions)
        most = self.settings.validation_windows
        by_channel: dict[str, list[float]] = {}
        scored: list[BehaviorScore] = []
        decoding = Condition("all responses", ask)
        for results in validation_results(predictor, sources, decoding, most, centred=False):
            for score in results.behavior:
                if np.isfinite(score.value):
                    scored.append(score)
                    by_channel.setdefault(score.channel, []).append(score.value)
        scores = {name: float(np.mean(found)) for name, found in by_channel.items()}
        if not scores:
            return {}
        return scores | {SUMMARY: float(np.mean([*scores.values()]))} | scored_over(scored)

    def model(self, folder: Path) -> PoyoCheckpoint:
        """Return the network with the names of all neurons."""
        state = self.net.state_dict()
        return PoyoCheckpoint(config=self.settings.model, units=self.units, state=state)


def _recorded(window: Window) -> np.ndarray:
    """Return the behaviour of a window, float32, NaN where nothing was recorded."""
    lacking = [name in window.missing_channels for name in window.behavior_names]
    is_known = window.valid["behavior"][:, None] & ~np.array(lacking)
    return np.where(is_known, window.behavior, np.float32(np.nan))


# -- start values ----------------------------------------------------------------------
_START_WINDOWS = 400
"""Train windows of a session that start values are fitted to."""
_UNIT_PENALTY, _READOUT_PENALTY = 10.0, 1e-3
"""Ridge penalties, in variances of an input."""


def _decoding_weights(windows: Sequence[Window]) -> np.ndarray:
    """Return weights (N, channel) from responses to behaviour, z-scored over the neurons."""
    sums = Sums(windows[0].responses.shape[1], windows[0].behavior.shape[1])
    for window in windows:
        values = _recorded(window)
        # What is missing says nothing: z-scored behaviour is 0 on average.
        sums.add(window.filled_responses, np.nan_to_num(values))
    found = weights(sums.covariance(), _UNIT_PENALTY)
    return np.asarray((found - found.mean(0)) / (found.std(0) + 1e-9))


def _lack(source: TrainingSession, model: PoyoConfig) -> str:
    """Return what a session lacks for a training, "" if it lacks nothing."""
    session = source.session
    wanted = [name for task in model.decoded.values() for name in task.channels]
    if not set(wanted) & set(session.behavior_names):
        return f"Session {session.id!r} has none of {', '.join(wanted)}, which {TITLE} decodes."
    return "" if len(source.starts) else without_windows(session)
