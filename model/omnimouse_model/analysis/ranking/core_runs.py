"""Train cores, transfer them and score the results, here or on workers of a scheduler.

    X.ranking.jsonl               a row per score, see `scores`
    X-models/KEY/core/            training of a core
    X-models/KEY/to KEY/          its transfer to a held-out session

Keys are hashes of the settings, the contents of the sessions and the seed. Scores in
the file are not computed again; a training that was stopped goes on from its last save.

Longer than other modules: a worker runs all of it, from the core to the score.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from math import isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.ranking.rank_table import (
    TEST,
    TransferScore,
    content_of,
    core_key,
    models_folder,
    n_trials,
    transfer_key,
)
from omnimouse_model.analysis.spike_scores import HELD_OUT, score_held_out
from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import SpikeTrains
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError, StoppedError
from omnimouse_model.evaluation.results_store import ResultsFile, row_key
from omnimouse_model.inference.dask_map import map_pieces
from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.metrics.named import METRICS, named_metric
from omnimouse_model.predict.devices import torch_threads
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job, part_of
from omnimouse_model.storage.arrays.rows import Rows
from omnimouse_model.storage.files import real_path
from omnimouse_model.storage.write import sole_writer

BITS = "bits_per_spike"
CORRELATION = "correlation"


@runtime_checkable
class Criterion(Protocol):
    """A score of a model on a tier of a session; can be pickled."""

    @property
    def name(self) -> str:
        """Name, for tables."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the score."""
        ...

    @property
    def is_higher_better(self) -> bool:
        """Whether higher scores are better."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the score depends on, apart from model and session; JSON values."""
        ...

    def score(self, model: Predictor, session: Session, tier: str) -> float:
        """Return the score; NaN if it is not defined."""
        ...


@dataclass(frozen=True, slots=True)
class TaskScore:
    """A task of a model, scored by a metric.

    Attributes
    ----------
    task
        Of a neural data transformer "forward", "co-smoothing", "inter-region" or
        "intra-region" (`om.score_held_out`), the mean over neurons with spikes. Of any
        family the name of a strategy, as in `om.evaluate`; one that decodes behaviour
        is scored by the mean over channels that vary.
    metric
        Name of a metric, as in `om.evaluate`; "correlation" for decoded behaviour.
    max_windows
        Maximum number of windows or trials, spread over the tier.
    """

    task: str
    metric: str
    max_windows: int | None = None

    def __post_init__(self) -> None:
        named_metric(self.metric)
        if self.task not in HELD_OUT:
            try:
                strategy = find_strategy(self.task)
            except MaskError as error:
                raise MaskError(
                    f"There is no task {self.task!r}. Tasks of spikes are "
                    f"{', '.join(HELD_OUT)}. {error}"
                ) from error
            if strategy.behavior_reconstructed and self.metric != CORRELATION:
                raise ValueError(
                    f"metric is {self.metric!r}; the task {self.task!r} decodes "
                    f"behaviour, which has {CORRELATION!r}."
                )
        elif self.metric != BITS:
            raise ValueError(f"metric is {self.metric!r}; the task {self.task!r} has {BITS!r}.")

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task

    @property
    def unit(self) -> str:
        """Unit of the metric."""
        return METRICS[self.metric].unit

    @property
    def is_higher_better(self) -> bool:
        """Whether higher scores are better."""
        return METRICS[self.metric].direction == "higher"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Task, metric and number of windows."""
        return asdict(self)

    def score(self, model: Predictor, session: Session, tier: str) -> float:
        """Return the score of a model on a tier of a session.

        Raises
        ------
        ValueError
            The tier has no window, or the model refuses the task.
        """
        held_out = [name for name in HELD_OUT if name == self.task]
        if held_out:
            (bits,) = score_held_out(
                model, session, held_out, tier=tier, max_trials=self.max_windows, job=QUIET
            )
            value, refusal = bits.mean.value, bits.refusal
        else:
            scores = evaluate(
                model,
                session,
                self.task,
                tier=tier,
                max_windows=self.max_windows,
                metric=self.metric,
                centred=False,
                job=QUIET,
            )
            # Of responses, or of each channel of decoded behaviour.
            found = scores.scores or scores.behavior
            known = [score.value for score in found if not isnan(score.value)]
            value, refusal = fmean(known or [nan]), found[0].refusal
        if refusal:
            raise ValueError(f"{self.task}: {refusal}")
        return value


def criterion_of(metric: str | Criterion, spec: WindowSpec) -> Criterion:
    """Return the criterion of a task, with the default metric of a spec.

    Raises
    ------
    ValueError
        Models of the spec have no such task.
    """
    return task_score(metric, spec) if isinstance(metric, str) else metric


def task_score(
    task: str, spec: WindowSpec, metric: str | None = None, max_windows: int | None = None
) -> TaskScore:
    """Return the score of a task for models of a spec, which has the default metric.

    Raises
    ------
    ValueError
        Models of the spec have no such task or metric.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.core_runs import task_score
    >>> task_score("test/video_behavior", om.OMNIMOUSE).metric
    'correlation'
    >>> task_score("forward", om.OMNIMOUSE)
    Traceback (most recent call last):
    ValueError: task is 'forward', which only neural data transformers have. Models of \
