"""Evaluation of predictors: scores on held-out windows, by a metric of a chosen name.

Every evaluation is a list of shards: some predictors on the windows of one session.
`evaluate` has one shard per session; `evaluate_all` distributes and saves
shards. All predictors are scored on the same windows, samples and neurons. Windows are
read once per shard, in small batches, and all its predictors run on each batch. Memory
therefore depends on the size of the batch and not on the session.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.conditions import (
    Condition,
    Grouping,
    Strategies,
    as_tuple,
    conditions,
)
from omnimouse_model.evaluation.results import (
    BehaviorScore,
    Score,
    Scores,
    json_values,
    score_arguments,
)
from omnimouse_model.evaluation.results_store import JsonRow, ResultsFile, RowFormat, row_key
from omnimouse_model.evaluation.running_score import CHANNELS as CHANNELS
from omnimouse_model.evaluation.shard import (
    Shard,
    by_spec,
    evaluate_predictors,
    merge_scores,
    metric_of,
    shard_scores,
)
from omnimouse_model.evaluation.tier_windows import scored_starts, shared_starts
from omnimouse_model.inference.dask_map import TaskPredictor, map_pieces
from omnimouse_model.inference.registry import Source, resolve_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import over_span
from omnimouse_model.predict.predictor import Predictor, fits_of
from omnimouse_model.progress import Job, shown_job
from omnimouse_model.simulate.demo import opened

Sessions = Session | str | Path | Mapping[str, Any] | Sequence[Session | str | Path]
"""One or several sessions: open ones, names ("demo", "unseen"), paths, addresses, arrays."""


Model = Predictor | Source | Path
"""A predictor, or its name, path or factory. Signatures quote the names of such unions:
a tooltip shows them as they are written."""


def evaluate(
    predictor: "Model | Sequence[Model]",
    sessions: "Sessions",
    strategies: "Strategies",
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
        One or several names of strategies or of conditions of the demo table
        ("half_population_video_behavior"), masks, or `Condition` objects. Masks of another
        spec are stretched to the windows of a predictor.
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
        A session has no window of the tier, the metric is unknown, or nothing is given
        to score.
    MaskError
        `neurons` are no indices of the session.
    StoppedError
        `job.cancelled()` returned true.
    """
    # A name is a sequence too.
    if isinstance(predictor, str) or not isinstance(predictor, Sequence):
        predictor = [predictor]
    sessions, strategies = _several(sessions), as_tuple(strategies)
    _refuse_nothing(predictor=predictor, sessions=sessions, strategies=strategies)
    predictors = [resolve_predictor(source, device, connect) for source in predictor]
    metric = metric_of(predictors, metric)  # refuses an unknown name before any work
    with shown_job(job) as shown:
        return evaluate_predictors(
            predictors,
            listed_sessions(sessions),
            strategies,
            tier=tier,
            starts=starts,
            neurons=neurons,
            max_windows=max_windows,
            by=by,
            metric=metric,
            centred=centred,
            job=shown,
        )


def _refuse_nothing(**given: Sized) -> None:
    """Refuse to score nothing, of which the scores would be empty."""
    for name, several in given.items():
        if not len(several):
            raise ValueError(f"{name} is empty: give at least one.")


def _several(sessions: Sessions) -> list[Any]:
    """Return one or several sessions as a list, as they are given."""
    # Arrays by name are one session. A value of another type gets the error of `open_session`.
    if isinstance(sessions, Session | str | Path | Mapping) or not isinstance(sessions, Iterable):
        return [sessions]
    return list(sessions)


def listed_sessions(sessions: Sessions) -> list[Session]:
    """Return one or several sessions as a list; open those given by name or path."""
    return [opened(session) for session in _several(sessions)]


