"""Training of neural data transformers over several sessions.

    omnimouse train ndt-jiang --sessions FOLDER --out RUN

A batch has trials of one session under one masking scheme. The transformer is shared;
each session has stitchers of its own, which a step on another session does not move.

    RUN/model.safetensors, .json   all sessions (`checkpoint`)
    RUN/best.safetensors, .json    the same for the best validation score so far
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from omnimouse_model.data.session import Session
from omnimouse_model.families.ndt.checkpoint import (
    RATE_OF,
    SCHEMES_OF,
    SESSION_TABLE,
    NdtCheckpoint,
    read_ndt,
    save_ndt,
)
from omnimouse_model.families.ndt.network import CAUSAL, Block, Ndt, poisson_loss
from omnimouse_model.families.ndt.predictor import NdtPredictor, load_ndt
from omnimouse_model.families.ndt.training_config import (
    NdtTrainConfig,
    one_cycle,
)
from omnimouse_model.families.ndt.trials import Batch, Trials, read_trials, trial_session
from omnimouse_model.metrics.information import bits_per_spike
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
    ALONE,
    SUMMARY,
    LoopState,
    seeded,
    train,
    train_as_recorded,
    write_models,
)
from omnimouse_model.training.sessions import TrainingSession, check_distinct


def start_ndt(
    config: NdtTrainConfig, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
) -> NdtPredictor:
    """Train on open sessions, or resume, and return the best model (`Training.start`)."""
    check_sessions(run_record(out).sessions, "a neural data transformer")
    open_one = partial(trial_session, spec=config.spec, stride_s=config.stride_s)
    best = train_as_recorded(_NdtTraining.of, config, sessions, out, job, seed, open_one)
    return load_ndt(best, job.device)


def export_ndt(run: Path, path: Path) -> None:
    """Write the weights of a run as a checkpoint: the best, else the last (`Family.export`)."""
    settings = exported(run, path, "neural data transformers")
    checkpoint = read_ndt(checkpoint_file(run, TRAINED))
    card = run_card(checkpoint.card, settings)
    save_ndt(path, replace(_renamed(checkpoint, card["same_neurons"]), card=card))


def _renamed(checkpoint: NdtCheckpoint, renames: dict[str, str]) -> NdtCheckpoint:
    state: dict[str, Tensor] = checkpoint.shared
    sessions = {}
    for key, count in checkpoint.sessions.items():
        name = renames.get(key, key)
        sessions[name] = count
        for tensor, value in checkpoint.stitchers(key).items():
            state[tensor.replace(f".{key}.", f".{name}.", 1)] = value
    return replace(checkpoint, state=state, sessions=sessions)


LEAST_RATE = 1e-3
"""Lowest mean count per bin from which a bias is initialised."""


def with_steps(
    config: NdtTrainConfig, sessions: list[TrainingSession], team: Team = ALONE
) -> NdtTrainConfig:
    """Return the config with its epochs counted in steps.

    An epoch is as long as that of the rank with most batches; others repeat theirs.
    """
    if config.steps is not None:
        return config
    own = sum(-(-len(source.starts) // config.batch) for source in sessions)
    return replace(config, steps=config.epochs * max(1, *team.gather(own)))


@dataclass(slots=True)
class _NdtTraining:
    """A training of a transformer: network, trials and optimiser of one process.

    Attributes
    ----------
    trials
        Sessions of this rank; the network has the stitchers of all ranks.
    shared, own
        Trained parameters that all ranks share, and those of this rank's sessions.
    """

    settings: NdtTrainConfig
    trials: tuple[Trials, ...]
    net: Ndt
    out: Path
    device: torch.device
    team: Team
    origin: NdtCheckpoint | None
    optimiser: torch.optim.AdamW
    schedule: OneCycleLR
    state: LoopState = field(default_factory=LoopState)

    @classmethod
    def of(
        cls,
        config: NdtTrainConfig,
        sessions: list[TrainingSession],
        out: Path,
        device: torch.device,
        team: Team,
        origin: NdtCheckpoint | None,
    ) -> "_NdtTraining":
        """Build the network and its optimiser."""
        config = with_steps(config, sessions, team)
        trials = tuple(read_trials(source, config) for source in sessions)
        check_distinct(sessions, team)
        listed = team.gather({own.key: own.n_neurons for own in trials})
        counts = {key: count for of_rank in listed for key, count in of_rank.items()}
        with seeded(config.seed):
            net = Ndt(config.model, counts).to(device)
        if config.trained == "stitchers":
            for _, parameter in net.shared():
                parameter.requires_grad_(False)
        trained = [p for p in net.parameters() if p.requires_grad]
        optimiser, schedule = one_cycle(
            trained, max(1, config.total_steps), config.lr, config.weight_decay
        )
        return cls(config, trials, net, out, device, team, origin, optimiser, schedule)

    @property
    def result(self) -> Ndt:
        """The network."""
        return self.net

    @property
    def shared(self) -> list[Tensor]:
        """Trained parameters that all ranks share."""
        return [p for _, p in self.net.shared() if p.requires_grad]

    @property
    def own(self) -> list[Tensor]:
        """Parameters of the stitchers."""
        both = (self.net.stitchers, self.net.readouts)
        return [p for part in both for p in part.parameters()]

    # -- start and resume --------------------------------------------------------------
    def start(self) -> bool:
        if self.settings.mean_rates:
            for trials in self.trials:
                _set_mean_rates(self.net, trials)
        if self.settings.start == "components":
            with seeded(self.settings.seed):
                _start_transformer(self.net)
            for trials in self.trials:
                _start_stitchers(self.net, trials, self.device)
        if self.origin is None:
            return False
        self.net.load_state_dict(
            self.net.state_dict() | _start_values(self.origin, self.net.sessions)
        )
        return True

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take the tensors of a save."""
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])

    @property
    def identity(self) -> dict[str, Any]:
        """What a run cannot change when it is resumed."""
        return {
            "model": repr(self.settings.model),
            "ranks": self.team.size,
            "sessions": dict(self.net.sessions),
            # The rate depends on the number of all steps.
            "steps": self.settings.total_steps,
        }

    # -- steps -------------------------------------------------------------------------
    def draw(self, number: int) -> Batch:
        """Draw the batch of a step, from a generator of its number."""
        config = self.settings
        places = [
            (index, place)
            for index, trials in enumerate(self.trials)
            for place in range(trials.n_batches(config.batch))
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
        loss = self._backward(drawn.to(self.device))
        self.team.start_average(self.shared)()
        norm = self._mean_gradients()
        total, count, n_bad = self.team.sums(
            [
                loss if isfinite(loss) else 0.0,
                float(isfinite(loss)),
                float(not isfinite(loss) or not isfinite(norm)),
            ]
        )
        number = self.state.step
        self.state.count(is_skipped=bool(n_bad))
        if not n_bad:
            if config.clip is not None and norm > config.clip:
                self._scale_gradients(config.clip / norm)
            self.optimiser.step()
        # A skipped step is a step of the cycle, too.
        if number + 1 < config.total_steps:
            self.schedule.step()
        return {
            "loss": total / count if count else float("nan"),
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
        loss = poisson_loss(
            output.log_rates,
            batch.counts,
            batch.scored,
            is_sum=config.reduction == "sum",
        )
        if loss.isfinite():
            loss.backward()
        return float(loss.detach())

    def _mean_gradients(self) -> float:
        """Make the gradients means over the ranks; return their norm, of all ranks."""
        own = [p.grad for p in self.own if p.grad is not None]
        if own and self.team.size > 1:
            torch._foreach_div_(own, self.team.size)
        shared = [p.grad for p in self.shared if p.grad is not None]
        (squares,) = self.team.sums([_squares(own)])
        return sqrt(squares + _squares(shared))

    def _scale_gradients(self, factor: float) -> None:
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)

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
        return scores | ({SUMMARY: float(np.mean(list(scores.values())))} if scores else {})

    @torch.inference_mode()
    def _bits(self, trials: Trials, scheme: str) -> float:
        """Return the bits per spike of all targets of a session, pooled."""
        batch = trials.validation_batch(self.settings, scheme)
        size = self.settings.batch
        rates = [
            self.net(part.to(self.device), trials.key, scheme).log_rates.exp().cpu()
            for part in batch.seen.split(size)
        ]
        counts = torch.where(batch.scored, batch.counts, torch.nan).numpy()
        predicted = torch.cat(rates).numpy()
        # Rates that are not finite are the worst, not an error.
        if not np.isfinite(predicted).all():
            return float("nan")
        return bits_per_spike(predicted, counts).value

    @property
    def saved(self) -> dict[str, Any]:
        """Tensors and plain containers of a save."""
        return {
            "own": [trials.key for trials in self.trials],
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def write_result(self, folder: Path) -> None:
        """Write the model of all ranks as checkpoints."""
        tensors = dict(self.net.state_dict())
        for path in rank_files(folder)[1:]:
            saved = read_state(path)
            tensors |= {
                name: value
                for name, value in saved["net"].items()
                if name.split(".")[1] in saved["own"]
                and name.startswith(("stitchers.", "readouts."))
            }
        # A fine-tuning trains under the same schemes, and with this rate.
        more = {SCHEMES_OF: list(self.settings.schemes), RATE_OF: self.settings.lr}
        spec = asdict(self.settings.spec)
        model = NdtCheckpoint(self.settings.model, spec, tensors, dict(self.net.sessions))
        write_models(
            self.out,
            self.state,
            lambda path, card: save_ndt(path, replace(model, card={**card, **more})),
        )


train_ndt = partial(train, _NdtTraining.of)
"""Function that trains a transformer; `origin` is an `NdtCheckpoint`."""


def _squares(gradients: list[Tensor]) -> float:
    """Return the sum of squares of all entries."""
    if not gradients:
        return 0.0
    norms = torch.stack(torch._foreach_norm(gradients))
    return float(norms.double().square().sum())


@torch.no_grad()
def _set_mean_rates(net: Ndt, trials: Trials) -> None:
    """Start the readout of a session at the mean rates of its neurons."""
    bias = net.readouts[trials.key].bias
    assert isinstance(bias, Tensor)
    rates = np.maximum(trials.mean_counts, LEAST_RATE)
    bias.copy_(torch.from_numpy(np.log(rates)))


# -- start at a linear forecast --------------------------------------------------------
_BIN = 6
"""Bins over which responses are averaged before their components are computed."""
_STITCHED, _PROJECTED = 0.3, 3.0
"""Gains of a component before and after the softsign."""
_RAMP, _CONSTANT = 3.0, 8.0
"""Of the position: a ramp over the bins, and constants that steady the layer norms."""
_TAU = 6.0
"""Bins within which the weight of the last visible ones falls."""
_SEEN = 3.0
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
    own_part = found[:, :n] @ own.T
    own = own * (rest * own_part).sum() / own_part.square().sum()
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


def _start_values(origin: NdtCheckpoint, sessions: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the tensors of a trained model that a new one starts with.

    The embedding of an unknown session is the mean of the trained ones.
    """
    state = origin.shared
    if SESSION_TABLE in state:
        table, known = state[SESSION_TABLE], list(origin.sessions)
        state[SESSION_TABLE] = torch.stack(
            [table[known.index(name)] if name in known else table.mean(0) for name in sessions]
        )
    for name, count in sessions.items():
        if origin.sessions.get(name) == count:
            state |= origin.stitchers(name)
    return state
