"""Evaluation of predictors: scores on held-out windows, by a metric of a chosen name.

Every evaluation is a list of shards: some predictors on the windows of one session.
`evaluate` has one shard per session; `sharded.evaluate_all` distributes and saves
shards. All predictors are scored on the same windows, samples and neurons. Windows are
read once per shard, in small chunks, and all its predictors run on each chunk. Memory
therefore depends on the size of the chunk and not on the session.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from omnimouse_model.analysis.evaluate.accumulate import CHANNELS as CHANNELS
from omnimouse_model.analysis.evaluate.accumulate import RunningScore
from omnimouse_model.analysis.evaluate.conditions import (
    Condition,
    Strategies,
    conditions,
)
from omnimouse_model.analysis.evaluate.repeat_table import KINDS
from omnimouse_model.analysis.evaluate.results import BehaviorScore, Score, Scores
from omnimouse_model.analysis.evaluate.stimulus_groups import Grouping, StimulusGroups
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.analysis.evaluate.window_scores import null_rates
from omnimouse_model.analysis.tuning.repeats import RepeatedClip, repeated_clips
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.metrics import Metric, named_metric
from omnimouse_model.metrics.time_blocks import time_blocks
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.simulate import has_truth, open_truth
from omnimouse_model.simulate.conditional_means import Given, conditional_mean

# Windows in memory at a time.
CHUNK = 32
Progress = Callable[[int, int, str], None]
"""Called with (done, total, step); the unit is windows x conditions x predictors."""


def evaluate(
    predictor: Predictor | Sequence[Predictor],
    sessions: Session | Sequence[Session],
    strategies: Strategies,
    *,
    tier: str = "test",
    starts: np.ndarray | None = None,
    neurons: np.ndarray | None = None,
    max_windows: int | None = None,
    by: Grouping | None = None,
    metric: str | None = None,
    progress: Progress = lambda done, total, step: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Scores:
    """Score predictors on held-out windows.

    Parameters
    ----------
    predictor
        One or several. Predictors of one spec are scored on the same windows, samples
        and neurons, each spec on windows of its own. A refused condition becomes a
        score without a value and with the reason.
    strategies
        One or several names of strategies, masks, or `Condition` objects. Masks of
        another spec are stretched to the windows of a predictor.
    tier
        "test" stands for all test tiers of a session.
    starts
        Score these windows (seconds on the session clock) instead of a tier's.
    neurons
        Score only these of the target neurons.
    max_windows
        Maximum number of windows per session, spread evenly over it.
    by
        Also score the samples of each "kind" of stimulus, each "tier", or in- and
        out-of-distribution stimuli ("distribution"); see `stimulus_groups`.
    metric
        "correlation", "cc_norm" (stimuli that were repeated), "fve" (fraction of
        variance explained) or "bits_per_spike" (sessions with spike times);
        `metrics.METRICS` has their definitions. Decoded behaviour is always scored by
        correlation. By default that of the first predictor's spec: bits per spike for
        counts, else the correlation.

    Raises
    ------
    ValueError
        A session has no window of the tier, or the metric is unknown.
    StoppedError
        `cancelled()` returned true.

    Examples
    --------
    >>> last = om.load_predictor("last")
    >>> found = om.evaluate(last, session, "causal_response_25_behavior", max_windows=3)
    >>> score = found.scores[0]
    >>> round(score.value, 2), score.n_neurons, score.n_windows
    (0.23, 40, 3)
    >>> om.evaluate(
    ...     last, session, "causal_response_25_behavior", max_windows=3, metric="fve"
    ... ).rows()[0]["unit"]
    'fraction of variance explained'
    """
    predictors = (*predictor,) if isinstance(predictor, Sequence) else (predictor,)
    metric = metric_of(predictors, metric)  # refuses an unknown name before any work
    scored = conditions(strategies)
    shards = []
    for session in listed_sessions(sessions):
        for spec, group in by_spec(predictors).items():
            windows = starts
            if windows is None:
                windows = scored_starts(session, tier, max_windows, spec)
            shards.append(
                Shard(tuple(group), session, scored, tier, windows, neurons, by, metric)
            )
    return merge_scores(list(shard_scores(shards, progress, cancelled)), shards, tier)


def metric_of(predictors: Sequence[Predictor], metric: str | None) -> str:
    """Return the name of a metric: by default that of the first predictor's spec.

    Raises
    ------
    ValueError
        The metric is unknown, or `evaluate` cannot compute it.
    """
    default = predictors[0].needs.spec.metric if predictors else "correlation"
    return named_metric(metric or default).name


def listed_sessions(sessions: Session | Sequence[Session]) -> list[Session]:
    """Return one or several sessions as a list."""
    return [sessions] if isinstance(sessions, Session) else list(sessions)


def by_spec(predictors: Sequence[Predictor]) -> dict[WindowSpec, list[Predictor]]:
    """Group predictors that read the same windows, in order of the first of each."""
    groups: dict[WindowSpec, list[Predictor]] = {}
    for predictor in predictors:
        groups.setdefault(predictor.needs.spec, []).append(predictor)
    return groups


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Some predictors in some conditions on windows of one session.

    Attributes
    ----------
    tier, starts
        Tier of the windows, and their starts (n,) in s on the session clock.
    neurons, by, metric
        As in `evaluate`.
    """

    predictors: tuple[Predictor, ...]
    session: Session
    conditions: tuple[Condition, ...]
    tier: str
    starts: np.ndarray
    neurons: np.ndarray | None = None
    by: Grouping | None = None
    metric: str = "correlation"


