"""Evaluation of many models x sessions x tiers x draws, saved piece by piece.

Each piece is an `evaluate` call for one model on one tier of one session. The result
therefore does not depend on the worker or on interruptions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.conditions import Condition, conditions
from omnimouse_model.analysis.evaluate.dask_map import (
    at_work,
    held_predictor,
    held_session,
    made_predictor,
    spread,
    travelling,
)
from omnimouse_model.analysis.evaluate.evaluate import (
    Cancelled,
    Progress,
    evaluate,
    scored_starts,
)
from omnimouse_model.analysis.evaluate.results import (
    BehaviorScore,
    GroupScore,
    Score,
    Scores,
    number_or_none,
)
from omnimouse_model.analysis.evaluate.results_store import (
    Kind,
    Plain,
    ResultsFile,
    number,
    row_key,
)
from omnimouse_model.analysis.evaluate.stimulus_groups import Grouping
from omnimouse_model.data.session import Session
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker.server import Source
from omnimouse_model.strategies import mask_from_strategy

# Fields that may be NaN.
_NUMBERS = ("value", "ci_low", "ci_high", "ceiling")


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One model on one tier of one session.

    Attributes
    ----------
    source
        The model; a name, a path or a factory if the piece is sent to a worker.
    seeds
        Seeds of random draws of the strategies' neurons; () for the stored order.
    """

    source: Predictor | Source | Path
    session: Session
    strategies: tuple[str, ...]
    tier: str
    seeds: tuple[int, ...]
    max_windows: int | None
    by: Grouping | None
    device: str
    threads: int

    @property
    def asked(self) -> tuple[Condition, ...]:
        """Conditions of the piece: each strategy, or each draw of it."""
        if not self.seeds:
            return conditions(self.strategies)
        return tuple(
            # `partial` binds the seed of this iteration; a lambda would use the last
            # seed.
            Condition(
                f"{name}, draw {seed}", partial(mask_from_strategy, name, seed=seed)
            )
            for name in self.strategies
            for seed in self.seeds
        )

    def key(self, predictor_id: str) -> str:
        """Return a hash of all facts that the scores depend on."""
        return row_key(
            predictor=predictor_id,
            session=[self.session.id, self.session.fingerprint],
            strategies=self.strategies,
            tier=self.tier,
            seeds=self.seeds,
            by=self.by,
            # The starts and not `max_windows`: two limits may select the same windows.
            starts=scored_starts(self.session, self.tier, self.max_windows).tolist(),
        )

    def scores(
        self,
        predictor: Predictor,
        progress: Progress = lambda done, total, what: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Scores:
        """Evaluate the piece."""
        return evaluate(
            predictor,
            self.session,
            self.asked,
            tier=self.tier,
            max_windows=self.max_windows,
            by=self.by,
            progress=progress,
            cancelled=cancelled,
        )


def evaluate_all(
    predictors: Sequence[Predictor | Source | Path],
    sessions: Session | Sequence[Session],
    strategies: str | Sequence[str],
    *,
    tiers: Sequence[str] = ("test",),
    seeds: Sequence[int] = (),
    max_windows: int | None = None,
    by: Grouping | None = None,
    results: str | Path | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total, what: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Scores]:
    """Evaluate many models on many sessions, piece by piece.

    Parameters
    ----------
    predictors
        Names, paths or factories; predictor objects only without a scheduler.
    seeds
        Seeds of draws of the strategies' neurons, each a separate condition; without
        seeds the neurons have the official stored order.
    results
        File to which each finished piece is added. It may hold other pieces, and other
        processes may write it at the same time. Pieces in the file are not computed
        again.
    scheduler
        Distribute the pieces over the workers of a scheduler, see `dask_map.spread`.
    cancelled
        Polled between steps; once true, the finished scores are returned.

    Returns
    -------
    dict
        Scores of each tier, in the order of `tiers`.

    Raises
    ------
    ValueError
        A session has no window of a tier.
    WorkerError
        The scheduler or its workers failed; finished pieces are in `results`.

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
    """
    recordings = [sessions] if isinstance(sessions, Session) else list(sessions)
    names = (strategies,) if isinstance(strategies, str) else tuple(strategies)
    threads = _threads()
    found: dict[str, Scores] = {}
    pieces: dict[str, Piece] = {}
    made: dict[int, Predictor] = {}
    for given in predictors:
        # Loaded here even with a scheduler: the key contains the id with the weights'
        # hash.
        predictor = made_predictor(given, device)
        source = given if scheduler is None else travelling(given)
        for session in recordings:
            for tier in tiers:
                piece = Piece(
                    source,
                    session,
                    names,
                    tier,
                    tuple(seeds),
                    max_windows,
                    by,
                    device,
                    threads,
                )
                pieces[piece.key(predictor.predictor_id)] = piece
                made[id(piece)] = predictor
    file = None
    if results is not None:
        # The definition is constant: different evaluations share a file, because the
        # key of a piece contains everything that its scores depend on.
        file = ResultsFile(EVALUATION, Path(results), {"what": "scores of models"})
        found = {key: row for key, row in file.rows.items() if key in pieces}
    missing = {key: piece for key, piece in pieces.items() if key not in found}
    answers = (
        _here(missing, made, progress, cancelled)
        if scheduler is None
        else _there(missing, scheduler, progress, cancelled)
    )
    for key, scores in answers:
        found[key] = scores
        if file is not None:
            file.add(key, scores)
    # In planned order, not in the order of completion.
    there = [(piece.tier, found[k]) for k, piece in pieces.items() if k in found]
    return {
        tier: _joined([one for of, one in there if of == tier], tier) for tier in tiers
    }


def _here(
    pieces: dict[str, Piece],
    made: dict[int, Predictor],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Iterator[tuple[str, Scores]]:
    for done, (key, piece) in enumerate(pieces.items()):

        def tell(part: int, total: int, what: str, done: int = done) -> None:
            # Pieces have different numbers of steps: count each as 1000.
            share = part / max(total, 1)
            progress(int(1000 * (done + share)), 1000 * len(pieces), what)

        try:
            yield key, piece.scores(made[id(piece)], tell, cancelled)
        except Cancelled:
            return


def _there(
    pieces: dict[str, Piece],
    scheduler: str,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Iterator[tuple[str, Scores]]:
    keys = list(pieces)
    answers = spread(_at_work, list(pieces.values()), scheduler, cancelled)
    for done, (place, scores) in enumerate(answers, start=1):
        yield keys[place], scores
        progress(done, len(keys), f"on {scheduler}")


def _at_work(piece: Piece) -> Scores:
    """Evaluate a piece on a worker."""
    with at_work(piece.threads):
        held = replace(piece, session=held_session(piece.session))
        predictor = held_predictor(travelling(piece.source), piece.device)
        return held.scores(predictor)


def _threads() -> int:
    from torch import get_num_threads

    return get_num_threads()


def _joined(parts: Sequence[Scores], tier: str) -> Scores:
    return Scores(
        tuple(score for part in parts for score in part.scores),
        tuple(score for part in parts for score in part.behavior),
        tier,
    )


# -- as a results store keeps them ------------------------------------------------
def _listed(values: np.ndarray) -> list[float | None]:
    return [number_or_none(value) for value in np.asarray(values, float).tolist()]


def _array(values: list[float | None]) -> np.ndarray:
    return np.array([number(value) for value in values], np.float64)


def _plain_row(row: Score | GroupScore | BehaviorScore) -> Plain:
    facts: Plain = {}
    for one in fields(row):
        value = getattr(row, one.name)
        if isinstance(value, np.ndarray):
            value = _listed(value)
        elif one.name == "groups":
            value = [_plain_row(group) for group in value]
        elif one.name in _NUMBERS:
            value = number_or_none(value)
        facts[one.name] = value
    return facts


def _parsed_row(facts: Plain) -> Plain:
    found: Plain = dict(facts)
    for name in _NUMBERS:
        if name in found:
            found[name] = number(found[name])
    for name in ("per_neuron", "counts", "neurons"):
        if name in found:
            found[name] = _array(found[name])
    # JSON lists become float arrays; integer columns are cast back.
    for name in ("counts", "neurons"):
        if name in found:
            found[name] = found[name].astype(np.int64)
    if "groups" in found:
        found["groups"] = tuple(GroupScore(**_parsed_row(g)) for g in found["groups"])
    return found


def _plain(found: Scores) -> Plain:
    return {
        "tier": found.tier,
        "scores": [_plain_row(score) for score in found.scores],
        "behavior": [_plain_row(score) for score in found.behavior],
    }


def _parsed(facts: Plain) -> Scores:
    return Scores(
        tuple(Score(**_parsed_row(row)) for row in facts["scores"]),
        tuple(BehaviorScore(**_parsed_row(row)) for row in facts["behavior"]),
        str(facts["tier"]),
    )


EVALUATION: Kind[Scores] = Kind("evaluation", "an evaluation", _plain, _parsed)
