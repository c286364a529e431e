"""Training of digital twins: one core over several sessions, or one transfer to it.

    omnimouse train twin-demo --out RUN     start, or go on from RUN's last save

Each session has its own perspective, modulation and readout; the core is shared, and
its gradient is the mean over the sessions of a step. A step uses one random stream.

    RUN/model.safetensors, .json   the twins of all sessions (`checkpoint`)
    RUN/best.safetensors, .json    the same for the best validation score so far
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.shard import validation_results
from omnimouse_model.families.parts.motion_energy import receptive_field_centers
from omnimouse_model.families.twin.checkpoint import MEAN, TwinCheckpoint, read_twins, save_twins
from omnimouse_model.families.twin.clips import (
    Clips,
    clip_spec,
    clip_starts,
    mean_responses,
    read_clips,
)
from omnimouse_model.families.twin.network import TwinNetwork
from omnimouse_model.families.twin.optimiser import AdaptiveSgd, freeze, learning_rate
from omnimouse_model.families.twin.predictor import (
    TwinOfSession,
    TwinPredictor,
    load_twin,
)
from omnimouse_model.families.twin.training_config import TwinTrainConfig
from omnimouse_model.masks import Mask
from omnimouse_model.predict.description import TRAINED, checkpoint_file
from omnimouse_model.progress import Job
from omnimouse_model.training.checkpoints import (
    exported,
    rank_files,
    read_state,
    run_card,
)
from omnimouse_model.training.config import check_sessions, run_record
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import (
    SUMMARY,
    LoopState,
    seeded,
    train,
    train_as_recorded,
    write_models,
)
from omnimouse_model.training.sessions import TrainingSession, check_distinct, key_number


def start_twins(
    config: TwinTrainConfig, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> TwinPredictor:
    """Train on open sessions, or resume, and return the best twins (`Training.start`)."""
    check_sessions(run_record(out).sessions, "a digital twin")
    best = train_as_recorded(_TwinTraining.of, config, sessions, out, job, seed)
    return load_twin(best, job.device)


def export_twins(run: Path, path: Path) -> None:
    """Write the best twins of a run, else the last (`Family.export`)."""
    settings = exported(run, path, "digital twins")
    checkpoint = read_twins(checkpoint_file(run, TRAINED))
    card = run_card(checkpoint.card, settings)
    card |= {"targets": settings.tree.get("targets", "responses")}
    renames = card["same_neurons"]
    sessions = {renames.get(key, key): own for key, own in checkpoint.sessions.items()}
    save_twins(path, replace(checkpoint, sessions=sessions, card=card))


OWN = ("perspective", "modulation", "readout")
"""Parts that each session has for itself."""


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Clips of one step, with its stream and number."""

    clips: list[Clips]
    stream: int
    number: int


