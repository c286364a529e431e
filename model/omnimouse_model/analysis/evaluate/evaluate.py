"""Evaluation of predictors: scores on held-out windows, by a metric of a chosen name.

Every evaluation is a list of shards: some predictors on the windows of one session.
`evaluate` has one shard per session; `sharded.evaluate_all` distributes and saves
shards. All predictors are scored on the same windows, samples and neurons. Windows are
read once per shard, in small batches, and all its predictors run on each batch. Memory
therefore depends on the size of the batch and not on the session.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.accumulate import CHANNELS as CHANNELS
from omnimouse_model.analysis.evaluate.conditions import Strategies, conditions
from omnimouse_model.analysis.evaluate.dask_map import resolve_predictor
from omnimouse_model.analysis.evaluate.results import BehaviorScore, Score, Scores
from omnimouse_model.analysis.evaluate.shard import (
    Shard,
    ShardRun,
    ShardScores,
)
from omnimouse_model.analysis.evaluate.stimulus_groups import Grouping
from omnimouse_model.analysis.evaluate.tier_windows import scored_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.demo import open_session
from omnimouse_model.metrics import named_metric
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker.server import Source
from omnimouse_model.progress import QUIET, Job, shown_job

Sessions = Session | str | Path | Sequence[Session | str | Path]
"""One or several sessions: open ones, names ("demo", "unseen"), paths, addresses."""


def evaluate(
    predictor: Predictor | Source | Path | Sequence[Predictor | Source | Path],
    sessions: Sessions,
    strategies: Strategies,
    *,
    tier: str = "test",
    starts: np.ndarray | None = None,
    neurons: np.ndarray | None = None,
    max_windows: int | None = None,
    by: Grouping | None = None,
    metric: str | None = None,
    centred: bool = True,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
) -> Scores:
    """Score predictors on held-out windows.

    Parameters
    ----------
    predictor
        One or several: predictors, or their names, paths or factories. Predictors of
        one spec are scored on the same windows, samples and neurons, each spec on
        windows of its own. A refused condition becomes a score without a value and
        with the reason.
    sessions
        One or several: open sessions, or "demo", "unseen", paths or addresses.
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
    centred
        Also compute centred correlations, which are hardly biased over few windows:
        about the mean of each neuron over the train tier, for predictions over 16 of
        its windows.
    device
        Device of predictors that are loaded by name.
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        A session has no window of the tier, or the metric is unknown.
    StoppedError
        `job.cancelled()` returned true.

    Examples
    --------
    >>> strategy = "causal_response_25_behavior"
    >>> found = om.evaluate("last", session, strategy, max_windows=3)
    >>> score = found.scores[0]
    >>> round(score.value, 2), score.n_neurons, score.n_windows
    (0.37, 40, 3)
    >>> om.evaluate(
    ...     ["last", "mean"], "demo", strategy, max_windows=3, metric="fve"
    ... ).rows()[0]["unit"]
    'fraction of variance explained'
    """
    # A name is a sequence too.
    if isinstance(predictor, str) or not isinstance(predictor, Sequence):
        predictor = [predictor]
    predictors = [resolve_predictor(source, device, connect) for source in predictor]
    metric = metric_of(predictors, metric)  # refuses an unknown name before any work
    scored = conditions(strategies)
    shards = []
    for session in listed_sessions(sessions):
        for spec, group in by_spec(predictors).items():
            windows = starts
            if windows is None:
                windows = scored_starts(session, tier, max_windows, spec)
            shards.append(
                Shard(
                    tuple(group),
                    session,
                    scored,
                    tier,
                    windows,
                    neurons,
                    by,
                    metric,
                    centred,
                )
            )
    with shown_job(job) as shown:
        parts = list(shard_scores(shards, shown))
    return merge_scores(parts, shards, tier)


def metric_of(predictors: Sequence[Predictor], metric: str | None) -> str:
    """Return the name of a metric: by default that of the first predictor's spec.

    Raises
    ------
    ValueError
        The metric is unknown, or `evaluate` cannot compute it.
    """
    default = predictors[0].needs.spec.metric if predictors else "correlation"
    return named_metric(metric or default).name


def listed_sessions(sessions: Sessions) -> list[Session]:
    """Return one or several sessions as a list; open those given by name or path."""
    listed = [sessions] if isinstance(sessions, Session | str | Path) else sessions
    return [s if isinstance(s, Session) else open_session(s) for s in listed]


def by_spec(predictors: Sequence[Predictor]) -> dict[WindowSpec, list[Predictor]]:
    """Group predictors that read the same windows, in order of the first of each."""
    groups: dict[WindowSpec, list[Predictor]] = {}
    for predictor in predictors:
        groups.setdefault(predictor.needs.spec, []).append(predictor)
    return groups


def shard_scores(
    shards: Sequence[Shard],
    job: Job = QUIET,
) -> Iterator[Scores]:
    """Yield the scores of each shard, computed in this process.

    Raises
    ------
    StoppedError
        `job.cancelled()` returned true.
    """
    run = ShardRun(sum(shard.n_predictions for shard in shards), job)
    for shard in shards:
        run.report(f"{shard.session.id}: preparing")
        scores = ShardScores(shard, run)
        for number in range(len(scores.batches)):
            scores.add(number)
        yield scores.scores()


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
        {shard.session.id: shard.session.units for shard in shards},
    )
