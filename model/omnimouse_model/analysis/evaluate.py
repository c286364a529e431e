"""Strategies x sessions x predictors: single-trial correlations on held-out windows.

Every predictor is scored on the same windows, samples and neurons. Windows are read
once, in small chunks, and answered by every predictor in turn, so memory is bounded
by the chunk and not by the session.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from omnimouse_model.analysis.conditions import Condition, conditions
from omnimouse_model.analysis.scores import BehaviorScore, Score, Scores
from omnimouse_model.data.readers.behavior import EYE_NAMES
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import N_SAMPLES, Mask, asked_cells
from omnimouse_model.metrics import (
    StreamingCorrelation,
    bootstrap_interval,
    session_score,
)
from omnimouse_model.predict.predictor import Prediction, Predictor
from omnimouse_model.simulate import Truth, has_truth, open_truth

CHUNK = 32
CHANNELS = (*EYE_NAMES, "running")
"""What is decoded, in order, where a session has not as many channels itself."""
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) in windows x conditions x predictors."""


class Cancelled(RuntimeError):
    """The evaluation was asked to stop."""


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How the windows of a tier are laid, as the official evaluation does."""

    stride: int
    include_blanks: bool

    @classmethod
    def of(cls, tier: str) -> "WindowRule":
        """Test tiers: every second once, with blanks; validation: every 2 s."""
        if tier == "validation":
            return cls(60, False)
        return cls(30, "test" in tier)


def evaluate(
    predictor: Predictor | Sequence[Predictor],
    sessions: Session | Sequence[Session],
    strategies: str | Condition | Sequence[str | Condition],
    *,
    tier: str = "test",
    starts: np.ndarray | None = None,
    neurons: np.ndarray | None = None,
    max_windows: int | None = None,
    progress: Progress = lambda done, total, what: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Scores:
    """Score predictors on held-out windows.

    Parameters
    ----------
    predictor
        One or several; all are scored on the same windows, samples and neurons. What
        one refuses becomes a score without a value that says why.
    strategies
        A name or several, or conditions of your own.
    tier
        "test" is every test tier a session has.
    starts
        Score these windows (seconds on the session clock) instead of a tier's.
    neurons
        Score only these of the asked neurons.
    max_windows
        Take at most this many windows of a session, spread over it.

    Raises
    ------
    ValueError
        Where a session has no window of the tier.
    Cancelled
        Once `cancelled()` is true.
    """
    predictors = list(predictor) if isinstance(predictor, Sequence) else [predictor]
    recordings = [sessions] if isinstance(sessions, Session) else list(sessions)
    asked = conditions(strategies)

    def windows(session: Session) -> np.ndarray:
        return scored_starts(session, tier, max_windows) if starts is None else starts

    total = sum(len(windows(session)) for session in recordings)
    run = _Run(total * len(asked) * len(predictors), progress, cancelled)
    scores: list[Score] = []
    behavior: list[BehaviorScore] = []
    for session in recordings:
        run.say(f"{session.id}: preparing")
        found = _evaluate_session(
            session, windows(session), predictors, asked, neurons, run
        )
        for job in found:
            scores += job.scores()
            behavior += job.behavior_scores()
    return Scores(tuple(scores), tuple(behavior), tier)


def scored_starts(
    session: Session, tier: str = "test", max_windows: int | None = None
) -> np.ndarray:
    """Starts (n,) of the windows a tier is scored on, seconds on the session clock."""
    rule = WindowRule.of(tier)
    starts = session.window_starts(tier, rule.stride, rule.include_blanks)
    if not len(starts):
        raise ValueError(
            f"Session {session.id!r} has no window of tier {tier!r}; "
            f"its tiers are {', '.join(session.tiers()) or 'none'}."
        )
    return spread_starts(starts, max_windows)


def spread_starts(starts: np.ndarray, max_windows: int | None) -> np.ndarray:
    """At most so many of the starts, spread over them."""
    if max_windows is None or len(starts) <= max_windows:
        return starts
    spread = np.linspace(0, len(starts) - 1, max_windows).round().astype(int)
    return np.asarray(starts[spread])


@dataclass(slots=True)
class _Run:
    """Progress and cancelling of one evaluation."""

    total: int
    progress: Progress
    cancelled: Callable[[], bool]
    done: int = 0

    def say(self, what: str) -> None:
        if self.cancelled():
            raise Cancelled("The evaluation was cancelled.")
        self.progress(self.done, self.total, what)


@dataclass(slots=True, eq=False)
class _Job:
    """One condition of one session under one predictor (or under the truth)."""

    session: Session
    condition: Condition
    mask: Mask
    cells: np.ndarray  # bool (60, P): what is scored
    name: str
    predictor: Predictor | None
    neurons: np.ndarray = field(init=False)
    responses: StreamingCorrelation = field(init=False)
    behavior: StreamingCorrelation | None = None
    behavior_refusals: dict[str, str] = field(default_factory=dict)  # by channel
    n_windows: int = 0
    refusal: str = ""
    ceiling: "_Job | None" = None

    def __post_init__(self) -> None:
        self.neurons = np.flatnonzero(self.cells.any(axis=0))
        self.responses = StreamingCorrelation(N_SAMPLES, len(self.neurons))

    def add(self, window: Window, rates: np.ndarray, columns: np.ndarray) -> None:
        """Count a window's predicted rates (60, n) of `columns` of `neurons`."""
        neurons = self.neurons[columns]
        counted = self.cells[:, neurons] & window.valid["responses"][:, None]
        truth = window.responses[:, neurons]
        self.responses.update(rates, truth, counted, columns)

    def add_behavior(self, window: Window, decoded: np.ndarray | None) -> None:
        """Count the decoded channels that the session has too."""
        truth, names = window.behavior, self.session.behavior_names
        taken = np.full(truth.shape, np.nan, np.float32)
        if decoded is None:
            self.behavior_refusals = dict.fromkeys(names, "decoded no behaviour.")
        else:
            columns, self.behavior_refusals = _matched(decoded.shape[1], names)
            taken[:, list(columns)] = decoded[:, list(columns.values())]
        if self.behavior is None:
            self.behavior = StreamingCorrelation(*truth.shape)
        scored = [name not in self.behavior_refusals for name in names]
        counted = window.valid["behavior"][:, None] & np.array(scored, bool)
        self.behavior.update(taken, truth, counted)

    def per_neuron(self) -> tuple[np.ndarray, np.ndarray]:
        """Correlation and number of scored samples of every scored neuron."""
        found = self.responses.moments()
        return found.pearson(), found.count

    def scores(self) -> list[Score]:
        """The response score; none where only behaviour is asked."""
        if not len(self.neurons):
            return []
        values, counts = self.per_neuron()
        nothing = np.full(len(values), np.nan)
        value = session_score(values, counts)
        low, high = bootstrap_interval(values, counts)
        score = Score(
            session=self.session.id,
            strategy=self.condition.name,
            predictor=self.name,
            value=value,
            ci_low=low,
            ci_high=high,
            ceiling=_mean_ceiling(self.ceiling),
            n_windows=self.n_windows,
            neurons=self.neurons,
            per_neuron=values,
            refusal=self.refusal,
            note=self.mask.note,
        )
        if not self.refusal:
            return [score]
        refused = float("nan")
        return [
            replace(
                score,
                value=refused,
                ci_low=refused,
                ci_high=refused,
                per_neuron=nothing,
            )
        ]

    def behavior_scores(self) -> list[BehaviorScore]:
        """One score per channel that is asked for, without a value where refused."""
        if self.mask.behavior != "target":
            return []
        names = self.session.behavior_names or ("behavior",)
        values = np.full(len(names), np.nan)
        reasons = dict.fromkeys(names, self.refusal)
        if not self.session.behavior_names:
            reasons = {"behavior": "The session has no behaviour."}
        elif not self.refusal and self.behavior is not None:
            values, reasons = self.behavior.pearson(), self.behavior_refusals
        return [
            BehaviorScore(
                self.session.id,
                self.condition.name,
                self.name,
                channel,
                float(value),
                self.n_windows,
                reasons.get(channel, ""),
            )
            for channel, value in zip(names, values, strict=True)
        ]


