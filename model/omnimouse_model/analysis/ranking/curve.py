"""Pretrain on the first k sessions of an order, transfer, and score on the test tier.

Source: Jiang et al. 2025, section 4.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from omnimouse_model.analysis.evaluate.evaluate import Sessions, listed_sessions
from omnimouse_model.analysis.ranking.criterion import Criterion, criterion_of
from omnimouse_model.analysis.ranking.curve_table import CurvePoint, PretrainCurve
from omnimouse_model.analysis.ranking.factory import Factory
from omnimouse_model.analysis.ranking.orders import (
    ORDERS,
    SHUFFLES,
    OrderName,
    clipped_sizes,
    orders_of,
)
from omnimouse_model.analysis.ranking.rank import FORWARD, SEEDS, check_sessions
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.analysis.ranking.scores import n_trials, open_results
from omnimouse_model.analysis.ranking.work import TEST, Job, Study, run_jobs
from omnimouse_model.progress import Progress, shown_progress

Plan = tuple[str, OrderName, int, tuple[str, ...]]
"""Held-out session, order, number of its shuffle, and the first k sessions."""


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
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
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
    """
    pretraining, targets = listed_sessions(sessions), listed_sessions(heldout)
    check_sessions(pretraining, targets, factory, TEST)
    by_id = {session.id: session for session in pretraining}
    if set(by_id) != set(ranking.sessions):
        other = sorted(set(by_id) ^ set(ranking.sessions))
        raise ValueError(
            f"The ranking is one of other sessions: {', '.join(other)} differ."
        )
    criterion = criterion_of(metric, factory.spec)
    study = Study(factory, criterion, TEST)
    plans: list[Plan] = [
        (target.id, name, shuffle, order[:k])
        for target in targets
        for name in orders
        for shuffle, order in enumerate(orders_of(ranking, target.id, name, shuffles))
        for k in clipped_sizes(ks, len(pretraining))
    ]
    # A core of the same sessions serves all held-out sessions and orders.
    wanted: dict[tuple[str, ...], list[str]] = {}
    for name, _, _, ids in plans:
        members = wanted.setdefault(tuple(sorted(ids)), [])
        if name not in members:
            members.append(name)
    of_id = {target.id: target for target in targets}
    jobs = [Job(study, (), (target,), seed) for seed in seeds for target in targets]
    jobs += [
        Job(study, tuple(by_id[i] for i in ids), tuple(of_id[n] for n in names), seed)
        for seed in seeds
        for ids, names in wanted.items()
    ]
    with shown_progress(progress) as report:
        found = run_jobs(jobs, open_results(results), scheduler, report, cancelled)
    score = {(s.sessions, s.heldout, s.seed): s for s in found}
    points = []
    for name, order, shuffle, ids in plans:
        for seed in seeds:
            run = score[tuple(sorted(ids)), name, seed]
            points.append(
                CurvePoint(name, order, shuffle, len(ids), run.trials, seed, run.value)
            )
    return PretrainCurve(
        tuple(points),
        {t.id: tuple(score[(), t.id, seed].value for seed in seeds) for t in targets},
        len(pretraining),
        sum(n_trials(session, factory.spec) for session in pretraining),
        ranking.seeds,
        criterion.name,
        criterion.unit,
        criterion.is_higher_better,
    )