this config are scored by a strategy, such as 'test/video_behavior'.
    """
    if task in HELD_OUT and spec.metric != BITS:
        raise ValueError(
            f"task is {task!r}, which only neural data transformers have. Models of "
            "this config are scored by a strategy, such as 'test/video_behavior'."
        )
    return TaskScore(task, metric or spec.metric, max_windows)


# -- interface of a family of models to a ranking: training, and transfer of a core ---
@runtime_checkable
class Factory(Protocol):
    """Trains models of one family and config; can be pickled.

    The same arguments give the same model. A training that was stopped goes on in its
    folder, and one that is complete only loads its result.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that a core depends on, apart from sessions and seed; JSON values."""
        ...

    @property
    def transfer_settings(self) -> Mapping[str, Any]:
        """All that a transfer depends on, apart from core, session and seed."""
        ...

    @property
    def spec(self) -> WindowSpec:
        """Windows of the models."""
        ...

    def pretrain(self, sessions: Sequence[Session], seed: int, out: Path, job: Job) -> Predictor:
        """Train a model on sessions.

        Raises
        ------
        StoppedError
            The job is cancelled.
        """
        ...

    def transfer(
        self, model: Predictor, session: Session, seed: int, out: Path, job: Job
    ) -> Predictor:
        """Fit the parts of a new session on the frozen core of a model.

        Raises
        ------
        StoppedError
            The job is cancelled.
        """
        ...


# -- train cores ----------------------------------------------------------------------
STOPPED = "stopped; what is finished is saved: the same call continues."
_one_at_a_time = threading.Lock()
"""The number of torch threads is one setting per process."""


@dataclass(frozen=True, slots=True)
class Study:
    """Settings that all scores of a study share.

    Attributes
    ----------
    tier
        Tier that is scored. Unless it is "test", no test tier can be read.
    """

    factory: Factory
    criterion: Criterion
    tier: str

    @property
    def key(self) -> str:
        """Hash of the settings of models and score, whatever the tier."""
        return row_key(
            settings=self.factory.settings,
            transfer=self.factory.transfer_settings,
            criterion=self.criterion.settings,
        )


@dataclass(frozen=True, slots=True)
class CoreRun:
    """One core, and the held-out sessions on which it is scored.

    Attributes
    ----------
    sessions
        Sessions of the core, sorted by id; none for the baseline of one held-out
        session.
    """

    study: Study
    sessions: tuple[Session, ...]
    heldout: tuple[Session, ...]
    seed: int

    def key(self, heldout: Session) -> str:
        """Return a hash of all that a score depends on."""
        return row_key(
            settings=self.study.factory.settings,
            transfer=self.study.factory.transfer_settings,
            criterion=self.study.criterion.settings,
            sessions=content_of(self.sessions),
            heldout=content_of([heldout]),
            tier=self.study.tier,
            seed=self.seed,
        )

    @property
    def steps(self) -> int:
        """Number of trainings."""
        return 1 + len(self.heldout) if self.sessions else 1

    @property
    def name(self) -> str:
        """Description for progress."""
        ids = [session.id for session in self.sessions]
        what = ids[0] if len(ids) == 1 else f"{len(ids)} sessions"
        if not ids:
            what = f"{self.heldout[0].id} from scratch"
        return f"{what}, seed {self.seed}"

    def scores(self, folder: Path, job: Job) -> Iterator[TransferScore]:
        """Yield the score on each held-out session; the job counts its trainings."""
        study, factory = self.study, self.study.factory
        # Training never reads a test tier, whatever is scored.
        train = tuple(without_test(s, factory.spec) for s in self.sessions)
        heldout = tuple(without_test(s, factory.spec) for s in self.heldout)
        place = folder / core_key(factory.settings, self.sessions or self.heldout, self.seed)
        course = _Course(job, len(heldout) if train else 0, factory.transfer_settings)
        core = factory.pretrain(train or heldout, self.seed, place / "core", course.core())
        trials = sum(n_trials(session, factory.spec) for session in train)
        for number, (session, view) in enumerate(zip(self.heldout, heldout, strict=True), start=1):
            model = core
            if train:
                key = transfer_key(factory.transfer_settings, session)
                out = place / f"to {key}"
                model = factory.transfer(core, view, self.seed, out, course.part(number))
            scored = session if study.tier == TEST else view
            value = study.criterion.score(model, scored, study.tier)
            yield TransferScore(
                tuple(s.id for s in train),
                session.id,
                self.seed,
                study.tier,
                value,
                trials,
                study.key,
                study.criterion.name,
                study.criterion.unit,
                study.criterion.is_higher_better,
            )


class _Course:
    """Progress of a core and its transfers, as the share of their steps.

    A core that reports no steps counts as one transfer.
    """

    def __init__(self, job: Job, n_transfers: int, transfer: Mapping[str, Any]) -> None:
        self._job, self._n_transfers = job, n_transfers
        self._transfer = self._core = float(transfer.get("steps") or 1)

    def core(self) -> Job:
        """Return the job of the core, whose reports tell its number of steps."""

        def report(done: int | float, total: int | float, step: str) -> None:
            if total > 1:
                self._core = float(total)
            self.part(0).progress(done, total, step)

        return CallbackJob(report, self._job.cancelled, self._job.message, self._job.device)

    def part(self, number: int) -> Job:
        """Return the job of the core (0) or of a transfer."""
        ends = self._core + self._transfer * np.arange(self._n_transfers + 1)
        begin = ends[number - 1] if number else 0.0
        return part_of(self._job, begin / ends[-1], ends[number] / ends[-1])


def run_scores(
    runs: Sequence[CoreRun], file: ResultsFile[TransferScore], scheduler: str | None, job: Job
) -> list[TransferScore]:
    """Compute the scores that the file lacks, and return those of all runs.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned true; finished scores are in the file.
    OutputBusyError
        Another process computes scores of this file.
    WorkerError
        The scheduler or its workers failed; finished scores are in the file.
    """
    from torch import get_num_threads

    asked = [(run, session) for run in runs for session in run.heldout]
    # Orders share their first and their last collections.
    keys = list(dict.fromkeys(run.key(session) for run, session in asked))
    folder = models_folder(file.path)
    with sole_writer(folder):
        missing = _missing(runs, file)
        tasks = [(run, real_path(folder), get_num_threads()) for run in missing]
        sizes = [100 * run.steps for run in missing]
        for number, scores in map_pieces(_scores, tasks, scheduler, job, sizes):
            run = missing[number]
            for session, score in zip(run.heldout, scores, strict=True):
                file.add(run.key(session), score)
    if any(key not in file.rows for key in keys):
        raise StoppedError(STOPPED)
    return [file.rows[key] for key in keys]


def _missing(runs: Sequence[CoreRun], file: ResultsFile[TransferScore]) -> list[CoreRun]:
    """Return runs with the held-out sessions that have no score, each once."""
    missing, seen = [], set(file.rows)
    for run in runs:
        heldout = tuple(s for s in run.heldout if run.key(s) not in seen)
        seen |= {run.key(session) for session in heldout}
        if heldout:
            missing.append(replace(run, heldout=heldout))
    return missing


def _scores(task: tuple[CoreRun, Path, int], job: Job) -> list[TransferScore]:
    """Compute all scores of a run, here or on a worker."""
    run, folder, threads = task

    def report(done: int | float, total: int | float, _: str) -> None:
        job.progress(round(100 * done / total * run.steps), 100 * run.steps, run.name)

    # Rounding of sums depends on the number of threads: that of the caller.
    with _one_at_a_time, torch_threads(threads):
        return list(run.scores(folder, CallbackJob(report, job.cancelled)))


# -- a session whose test tier cannot be read
# The number of spans differs between arguments of one call.
Spans = Float64[np.ndarray, "... 2"]


class HeldBackError(ValueError):
    """Responses of a test tier were to be read where only other tiers may be."""


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Times of a session at which no response may be read.

    Attributes
    ----------
    session
        Id, for messages.
    spans
        Native start and end of each span, ascending.
    tolerance_s
        A read may touch a span by this much: the sample before a window lies in the
        trial before it.
    """

    session: str
    spans: Spans
    tolerance_s: float

    def check(self, start: float, stop: float) -> None:
        """Raise `HeldBackError` if a native time span touches a forbidden one."""
        first = np.searchsorted(self.spans[:, 1], start + self.tolerance_s, "right")
        if first < len(self.spans) and self.spans[first, 0] < stop - self.tolerance_s:
            raise HeldBackError(
                f"Session {self.session!r}: responses from {start:g} to {stop:g} s "
                "(native time) touch the test tier, which is held back here. Ranking "
                "reads the tiers train and validation."
            )