@dataclass(slots=True)
class _TwinTraining:
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

    settings: TwinTrainConfig
    sessions: dict[str, TrainingSession]
    starts: dict[str, np.ndarray]
    nets: dict[str, TwinNetwork]
    means: dict[str, np.ndarray]
    out: Path
    device: torch.device
    team: Team
    n_sessions: int
    origin: TwinCheckpoint | None
    optimisers: dict[str, AdaptiveSgd] = field(default_factory=dict)
    state: LoopState = field(default_factory=LoopState)

    @classmethod
    def of(
        cls,
        config: TwinTrainConfig,
        sessions: list[TrainingSession],
        out: Path,
        device: torch.device,
        team: Team,
        origin: TwinCheckpoint | None,
    ) -> "_TwinTraining":
        """Build the networks and their optimisers, without start values."""
        check_distinct(sessions, team)
        nets = {}
        for source in sessions:
            # By session, so that its start does not depend on the ranks.
            with seeded(_seed(config.seed, source.key)):
                nets[source.key] = TwinNetwork(config.model, source.session.n_neurons)
        first = next(iter(nets.values()))
        for net in nets.values():
            net.core = first.core
            freeze(net.to(device), config.frozen)
        spec = clip_spec(config)
        limit = config.sessions_per_step or len(sessions)
        training = cls(
            config,
            {s.key: s for s in sessions},
            {s.key: clip_starts(s, spec) for s in sessions},
            nets,
            {s.key: mean_responses(s) for s in sessions},
            out,
            device,
            team,
            sum(team.gather(min(limit, len(sessions)))),
            origin,
        )
        make = partial(
            AdaptiveSgd,
            lr=config.lr,
            momentum=config.momentum,
            decay=config.weight_decay,
            clip=config.clip,
            eps=config.clip_eps,
        )
        training.optimisers["core"] = make(first, parts=("core",))
        for key, net in nets.items():
            training.optimisers[key] = make(net, parts=OWN)
        return training

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
        draw_twins(self.settings, self.sessions, self.nets, self.origin)
        # Ranks have drawn different cores, and only gradients are averaged later.
        self.team.copy_from_main(self.core)
        return self.origin is not None

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take the tensors of a save."""
        for key, net in self.nets.items():
            net.load_state_dict(saved["nets"][key])
        for name, optimiser in self.optimisers.items():
            _load_momentum(optimiser, saved["momentum"][name])

    @property
    def identity(self) -> dict[str, Any]:
        """What a run cannot change when it is resumed."""
        return {
            "model": repr(self.settings.model),
            "ranks": self.team.size,
            "sessions": {key: net.n_units for key, net in self.nets.items()},
        }

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> _Drawn:
        """Draw the sessions and clips of a step, from generators of its number."""
        config, spec = self.settings, clip_spec(self.settings)
        keys = list(self.sessions)
        if config.sessions_per_step is not None:
            rng = np.random.default_rng([config.seed, number, self.team.rank])
            weight = np.array([self.sessions[key].weight for key in keys])
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
            clips.append(
                read_clips(self.sessions[key], starts, spec, self.means[key], config.targets)
            )
        return _Drawn(clips, stream, number)

    def _begin_cycle(self) -> None:
        """Restart noise and momentum where a further cycle begins."""
        config = self.settings
        cycle, epoch = config.epoch_of(self.state.step)
        is_first = self.state.step % config.epoch_steps == 0
        if not (cycle and epoch == 0 and is_first):
            return
        for net in self.nets.values():
            net.perspective.monitor.reset_noise()
            net.readout.position.reset_noise(config.position_sd)
        for optimiser in self.optimisers.values():
            optimiser.state.clear()

    def step(self, drawn: _Drawn) -> dict[str, float]:
        """Train on the clips of one step, and return the values to log."""
        self._begin_cycle()
        config = self.settings
        cycle, epoch = config.epoch_of(self.state.step)
        lr = learning_rate(epoch, cycle, config.lr, config.cycle_epochs, config.warmup_epochs)
        for net in self.nets.values():
            _train_mode(net, config.frozen)
            net.zero_grad()
        losses = [self._backward(clips, drawn) for clips in drawn.clips]
        self.team.start_average(self.core)()
        # Gradients are sums over the sessions of a rank, then means over the ranks.
        share = self.team.size / self.n_sessions
        for parameter in self.core:
            if parameter.grad is not None:
                parameter.grad *= share
        # The core's gradients are those of all ranks by now.
        is_bad = not all(map(isfinite, losses)) or not self._has_finite_gradients()
        total, count, n_bad = self.team.sums(
            [
                float(sum(x for x in losses if isfinite(x))),
                float(sum(map(isfinite, losses))),
                float(is_bad),
            ]
        )
        self.state.count(is_skipped=bool(n_bad))
        if not n_bad:
            used = ["core", *(clips.session for clips in drawn.clips)]
            for name in used:
                self.optimisers[name].set_lr(lr)
                self.optimisers[name].step()
        return {
            "loss": total / count if count else float("nan"),
            "windows": float(self.n_sessions * config.clips),
            "step": self.state.step,
            "lr": lr,
        }

    def _has_finite_gradients(self) -> bool:
        gradients = [
            parameter.grad
            for net in self.nets.values()
            for parameter in net.parameters()
            if parameter.grad is not None
        ]
        if not gradients:
            return True
        return bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())

    def _backward(self, clips: Clips, drawn: _Drawn) -> float:
        """Add the gradients of some clips of a session, and return their loss."""
        net, config = self.nets[clips.session], self.settings
        clips = clips.to(self.device)
        with seeded(_seed(config.seed, clips.session) + drawn.number, self.device):
            state = net.start(config.clips, drawn.stream)
        output = net(clips.gray, clips.pupil, clips.behavior, state)
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
        key, source = next(iter(self.sessions.items()))
        net = self.nets[key].eval()
        spec = self.settings.spec
        predictor = TwinPredictor(
            "training",
            str(self.state.step),
            spec,
            lambda session: TwinOfSession(net, self.means[key]),
            {key: net.n_units},
            self.device,
        )
        condition = Condition("video_behavior", partial(Mask.from_strategy, "test/video_behavior"))
        most, one = self.settings.validation_windows, [(source.session, source.held_out)]
        for results in validation_results(predictor, one, condition, most):
            (score,) = results.scores
            if isfinite(score.value):
                return {"video_behavior": score.value, SUMMARY: score.value}
        return {}

    @property
    def saved(self) -> dict[str, Any]:
        """Tensors and plain containers of a save."""
        return {
            "nets": {key: net.state_dict() for key, net in self.nets.items()},
            "means": {key: torch.from_numpy(m) for key, m in self.means.items()},
            "momentum": {k: _momentum(o) for k, o in self.optimisers.items()},
        }

    def write_result(self, folder: Path) -> None:
        """Write the twins of all ranks as checkpoints."""
        nets: dict[str, dict[str, Tensor]] = {}
        means: dict[str, Tensor] = {}
        for path in rank_files(folder):
            saved = read_state(path)
            nets |= saved["nets"]
            means |= saved["means"]
        config = self.settings
        twins = TwinCheckpoint.of(nets, means, config.model, config.frame_size)
        write_models(
            self.out, self.state, lambda path, card: save_twins(path, replace(twins, card=card))
        )


train_twins = partial(train, _TwinTraining.of)
"""Function that trains twins; `origin` is a `TwinCheckpoint`."""


def _seed(seed: int, session: str) -> int:
    """Return the seed of a session."""
    return seed + key_number(session)


def _train_mode(net: TwinNetwork, frozen: tuple[str, ...]) -> None:
    """Switch on the noise, except in frozen modules."""
    net.train()
    for name in frozen:
        net.get_submodule(name).eval()


def _momentum(optimiser: AdaptiveSgd) -> list[Tensor | None]:
    """Return the momentum of each parameter, in their order."""
    return [
        optimiser.state[parameter].get("momentum")
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]


def _load_momentum(optimiser: AdaptiveSgd, saved: list[Tensor | None]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for parameter, momentum in zip(parameters, saved, strict=True):
        if momentum is not None:
            optimiser.state[parameter]["momentum"] = momentum.to(parameter)


# -- start values of digital twins
_MAX_POSITION = 0.95
"""Largest first position, because tanh is flat beyond."""


def draw_twins(
    config: TwinTrainConfig,
    sessions: Mapping[str, TrainingSession],
    nets: Mapping[str, TwinNetwork],
    origin: TwinCheckpoint | None,
) -> None:
    """Set the start values of all sessions, in place.

    With `origin`, core, perspective and modulation are those of a trained model: of the
    same session if it knows it, else of its first. Without, the response of the retina
    to the session's luminance gets mean 0 and variance 1.
    """
    for key, net in nets.items():
        with torch.no_grad():
            if origin is None:
                _standardise_retina(net, sessions[key])
            else:
                _copy(net, origin, key)
            net.readout.position.reset_noise(config.position_sd)
            if config.start == "receptive-fields":
                centers = receptive_field_centers(sessions[key], config.targets)
                positions = _positions(net, centers, config.frame_size)
                net.readout.position.mu.copy_(positions)


def _copy(net: TwinNetwork, origin: TwinCheckpoint, key: str) -> None:
    """Copy all parts of a trained model but the readout."""
    own = origin.sessions.get(key) or next(iter(origin.sessions.values()))
    kept = {k: v for k, v in own.items() if k != MEAN and not k.startswith("readout.")}
    net.load_state_dict(net.state_dict() | dict(origin.core) | kept)


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