def shard_scores(
    shards: Sequence[Shard],
    progress: Progress = lambda done, total, step: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Scores]:
    """Yield the scores of each shard, computed in this process.

    Raises
    ------
    StoppedError
        `cancelled()` returned true.
    """
    total = sum(
        len(shard.starts) * len(shard.conditions) * len(shard.predictors)
        for shard in shards
    )
    run = _Run(total, progress, cancelled)
    for shard in shards:
        run.report(f"{shard.session.id}: preparing")
        running = _running_scores(shard, run)
        _predict_windows(shard, running, run)
        yield Scores(
            tuple(score for total in running for score in total.scores()),
            tuple(score for total in running for score in total.behavior_scores()),
            shard.tier,
            shard.metric,
        )


def merge_scores(parts: Sequence[Scores], shards: Sequence[Shard], tier: str) -> Scores:
    """Return scores of shards in the order of sessions, conditions and predictors."""
    sessions = {id_: n for n, id_ in enumerate(s.session.id for s in shards)}
    names = {c.name: n for shard in shards for n, c in enumerate(shard.conditions)}

    def place(row: Score | BehaviorScore) -> tuple[int, int]:
        return sessions[row.session], names[row.strategy]

    return Scores(
        tuple(sorted((row for part in parts for row in part.scores), key=place)),
        tuple(sorted((row for part in parts for row in part.behavior), key=place)),
        tier,
        shards[0].metric if shards else "correlation",
    )


@dataclass(slots=True)
class _Run:
    """Progress and cancellation of one evaluation."""

    total: int
    progress: Progress
    cancelled: Callable[[], bool]
    done: int = 0

    def report(self, step: str) -> None:
        """Report progress, or raise `StoppedError`."""
        if self.cancelled():
            raise StoppedError("The evaluation was cancelled.")
        self.progress(self.done, self.total, step)


def _running_scores(shard: Shard, run: _Run) -> list[RunningScore]:
    """Return an empty score for each condition and predictor of a shard."""
    session = shard.session
    # The predictors of a shard read the same windows.
    spec = shard.predictors[0].needs.spec
    # By identity, because predictors need not be hashable.
    refusals = {id(p): _prepared(p, session, run) for p in shard.predictors}
    metric = named_metric(shard.metric)
    null: np.ndarray | None = None
    clips: tuple[RepeatedClip, ...] = ()
    try:
        if metric.needs == "counts":
            null = null_rates(session, spec)
        clips = _clips(metric, session)
    except UnsupportedRequestError as error:
        refusals = dict.fromkeys(refusals, str(error))
    groups = None if shard.by is None else StimulusGroups.of(session, shard.by)
    running: list[RunningScore] = []
    for condition in shard.conditions:
        mask = condition.mask(session).stretched(spec)
        cells = _scored_cells(mask, condition, session, shard.neurons)
        empty = partial(
            RunningScore,
            session,
            condition,
            mask,
            cells,
            metric=metric,
            null=null,
            clips=clips,
        )
        # Predictors share one ceiling per condition: it depends on the cells only.
        ceiling = empty("ceiling", None) if _has_ceiling(session, spec) else None
        running += [
            empty(
                predictor.predictor_id,
                predictor,
                refusal=refusals[id(predictor)],
                ceiling=ceiling,
                groups=groups,
            )
            for predictor in shard.predictors
        ]
    return running


def _has_ceiling(session: Session, spec: WindowSpec) -> bool:
    # The exact means of a simulated mouse are stored at OmniMouse's rate.
    return spec == OMNIMOUSE and has_truth(session.path)


def _clips(metric: Metric, session: Session) -> tuple[RepeatedClip, ...]:
    """Return the repeated stimuli of a session, if a metric needs them."""
    if metric.needs != "repeats":
        return ()
    clips = repeated_clips(session, KINDS)
    if not clips:
        raise UnsupportedRequestError(
            f"{metric.name} needs repeats of a stimulus; session {session.id!r} has "
            "none."
        )
    return clips


