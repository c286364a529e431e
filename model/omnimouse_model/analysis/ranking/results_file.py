"""A finished ranking and its curve, from a results file alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnimouse_model.analysis.ranking.curve_table import (
    ORDERS,
    SHUFFLES,
    Plan,
    PretrainCurve,
    curve_from_scores,
    curve_plans,
)
from omnimouse_model.analysis.ranking.rank_table import (
    RANKING,
    TEST,
    VALIDATION,
    RankTable,
    TransferScore,
)
from omnimouse_model.errors import ResultsFileError

DEMO_RANKING = Path(__file__).parent / "ranking_simulated.ranking.jsonl"
"""Ranking of six animals of the spiking laboratory for `unseen-spikes`."""


@dataclass(frozen=True, slots=True)
class StoredRanking:
    """Ranking of a results file, and its curve if it has one."""

    ranking: RankTable
    curve: PretrainCurve | None


def read_ranking(results: str | Path, *, shuffles: int = SHUFFLES) -> StoredRanking:
    """Read the ranking of a results file, without sessions and models.

    The ranking has the seeds that are complete, and the curve the orders, numbers of
    sessions and seeds of which all scores are in the file. If a session was changed and
    scored again, the last score counts.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.rank_table import TransferScore, open_results
    >>> file = open_results("mine.ranking.jsonl")
    >>> about = {"tier": "validation", "trials": 80, "study": "1"}
    >>> about |= {"metric": "forward", "unit": "bits per spike"}
    >>> for name, seed, value in [("a", 0, 0.1), ("b", 0, 0.3), ("a", 1, 0.2)]:
    ...     score = TransferScore((name,), "new", seed, value=value, **about)
    ...     file.add(f"{name}{seed}", score)
    >>> om.read_ranking("mine.ranking.jsonl").ranking
    RankTable: metric forward, bits per spike, validation tier; sessions 2; held out \
1; seeds 0; warning The ranking rests on one seed (0): another one may rank the \
sessions otherwise.
      new: b, a

    Parameters
    ----------
    shuffles
        Maximum number of random orders.

    Raises
    ------
    ResultsFileError
        The file is none of a ranking, holds several, or none is complete.
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
        most = max((_n_pairs(validation, s.seed) for s in validation), default=0)
        raise ResultsFileError(
            f"{path} holds no complete ranking: {most} of {size} scores for one seed. "
            "The command that writes it continues."
        )
    ranking = RankTable.of(validation, sessions, heldout, seeds)
    test = [score for score in scores if score.tier == TEST]
    return StoredRanking(ranking, _curve(ranking, test, shuffles) if test else None)


def _complete(scores: Sequence[TransferScore], size: int) -> list[int]:
    """Return the seeds that have so many combinations of sessions."""
    return sorted(seed for seed in {s.seed for s in scores} if _n_pairs(scores, seed) == size)


def _n_pairs(scores: Sequence[TransferScore], seed: int) -> int:
    """Return the number of combinations; a changed session has two scores in one."""
    return len({(s.sessions, s.heldout) for s in scores if s.seed == seed})


def _curve(ranking: RankTable, scores: Sequence[TransferScore], most: int) -> PretrainCurve | None:
    """Return the largest curve of equal orders whose scores are there; None without.

    Of a curve that was stopped, orders, shuffles, sizes or seeds are missing.
    """
    seeds = _complete([s for s in scores if not s.sessions], len(ranking.heldout))
    seeds.sort(key=lambda seed: _n_pairs(scores, seed), reverse=True)
    ks = sorted({len(score.sessions) for score in scores} - {0})
    found = {(s.sessions, s.heldout, s.seed) for s in scores}
    plans = curve_plans(ranking, ks, ORDERS, most)
    best: tuple[list[Plan], list[int]] = ([], [])
    for n in range(1, len(seeds) + 1):
        complete = {(plan[1], plan[2]): set(ks) for plan in plans}
        for heldout, order, shuffle, ids in plans:
            members = tuple(sorted(ids))
            if not all((members, heldout, seed) in found for seed in seeds[:n]):
                complete[order, shuffle].discard(len(ids))
        for sizes in complete.values():
            kept = [
                plan
                for plan in plans
                if len(plan[3]) in sizes and sizes <= complete[plan[1], plan[2]]
            ]
            if len(kept) * n > len(best[0]) * len(best[1]):
                best = kept, sorted(seeds[:n])
    return curve_from_scores(best[0], scores, ranking, best[1]) if best[0] else None
