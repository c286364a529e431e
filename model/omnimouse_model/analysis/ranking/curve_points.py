"""Points of a curve: the models that it needs, and their scores."""

from collections.abc import Sequence

from omnimouse_model.analysis.ranking.curve_table import CurvePoint, PretrainCurve
from omnimouse_model.analysis.ranking.orders import OrderName, orders_of
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.analysis.ranking.scores import TransferScore

Plan = tuple[str, OrderName, int, tuple[str, ...]]
"""Held-out session, order, number of its shuffle, and the first k sessions."""


def curve_plans(
    ranking: RankTable,
    ks: Sequence[int],
    orders: Sequence[OrderName],
    shuffles: int,
) -> list[Plan]:
    """Return the plan of each point of a curve, in their order."""
    return [
        (heldout, name, shuffle, order[:k])
        for heldout in ranking.heldout
        for name in orders
        for shuffle, order in enumerate(orders_of(ranking, heldout, name, shuffles))
        for k in ks
    ]


def curve_from_scores(
    plans: Sequence[Plan],
    scores: Sequence[TransferScore],
    ranking: RankTable,
    seeds: Sequence[int],
) -> PretrainCurve:
    """Return the curve of test scores, those of all plans and of the baselines.

    Raises
    ------
    KeyError
        A score is missing.
    """
    found = {(s.sessions, s.heldout, s.seed): s for s in scores}
    points = []
    for heldout, order, shuffle, ids in plans:
        members = tuple(sorted(ids))
        for seed in seeds:
            run = found[members, heldout, seed]
            points.append(CurvePoint(heldout, order, shuffle, members, run.trials, seed, run.value))
    baseline = {
        name: tuple(found[(), name, seed].value for seed in seeds) for name in ranking.heldout
    }
    return PretrainCurve(
        tuple(points),
        baseline,
        len(ranking.sessions),
        sum(ranking.trials),
        ranking.seeds,
        scores[0].metric,
        scores[0].unit,
        scores[0].is_higher_better,
    )