# -- evaluation of many models x sessions x tiers x draws, saved shard by shard -------
# It runs the shards of `evaluate` on workers of a scheduler, or in this process, and
# saves each finished one. A shard that is saved or distributed has one model, so that
# its scores do not depend on the other models, the worker or on interruptions.
def evaluate_all(
    predictors: "Sequence[Model]",
    sessions: "Sessions",
    strategies: "Strategies",
    *,
    tiers: Sequence[str] = ("test",),
    seeds: Sequence[int] = (),
    max_windows: int | None = None,
    by: Grouping | None = None,
    metric: str | None = None,
    span: WindowSpec | None = None,
    results: str | Path | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
) -> dict[str, Scores]:
    """Evaluate many models on many sessions and tiers, with saved results.

    Examples
    --------
    >>> found = om.evaluate_all(
    ...     ["mean", "last"],
    ...     session,
    ...     "causal_response_25_behavior",
    ...     tiers=["validation", "test"],
    ...     results="scores.jsonl",
    ... )
    >>> {tier: len(part.scores) for tier, part in found.items()}
    {'validation': 2, 'test': 2}

    Notes
    -----
    The scores of a tier are exactly those of `evaluate`, in the same order.

    Parameters
    ----------
    predictors
        Names, paths or factories; predictor objects only without a scheduler.
    sessions
        One or several, as in `evaluate`.
    strategies
        Names of strategies; masks and `Condition` objects only without `results`,
        scheduler and seeds, which identify a condition by its name.
    seeds
        Seeds of draws of the strategies' neurons, each a separate condition; without
        seeds the neurons have the official stored order.
    metric
        Name of a metric, as in `evaluate`.
    span
        Score all predictors on the same seconds, those of windows of this spec, whatever
        their own windows are. By default each spec has windows of its own.
    results
        File to which each finished shard (one model, session and tier) is added. It may
        hold other shards, and other processes may write it at the same time. Shards in
        the file are not computed again.
    scheduler
        Distribute the shards over the workers of a scheduler; see
        `dask_map.map_pieces`.
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.

    Returns
    -------
    dict
        Scores of each tier, in the order of `tiers`.

    Raises
    ------
    ValueError
        A session has no window of a tier, a `Condition` object is given with
        `results`, scheduler or seeds, or nothing is given to score.
    WorkerError
        The scheduler or its workers failed; finished shards are in `results`.
    """
    sessions, names = _several(sessions), as_tuple(strategies)
    _refuse_nothing(predictors=predictors, sessions=sessions, strategies=names, tiers=tiers)
    if results is not None or scheduler is not None or seeds:
        _check_names(names)
    # Loaded here even with a scheduler: the key contains the id with the weights' hash.
    loaded = [resolve_predictor(source, device, connect) for source in predictors]
    metric, scored = metric_of(loaded, metric), conditions(names, seeds)
    asked = loaded if span is None else [over_span(predictor, span) for predictor in loaded]
    groups = [tuple(group) for group in by_spec(asked).values()]
    if results is not None or scheduler is not None:
        groups = [(predictor,) for predictor in asked]
    shards: dict[str, Shard] = {}
    for session, tier in product(listed_sessions(sessions), tiers):
        if span is not None:
            specs = [predictor.needs.spec for predictor in loaded]
            shared = shared_starts(session, tier, max_windows, span, specs)
        for group in groups:
            starts = (
                scored_starts(session, tier, max_windows, group[0].needs.spec)
                if span is None
                else shared
            )
            shard = Shard(
                group,
                session,
                scored,
                tier,
                starts,
                by=by,
                metric=metric,
                centred=True,
                span=span,
            )
            shards[_key(shard, names, seeds)] = shard
    file, finished = _saved(results, shards)
    missing = {key: shard for key, shard in shards.items() if key not in finished}
    with shown_job(job) as shown, contextlib.suppress(StoppedError):
        of_shard = {
            id(one): TaskPredictor.of(source, device, here, scheduler, connect)
            for source, here, one in zip(predictors, loaded, asked, strict=True)
        }
        tasks = [
            (replace(shard, predictors=()), tuple(of_shard[id(one)] for one in shard.predictors))
            for shard in missing.values()
        ]
        keys, sizes = list(missing), [shard.n_predictions for shard in missing.values()]
        for place, scores in map_pieces(_score_shard, tasks, scheduler, shown, sizes):
            key = keys[place]
            finished[key] = scores
            if file is not None:
                file.add(key, scores)
    # In planned order, not in the order of completion.
    parts = [finished[key] for key in shards if key in finished]
    planned = list(shards.values())
    return {t: merge_scores([p for p in parts if p.tier == t], planned, t) for t in tiers}