class GuardedRows:
    """Rows of a stream, see `Rows`, of which some cannot be read."""

    def __init__(self, signal: Signal, guard: Guard) -> None:
        self._rows, self._guard = signal.file, guard
        self._start, self._rate_hz = signal.start, signal.rate_hz

    @property
    def path(self) -> Path:
        """File or folder of the samples, for messages."""
        return self._rows.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and of columns."""
        return self._rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return self._rows.dtype

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        self._rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive)."""
        self._guard.check(*self._times(first, stop))
        return self._rows.read(first, stop)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns."""
        for row in rows.tolist():
            self._guard.check(*self._times(row, row + 1))
        return self._rows.pick(rows, columns)

    def _times(self, first: int, stop: int) -> tuple[float, float]:
        start = self._start + first / self._rate_hz
        return start, self._start + stop / self._rate_hz


class GuardedSpikes(SpikeTrains):
    """Spike trains that raise an error where the guard forbids reading."""

    def __init__(self, spikes: SpikeTrains, guard: Guard) -> None:
        # Shares all that the trains hold; the raw times get no public name.
        vars(self).update(vars(spikes))
        self._guard = guard

    def all_times(self) -> np.ndarray:
        """Return the spike times of all units."""
        self._guard.check(-np.inf, np.inf)
        return super().all_times()

    def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unit and native time of all spikes in [start, stop).

        All counts are made from them.
        """
        self._guard.check(start, stop)
        return super().between(start, stop)

    def times(self, unit: int, start: float, stop: float) -> np.ndarray:
        """Return the spike times of one unit in seconds of the recording's clock."""
        self._guard.check(start, stop)
        return super().times(unit, start, stop)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SessionWithoutTest(Session):
    """A session whose test tier cannot be read, also after it was pickled.

    Attributes
    ----------
    opened
        Function without arguments that makes it again.
    """

    opened: Callable[[], Session] = field(kw_only=True)

    @property
    def contents(self) -> str:
        """The fingerprint: a hash of samples would read what is held back."""
        return self.fingerprint

    def __reduce__(self) -> tuple[Callable[[], Session], tuple[()]]:
        return self.opened, ()


