"""The training loop: one straight run on a GPU where there is one, else the CPU.

    omnimouse train CONFIG --out RUN          start, or go on from RUN's last save
    omnimouse train CONFIG --out RUN --steps 200

A run can be stopped at any step and resumed: weights, optimisers, averages and the
step are saved together, atomically. Whatever is drawn comes from a generator of the
step's own number, so that a resumed run sees what an unbroken one would. Rates, decays
and phases are the config's at every resume; the model must be the one that was saved.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.atomic import atomic_path
from omnimouse_model.nets.checkpoint import save_checkpoint
from omnimouse_model.nets.losses import behavior_loss, poisson_loss
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.population import read_behavior, read_population
from omnimouse_model.nets.start import (
    initialise,
    quiet_residuals,
    set_mean_rates,
    set_motion_energy,
    set_neuron_embeddings,
    set_smooth_positions,
)
from omnimouse_model.predict.rules import mean_rates
from omnimouse_model.train.ahead import DrawnAhead
from omnimouse_model.train.batches import (
    Batch,
    TrainingSession,
    draw_batch,
    to_device,
)
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.tuned_start import population_readings, tuned_embeddings
from omnimouse_model.train.validate import validation_scores

log = logging.getLogger(__name__)
STATE_FILE = "state.pt"
MOST_SKIPPED = 10


@dataclass(slots=True)
class Run:
    """The moving parts of a training run."""

    net: OmniMouse
    average: OmniMouse | None
    core: torch.optim.AdamW
    session: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    """Steps in a row without an update, because a gradient was not finite."""


def train(
    config: TrainConfig,
    sessions: list[TrainingSession],
    out: Path,
    *,
    device: torch.device | str = "cpu",
    max_steps: int | None = None,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, facts: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> OmniMouse:
    """Train until the phases end, or until cancelled, and save in `out`.

    Returns
    -------
    OmniMouse
        The averaged weights where the config asks for averaging.
    """
    out.mkdir(parents=True, exist_ok=True)
    run = start_run(config, sessions, device)
    if not resume(run, out / STATE_FILE, config):
        draw_start(run, config, sessions)
    saved = began = time.monotonic()
    already = run.seconds
    last = config.total_steps
    if max_steps is not None:
        last = min(last, run.step + max_steps)
    with DrawnAhead(partial(draw_step, config, sessions), last) as ahead:
        while run.step < last and not cancelled():
            begin_phase(run, config, sessions, device)
            facts = train_step(run, config, ahead.take(run.step), device)
            run.seconds = already + time.monotonic() - began
            facts |= {"seconds": run.seconds, "waited_s": ahead.waited_s}
            if run.step % config.validate_every == 0:
                shown = run.average or run.net
                facts |= validation_scores(
                    shown, sessions[0], config.validation_windows, config.precision
                )
            _append(out / "log.jsonl", facts)
            on_step(run.step, facts)
            if time.monotonic() - saved > config.save_every_s:
                save(run, out)
                saved = time.monotonic()
    save(run, out)
    return run.average or run.net


def start_run(
    config: TrainConfig, sessions: list[TrainingSession], device: torch.device | str
) -> Run:
    """Make the net, its running average and both optimisers; no start values yet."""
    counts = {s.key: s.session.n_neurons for s in sessions}
    animals = {s.key: s.session.animal_id or s.key for s in sessions}
    net = OmniMouse(config.model, counts, animals).to(device)
    average = None
    if config.average:
        average = OmniMouse(config.model, counts, animals).to(device)
        average.requires_grad_(False).eval()
    core, own = split_parameters(net)
    return Run(
        net=net,
        average=average,
        core=_optimiser(core, config.core),
        session=_optimiser(own, config.session),
    )


def draw_start(run: Run, config: TrainConfig, sessions: list[TrainingSession]) -> None:
    """Give the net and its average their start values."""
    net = run.net
    generator = torch.Generator().manual_seed(config.seed)
    initialise(net, generator)
    if config.smooth_positions:
        set_smooth_positions(net, generator)
    if config.motion_energy:
        set_motion_energy(net, _some_video(sessions[0]))
    if config.quiet_residuals:
        quiet_residuals(net)
    for source in sessions:
        set_mean_rates(net, source.key, mean_rates(source.session))
    if config.tuned_embeddings:
        values = tuned_embeddings(
            sessions, config.model.d_embedding, config.phases[0].targets, config.seed
        )
        for key, embeddings in values.items():
            set_neuron_embeddings(net, key, embeddings)
    if run.average is not None:
        run.average.load_state_dict(net.state_dict())


def begin_phase(
    run: Run,
    config: TrainConfig,
    sessions: list[TrainingSession],
    device: torch.device | str,
) -> None:
    """Before a phase's first step: the start values that it asks for."""
    phase, step = config.phase_at(run.step)
    heads, behavior_head = phase.population_heads, phase.behavior_head
    turns = heads is not None or behavior_head is not None
    if step or not (turns or phase.from_average):
        return
    if run.average is not None:
        run.net.load_state_dict(run.average.state_dict())
    if turns:
        _turn_heads(run.net, config, phase, sessions, device)
    for optimiser in (run.core, run.session):
        optimiser.state.clear()
    if run.average is not None:
        run.average.load_state_dict(run.net.state_dict())


