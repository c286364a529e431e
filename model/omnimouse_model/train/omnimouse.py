"""Training of OmniMouse.

    omnimouse train CONFIG --out RUN          start, or go on from RUN's last save
    omnimouse train CONFIG --out RUN --steps 200
    torchrun --nproc-per-node 8 -m omnimouse_app train CONFIG --out RUN

A resumed run takes rates, weight decays and phases from the current config; its model
must be the saved one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.encoder import HieraBlock
from omnimouse_model.nets.omnimouse.layers import GatedFeedForward
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.trunk import behavior_loss, poisson_loss
from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.predict.omnimouse.memory_fallback import (
    Precision,
    computes_in_bf16,
)
from omnimouse_model.progress import QUIET, Job, shows_progress
from omnimouse_model.train.batches import (
    Batch,
    TrainingSession,
    Turn,
    draw_batch,
    epoch_batches,
    to_device,
)
from omnimouse_model.train.checkpoints import resume, save
from omnimouse_model.train.config import Group, Phase, TrainConfig
from omnimouse_model.train.distributed import Team
from omnimouse_model.train.loop import MAX_SKIPPED, OnStep, run_training
from omnimouse_model.train.run import (
    Origin,
    Run,
    begin_phase,
    draw_start,
    set_start_values,
    start_run,
)
from omnimouse_model.train.validate import validation_scores

# -- one training step: draw batches, compute the loss, update both parameter groups
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


# -- training of OmniMouse
ALONE = Team()


@shows_progress
def train(
    config: TrainConfig,
    sessions: list[TrainingSession],
    out: Path,
    *,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
    max_steps: int | None = None,
    origin: Origin | None = None,
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> OmniMouse:
    """Train until the phases end, and save in `out`.

    Parameters
    ----------
    sessions
        Sessions of this process; other ranks of a team have others.
    origin
        Start values of a new run, instead of drawn ones; they are validated as step 0.
    on_step
        Called on every rank with the step and its row of the log.
    job
        Progress in steps, and stop request, which is asked after every step; one of a rank
        ends the run on all ranks.

    Returns
    -------
    OmniMouse
        The net with averaged weights if the config has averaging.

    Raises
    ------
    OutputBusyError
        Another process trains in `out`.
    StoppedError
        The job is cancelled; the run is saved.
    """

    def open_training() -> _OmniMouseTraining:
        settings = with_epochs(config, sessions, team)
        run = start_run(settings, sessions, device, team, origin)
        return _OmniMouseTraining(run, settings, sessions, out, team, origin)

    training = run_training(open_training, out, device, team, max_steps, on_step, job)
    return training.state.result


@dataclass(slots=True)
class _OmniMouseTraining:
    """The training of OmniMouse, as the loop drives it."""

    state: Run
    settings: TrainConfig
    sessions: list[TrainingSession]
    out: Path
    team: Team
    origin: Origin | None

    def resume(self) -> bool:
        is_resumed = resume(self.state, self.out, self.settings, self.team)
        if is_resumed:
            self._compile()
        return is_resumed

    def start(self) -> bool:
        if self.origin is not None:
            set_start_values(self.state, self.origin)
        else:
            draw_start(self.state, self.settings, self.sessions, self.team)
        self._compile()
        return self.origin is not None

    def _compile(self) -> None:
        # After the weights are loaded, and in place: names of parameters do not change.
        if self.settings.compile:
            compile_blocks(self.state.net)

    def draw(self, number: int) -> Step:
        return draw_step(self.settings, self.sessions, self.team.rank, number)

    def step(self, drawn: Step) -> dict[str, float]:
        return train_step(self.state, self.settings, drawn, self.team)

    def begin_step(self) -> None:
        begin_phase(self.state, self.settings, self.sessions)

    def scores(self) -> dict[str, float]:
        return validation_scores(self.state.result, self.settings, self.sessions, self.team)

    def save(self) -> None:
        save(self.state, self.out, self.team)


def with_epochs(config: TrainConfig, sessions: list[TrainingSession], team: Team) -> TrainConfig:
    """Return the config with epochs converted into steps.

    A phase ends after its epochs if this is sooner than its steps. An epoch is as long
    as that of the longest rank (official config).

    Raises
    ------
    ValueError
        A phase has epochs, and sampling is not balanced.
    """
    if config.sampling != "balanced":
        if any(phase.epochs for phase in config.phases):
            raise ValueError("epochs are counted under sampling: balanced alone.")
        return config
    counts = [len(source.starts) for source in sessions]

    def ended(phase: Phase) -> Phase:
        if phase.epochs is None:
            return phase
        # The maximum over ranks, because all ranks take the same number of steps; the
        # shorter ones repeat their windows.
        batches = phase.epochs * max(team.gather(epoch_batches(counts, phase.batch)))
        steps = min(phase.steps, max(1, batches // phase.accumulate))
        return replace(phase, steps=steps, epochs=None)

    return replace(config, phases=tuple(ended(phase) for phase in config.phases))


# -- compile the parts of the net whose shapes do not depend on the mask
def compile_blocks(net: OmniMouse, backend: str = "inductor") -> None:
    """Compile blocks in place; compilation happens when a block first runs.

    Parameter names do not change.
    """
    # Feed-forward layers inside a video block are compiled with that block.
    within = {
        id(part)
        for block in net.modules()
        if isinstance(block, HieraBlock)
        for part in block.modules()
    }
    for module in net.modules():
        if isinstance(module, HieraBlock):
            # Module.compile, unlike torch.compile(module), adds no prefix `_orig_mod.`
            # to parameter names, so checkpoints stay readable.
            module.compile(dynamic=False, backend=backend)
        elif isinstance(module, GatedFeedForward) and id(module) not in within:
            # The number of tokens varies: let torch decide when to use dynamic shapes.
            module.compile(backend=backend)


# -- run the batches of a step in parallel, one CPU thread per batch
Item = TypeVar("Item")
Row = TypeVar("Row")


def are_independent(config: TrainConfig, device: torch.device) -> bool:
    """Return True if batches can be computed in parallel on several CPU threads.

    Not possible with dropped paths: one generator draws them for all batches, in the
    order in which layers run. Compiled blocks already use all cores.
    """
    net = config.model
    drops_paths = net.drop_path_rate > 0 or net.hiera.drop_path_rate > 0
    is_plain = not drops_paths and not config.compile
    return device.type == "cpu" and torch.get_num_threads() > 1 and is_plain


def parallel_gradients(
    forward: Callable[[Item], tuple[Tensor, Row]],
    batches: Sequence[Item],
    parameters: Sequence[Tensor],
) -> list[Row]:
    """Run forward and backward passes of batches, one batch per thread.

    Parameters
    ----------
    forward
        Function from a batch to its loss and its row of the log. The rows are returned
        in the order of the batches.
    parameters
        Parameters to which gradients are added, as `backward` does; frozen ones are
        skipped.
    """
    trained = [p for p in parameters if p.requires_grad]

    def learn(batch: Item) -> tuple[Row, list[Tensor | None]]:
        loss, row = forward(batch)
        # With a frozen core, a loss may depend on no trained parameter.
        if not loss.requires_grad:
            return row, [None] * len(trained)
        # autograd.grad returns gradients; backward() would add them to `.grad` in the
        # order in which threads finish, and floating-point sums depend on order.
        return row, list(torch.autograd.grad(loss, trained, allow_unused=True))

    # The pool size is read before torch is limited to one thread per operation.
    pool = ThreadPoolExecutor(torch.get_num_threads(), "batch")
    with torch_threads(1), pool:
        learned = list(pool.map(learn, batches))
    for _, gradients in learned:
        for parameter, gradient in zip(trained, gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
    return [row for row, _ in learned]
