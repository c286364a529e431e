"""Strategies x sessions x predictors: single-trial correlations on held-out windows.

Every predictor is scored on the same windows, samples and neurons. Windows are read
once, in small chunks, and answered by every predictor in turn, so memory is bounded
by the chunk and not by the session.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_model.analysis.evaluate.accumulate import CHANNELS as CHANNELS
from omnimouse_model.analysis.evaluate.accumulate import Job, count_answer
from omnimouse_model.analysis.evaluate.conditions import Condition, conditions
from omnimouse_model.analysis.evaluate.results import BehaviorScore, Score, Scores
from omnimouse_model.analysis.evaluate.stimulus_groups import Grouping, StimulusGroups
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask, asked_cells
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.simulate import Truth, has_truth, open_truth

CHUNK = 32
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
    by: Grouping | None = None,
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
    by
        Score each "kind" of stimulus, each "tier", or what training had and had not
        ("distribution") for itself too; see `stimulus_groups`.

    Raises
    ------
    ValueError
        Where a session has no window of the tier.
    Cancelled
        Once `cancelled()` is true.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "causal_response_25_behavior", max_windows=3)
    >>> score = found.scores[0]
    >>> round(score.value, 2), score.n_neurons, score.n_windows
    (0.23, 40, 3)
    """
    predictors = list(predictor) if isinstance(predictor, Sequence) else [predictor]
    recordings = [sessions] if isinstance(sessions, Session) else list(sessions)
    asked = conditions(strategies)

    def windows(session: Session) -> np.ndarray:
        return scored_starts(session, tier, max_windows) if starts is None else starts

    total = sum(len(windows(session)) for session in recordings)
    run = _Run(total * len(asked) * len(predictors), progress, cancelled, by)
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
    by: Grouping | None = None
    done: int = 0

    def say(self, what: str) -> None:
        if self.cancelled():
            raise Cancelled("The evaluation was cancelled.")
        self.progress(self.done, self.total, what)


def _evaluate_session(
    session: Session,
    starts: np.ndarray,
    predictors: Sequence[Predictor],
    asked: Sequence[Condition],
    neurons: np.ndarray | None,
    run: _Run,
) -> list[Job]:
    refusals = {id(p): _prepared(p, session, run) for p in predictors}
    truth = open_truth(session.path) if has_truth(session.path) else None
    groups = None if run.by is None else StimulusGroups.of(session, run.by)
    jobs: list[Job] = []
    for condition in asked:
        mask = condition.mask(session)
        cells = _scored_cells(mask, condition, session, neurons)
        ceiling = None
        if truth is not None:
            ceiling = Job(session, condition, mask, cells, "ceiling", None)
        for predictor in predictors:
            name = predictor.predictor_id
            job = Job(session, condition, mask, cells, name, predictor)
            job.groups = groups
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


def _questions(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs that one answer serves: the same predictor under the same mask."""
    groups: dict[tuple[int, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((id(job.predictor), job.mask.mask_id), []).append(job)
    return list(groups.values())


def _answer(
    jobs: list[Job], windows: list[Window], cancelled: Callable[[], bool]
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
                count_answer(job, window, prediction)
            count += 1
    except UnsupportedRequestError as error:
        for job in jobs:
            job.refusal = str(error)
        return
    if count < len(windows):
        raise Cancelled("The evaluation was cancelled.")
    for job in jobs:
        job.n_windows += count


def _add_truth(job: Job, windows: list[Window], truth: Truth) -> None:
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
