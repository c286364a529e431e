"""The training loop: the same on one CPU, one GPU, or under `torchrun` on many.

A run of any family can be stopped or killed at any step, and resumed: weights,
optimisers, averages and the step are saved together (`checkpoints`). All random draws
of a step come from a generator seeded by its number, so a resumed run draws the same as
an uninterrupted run. The file is long because the loop and the training that it calls share
one state.
"""

import ctypes
import os
import platform
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from math import isfinite, nan
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from omnimouse_model.data.session import Session
from omnimouse_model.errors import CheckpointError, StoppedError
from omnimouse_model.evaluation.results import BehaviorScore, Score
from omnimouse_model.metrics.time_blocks import CORRELATION_LIMITS, jackknife, jackknife_gain
from omnimouse_model.predict.checkpoint_file import (
    FINISHED,
    TRAINED,
    Checkpoint,
    checkpoint_file,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import (
    QUIET,
    RESUMING,
    SAVING,
    STARTING,
    TRAINING,
    Job,
    shows_progress,
)
from omnimouse_model.storage.journal import check_own
from omnimouse_model.storage.trees import decode
from omnimouse_model.storage.write import sole_writer, writing
from omnimouse_model.training.checkpoints import BEST, MODEL, saved_state, saved_step, write_state
from omnimouse_model.training.config import RunSettings, TransferOptions, run_record
from omnimouse_model.training.distributed import Team, current_team, local_device
from omnimouse_model.training.metrics_log import (
    FILE,
    GAIN_ENDS,
    SCORE_ENDS,
    SCORED_NEURONS,
    SCORED_WINDOWS,
    MetricsLog,
    log_rows,
)
from omnimouse_model.training.sessions import (
    TrainingSession,
    check_unknown,
    training_session,
    training_sessions,
)

ALONE = Team()
MAX_SKIPPED = 10
"""Steps in a row whose loss is not finite that mean divergence."""


@dataclass(slots=True, kw_only=True)
class LoopState:
    """Where a run is.

    Attributes
    ----------
    step, seconds
        Finished steps, and the time that they took, before a resume, too.
    best
        Best validation score so far, and its step.
    skipped
        Number of steps in a row whose loss was not finite.
    start
        Score of the start values, with its parts (`TrainingRun.without`); None if not known.
    """

    step: int = 0
    seconds: float = 0.0
    best: tuple[float, int] = (float("-inf"), 0)
    skipped: int = 0
    start: Sequence[Any] | None = None

    def count(self, is_skipped: bool, last: str = "") -> None:
        """Count a training step; `last` names its last batch, for the message of the error.

        Raises
        ------
        ValueError
            Too many steps in a row were skipped.
        """
        self.skipped = self.skipped + 1 if is_skipped else 0
        if self.skipped == MAX_SKIPPED:
            raise ValueError(
                f"The loss was not finite in {MAX_SKIPPED} steps in a row{last}; lower lr."
            )
        self.step += 1


@dataclass(slots=True)
class TrainingRun(ABC):
    """Training of one model: its start, steps, validation and saves, which the loop calls.

    It is made at step 0, when no other process writes in `out`; what a family builds from
    the arguments, it builds in `__post_init__`.

    Attributes
    ----------
    title
        What is trained, for messages.
    config, checkpoint
        Classes of its configs and of its weights.
    load_model
        Loads what it trains: a path and a device -> predictor.
    parts
        Names of the fields that a save holds: modules, optimisers, plain values.
    unit
        What the scores of a validation are.
    settings
        `TrainFields`, and `total_steps`.
    sessions
        Sessions of this process; other ranks of a team have others.
    origin
        A model that gives start values, which are validated as step 0; None for new ones.
    state
        Where the run is.
    without
        Latest score of a validation without each block of its windows, and without each
        train window, from which its interval follows; empty if not known.
    """

    title: ClassVar[str]
    config: ClassVar[type]
    checkpoint: ClassVar[type[Checkpoint]]
    load_model: ClassVar[Any]
    parts: ClassVar[tuple[str, ...]] = ("net", "optimiser")
    unit: ClassVar[str] = "single-trial correlation"
    settings: Any
    sessions: list[TrainingSession]
    out: Path
    device: torch.device = field(default_factory=partial(torch.device, "cpu"))
    team: Team = ALONE
    origin: Any = None
    state: LoopState = field(default_factory=LoopState, init=False)
    without: tuple[np.ndarray, ...] = field(default=(), init=False)
    net: Any = field(init=False)
    optimiser: Any = field(init=False)

    # -- as parts of a `Family` -------------------------------------------------------
    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Any:
        """Return the training config from a parsed file (`Training.read`).

        Raises
        ------
        ValueError
            A field is unknown, missing, of another type or out of range; the message names
            it.
        """
        return decode(cls.config, tree, "the file")

    @classmethod
    def checked(cls, config: Any, record: RunSettings) -> Any:
        """Return the config; raise `ValueError` if it does not read all fields of sessions."""
        if any(choice.neurons or choice.context for choice in record.sessions):
            raise ValueError(f"sessions[]: {cls.title} reads neither neurons nor context")
        return config

    @staticmethod
    def opened(session: Session, config: Any) -> TrainingSession:
        """Return a session with the starts of its train windows."""
        return training_session(session)

    @classmethod
    def train(
        cls, config: Any, sessions: Sequence[Session], out: Path, job: Job, seed: int = 0
    ) -> Any:
        """Train on open sessions, or resume, and return the best model (`Training.start`)."""
        settings = run_record(out)
        config = replace(cls.checked(config, settings), **settings.shared | {"seed": seed})
        device, team = local_device(resolve_device(job.device)), current_team()
        sources = training_sessions(sessions, settings, partial(cls.opened, config=config))
        train(cls, config, sources, out, device=device, team=team, job=job)
        return cls.load_model(checkpoint_file(out, TRAINED), job.device)

    @classmethod
    def of_transfer(
        cls, origin: Any, session: Session, options: Any
    ) -> tuple[Any, TrainingSession]:
        """Return config and windows of a fine-tuning to a session (`transfer`).

        Raises
        ------
        FinetuneError
            The session has nothing to learn from.
        """
        raise NotImplementedError  # of a family without fine-tuning

    @classmethod
    def origin_of(
        cls, origin: Any, source: TrainingSession, options: Any, job: Job
    ) -> tuple[Any, Job]:
        """Return from what a fine-tuning starts, and the job of its steps."""
        return origin, job

    @staticmethod
    def finished(tuned: Any, origin: Any) -> Any:
        """Return a fine-tuned checkpoint with what a family adds after the steps."""
        return tuned

    @classmethod
    def transfer(
        cls, predictor: Any, session: Session, options: TransferOptions, out: Path, job: Job
    ) -> Predictor:
        """Train a model on a new session, and write it with the sessions that it knows.

        The caller writes the settings of the run (`analysis.fit`); see `Transfer.start`.

        Parameters
        ----------
        predictor
            The model; its `checkpoint()` gives its weights.

        Raises
        ------
        FinetuneError
            The model knows the session, or the session has nothing to learn from.
        CheckpointError
            A frozen tensor has changed.
        """
        check_unknown(predictor, session, options.train)
        origin: Checkpoint = predictor.checkpoint()
        config, source = cls.of_transfer(origin, session, options)
        start, steps = cls.origin_of(origin, source, options, job)
        job.progress(0.0, 1.0, STARTING if saved_step(out) < 0 else RESUMING)
        device = resolve_device(job.device)
        train(cls, config, [source], out, device=device, origin=start, job=steps)
        best = cls.checkpoint.read(checkpoint_file(out, TRAINED))
        is_frozen = options.train == "embeddings"
        frozen = origin.core if is_frozen else {}
        if any(not torch.equal(best.state[name], value) for name, value in frozen.items()):
            raise CheckpointError(
                f"{checkpoint_file(out, TRAINED)} does not hold the frozen weights of "
                f"{predictor.predictor_id}: it was written over. Remove the folder and fine-tune "
                "again."
            )
        values = {one.name: getattr(options, one.name) for one in fields(options)}
        rows = list(log_rows(out / FILE))
        n_steps = int(rows[-1]["step"])
        # What a family adds to a result can take minutes: a finished one is not made again.
        try:
            written = cls.checkpoint.read(out / FINISHED).card.get("finetuned", {}).get("steps")
        except CheckpointError:
            written = None  # there is none, or none that can be read
        if written == n_steps:
            return cls.load_model(out, job.device)
        card = {
            # Of a recording among the options, its id.
            **{name: getattr(value, "id", value) for name, value in values.items()},
            "model": predictor.predictor_id,
            "session": source.key,
            "unit": cls.unit,
            "frozen_hash": weights_hash(dict(frozen)) if frozen else None,
            "n_trained": sum(value.numel() for value in best.trained(source.key, frozen)),
            "steps": n_steps,
            "best_step": best.card["steps"],
            # Step 0 is the validation before training (`loop`).
            "before": rows[0].get(SUMMARY) if rows[0]["step"] == 0 else None,
            "validation": best.card.get("validation"),
            **{k: int(rows[0][k]) for k in (SCORED_WINDOWS, SCORED_NEURONS) if k in rows[0]},
            "minutes": round(rows[-1]["seconds"] / 60, 1),
        }
        # Other sessions remain valid only with an unchanged core.
        finished = origin.joined(best) if is_frozen else best
        notes = {k: v for k, v in best.card.items() if k not in OF_RUN}
        # The weights that were trained tell no more of the settings than those of before.
        result = replace(finished, assumed=origin.assumed, card={"finetuned": card, **notes})
        result = cls.finished(result, start)
        job.progress(1.0, 1.0, SAVING)
        result.save(out / FINISHED)
        return cls.load_model(out, job.device)

    @classmethod
    def export(cls, run: Path, path: Path) -> None:
        """Write the weights of a run as a checkpoint: the best, else the last (`Family.export`).

        Its card says how they were trained; `same_neurons` maps the key of a session in
        training to that of another recording.

        Raises
        ------
        ValueError
            The path is no .safetensors file: the model has no layout but ours.
        """
        if path.suffix != ".safetensors":
            raise ValueError(
                f"{path}: {cls.title} has no official layout; name a .safetensors file."
            )
        record = run_record(run)
        renames = record.notes.get("renames", {})
        # The description has the sizes of the network.
        tree = {k: v for k, v in record.tree.items() if k not in ("model", "spec")}
        found = cls.checkpoint.read(checkpoint_file(run, TRAINED))
        card = {
            **found.card,
            "trained_on": [choice.mouse for choice in record.sessions],
            "same_neurons": renames,
            "settings": {"seed": record.seed, **tree},
        }
        replace(found.renamed(renames), card=card).save(path)

    def write_result(self, folder: Path) -> None:
        """Write the weights as checkpoints, twice if they are the best."""
        model, state = self.model(folder), self.state
        score, best_step = state.best
        card = {"steps": state.step, "hours": round(state.seconds / 3600, 2), **self.notes}
        replace(model, card=card).save(self.out / MODEL)
        if best_step == state.step and score > float("-inf"):
            replace(model, card=card | {SUMMARY: score}).save(self.out / BEST)

    # -- called by the loop -----------------------------------------------------------
    @property
    def by_key(self) -> dict[str, TrainingSession]:
        """The sessions of this process by key."""
        return {source.key: source for source in self.sessions}

    @property
    def result(self) -> Any:
        """What is trained: a network, or several by session."""
        return self.net

    @property
    def fixed(self) -> dict[str, Any]:
        """Settings beside model, processes and sessions that a run cannot change."""
        return {}

    @property
    def notes(self) -> dict[str, Any]:
        """What the card of the weights says of the settings, for fine-tunings of them."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """What a run cannot change when it is resumed."""
        counts = {source.key: source.session.n_neurons for source in self.sessions}
        model = repr(self.settings.model)
        return {"model": model, "ranks": self.team.size, "sessions": counts, **self.fixed}

    @property
    def saved(self) -> dict[str, Any]:
        """Tensors and plain containers of a save, beside the state and the identity."""
        values = {name: getattr(self, name) for name in self.parts}
        return {k: v.state_dict() if hasattr(v, "state_dict") else v for k, v in values.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take the tensors of a save."""
        for name in self.parts:
            if hasattr(part := getattr(self, name), "load_state_dict"):
                part.load_state_dict(saved[name])
            else:
                setattr(self, name, saved[name])

    def counted(self, losses: Sequence[float], *, is_usable: bool) -> tuple[float, bool]:
        """Count a step of all ranks; return the mean of its losses, and whether to update.

        Without an update where a loss, or a gradient (`is_usable`), is not finite on a rank.
        """
        finite = [loss for loss in losses if isfinite(loss)]
        is_bad = not is_usable or len(finite) < len(losses)
        sums = self.team.sums([float(sum(finite)), float(len(finite)), float(is_bad)])
        total, count, n_bad = sums
        self.state.count(is_skipped=bool(n_bad))
        return total / count if count else nan, not n_bad

    @abstractmethod
    def start(self) -> bool:
        """Set the start values; True if they are worth a score and a save."""

    @abstractmethod
    def draw(self, number: int) -> Any:
        """Return the batches of a step; called in another thread."""

    @abstractmethod
    def step(self, drawn: Any) -> dict[str, float]:
        """Train on the batches of a step, and return its row of the log."""

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """Return the scores of validation, of which `SUMMARY` selects the best weights.

        With `scored_over`, or of what they are if not of windows.
        """

    def model(self, folder: Path) -> Checkpoint:
        """Return the weights of this step; the states of all ranks are in `folder`."""
        raise NotImplementedError  # of a family that writes its own result


@shows_progress
def train(
    kind: type[TrainingRun],
    config: Any,
    sessions: list[TrainingSession],
    out: Path,
    *,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
    origin: Any = None,
    job: Job = QUIET,
) -> Any:
    """Train until the steps end or the score is flat, or go on with it; save in `out`.

    Parameters
    ----------
    kind
        The training of a family.
    sessions
        Sessions of this process; other ranks of a team have others.
    origin
        A model that gives start values, which are validated as step 0; None for new ones.
    job
        Progress in steps, and stop request, which is asked after every step; one of a rank
        ends the run on all ranks. `LimitedJob` limits the steps of this call.

    Returns
    -------
    `TrainingRun.result`.

    Raises
    ------
    OutputBusyError
        Another process trains in `out`.
    StoppedError
        The job is cancelled; the run is saved.
    ValueError
        A session has nothing to train on, or a save belongs to another training.
    """
    device = torch.device(device)
    out.mkdir(parents=True, exist_ok=True)
    # The ranks of a team write in one folder.
    with writing(out), sole_writer(out) if team.is_main else nullcontext():
        training = kind(config, sessions, out, device, team, origin)
        is_stopped = _run(training, job)
    if is_stopped:
        step, of = training.state.step, training.settings.total_steps
        raise StoppedError(
            f"stopped at step {step} of {of}; saved in {out}: the same call goes on from there."
        )
    return training.result


def has_finite_gradients(net: nn.Module) -> bool:
    """Whether a step can use the gradients of a network; True without any."""
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return not gradients or bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Draw from the global generators with a seed in the block, and restore them after it.

    With a seed of the step, a resumed run draws the same.
    """
    is_gpu = torch.device(device).type == "cuda"
    with torch.random.fork_rng([device] if is_gpu else []):
        torch.manual_seed(seed)
        yield


def _run(training: TrainingRun, job: Job) -> bool:
    """Train and save; return whether the job was cancelled."""
    out, device, team = training.out, training.device, training.team
    check_own(out)
    # Start values can take minutes (ridge fits), so they are drawn only for new runs.
    saved = saved_state(out, team, training.identity)
    run, settings = training.state, training.settings
    is_scored = False
    if saved is None:
        is_scored = training.start()
    else:
        training.load(saved)
        run.step, run.seconds, run.best = saved["step"], saved["seconds"], tuple(saved["best"])
        run.start = saved.get("start")  # older runs have none
    # -1 for a new run removes all rows of an earlier run without a save.
    log = MetricsLog(out, -1 if saved is None else run.step) if team.is_main else None
    saved_s = time.monotonic()
    # As if the run had not been interrupted.
    began_s = saved_s - run.seconds
    # The steps before this call: a caller that limits the steps counts from here.
    if settings.total_steps:
        job.progress(run.step, settings.total_steps, TRAINING)

    def report(row: dict[str, float]) -> None:
        if log is not None:
            log.add(row)
        job.progress(run.step, settings.total_steps, TRAINING)

    try:
        if is_scored:
            # Saved at once: finding these start values may have taken minutes.
            row: dict[str, float] = {}
            _validate(training, row)
            run.seconds = time.monotonic() - began_s
            report(row | {"seconds": run.seconds, "step": run.step})
            _save(training)
        steps = range(run.step, settings.total_steps)
        ahead = drawn_ahead(training.draw, steps, drawing_processes(device))
        with reused_heap(device), closing(ahead):
            # The run may already be complete when it is resumed.
            (is_cancelled,) = team.any([job.cancelled()])
            is_over = is_cancelled or _has_ended(training)
            while not is_over:
                asked_s = time.monotonic()
                drawn = next(ahead)
                waited_s = time.monotonic() - asked_s
                row = training.step(drawn)
                step_s = max(time.monotonic() - asked_s, 1e-9)
                run.seconds = time.monotonic() - began_s
                rates = {f"{k}_per_s": row[k] / step_s for k in ("windows", "tokens") if k in row}
                row |= {"seconds": run.seconds, **rates, "waited_s": waited_s}
                is_best = run.step % settings.validate_every == 0 and _validate(training, row)
                report(row)
                # Clocks of ranks differ, and a save waits for all ranks: they decide
                # together, with one message for both questions.
                every, every_s = settings.save_every, settings.save_every_s
                is_due = every is not None and run.step % every == 0
                is_due |= every_s is not None and time.monotonic() - saved_s > every_s
                is_cancelled, is_due = team.any([job.cancelled(), is_due])
                is_over = is_cancelled or _has_ended(training)
                if (is_due or is_best) and not is_over:
                    _save(training)
                    saved_s = time.monotonic()
        # The last save is outside of the loop, so that it is done exactly once.
        _save(training)
        return is_cancelled
    finally:
        if log is not None:
            log.close()


def _save(training: TrainingRun) -> None:
    """Save the state of the run, and the weights that it has reached."""
    run = training.state
    state = {"step": run.step, "seconds": run.seconds, "best": run.best, "start": run.start}
    state |= training.identity | training.saved
    write_state(training.out, run.step, state, training.team, training.write_result)


def _has_ended(training: TrainingRun) -> bool:
    """Return True if all steps are done or validation has stopped improving."""
    run, settings, patience = training.state, training.settings, training.settings.patience
    has_score = run.best[0] > float("-inf")
    is_flat = patience is not None and has_score and run.step - run.best[1] >= patience
    return run.step >= settings.total_steps or is_flat


def scored_over(scores: Iterable[Score | BehaviorScore]) -> dict[str, float]:
    """Return over how many windows and neurons the scores of a validation are, for its row.

    Conditions of one session have the same windows; those of several sessions add up.
    """
    windows: dict[str, int] = {}
    neurons: dict[str, int] = {}
    for one in scores:
        windows[one.session] = max(one.n_windows, windows.get(one.session, 0))
        if isinstance(one, Score):
            neurons[one.session] = max(one.n_neurons, neurons.get(one.session, 0))
    counts = {SCORED_WINDOWS: windows, SCORED_NEURONS: neurons}
    return {name: float(sum(of.values())) for name, of in counts.items() if of}


def mean_without(scores: Sequence[Score]) -> tuple[np.ndarray, ...]:
    """Return the mean score without each block of windows, and without each train window."""
    parts = [(one.left_out, one.train_left_out) for one in scores]
    if len({tuple(map(np.size, one)) for one in parts}) != 1:
        return ()
    return tuple(np.mean(each, axis=0) for each in zip(*parts, strict=True))


def intervals_of(run: LoopState, score: float, parts: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Return the intervals of a score of correlations, and of its gain over the start.

    `parts` are those of `TrainingRun.without`; that of step 0 is kept as the start.
    """
    if not parts:
        return {}
    one = jackknife(score, *parts, limits=CORRELATION_LIMITS)
    found = dict(zip(SCORE_ENDS, (one.low, one.high), strict=True))
    if not run.step:
        run.start = [score, *(part.tolist() for part in parts)]
    elif run.start is not None:
        start = run.start[0], *map(np.array, run.start[1:])  # saved as lists
        gain = jackknife_gain((score, *parts), start, limits=CORRELATION_LIMITS)
        found |= zip(GAIN_ENDS, (gain.low, gain.high), strict=True)
    return {name: value for name, value in found.items() if isfinite(value)}


def _validate(training: TrainingRun, row: dict[str, float]) -> bool:
    """Add validation scores to `row`; return True if they are the best so far."""
    row |= training.scores()
    run, score = training.state, row.get(SUMMARY, float("-inf"))
    row |= intervals_of(run, score, training.without)
    if not score > run.best[0]:
        return False
    run.best = (score, run.step)
    return True


# -- reuse of memory between training steps on a CPU
# Parameter numbers from malloc.h: M_TRIM_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_MAPPED: Final = 65536
_TRIMMED: Final = 64 << 20
"""Values set afterwards: the library's default number of mappings, and the largest trim
threshold of its own dynamic rule."""


@contextmanager
def reused_heap(device: torch.device | str) -> Iterator[None]:
    """Keep freed memory for reuse within the block.

    Has no effect on devices other than the CPU, or without the GNU C library.
    """
    if torch.device(device).type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    # CDLL(None) is the running process itself, including the C library it has loaded.
    library = ctypes.CDLL(None)
    # No mappings: large arrays come from the heap. -1: the heap is never trimmed.
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _MAPPED)
        library.mallopt(_TRIM_THRESHOLD, _TRIMMED)
        # New settings act on later calls only; this returns the memory held so far.
        library.malloc_trim(0)


