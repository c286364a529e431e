"""One training step: what it reads, its loss, and one update of both groups."""

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
from omnimouse_model.train.batches import (
    Batch,
    TrainingSession,
    draw_batch,
    to_device,
)
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.cpu.parallel_batches import are_independent, learn_beside
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.run import Run
from omnimouse_model.train.sampling import Turn
from omnimouse_model.train.schedule import learning_rate

MOST_SKIPPED = 10
LOSSES = ("loss", "response_loss", "behavior_loss")


@dataclass(frozen=True, slots=True)
class Step:
    """What one step reads: its batches, and the seed of the paths dropped in it."""

    seed: int
    batches: list[Batch]


def draw_step(
    config: TrainConfig, sessions: list[TrainingSession], rank: int, number: int
) -> Step:
    """Draw what a rank's step reads, from a generator of its number."""
    phase, _ = config.phase_at(number)
    who = (rank,) if rank else ()
    rng = np.random.default_rng([config.seed, number, *who])
    seed = int(rng.integers(2**31))
    turns: list[Turn | None] = [None] * phase.accumulate
    if config.sampling == "balanced":
        first = config.batches_before(number)
        turns = [Turn(config.seed, first + k) for k in range(phase.accumulate)]
    batches = [draw_batch(sessions, phase, config.model, rng, turn) for turn in turns]
    return Step(seed, batches)


def train_step(
    run: Run, config: TrainConfig, drawn: Step, team: Team
) -> dict[str, float]:
    """The step's batches, one update of both groups; returns what to log.

    The core's gradients are the mean over all ranks' batches, those of a rank's
    sessions the mean over its own; each group is clipped by itself, the sessions' on
    every rank.
    """
    phase, step = config.phase_at(run.step)
    found = _gradients(run, config, phase, drawn)
    average = team.start_average(run.group("core"))
    rates = {}
    for name, group in (("session", config.session), ("core", config.core)):
        if name == "core":
            average()
        rates[name] = learning_rate(group, phase, step)
        _update(run.optimisers[name], group, rates[name])
    update_average(run, config.average)
    run.step += 1
    facts = _over_ranks(found, team)
    return facts | {
        "step": run.step,
        "lr": rates["core"],
        "session_lr": rates["session"],
    }


def _gradients(
    run: Run, config: TrainConfig, phase: Phase, drawn: Step
) -> list[dict[str, float]]:
    """Run the step's batches forwards and back; the facts of each."""
    run.net.train()

    def forwards(read: Batch) -> tuple[Tensor, dict[str, float]]:
        batch = to_device(read, run.device)
        loss, facts = batch_loss(run.net, batch, phase, config.precision)
        tokens = batch.n_tokens(run.net.config.hiera.tokens_per_step)
        facts |= {"loss": float(loss.detach()), "tokens": float(tokens)}
        return loss / phase.accumulate, facts | {"windows": float(batch.n_windows)}

    if len(drawn.batches) > 1 and are_independent(config, run.device):
        found = learn_beside(forwards, drawn.batches, list(run.net.parameters()))
    else:
        found = []
        with torch.random.fork_rng(_gpus(run.device)):  # for this step's dropped paths
            torch.manual_seed(drawn.seed)
            for read in drawn.batches:
                loss, facts = forwards(read)
                if loss.requires_grad:  # a frozen core alone may have made it
                    loss.backward()
                found.append(facts)
    is_finite = all(np.isfinite(facts["loss"]) for facts in found)
    run.skipped = 0 if is_finite else run.skipped + 1
    if run.skipped == MOST_SKIPPED:
        last = drawn.batches[-1]
        raise ValueError(
            f"The loss was not finite in {MOST_SKIPPED} steps in a row (last task "
            f"{last.task!r}, session {last.clip.session!r}); lower the rates."
        )
    return found


def _update(optimiser: torch.optim.AdamW, group: Group, rate: float) -> None:
    settings: dict[str, Any] = optimiser.param_groups[0]
    norm = nn.utils.clip_grad_norm_(settings["params"], group.clip)
    settings["lr"] = rate
    if torch.isfinite(norm):
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _over_ranks(rows: list[dict[str, float]], team: Team) -> dict[str, float]:
    """Mean of every loss over the batches that have it, and sums, over all ranks."""
    given = [[row[name] for row in rows if name in row] for name in LOSSES]
    numbers = [sum(values) for values in given] + [len(values) for values in given]
    read = [sum(row[name] for row in rows) for name in ("windows", "tokens")]
    totals = team.sums([float(number) for number in (*numbers, *read)])
    means = {
        name: totals[k] / totals[k + len(LOSSES)]
        for k, name in enumerate(LOSSES)
        if totals[k + len(LOSSES)]
    }
    return means | {"windows": totals[-2], "tokens": totals[-1]}


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def batch_loss(
    net: OmniMouse, batch: Batch, phase: Phase, precision: Precision
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and its parts."""
    device = batch.clip.neuron_ids.device
    losses: list[Tensor] = []
    facts: dict[str, float] = {}
    is_bf16 = computes_in_bf16(device.type, precision)
    with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
        video = None
        if batch.video is not None:
            video = net.encode_video(batch.video, batch.layout)
        context = net.encode(batch.clip, batch.layout, video)
        rates = predicted = None
        if batch.rates is not None:
            rates, _ = net.decode_responses(batch.clip, batch.layout, context)
        if batch.behavior is not None:
            predicted, _ = net.decode_behavior(context)
    if rates is not None and batch.rates is not None:
        rates, targets = _scored(rates, batch)
        loss = poisson_loss(
            rates, targets, net.config.poisson_eps, net.config.response_loss_clamp
        )
        losses.append(loss)
        facts["response_loss"] = float(loss.detach())
    if predicted is not None and batch.behavior is not None:
        loss = behavior_loss(predicted, batch.behavior, net.config.behavior_loss_clamp)
        losses.append(phase.behavior_weight * loss)
        facts["behavior_loss"] = float(loss.detach())
    return torch.stack(losses).sum(), facts


def _scored(rates: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rates and targets of the asked cells that have a recorded value."""
    assert batch.rates is not None
    assert batch.asked is not None
    used = batch.asked & torch.isfinite(batch.rates)
    if used.all():
        return rates, batch.rates
    return rates[used], batch.rates[used]


@torch.no_grad()
def update_average(run: Run, decay: float) -> None:
    """Let the average follow the weights, faster at first."""
    if run.average is None:
        return
    keep = min(decay, (run.step + 1) / (run.step + 10))
    averaged, current = _floats(run.average), _floats(run.net)
    torch._foreach_lerp_(averaged, current, 1.0 - keep)


def _floats(net: nn.Module) -> list[Tensor]:
    return [p.data for p in net.parameters()]