def _turn_heads(
    net: OmniMouse,
    config: TrainConfig,
    phase: Phase,
    sessions: list[TrainingSession],
    device: torch.device | str,
) -> None:
    generator = torch.Generator().manual_seed(config.seed)
    readings = population_readings(sessions, phase, config.model, config.seed, device)
    net.eval()
    if phase.population_heads is not None:
        read_population(net, readings, *phase.population_heads, generator)
    if phase.behavior_head is not None:
        read_behavior(net, readings, phase.behavior_head, generator)


def _some_video(source: TrainingSession, count: int = 16) -> Tensor:
    """Frames (count, 1, 60, height, width) of windows spread over a session."""
    chosen = np.linspace(0, len(source.starts) - 1, count).astype(int)
    windows = [source.session.window(float(s)) for s in source.starts[chosen]]
    return torch.from_numpy(np.stack([w.video for w in windows]))[:, None]


def split_parameters(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Shared parameters, and those of sessions and animals."""
    own = ("sess_params.", "animal_params.")
    named = list(net.named_parameters())
    return (
        [p for name, p in named if not name.startswith(own)],
        [p for name, p in named if name.startswith(own)],
    )


def _optimiser(parameters: list[Tensor], group: Group) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=group.lr,
        betas=group.betas,
        eps=group.eps,
        weight_decay=group.weight_decay,
        fused=True,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What one step reads: its batches, and the seed of the paths dropped in it."""

    seed: int
    batches: list[Batch]


def draw_step(
    config: TrainConfig, sessions: list[TrainingSession], number: int
) -> Step:
    """Draw what a step reads, from a generator of its number."""
    phase, _ = config.phase_at(number)
    rng = np.random.default_rng([config.seed, number])
    seed = int(rng.integers(2**31))
    batches = [
        draw_batch(sessions, phase, config.model, rng) for _ in range(phase.accumulate)
    ]
    return Step(seed, batches)


def train_step(
    run: Run, config: TrainConfig, drawn: Step, device: torch.device | str
) -> dict[str, float]:
    """The step's batches, one update of both groups; returns what to log."""
    phase, step = config.phase_at(run.step)
    rate = phase.lr_scale * schedule(phase, step)
    run.net.train()
    found: list[dict[str, float]] = []
    is_finite = True
    with torch.random.fork_rng(_gpus(device)):  # for the paths dropped in this step
        torch.manual_seed(drawn.seed)
        for read in drawn.batches:
            batch = to_device(read, device)
            loss, facts = batch_loss(run.net, batch, phase, config.precision)
            (loss / phase.accumulate).backward()
            is_finite &= bool(torch.isfinite(loss.detach()))
            found.append(facts)
    run.skipped = 0 if is_finite else run.skipped + 1
    if run.skipped == MOST_SKIPPED:
        raise ValueError(
            f"The loss was not finite in {MOST_SKIPPED} steps in a row (last task "
            f"{batch.task!r}, session {batch.clip.session!r}); lower the rates."
        )
    for optimiser, group in ((run.core, config.core), (run.session, config.session)):
        parameters = optimiser.param_groups[0]["params"]
        norm = nn.utils.clip_grad_norm_(parameters, group.clip)
        optimiser.param_groups[0]["lr"] = group.lr * rate
        if torch.isfinite(norm):
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    _update_average(run, config.average)
    run.step += 1
    return _means(found) | {"step": run.step, "lr": config.core.lr * rate}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every fact over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: float(np.mean([r[n] for r in rows if n in r])) for n in names}