def without_test(session: Session, spec: WindowSpec) -> Session:
    """Return a session whose test tier has no window and no readable response.

    Times that belong to a window of another tier stay readable: trials may be shorter
    than windows, which then overlap.

    Parameters
    ----------
    spec
        Windows of the models that read the session.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.core_runs import without_test
    >>> view = without_test(session, om.OMNIMOUSE)
    >>> len(view.window_starts("test")), len(view.window_starts("validation", 60))
    (0, 5)
    >>> view.responses.data
    Traceback (most recent call last):
    omnimouse_model.analysis.ranking.core_runs.HeldBackError: Session '90009-1-1': \
responses from 100 to 194.5 s (native time) touch the test tier, which is held back \
here. Ranking reads the tiers train and validation.
    """
    hidden = _spans(session, "test", spec)
    others = (t for t in session.tiers() if not is_test_tier(t))
    spans = _difference(hidden, _spans(session, tuple(others), spec))
    signal, trials = session.responses, session.trials
    guard = Guard(session.id, spans, 1.0 / signal.rate_hz)
    file: Rows
    if isinstance(signal.file, SpikeTrains):
        file = GuardedSpikes(signal.file, guard)
    else:
        file = GuardedRows(signal, guard)
    is_test = np.array([is_test_tier(tier) for tier in trials.tier.tolist()], bool)
    columns = {f.name: getattr(session, f.name) for f in fields(Session) if f.init}
    columns |= {
        # Means over bins of time would show what is hidden.
        "responses": replace(signal, file=file, levels=()),
        "trials": replace(trials, readable=trials.readable & ~is_test),
    }
    opened = partial(without_test, session, spec)
    return SessionWithoutTest(**columns, opened=opened)


def _spans(session: Session, tier: str | tuple[str, ...], spec: WindowSpec) -> Spans:
    """Return the native spans that the windows of a tier cover, joined."""
    starts = np.sort(session.window_starts(tier, include_blanks=True, spec=spec))
    if not len(starts):
        return np.zeros((0, 2))
    stops = starts + spec.duration_s
    # Windows of one length: a span ends where the next window begins after its end.
    is_last = np.append(starts[1:] > stops[:-1], True)
    is_first = np.append(True, is_last[:-1])
    return np.stack([starts[is_first], stops[is_last]], axis=1) + session.t0


def _difference(spans: Spans, others: Spans) -> Spans:
    """Return the parts of spans that lie in none of the other spans."""
    parts = []
    for start, stop in spans:
        for other in others[(others[:, 1] > start) & (others[:, 0] < stop)]:
            if other[0] > start:
                parts.append((start, other[0]))
            start = max(start, other[1])
        if start < stop:
            parts.append((start, stop))
    return np.array(parts, np.float64).reshape(-1, 2)
