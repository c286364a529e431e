"""A finished ranking and its curve, from a results file alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.analysis.ranking.curve import assembled, curve_plans
from omnimouse_model.analysis.ranking.curve_table import PretrainCurve
from omnimouse_model.analysis.ranking.orders import ORDERS, SHUFFLES, OrderName
from omnimouse_model.analysis.ranking.rank_table import RankTable
from omnimouse_model.analysis.ranking.scores import RANKING, TransferScore
from omnimouse_model.analysis.ranking.work import TEST, VALIDATION
from omnimouse_model.errors import ResultsFileError


@dataclass(frozen=True, slots=True)
class StoredRanking:
    """What a results file holds: the ranking, and the curve if it has one."""

    ranking: RankTable
    curve: PretrainCurve | None


def read_ranking(results: str | Path, *, shuffles: int = SHUFFLES) -> StoredRanking:
    """Read the ranking of a results file, without sessions and models.

    Orders and numbers of sessions of the curve are those of which all scores are in the
    file; seeds those that are complete.

    Parameters
    ----------
    shuffles
        Maximum number of random orders.

    Raises
    ------
    ResultsFileError
        The file is none of a ranking, holds several, or none is complete.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.scores import TransferScore, open_results
    >>> file = open_results("mine.ranking.jsonl")
    >>> about = {"tier": "validation", "trials": 80, "study": "1"}
    >>> about |= {"metric": "forward", "unit": "bits per spike"}
    >>> for name, seed, value in [("a", 0, 0.1), ("b", 0, 0.3), ("a", 1, 0.2)]:
    ...     score = TransferScore((name,), "new", seed, value=value, **about)
    ...     file.add(f"{name}{seed}", score)
    >>> om.read_ranking("mine.ranking.jsonl").ranking
    RankTable: metric forward, bits per spike, validation tier; sessions 2; held out \
1; seeds 0; warning The order rests on one seed (0): another one may rank the sessions \
otherwise.
      new: b, a
    """
    path = Path(results)
    try:
        scores = RANKING.read(path)[1]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsFileError(
            f"{path} is not the results file of a ranking: {repr(error)[:200]}."
        ) from error
    studies = {score.study for score in scores}
    if len(studies) > 1:
        raise ResultsFileError(
            f"{path} holds {len(studies)} rankings, by other models or scores: rank "
            "with the settings of one of them (`rank_sessions`)."
        )
    validation = [score for score in scores if score.tier == VALIDATION]
    sessions = sorted({name for score in validation for name in score.sessions})
    heldout = list(dict.fromkeys(score.heldout for score in validation))
    size = len(sessions) * len(heldout)
    seeds = _complete(validation, size)
    if not seeds:
        raise ResultsFileError(
            f"{path} holds no complete ranking: {len(validation)} of {size} scores "
            "for one seed. The command that writes it continues."
        )
    ranking = RankTable.of(validation, sessions, heldout, seeds)
    test = [score for score in scores if score.tier == TEST]
    return StoredRanking(ranking, _curve(ranking, test, shuffles) if test else None)


def _complete(scores: Sequence[TransferScore], size: int) -> list[int]:
    """Return the seeds that have so many scores."""
    seeds = [score.seed for score in scores]
    return sorted(seed for seed in set(seeds) if seeds.count(seed) == size)


def _curve(
    ranking: RankTable, scores: Sequence[TransferScore], most: int
) -> PretrainCurve | None:
    """Return the curve of all orders whose scores are there; None without any."""
    seeds = _complete([s for s in scores if not s.sessions], len(ranking.heldout))
    ks = sorted({len(score.sessions) for score in scores} - {0})
    found = {(s.sessions, s.heldout, s.seed) for s in scores}

    def is_there(orders: list[OrderName], shuffles: int) -> bool:
        return all(
            (tuple(sorted(ids)), heldout, seed) in found
            for heldout, _, _, ids in curve_plans(ranking, ks, orders, shuffles)
            for seed in seeds
        )

    shuffles = 1
    while shuffles < most and is_there(["random"], shuffles + 1):
        shuffles += 1
    orders = [name for name in ORDERS if is_there([name], shuffles)]
    if not seeds or not orders:
        return None
    return assembled(curve_plans(ranking, ks, orders, shuffles), scores, ranking, seeds)