def _check_names(strategies: Sequence[str | Mask | Condition]) -> None:
    for strategy in strategies:
        if not isinstance(strategy, str):
            raise ValueError(
                f"{Condition.of(strategy).name!r} is not the name of a strategy. A "
                "results file, a scheduler and seeds need names of strategies."
            )


def _key(shard: Shard, strategies: Sequence[str | Mask | Condition], seeds: Sequence[int]) -> str:
    """Return a hash of all facts that the scores of a shard depend on."""
    ids = [predictor.predictor_id for predictor in shard.predictors]
    # Absent for correlations, so that existing results files are continued.
    extra = {} if shard.metric == "correlation" else {"metric": shard.metric}
    if shard.span is not None:
        extra |= {"span": repr(shard.span)}
    return row_key(
        # One string for a shard of one predictor, as in existing results files.
        predictor=ids[0] if len(ids) == 1 else ids,
        session=[shard.session.id, shard.session.fingerprint],
        strategies=[Condition.of(strategy).name for strategy in strategies],
        tier=shard.tier,
        seeds=tuple(seeds),
        by=shard.by,
        # The starts and not `max_windows`: two limits may select the same windows.
        starts=shard.starts.tolist(),
        # Rows of older files have intervals over neurons, or pooled scores: they are
        # computed again.
        resampled="time",
        score="centred",
        **fits_of(*shard.predictors),
        **extra,
    )


def _saved(
    results: str | Path | None, shards: Mapping[str, Shard]
) -> tuple[ResultsFile[Scores] | None, dict[str, Scores]]:
    """Return the results file, and the scores of these shards that it has."""
    if results is None:
        return None, {}
    # The definition is constant: different evaluations share a file, because the key
    # of a shard contains everything that its scores depend on.
    file = ResultsFile(EVALUATION, Path(results), {"what": "scores of models"})
    return file, {key: row for key, row in file.rows.items() if key in shards}


def _score_shard(task: tuple[Shard, tuple[TaskPredictor, ...]], job: Job) -> Scores:
    """Evaluate a shard, here or on a worker."""
    shard, predictors = task
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(one.loaded(shard.session)) for one in predictors]
        loaded = tuple(predictor for predictor, _ in pairs)
        if shard.span is not None:
            loaded = tuple(over_span(predictor, shard.span) for predictor in loaded)
        shard = replace(shard, session=pairs[0][1], predictors=loaded)
        return next(shard_scores([shard], job))


# -- rows of a results store --------------------------------------------------------
def _to_json(scores: Scores) -> JsonRow:
    # Units belong to the session, which is at hand when a file is read.
    values: JsonRow = json_values(replace(scores, units={}))
    del values["units"]
    return values


def _parsed(values: JsonRow) -> Scores:
    # Older rows of scores do not repeat the metric.
    metric = str(values.get("metric", "correlation"))
    return Scores(
        tuple(Score(**score_arguments(Score, {"metric": metric, **s})) for s in values["scores"]),
        tuple(BehaviorScore(**score_arguments(BehaviorScore, b)) for b in values["behavior"]),
        str(values["tier"]),
        metric,
    )


EVALUATION = RowFormat("evaluation", "an evaluation", _to_json, _parsed)