def _matched(
    n_decoded: int, names: Sequence[str]
) -> tuple[dict[int, int], dict[str, str]]:
    """Decoded column of every channel that has one, and why the others have none.

    As many channels as the session has are its own; otherwise they go by name.
    """
    if n_decoded == len(names):
        return {column: column for column in range(n_decoded)}, {}
    if n_decoded != len(CHANNELS):
        reason = (
            f"decoded {n_decoded} channels, the session has {len(names)}: they "
            "cannot be matched."
        )
        return {}, dict.fromkeys(names, reason)
    columns = {k: CHANNELS.index(n) for k, n in enumerate(names) if n in CHANNELS}
    reasons = {
        name: f"{name!r} is not among the decoded channels {', '.join(CHANNELS)}."
        for name in names
        if name not in CHANNELS
    }
    return columns, reasons


def _mean_ceiling(job: _Job | None) -> float:
    return float("nan") if job is None else session_score(*job.per_neuron())


def _evaluate_session(
    session: Session,
    starts: np.ndarray,
    predictors: Sequence[Predictor],
    asked: Sequence[Condition],
    neurons: np.ndarray | None,
    run: _Run,
) -> list[_Job]:
    refusals = {id(p): _prepared(p, session, run) for p in predictors}
    truth = open_truth(session.path) if has_truth(session.path) else None
    jobs: list[_Job] = []
    for condition in asked:
        mask = condition.mask(session)
        cells = _scored_cells(mask, condition, session, neurons)
        ceiling = None
        if truth is not None:
            ceiling = _Job(session, condition, mask, cells, "ceiling", None)
        for predictor in predictors:
            name = predictor.predictor_id
            job = _Job(session, condition, mask, cells, name, predictor)
            job.ceiling, job.refusal = ceiling, refusals[id(predictor)]
            jobs.append(job)
    questions = _questions(jobs)
    for windows in _chunks(session, starts):
        for question in questions:
            run.say(f"{session.id}: {question[0].condition.name}, {question[0].name}")
            _answer(question, windows, run.cancelled)
            run.done += len(windows) * len(question)
        for ceiling in {id(j.ceiling): j.ceiling for j in jobs}.values():
            if ceiling is not None and truth is not None:
                _add_truth(ceiling, windows, truth)
    return jobs


