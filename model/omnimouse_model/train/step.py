"""One training step: draw batches, compute the loss, update both parameter groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.readout import behavior_loss, poisson_loss
from omnimouse_model.predict.omnimouse.memory_fallback import (
    Precision,
    computes_in_bf16,
)
from omnimouse_model.train.batches import Batch, TrainingSession, draw_batch, to_device
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.cpu.parallel_batches import (
    are_independent,
    parallel_gradients,
)
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.loop import MAX_SKIPPED
from omnimouse_model.train.run import Run
from omnimouse_model.train.sampling import Turn

LOSSES = ("loss", "response_loss", "behavior_loss")


@dataclass(frozen=True, slots=True)
class Step:
    """Batches of one step, and the seed of its stochastic depth (dropped paths)."""

    seed: int
    batches: list[Batch]


def draw_step(config: TrainConfig, sessions: list[TrainingSession], rank: int, number: int) -> Step:
    """Draw the batches of a step on one rank, from a generator seeded by its number."""
    phase, _ = config.phase_at(number)
    # Rank 0 draws the same as a run of one process.
    of_rank = (rank,) if rank else ()
    rng = np.random.default_rng([config.seed, number, *of_rank])
    seed = int(rng.integers(2**31))
    turns: list[Turn | None] = [None] * phase.accumulate
    if config.sampling == "balanced":
        first = config.batches_before(number)
        turns = [Turn(config.seed, first + k) for k in range(phase.accumulate)]
    batches = [draw_batch(sessions, phase, config.model, rng, turn) for turn in turns]
    return Step(seed, batches)


def train_step(run: Run, config: TrainConfig, drawn: Step, team: Team) -> dict[str, float]:
    """Train on the batches of one step, and return the values to log.

    Gradients of the core are averaged over the batches of all ranks, those of a rank's
    sessions over its own batches. Each group is clipped separately, the session group
    on each rank.

    Raises
    ------
    ValueError
        The loss was not finite in `MAX_SKIPPED` steps in a row, on any rank. All ranks
        raise it in the same step, so that none waits for another.
    """
    phase, step = config.phase_at(run.step)
    of_batches = _gradients(run, config, phase, drawn)
    average = team.start_average(run.group("core"))
    rates = {}
    # Sessions first: their update overlaps with the communication of core gradients.
    for name, group in (("session", config.session), ("core", config.core)):
        if name == "core":
            average()
        rates[name] = learning_rate(group, phase, step)
        _update(run.optimisers[name], group, rates[name])
    update_average(run, config.average)
    run.step += 1
    row = _over_ranks(of_batches, team)
    _count_skipped(run, drawn, row.pop("not_finite"))
    return row | {"step": run.step, "lr": rates["core"], "session_lr": rates["session"]}


def _gradients(run: Run, config: TrainConfig, phase: Phase, drawn: Step) -> list[dict[str, float]]:
    """Run forward and backward passes; return the losses and sizes of each batch."""
    run.net.train()

    def forward(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        batch = to_device(batch, run.device)
        loss, row = batch_loss(run.net, batch, phase, config.precision)
        tokens = batch.n_tokens(run.net.config.hiera.tokens_per_step)
        row |= {"loss": float(loss.detach()), "tokens": float(tokens)}
        # Gradients add up over batches: the division makes their sum a mean.
        return loss / phase.accumulate, row | {"windows": float(batch.n_windows)}

    if len(drawn.batches) > 1 and are_independent(config, run.device):
        rows = parallel_gradients(forward, drawn.batches, list(run.net.parameters()))
    else:
        rows = []
        # Dropped paths use the global generator. It is forked, so that the state of the
        # caller does not change, and seeded by step, so that a resumed run agrees.
        with torch.random.fork_rng(_gpus(run.device)):
            torch.manual_seed(drawn.seed)
            for batch in drawn.batches:
                loss, row = forward(batch)
                # With a frozen core, a loss may depend on no trained parameter.
                if loss.requires_grad:
                    loss.backward()
                rows.append(row)
    return rows


def _count_skipped(run: Run, drawn: Step, n_not_finite: float) -> None:
    """Count steps in a row without an update; raise `ValueError` if there are many."""
    run.skipped = run.skipped + 1 if n_not_finite else 0
    if run.skipped == MAX_SKIPPED:
        last = drawn.batches[-1]
        raise ValueError(
            f"The loss was not finite in {MAX_SKIPPED} steps in a row (last task of "
            f"this process {last.task!r}, session {last.windows.session!r}); lower the "
            "rates."
        )


def learning_rate(group: Group, phase: Phase, step: int) -> float:
    """Return the learning rate of a parameter group at a step of a phase.

    With `warmup_from`, the warm-up is the official one: step s uses
    `from + s·(lr − from)/(warmup − 1)`, so the last warm-up step reaches `lr`.
    """
    if phase.warmup_from is not None and step < phase.warmup:
        rise = group.lr * phase.lr_scale - phase.warmup_from
        return phase.warmup_from + step * rise / max(phase.warmup - 1, 1)
    return group.lr * (phase.lr_scale * _schedule(phase, step))


def _schedule(phase: Phase, step: int) -> float:
    """Return the factor of linear warm-up, constant part and linear decay."""
    # step + 1: the first step must not have rate 0, which would waste a batch.
    warm = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    fall = phase.steps * phase.decay
    # Counted with the current step, so the last step has rate lr / fall and not 0.
    remaining = phase.steps - step
    return warm * (min(1.0, remaining / fall) if fall else 1.0)


def _update(optimiser: torch.optim.AdamW, group: Group, rate: float) -> None:
    """Clip the gradients of a group and update its parameters."""
    settings: dict[str, Any] = optimiser.param_groups[0]
    norm = nn.utils.clip_grad_norm_(settings["params"], group.clip)
    settings["lr"] = rate
    # `norm` is the norm before clipping. NaN gradients would enter the moments of Adam
    # and stay there, so the update is skipped.
    if torch.isfinite(norm):
        optimiser.step()
    # None and not zero: AdamW applies weight decay to parameters with zero gradients.
    optimiser.zero_grad(set_to_none=True)


def _over_ranks(rows: list[dict[str, float]], team: Team) -> dict[str, float]:
    """Return mean losses and summed counts over the batches of all ranks."""
    # A batch lacks the loss of a modality without targets, so sums and counts are
    # reduced separately, in one message.
    losses = [[row[name] for row in rows if name in row] for name in LOSSES]
    numbers = [sum(values) for values in losses] + [len(values) for values in losses]
    sizes = [sum(row[name] for row in rows) for name in ("windows", "tokens")]
    sizes.append(sum(not np.isfinite(row["loss"]) for row in rows))
    totals = team.sums([float(number) for number in (*numbers, *sizes)])
    means = {
        name: totals[k] / totals[k + len(LOSSES)]
        for k, name in enumerate(LOSSES)
        if totals[k + len(LOSSES)]
    }
    names = ("windows", "tokens", "not_finite")
    return means | dict(zip(names, totals[-len(names) :], strict=True))


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def batch_loss(
    net: OmniMouse, batch: Batch, phase: Phase, precision: Precision
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch, and its parts as plain numbers."""
    device = batch.windows.neuron_ids.device
    losses: list[Tensor] = []
    parts: dict[str, float] = {}
    is_bf16 = computes_in_bf16(device.type, precision)
    with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
        video = None
        if batch.video is not None:
            video = net.encode_video(batch.video, batch.layout)
        context = net.encode(batch.windows, batch.layout, video)
        rates = predicted = None
        if batch.rates is not None:
            rates, _ = net.decode_responses(batch.windows, batch.layout, context)
        if batch.behavior is not None:
            predicted, _ = net.decode_behavior(context)
    # The heads return float32, and the losses stay in it, outside of autocast.
    if rates is not None and batch.rates is not None:
        rates, targets = _recorded(rates, batch.rates, batch.scored)
        if targets.numel():
            loss = poisson_loss(
                rates, targets, net.config.poisson_eps, net.config.response_loss_clamp
            )
            losses.append(loss)
            parts["response_loss"] = float(loss.detach())
    if predicted is not None and batch.behavior is not None:
        predicted, targets = _recorded(predicted, batch.behavior)
        if targets.numel():
            loss = behavior_loss(predicted, targets, net.config.behavior_loss_clamp)
            losses.append(phase.behavior_weight * loss)
            parts["behavior_loss"] = float(loss.detach())
    # Without any recorded target, the batch changes nothing.
    return sum(losses, start=torch.zeros((), device=device)), parts


def _recorded(
    predicted: Tensor, targets: Tensor, scored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of the cells that have a recorded value."""
    used = torch.isfinite(targets)
    if scored is not None:
        used &= scored
    # Without missing cells, skip the copy of indexing.
    if used.all():
        return predicted, targets
    return predicted[used], targets[used]


@torch.no_grad()
def update_average(run: Run, decay: float) -> None:
    """Update the moving average of the weights, with a smaller decay at first."""
    if run.average is None:
        return
    # Warm-up as in TensorFlow's ExponentialMovingAverage: otherwise the start values
    # dominate the average for about 1 / (1 - decay) steps.
    keep = min(decay, (run.step + 1) / (run.step + 10))
    averaged, current = _floats(run.average), _floats(run.net)
    torch._foreach_lerp_(averaged, current, 1.0 - keep)


def _floats(net: nn.Module) -> list[Tensor]:
    return [p.data for p in net.parameters()]
