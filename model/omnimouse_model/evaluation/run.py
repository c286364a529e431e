"""Evaluation of open sessions: shards of windows, computed here and merged."""

from collections.abc import Iterator, Sequence

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.conditions import Strategies, conditions
from omnimouse_model.evaluation.results import BehaviorScore, Score, Scores
from omnimouse_model.evaluation.shard import Shard, ShardRun, ShardScores
from omnimouse_model.evaluation.tier_windows import Grouping, scored_starts
from omnimouse_model.metrics.named import named_metric
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, Job


def metric_of(predictors: Sequence[Predictor], metric: str | None) -> str:
    """Return the name of a metric: by default that of the first predictor's spec.

    Raises
    ------
    ValueError
        The metric is unknown, or `evaluate` cannot compute it.
    """
    default = predictors[0].needs.spec.metric if predictors else "correlation"
    return named_metric(metric or default).name


def by_spec(predictors: Sequence[Predictor]) -> dict[WindowSpec, list[Predictor]]:
    """Return groups of predictors that read the same windows, by their first member."""
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
        for batch in range(len(scores.batches)):
            scores.add(batch)
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


def evaluate_predictors(
    predictors: Sequence[Predictor],
    sessions: Sequence[Session],
    strategies: Strategies,
    *,
    tier: str = "test",
    starts: np.ndarray | None = None,
    neurons: np.ndarray | None = None,
    max_windows: int | None = None,
    by: Grouping | None = None,
    metric: str | None = None,
    centred: bool = True,
    job: Job = QUIET,
) -> Scores:
    """Score predictors on held-out windows of open sessions; see `om.evaluate`."""
    metric = metric_of(predictors, metric)
    scored = conditions(strategies)
    shards = []
    for session in sessions:
        for spec, group in by_spec(predictors).items():
            windows = starts
            if windows is None:
                windows = scored_starts(session, tier, max_windows, spec)
            shards.append(
                Shard(tuple(group), session, scored, tier, windows, neurons, by, metric, centred)
            )
    return merge_scores(list(shard_scores(shards, job)), shards, tier)
