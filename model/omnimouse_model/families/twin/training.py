"""Training of digital twins: one core over several sessions, or one transfer to it.

    omnimouse train twin-demo --out RUN     start, or go on from RUN's last save

Each session has its own perspective, modulation and readout; the core is shared, and
its gradient is the mean over the sessions of a step. A step uses one random stream.

    RUN/model.safetensors, .json   the twins of all sessions (`checkpoint`)
    RUN/best.safetensors, .json    the same for the best validation score so far

The file is long because a training is read from top to bottom in it: its config, its clips,
the optimiser, the steps, the start values, and last the transfer to a new session.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import FinetuneError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.shard import validation_results
from omnimouse_model.families.parts.clips import clip_starts
from omnimouse_model.families.parts.motion_energy import receptive_field_centers
from omnimouse_model.families.twin.network import POSITION_SD, GroupMixing, TwinConfig, TwinNetwork
from omnimouse_model.families.twin.predictor import N_GAZE, RATE_HZ, TwinPredictor, twin_spec
from omnimouse_model.families.twin.twin import FROZEN, MEAN, Side, TwinCheckpoint
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import on_device
from omnimouse_model.training.checkpoints import rank_files, read_state
from omnimouse_model.training.config import Count, Targets, TrainFields, TransferOptions
from omnimouse_model.training.loop import (
    SUMMARY,
    TrainingRun,
    has_finite_gradients,
    mean_without,
    scored_over,
    seeded,
)
from omnimouse_model.training.sessions import TrainingSession, check_distinct, hold_out, key_number


# -- configuration, read from one YAML file --------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class TwinTrainConfig(TrainFields):
    """All settings of a training; the defaults are those of Wang et al. 2025.

    Attributes
    ----------
    model
        Sizes of the network.
    frame_size
        Height and width in pixels of the frames.
    sessions_per_step
        Sessions of one step in each process; None for all.
    clips, frames, burn_in
        Clips of a session per step; frames of a clip at 30 Hz; its first frames that
        have no loss.
    targets
        The noisy "responses", or the exact conditional means of the simulator
        ("truth").
    start
        First positions of the readout: the center of the monitor, or each neuron's
        receptive field by a ridge regression on motion energy.
    position_sd
        First standard deviation of the positions.
    cycles, cycle_epochs, epoch_steps
        Cycles of the learning rate, epochs of a cycle, and steps of an epoch.
    warmup_epochs
        Epochs of the first cycle over which the rate rises.
    lr, momentum, weight_decay, clip, clip_eps
        See `AdaptiveSgd`.
    frozen
        Modules that are not trained, such as "core".
    validation_windows
        Windows of each validation; None for all.
    """

    frame_size: tuple[Side, Side]
    model: TwinConfig = field(default_factory=TwinConfig)
    sessions_per_step: Count | None = None
    clips: Count = 5
    frames: Count = 70
    burn_in: int = 10
    targets: Targets = "responses"
    start: Literal["center", "receptive-fields"] = "center"
    position_sd: float = POSITION_SD
    cycles: Count = 2
    cycle_epochs: Count = 100
    epoch_steps: Count = 512
    warmup_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 0.01
    clip_eps: float = 1e-3
    frozen: tuple[str, ...] = ()
    validate_every: Count = 512
    validation_windows: Count | None = 48

    def __post_init__(self) -> None:
        if self.burn_in >= self.frames:
            raise ValueError(f"burn_in must be below frames ({self.frames}), found {self.burn_in}")

    @property
    def spec(self) -> WindowSpec:
        """Windows of the twins that are trained."""
        return twin_spec(*self.frame_size)

    @property
    def total_steps(self) -> int:
        """Number of steps of all cycles."""
        return self.cycles * self.cycle_epochs * self.epoch_steps


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """N clips of one session.

    Attributes
    ----------
    frames
        uint8 (T, N, H, W).
    pupil, behavior
        float32 (T, N, 2), z-scored.
    responses
        float32 (T, N, U), in units of each neuron's mean; NaN where nothing was
        recorded.
    """

    session: str
    frames: Tensor
    pupil: Tensor
    behavior: Tensor
    responses: Tensor


def clip_spec(config: TwinTrainConfig) -> WindowSpec:
    """Return the windows that are the clips of training."""
    return replace(config.spec, duration_s=config.frames / RATE_HZ, warmup_s=0.0)


# -- optimiser and learning rates of the digital twin (Wang et al. 2025 and its release)
# Gradient descent with Nesterov momentum. Each gradient is first limited in relation to
# its weight, unit by unit (adaptive clipping), and weight decay is added to the step
# after momentum and clipping.
class AdaptiveSgd(torch.optim.Optimizer):
    """Nesterov momentum with unit-wise adaptive clipping.

    A parameter without a gradient, such as that of a stream that was not drawn, is left
    as it is, with its momentum.

    Parameters
    ----------
    net
        Its parameters that require a gradient are trained.
    config
        `lr`, `momentum`, `weight_decay` (on weights alone), `clip` and `clip_eps`: a
        gradient may have at most `clip` times the norm of its weight, and always `clip_eps`
        times the square root of the number of values of the parameter.
    parts
        First names of parameters, such as "core".
    """

    def __init__(self, net: TwinNetwork, config: TwinTrainConfig, parts: tuple[str, ...]) -> None:
        defaults = {
            "lr": config.lr,
            "momentum": config.momentum,
            "clip": config.clip,
            "eps": config.clip_eps,
        }
        groups = [
            {
                "params": [parameter],
                "dims": dims,
                "decay": config.weight_decay if is_weight else 0.0,
                # The loss is a mean over units, so that each has a small gradient.
                "factor": float(net.n_units) if name.startswith("readout.") else 1.0,
            }
            for name, parameter, dims, is_weight in _rules(net)
            if parameter.requires_grad and name.partition(".")[0] in parts
        ]
        # torch refuses an optimiser without parameters; all may be frozen.
        super().__init__(groups or [{"params": []}], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters with a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad * group["factor"]
                dims = group["dims"]
                weight_norm = torch.linalg.vector_norm(parameter, dim=dims, keepdim=True)
                norm = torch.linalg.vector_norm(gradient, dim=dims, keepdim=True)
                least = group["eps"] * math.sqrt(parameter.numel())
                limit = (group["clip"] * weight_norm).clamp(min=least)
                # A gradient of 0 remains 0.
                share = limit / norm.clamp(min=torch.finfo(norm.dtype).tiny)
                gradient = gradient * share.clamp(max=1)
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                speed = state["momentum"].mul_(group["momentum"]).add_(gradient)
                change = gradient + group["momentum"] * speed
                change += group["decay"] * parameter
                parameter -= group["lr"] * change

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.param_groups:
            group["lr"] = lr


def _rules(net: TwinNetwork) -> Iterator[tuple[str, nn.Parameter, tuple[int, ...] | None, bool]]:
    """Yield name, parameter, dimensions of its norm, and whether it decays."""
    mixing = {
        f"{name}.weights" for name, module in net.named_modules() if isinstance(module, GroupMixing)
    }
    for name, parameter in net.named_parameters():
        kind = name.rpartition(".")[0]
        last = kind.rpartition(".")[2]
        dims: tuple[int, ...] | None = None
        if kind in mixing:
            dims = (1, 3)
        elif name.startswith("readout.feature."):
            dims = (2,)
        elif name.startswith("readout.biases."):
            dims = (0,)
        elif last == "weights":
            dims = (1, 2, 3, 4)
        elif last in ("gains", "biases", "scales"):
            dims = (1,)
        yield name, parameter, dims, last == "weights"


def learning_rate(
    epoch: int, cycle: int = 0, lr: float = 0.1, cycle_size: int = 100, warmup_epochs: int = 10
) -> float:
    """Return the rate of an epoch of a cycle: a linear start of the first, then half a cosine.

    Examples
    --------
    >>> from omnimouse_model.families.twin.training import learning_rate
    >>> [round(learning_rate(epoch), 4) for epoch in (0, 9, 10, 55)]
    [0.005, 0.095, 0.1, 0.05]
    """
    warmup = 0 if cycle else warmup_epochs
    if epoch < warmup:
        return lr * (epoch + 0.5) / warmup
    share = (epoch - warmup) / (cycle_size - warmup)
    return lr * (math.cos(math.pi * share) + 1) / 2


def freeze(net: TwinNetwork, modules: tuple[str, ...]) -> None:
    """Keep the weights of modules, such as "core"; they remain in evaluation mode."""
    for name in modules:
        net.get_submodule(name).requires_grad_(False).eval()


OWN = ("perspective", "modulation", "readout")
"""Parts that each session has for itself."""
FRAMES, BURN_IN = 90, 30
"""Of the clips of a fine-tuning."""
VALIDATIONS = 6


@dataclass(slots=True)
class TwinTraining(TrainingRun):
    """A training of twins: networks, clips and optimisers of the sessions of this process.

    Attributes
    ----------
    nets
        session key -> network; their cores are one module.
    optimisers
        "core", or a session key -> optimiser.
    n_sessions
        Sessions of all ranks in one step.
    """

    title = "a digital twin"
    config = TwinTrainConfig
    checkpoint = TwinCheckpoint
    load_model = TwinPredictor.load
    starts: dict[str, np.ndarray] = field(init=False)
    nets: dict[str, TwinNetwork] = field(init=False)
    means: dict[str, np.ndarray] = field(init=False)
    n_sessions: int = field(init=False)
    optimisers: dict[str, AdaptiveSgd] = field(init=False)

    def __post_init__(self) -> None:
        """Build the networks and their optimisers, without start values."""
        config, sessions = self.settings, self.sessions
        check_distinct(sessions, self.team)
        self.nets = {}
        for source in sessions:
            # By session, so that its start does not depend on the ranks.
            with seeded(_seed(config.seed, source.key)):
                self.nets[source.key] = TwinNetwork(config.model, source.session.n_neurons)
        first = next(iter(self.nets.values()))
        for net in self.nets.values():
            net.core = first.core
            freeze(net.to(self.device), config.frozen)
        spec = clip_spec(config)
        self.starts = {source.key: clip_starts(source, spec) for source in sessions}
        # Of each neuron, float32 (P,) in recorded units. A silent one has the mean 0, of which
        # nothing is a multiple.
        means = ((one.key, np.asarray(one.session.units.mean, np.float32)) for one in sessions)
        self.means = {key: np.where(mean > 0, mean, np.float32(1)) for key, mean in means}
        limit = config.sessions_per_step or len(sessions)
        self.n_sessions = sum(self.team.gather(min(limit, len(sessions))))
        self.optimisers = {"core": AdaptiveSgd(first, config, ("core",))}
        self.optimisers |= {key: AdaptiveSgd(net, config, OWN) for key, net in self.nets.items()}

    # -- as parts of a `Family` -------------------------------------------------------
    windows = attrgetter("spec")

    @classmethod
    def of_transfer(
        cls, origin: TwinCheckpoint, session: Session, options: TransferOptions
    ) -> tuple[TwinTrainConfig, TrainingSession]:
        """Return config and windows of a fine-tuning to the readout of a session, and its gaze.

        Core and the recurrent part of the modulation keep their weights, as in the release.
        The start is a session that the model knows, with the receptive fields of the new
        neurons.
        """
        if session.stimulus is None:
            raise FinetuneError(
                "no_video", f"Session {session.id!r} has no video, which is all that a twin sees."
            )
        config = TwinTrainConfig(
            seed=options.seed,
            frame_size=origin.frame_size,
            model=origin.config,
            clips=options.batch,
            frames=FRAMES,
            burn_in=BURN_IN,
            start="receptive-fields",
            position_sd=0.1,
            cycles=1,
            # The rate falls from step to step.
            cycle_epochs=options.steps,
            epoch_steps=1,
            warmup_epochs=min(20, max(1, options.steps // 10)),
            frozen=FROZEN if options.train == "embeddings" else (),
            validate_every=max(1, options.steps // VALIDATIONS),
        )
        return config, hold_out(session, options.seed)

    @property
    def result(self) -> dict[str, TwinNetwork]:
        """The network of each session of this process, by key; all have the same core."""
        return self.nets

    @property
    def core(self) -> list[Tensor]:
        """Parameters of the shared core."""
        return list(next(iter(self.nets.values())).core.parameters())

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        """Set the start values; True if they are those of a trained model.

        Then core, perspective and modulation are those of the same session if the model
        knows it, else of its first. Without one, the response of the retina to the session's
        luminance gets mean 0 and variance 1.
        """
        config, sessions = self.settings, self.by_key
        for key, net in self.nets.items():
            with torch.no_grad():
                if self.origin is None:
                    _standardise_retina(net, sessions[key])
                else:
                    _copy(net, self.origin, key)
                net.readout.position.reset_noise(config.position_sd)
                if config.start == "receptive-fields":
                    centers = receptive_field_centers(sessions[key], config.targets)
                    positions = _positions(net, centers, config.frame_size)
                    net.readout.position.mu.copy_(positions)
        # Ranks have drawn different cores, and only gradients are averaged later.
        self.team.copy_from_main(self.core)
        return self.origin is not None

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take the tensors of a save."""
        for key, net in self.nets.items():
            net.load_state_dict(saved["nets"][key])
        for name, optimiser in self.optimisers.items():
            _load_momentum(optimiser, saved["momentum"][name])

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> tuple[list[Clips], int]:
        """Draw the clips of a step, and its stream, from generators of its number."""
        config, spec = self.settings, clip_spec(self.settings)
        sources = self.by_key
        keys = list(sources)
        if config.sessions_per_step is not None:
            rng = np.random.default_rng([config.seed, number, self.team.rank])
            weight = np.array([sources[key].weight for key in keys])
            count = min(config.sessions_per_step, len(keys))
            chosen = rng.choice(len(keys), count, replace=False, p=weight / weight.sum())
            keys = [keys[k] for k in chosen]
        # One stream for all ranks: they average the gradients of the same parameters.
        rng = np.random.default_rng([config.seed, number])
        stream = int(rng.integers(config.model.streams))
        clips = []
        for key in keys:
            # By session: one process and several draw the same.
            rng = np.random.default_rng([_seed(config.seed, key), number])
            starts = rng.choice(self.starts[key], config.clips)
            clips.append(self._clips(sources[key], starts, spec))
        return clips, stream

    def _clips(self, source: TrainingSession, starts: np.ndarray, spec: WindowSpec) -> Clips:
        """Read the clips that begin at some times."""
        windows = [source.session.window(float(start), spec) for start in starts]
        scale = source.session.response_scale / self.means[source.key]
        responses = []
        for window in windows:
            rates = source.target_rates(window, self.settings.targets, sees_responses=False)
            recorded = window.valid["responses"][:, None]
            # Deconvolved activity is clipped at 0, as in the release.
            responses.append(np.where(recorded, np.maximum(rates * scale, 0), np.nan))
        behavior = np.stack([window.behavior for window in windows], 1)

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float32))

        return Clips(
            source.key,
            torch.from_numpy(np.stack([window.frames_u8 for window in windows], 1)),
            tensor(behavior[..., :N_GAZE]),
            tensor(behavior[..., N_GAZE:]),
            tensor(np.stack(responses, 1)),
        )

    def _begin_cycle(self) -> None:
        """Restart noise and momentum where a further cycle begins."""
        config, step = self.settings, self.state.step
        if step == 0 or step % (config.cycle_epochs * config.epoch_steps):
            return
        for net in self.nets.values():
            net.perspective.monitor.reset_noise()
            net.readout.position.reset_noise(config.position_sd)
        for optimiser in self.optimisers.values():
            optimiser.state.clear()

    def step(self, drawn: tuple[list[Clips], int]) -> dict[str, float]:
        """Train on the clips of one step, and return the values to log."""
        self._begin_cycle()
        config, (drawn_clips, stream) = self.settings, drawn
        cycle, epoch = divmod(self.state.step // config.epoch_steps, config.cycle_epochs)
        lr = learning_rate(epoch, cycle, config.lr, config.cycle_epochs, config.warmup_epochs)
        for net in self.nets.values():
            # The noise is on, except in frozen modules.
            freeze(net.train(), config.frozen)
            net.zero_grad()
        losses = [self._backward(clips, stream) for clips in drawn_clips]
        self.team.start_average(self.core)()
        # Gradients are sums over the sessions of a rank, then means over the ranks.
        share = self.team.size / self.n_sessions
        for parameter in self.core:
            if parameter.grad is not None:
                parameter.grad *= share
        # The core's gradients are those of all ranks by now.
        is_usable = all(map(has_finite_gradients, self.nets.values()))
        loss, updates = self.counted(losses, is_usable=is_usable)
        if updates:
            for name in ("core", *(clips.session for clips in drawn_clips)):
                self.optimisers[name].set_lr(lr)
                self.optimisers[name].step()
        return {
            "loss": loss,
            "windows": float(self.n_sessions * config.clips),
            "step": self.state.step,
            "lr": lr,
        }

    def _backward(self, clips: Clips, stream: int) -> float:
        """Add the gradients of some clips of a session, and return their loss."""
        net, config = self.nets[clips.session], self.settings
        clips = on_device(clips, self.device)
        with seeded(_seed(config.seed, clips.session) + self.state.step, self.device):
            state = net.start(config.clips, stream)
        # Grey levels (T, N, 1, H, W) from 0 to 1.
        gray = clips.frames[:, :, None].to(torch.float32) / 255
        output = net(gray, clips.pupil, clips.behavior, state)
        loss = net.loss(output.logits, clips.responses, config.burn_in)
        if loss.isfinite() and loss.requires_grad:
            loss.backward()
        return float(loss.detach())

    # -- validation and results --------------------------------------------------------
    def scores(self) -> dict[str, float]:
        """Return the correlation of the first session's validation windows."""
        (scores, *_) = self.team.gather(self._validation() if self.team.is_main else {})
        return dict(scores)

    def _validation(self) -> dict[str, float]:
        source = self.sessions[0]
        key = source.key
        net = self.nets[key].eval()
        predictor = TwinPredictor(
            "training",
            str(self.state.step),
            self.settings.spec,
            lambda session: net,
            {key: net.n_units},
            {key: self.means[key]},
            self.device,
        )
        condition = Condition("video_behavior", partial(Mask.from_strategy, "test/video_behavior"))
        most, one = self.settings.validation_windows, [(source.session, source.held_out)]
        for results in validation_results(predictor, one, condition, most):
            (score,) = results.scores
            if isfinite(score.value):
                self.without = () if self.origin is None else mean_without([score])
                scores = {"video_behavior": score.value, SUMMARY: score.value}
                return scores | scored_over([score])
        return {}

    @property
    def saved(self) -> dict[str, Any]:
        """Tensors and plain containers of a save."""
        return {
            "nets": {key: net.state_dict() for key, net in self.nets.items()},
            "means": {key: torch.from_numpy(m) for key, m in self.means.items()},
            "momentum": {k: _momentum(o) for k, o in self.optimisers.items()},
        }

    def model(self, folder: Path) -> TwinCheckpoint:
        """Return the twins of all ranks."""
        nets: dict[str, dict[str, Tensor]] = {}
        means: dict[str, Tensor] = {}
        for path in rank_files(folder):
            saved = read_state(path)
            nets |= saved["nets"]
            means |= saved["means"]
        config = self.settings
        return TwinCheckpoint.of_networks(
            nets, means, config=config.model, frame_size=config.frame_size
        )


def _seed(seed: int, session: str) -> int:
    """Return the seed of a session."""
    return seed + key_number(session)


def _momentum(optimiser: AdaptiveSgd) -> list[Tensor | None]:
    """Return the momentum of each parameter, in their order."""
    parameters = (p for group in optimiser.param_groups for p in group["params"])
    return [optimiser.state[parameter].get("momentum") for parameter in parameters]


def _load_momentum(optimiser: AdaptiveSgd, saved: list[Tensor | None]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for parameter, momentum in zip(parameters, saved, strict=True):
        if momentum is not None:
            optimiser.state[parameter]["momentum"] = momentum.to(parameter)


# -- start values of digital twins
_MAX_POSITION = 0.95
"""Largest first position, because tanh is flat beyond."""


def _copy(net: TwinNetwork, origin: TwinCheckpoint, key: str) -> None:
    """Copy all parts of a trained model but the readout."""
    own = origin.part(key if key in origin.sessions else next(iter(origin.sessions)))
    kept = {k: v for k, v in own.items() if k != MEAN and not k.startswith("readout.")}
    net.load_state_dict(net.state_dict() | origin.core | kept)


def _standardise_retina(net: TwinNetwork, source: TrainingSession) -> None:
    """Choose scale and offset of the retina for grey levels of a session."""
    if not len(source.starts):
        raise ValueError(f"Session {source.key!r} has no train window of 2 s.")
    starts = source.starts[np.linspace(0, len(source.starts) - 1, 20).astype(int)]
    windows = (source.session.window(float(start), default_spec()) for start in starts)
    gray = np.stack([window.frames_u8[::20] for window in windows])
    perspective = net.perspective
    pixels = torch.from_numpy(gray.reshape(-1)).to(perspective.monitor.center) / 255
    response = perspective.to_response(perspective.monitor_pixel(pixels))
    pixel = perspective.retina_pixel
    spread = response.std().clamp(min=1e-3)
    pixel.offset.copy_(-response.mean() / spread)
    pixel.scale.copy_(pixel.scale / spread)


def _positions(net: TwinNetwork, centers: np.ndarray, frame_size: tuple[int, int]) -> Tensor:
    """Return readout positions before tanh (U, 2) for centers on the monitor."""
    # Points of the monitor are in half widths.
    aspect = frame_size[0] / frame_size[1]
    xy = torch.from_numpy((2 * centers - 1) * [1, aspect]).to(net.readout.position.mu)
    perspective = net.eval().perspective
    rest = xy.new_zeros(1, net.config.pupil)
    seen = perspective.retina_points(xy[None], rest, net.start())
    on_maps = perspective.map_points(seen[0])
    return torch.atanh(on_maps.clamp(-_MAX_POSITION, _MAX_POSITION))