def _gpus(device: torch.device | str) -> list[torch.device]:
    return [torch.device(device)] if str(device).startswith("cuda") else []


def schedule(phase: Phase, step: int) -> float:
    """Linear warm-up, constant, linear fall over the last share of the phase."""
    warm = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    fall = phase.steps * phase.decay
    left = phase.steps - step
    return warm * (min(1.0, left / fall) if fall else 1.0)


def batch_loss(
    net: OmniMouse, batch: Batch, phase: Phase, precision: str
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and its parts."""
    device = batch.clip.neuron_ids.device
    losses: list[Tensor] = []
    facts: dict[str, float] = {}
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
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
def _update_average(run: Run, decay: float) -> None:
    if run.average is None:
        return
    keep = min(decay, (run.step + 1) / (run.step + 10))
    averaged, current = _floats(run.average), _floats(run.net)
    torch._foreach_lerp_(averaged, current, 1.0 - keep)


def _floats(net: nn.Module) -> list[Tensor]:
    return [p.data for p in net.parameters()]


# -- saving and resuming ------------------------------------------------------------


def save(run: Run, out: Path) -> None:
    """Save the whole run, and the shown weights as a checkpoint beside it."""
    state = {
        "step": run.step,
        "seconds": run.seconds,
        "model": repr(run.net.config),
        "net": run.net.state_dict(),
        "average": run.average.state_dict() if run.average else None,
        "core": run.core.state_dict(),
        "session": run.session.state_dict(),
    }
    with atomic_path(out / STATE_FILE) as temporary:
        torch.save(state, temporary)
    done = {"steps": run.step, "hours": round(run.seconds / 3600, 2)}
    save_checkpoint(out / "model.safetensors", run.average or run.net, done)


def resume(run: Run, path: Path, config: TrainConfig) -> bool:
    """Go on from a saved run, if there is one."""
    if not path.exists():
        return False
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["model"] != repr(run.net.config):
        raise ValueError(
            f"{path} was trained with another model config; use another --out, or "
            f"take the config it was trained with: {state['model']}"
        )
    run.net.load_state_dict(state["net"])
    if run.average is not None:
        run.average.load_state_dict(state["average"] or state["net"])
    run.core.load_state_dict(state["core"])
    run.session.load_state_dict(state["session"])
    for optimiser, group in ((run.core, config.core), (run.session, config.session)):
        now = {"betas": group.betas, "eps": group.eps}
        optimiser.param_groups[0] |= now | {"weight_decay": group.weight_decay}
    run.step, run.seconds = state["step"], state["seconds"]
    log.info("resumed at step %d", run.step)
    return True


def _append(path: Path, facts: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({k: round(v, 5) for k, v in facts.items()}) + "\n")


def log_rows(path: Path) -> Iterable[dict[str, float]]:
    """Read a run's log."""
    for line in path.read_text("utf-8").splitlines():
        row: dict[str, float] = json.loads(line)
        yield row