def _prepared(predictor: Predictor, session: Session, run: _Run) -> str:
    """Prepare a predictor; return the reason if it refuses the session, else ""."""
    run.report(f"{session.id}: preparing {predictor.predictor_id}")
    try:
        predictor.prepare(session)
    except UnsupportedRequestError as error:
        return str(error)
    return ""


def _scored_cells(
    mask: Mask, condition: Condition, session: Session, neurons: np.ndarray | None
) -> np.ndarray:
    """Return bool (n_samples, P): target cells of the neurons that are scored."""
    cells = scored_cells(mask)
    selections = [neurons] if neurons is not None else []
    if condition.neurons is not None:
        selections.append(condition.neurons(session))
    for selection in selections:
        is_selected = np.zeros(mask.n_neurons, bool)
        is_selected[selection] = True
        cells = cells & is_selected
    return cells


def _predict_windows(shard: Shard, running: Sequence[RunningScore], run: _Run) -> None:
    """Add the predictions of all windows of a shard to its scores."""
    session, spec = shard.session, shard.predictors[0].needs.spec
    # Conditions with the same predictor and mask share one prediction.
    requests: dict[tuple[int, str], list[RunningScore]] = {}
    for score in running:
        key = (id(score.predictor), score.mask.mask_id)
        requests.setdefault(key, []).append(score)
    # By identity, so that a shared ceiling adds each window once.
    ceilings = {id(s.ceiling): s.ceiling for s in running if s.ceiling is not None}
    given = {number: _given(ceiling) for number, ceiling in ceilings.items()}
    # Conditions that show the same share the expected responses of the session.
    expected = {key: _expected(session, key) for key in set(given.values())}
    blocks = time_blocks(shard.starts, spec.duration_s)
    for first in range(0, len(shard.starts), CHUNK):
        part = slice(first, first + CHUNK)
        windows = [session.window(float(start), spec) for start in shard.starts[part]]
        of_block = list(zip(windows, blocks[part].tolist(), strict=True))
        for group in requests.values():
            run.report(f"{session.id}: {group[0].condition.name}, {group[0].name}")
            _predict(group, of_block, run.cancelled)
            run.done += len(windows) * len(group)
        for number, ceiling in ceilings.items():
            _add_expected(ceiling, of_block, expected[given[number]])


def _predict(
    group: list[RunningScore],
    windows: Sequence[tuple[Window, int]],
    cancelled: Callable[[], bool],
) -> None:
    """Predict windows, each with its block of time, for all scores of a group."""
    first = group[0]
    if first.refusal or first.predictor is None:
        return
    # One prediction serves all scores, so it contains the union of their neurons.
    neurons = np.unique(np.concatenate([score.neurons for score in group]))
    if not len(neurons) and not first.mask.has_behavior_target:
        return
    requests = ((window, first.mask, neurons) for window, _ in windows)
    count = 0
    try:
        predictions = first.predictor.predict_many(requests, cancelled)
        # Not strict: a cancelled `predict_many` ends early.
        for (window, block), prediction in zip(windows, predictions, strict=False):
            for score in group:
                score.add(window, prediction, block)
            count += 1
    except UnsupportedRequestError as error:
        for score in group:
            score.refusal = str(error)
        return
    if count < len(windows):
        raise StoppedError("The evaluation was cancelled.")
    for score in group:
        score.n_windows += count


def _given(ceiling: RunningScore) -> Given:
    """Return what is known of a simulated session under the mask of a condition."""
    mask = ceiling.mask
    is_visible = np.asarray(mask.visible.any(axis=0))
    sees_responses = bool(is_visible.any())
    return Given(
        # Visible responses inform about the stimulus and behaviour as well.
        video=sees_responses or bool(mask.frames.any()),
        behavior=sees_responses or mask.has_visible_behavior,
        shared=sees_responses,
        private=bool(is_visible[ceiling.neurons].any()),
    )


def _expected(session: Session, given: Given) -> Float[np.ndarray, "time neuron"]:
    return conditional_mean(session.path, open_truth(session.path), given)


def _add_expected(
    ceiling: RunningScore,
    windows: Sequence[tuple[Window, int]],
    expected: Float[np.ndarray, "time neuron"],
) -> None:
    """Add expected responses, in raw response units, as if they were predictions."""
    if not len(ceiling.neurons):
        return
    session, neurons = ceiling.session, ceiling.neurons
    scale = session.response_scale[neurons]
    for window, block in windows:
        rows = session.responses.index(window.times("responses"))
        # One row index per neuron if neurons are sampled at different phases.
        rows = rows[:, neurons] if rows.ndim == 2 else rows[:, None]
        rates = np.nan_to_num(expected[rows, neurons] / scale)
        ceiling.add_rates(window, rates, np.arange(len(neurons)), block)
