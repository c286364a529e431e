"""Rank pretraining sessions by transfer, and curves over their number.

Source: Jiang et al. 2025, section 4.
"""

from collections.abc import Sequence
from pathlib import Path

from omnimouse_model.analysis.evaluate import Sessions, listed_sessions
from omnimouse_model.analysis.ranking.core_runs import CoreRun, Factory, Study, run_scores
from omnimouse_model.analysis.ranking.criterion import Criterion, criterion_of
from omnimouse_model.analysis.ranking.curve_table import (
    ORDERS,
    SHUFFLES,
    OrderName,
    PretrainCurve,
    clipped_sizes,
    curve_from_scores,
    curve_plans,
)
from omnimouse_model.analysis.ranking.rank_table import TEST, VALIDATION, RankTable, open_results
from omnimouse_model.data.session import Session
from omnimouse_model.evaluation.tier_windows import tier_starts
from omnimouse_model.progress import Job, shown_job

SEEDS = (0, 1, 2)
FORWARD = "forward"


def rank_sessions(
    factory: Factory,
    sessions: Sessions,
    heldout: Sessions,
    metric: str | Criterion = FORWARD,
    *,
    seeds: Sequence[int] = SEEDS,
    results: str | Path | None = None,
    scheduler: str | None = None,
    job: Job | None = None,
) -> RankTable:
    """Rank sessions by how useful their models are for held-out sessions.

    One model is trained on each session and seed. Its frozen core is transferred to
    each held-out session on the train tier, and scored on the validation tier. No test
    tier can be read meanwhile (`tier_guard.without_test`).

    Examples
    --------
    >>> factory = om.model_factory("smoke", transfer_steps=20)
    >>> om.rank_sessions(factory, [session], [session], "test/all_response_only")
    Traceback (most recent call last):
    ValueError: 90009-1-1: listed twice. A held-out session must not be among the \
pretraining sessions, and each session needs an id of its own.

    Parameters
    ----------
    factory
        Trains and transfers models of one family, see `om.model_factory`.
    sessions, heldout
        Pretraining sessions and held-out sessions: open ones, names, paths.
    metric
        Task by which they are ranked: "forward" and others of `TaskScore` for neural
        data transformers, the name of a strategy for any family; or a `Criterion`.
    seeds
        Seeds of the trainings; scores are averaged over them before the ranking.
    results
        File for finished scores, `X.ranking.jsonl`; trained models are kept in a folder
        beside it. Scores in the file are not computed again. By default in the cache.
    scheduler
        Compute on workers of a Dask scheduler that see the same files; see
        `dask_map.map_pieces`.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    ValueError
        A session is listed twice, or lacks a tier.
    StoppedError
        `job.cancelled()` returned true; finished scores are in `results`.
    """
    pretraining, targets = listed_sessions(sessions), listed_sessions(heldout)
    check_sessions(pretraining, targets, factory, VALIDATION)
    criterion = criterion_of(metric, factory.spec)
    study = Study(factory, criterion, VALIDATION)
    runs = [
        CoreRun(study, (session,), tuple(targets), seed)
        for seed in seeds
        for session in pretraining
    ]
    with shown_job(job) as shown:
        found = run_scores(runs, open_results(results), scheduler, shown)
    ids, names = ([session.id for session in part] for part in (pretraining, targets))
    return RankTable.of(found, ids, names, seeds)


def check_sessions(
    sessions: Sequence[Session],
    heldout: Sequence[Session],
    factory: Factory,
    tier: str,
) -> None:
    """Check sessions before hours of training.

    Raises
    ------
    ValueError
        There are none, one is listed twice, or one lacks a tier.
    """
    if not sessions or not heldout:
        raise ValueError("Give one or more sessions, and one or more held-out sessions.")
    ids = [session.id for session in (*sessions, *heldout)]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(
            f"{', '.join(twice)}: listed twice. A held-out session must not be among "
            "the pretraining sessions, and each session needs an id of its own."
        )
    needed = [(session, "train") for session in (*sessions, *heldout)]
    for session, name in (*needed, *((session, tier) for session in heldout)):
        if not len(tier_starts(session, name, factory.spec)):
            raise ValueError(
                f"Session {session.id!r} has no window of tier {name!r}; its tiers are "
                f"{', '.join(session.tiers()) or 'none'}."
            )


# -- Pretrain on the first k sessions of an order, transfer, and score on the test tier
# Source: Jiang et al. 2025, section 4.
def pretrain_curve(
    factory: Factory,
    ranking: RankTable,
    sessions: Sessions,
    heldout: Sessions,
    metric: str | Criterion = FORWARD,
    *,
    ks: Sequence[int] | None = None,
    orders: Sequence[OrderName] = ORDERS,
    shuffles: int = SHUFFLES,
    seeds: Sequence[int] = SEEDS,
    results: str | Path | None = None,
    scheduler: str | None = None,
    job: Job | None = None,
) -> PretrainCurve:
    """Score models that are pretrained on more and more sessions.

    For each held-out session, sessions are added in the order of the ranking, in its
    reverse and in random orders. Each frozen core is transferred to the held-out
    session and scored on its test tier, beside a baseline that is trained from scratch
    on that session.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.rank_table import RankTable
    >>> score = np.full((1, 1, 1), 0.3)
    >>> ranking = RankTable(("a",), ("new",), (0,), score, (8,), "forward", "bits")
    >>> om.pretrain_curve(om.model_factory("ndt-forecast"), ranking, [], [])
    Traceback (most recent call last):
    ValueError: Give one or more sessions, and one or more held-out sessions.

    Parameters
    ----------
    ranking
        Result of `rank_sessions` for the same sessions.
    ks
        Numbers of sessions: by default 1, 2, 3, 4, 5, 10, 20, 30, 40 and all. Larger
        ones than there are sessions mean all.
    orders, shuffles
        Orders, and the number of random ones.

    Other parameters and errors are those of `rank_sessions`.

    Raises
    ------
    ValueError
        The ranking is one of other sessions.
    """
    pretraining, targets = listed_sessions(sessions), listed_sessions(heldout)
    check_sessions(pretraining, targets, factory, TEST)
    by_id = {session.id: session for session in pretraining}
    of_id = {target.id: target for target in targets}
    if other := {*by_id, *of_id} ^ {*ranking.sessions, *ranking.heldout}:
        raise ValueError(
            f"The ranking is one of other sessions: {', '.join(sorted(other))} differ."
        )
    criterion = criterion_of(metric, factory.spec)
    study = Study(factory, criterion, TEST)
    plans = curve_plans(ranking, clipped_sizes(ks, len(pretraining)), orders, shuffles)
    # A core of the same sessions serves all held-out sessions and orders.
    wanted: dict[tuple[str, ...], list[str]] = {}
    for name, _, _, ids in plans:
        members = wanted.setdefault(tuple(sorted(ids)), [])
        if name not in members:
            members.append(name)
    runs = [CoreRun(study, (), (target,), seed) for seed in seeds for target in targets]
    runs += [
        CoreRun(study, tuple(by_id[i] for i in ids), tuple(of_id[n] for n in names), seed)
        for seed in seeds
        for ids, names in wanted.items()
    ]
    with shown_job(job) as shown:
        found = run_scores(runs, open_results(results), scheduler, shown)
    return curve_from_scores(plans, found, ranking, seeds)