# -- prefetch the batches of the next step while the current step is computed
Drawn = TypeVar("Drawn")

MAX_PROCESSES = 8


def drawing_processes(device: torch.device | str) -> int:
    """Return the number of processes that draw batches for a device; 0 is a thread.

    A GPU takes a step sooner than one thread draws it. The processes are forked,
    because they share the open sessions; other systems than Linux draw in a thread.
    """
    is_gpu = torch.device(device).type == "cuda"
    if not is_gpu or not sys.platform.startswith("linux"):
        return 0
    return min(MAX_PROCESSES, max(len(os.sched_getaffinity(0)) - 2, 0))


def drawn_ahead(
    draw: Callable[[int], Drawn], steps: range, processes: int = 0
) -> Generator[Drawn, None, None]:
    """Yield the batches of steps, of which the next is drawn while one is computed.

    Closing it ends its thread and its processes. What drawing raises is raised in its step.

    Parameters
    ----------
    draw
        Function from the number of a step to its batches; never called concurrently in
        one process.
    processes
        Number of processes that draw two steps ahead each; 0 draws in the thread.
    """
    source = map(draw, steps)
    if processes:
        source = iter(
            DataLoader(
                steps,  # type: ignore[arg-type]  # any object with items
                batch_size=None,
                num_workers=processes,
                collate_fn=draw,  # type: ignore[arg-type]  # of one step, not of a list
                # Its own: a resumed run must draw the same from the global one.
                generator=torch.Generator(),
                multiprocessing_context="fork",
            )
        )
    with ThreadPoolExecutor(1, "batches") as thread:
        # One step ahead only: each further one would hold its batches in memory.
        ahead = thread.submit(next, source)
        for step in steps:
            drawn = ahead.result()
            if step + 1 < steps.stop:
                ahead = thread.submit(next, source)
            yield drawn


SUMMARY = "validation"
"""Key of the mean response score over conditions, which selects the best weights."""
OF_RUN = ("steps", "hours", SUMMARY)
"""Keys of the card of weights that say how long they were trained, and their score."""