def _prepared(predictor: Predictor, session: Session, run: _Run) -> str:
    """Prepare a predictor; the reason where it cannot serve the session."""
    run.say(f"{session.id}: preparing {predictor.predictor_id}")
    try:
        predictor.prepare(session)
    except UnsupportedRequestError as error:
        return str(error)
    return ""


def _scored_cells(
    mask: Mask, condition: Condition, session: Session, neurons: np.ndarray | None
) -> np.ndarray:
    """bool (60, P): asked, and of a neuron that is to be scored."""
    cells = asked_cells(mask)
    chosen = [neurons] if neurons is not None else []
    if condition.neurons is not None:
        chosen.append(condition.neurons(session))
    for some in chosen:
        kept = np.zeros(mask.n_neurons, bool)
        kept[some] = True
        cells = cells & kept
    return cells


def _chunks(session: Session, starts: np.ndarray) -> Iterator[list[Window]]:
    for first in range(0, len(starts), CHUNK):
        yield [session.window(float(s)) for s in starts[first : first + CHUNK]]


def _questions(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Jobs that one answer serves: the same predictor under the same mask."""
    groups: dict[tuple[int, str], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((id(job.predictor), job.mask.mask_id), []).append(job)
    return list(groups.values())


def _answer(
    jobs: list[_Job], windows: list[Window], cancelled: Callable[[], bool]
) -> None:
    """Ask the predictor of some jobs about some windows, and count its answers."""
    first = jobs[0]
    if first.refusal or first.predictor is None:
        return
    neurons = np.unique(np.concatenate([job.neurons for job in jobs]))
    if not len(neurons) and first.mask.behavior != "target":
        return
    requests = ((window, first.mask, neurons) for window in windows)
    count = 0
    try:
        answers = first.predictor.predict_many(requests, cancelled)
        for window, prediction in zip(windows, answers, strict=False):
            for job in jobs:
                _count(job, window, prediction)
            count += 1
    except UnsupportedRequestError as error:
        for job in jobs:
            job.refusal = str(error)
        return
    if count < len(windows):
        raise Cancelled("The evaluation was cancelled.")
    for job in jobs:
        job.n_windows += count


def _count(job: _Job, window: Window, prediction: Prediction) -> None:
    if len(job.neurons):
        wanted = np.isin(prediction.neurons, job.neurons)
        columns = np.searchsorted(job.neurons, prediction.neurons[wanted])
        job.add(window, prediction.responses[:, wanted], columns)
    if job.mask.behavior == "target":
        job.add_behavior(window, prediction.behavior)


def _add_truth(job: _Job, windows: list[Window], truth: Truth) -> None:
    """Count the expected responses: given the latents where responses are visible."""
    if not len(job.neurons):
        return
    expected = truth.full if job.mask.visible.any() else truth.drive
    scale = job.session.response_scale[job.neurons]
    columns = np.arange(len(job.neurons))
    for window in windows:
        rows = job.session.responses.index(window.times("responses"))
        rows = rows[:, job.neurons] if rows.ndim == 2 else rows[:, None]
        rates = expected[rows, job.neurons] / scale
        job.add(window, np.nan_to_num(rates), columns)
        job.n_windows += 1
