"""Pretrain on the first k sessions of an order, transfer, and score on the test tier.

Source: Jiang et al. 2025, section 4.
"""

from collections.abc import Sequence
from pathlib import Path

from omnimouse_model.analysis.evaluate.evaluate import Sessions, listed_sessions
from omnimouse_model.analysis.ranking.core_runs import CoreRun, Study, run_scores
from omnimouse_model.analysis.ranking.criterion import Criterion, criterion_of
from omnimouse_model.analysis.ranking.curve_points import curve_from_scores, curve_plans
from omnimouse_model.analysis.ranking.curve_table import PretrainCurve
from omnimouse_model.analysis.ranking.factory import Factory
from omnimouse_model.analysis.ranking.orders import (
    ORDERS,
    SHUFFLES,
    OrderName,
    clipped_sizes,
)
from omnimouse_model.analysis.ranking.rank import FORWARD, SEEDS, check_sessions
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.analysis.ranking.scores import TEST, open_results
from omnimouse_model.progress import Job, shown_job


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

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.rank_table import RankTable
    >>> score = np.full((1, 1, 1), 0.3)
    >>> ranking = RankTable(("a",), ("new",), (0,), score, (8,), "forward", "bits")
    >>> om.pretrain_curve(om.model_factory("ndt-forecast"), ranking, [], [])
    Traceback (most recent call last):
    ValueError: Give one or more sessions, and one or more held-out sessions.
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
