"""Ranking of pretraining sessions for held-out sessions, from transfer scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import HasSummary, data_frame
from omnimouse_model.evaluation.results import json_values, number_or_none
from omnimouse_model.evaluation.results_store import ResultsFile, RowFormat, row_key
from omnimouse_model.storage.trees import decode
from omnimouse_model.storage.write import cache_dir

if TYPE_CHECKING:
    import pandas


# -- scores of models on held-out sessions, and the results file that holds them ------
SUFFIX = ".ranking.jsonl"
VALIDATION, TEST = "validation", "test"
"""Tiers of a held-out session on which rankings and curves are scored."""


@dataclass(frozen=True, slots=True)
class TransferScore:
    """Score of one model on one held-out session.

    Attributes
    ----------
    sessions
        Ids of the sessions whose core was transferred, sorted; none for the baseline,
        which is trained from scratch on the held-out session.
    trials
        Train trials of these sessions.
    study
        Hash of what all scores of a ranking share: settings of the models, and score.
    metric, unit, is_higher_better
        What the value is.
    """

    sessions: tuple[str, ...]
    heldout: str
    seed: int
    tier: str
    value: float
    trials: int
    study: str
    metric: str
    unit: str
    is_higher_better: bool = True


RANKING: RowFormat[TransferScore] = RowFormat(
    "ranking",
    "a ranking of sessions",
    json_values,
    partial(decode, TransferScore, place="a row", null_is_nan=True),
)


def open_results(path: str | Path | None) -> ResultsFile[TransferScore]:
    """Open a results file, by default that of the cache; create it if it is missing.

    Rankings of any models and sessions share a file: the key of a row contains all that
    its score depends on.
    """
    place = cache_dir() / "ranking" / f"scores{SUFFIX}" if path is None else Path(path)
    return ResultsFile(RANKING, place, {"what": "scores of transferred models"})


def models_folder(results: Path) -> Path:
    """Return the folder of the trained models, next to their results file."""
    name = results.name.removesuffix(SUFFIX).removesuffix(results.suffix)
    return results.with_name(f"{name}-models")


def content_of(sessions: Sequence[Session]) -> list[list[str]]:
    """Return id and fingerprint of sessions, sorted: their order does not matter."""
    return sorted([session.id, session.fingerprint] for session in sessions)


def core_key(settings: Mapping[str, Any], sessions: Sequence[Session], seed: int) -> str:
    """Return a hash of all that a trained core depends on."""
    return row_key(settings=settings, sessions=content_of(sessions), seed=seed)


def transfer_key(settings: Mapping[str, Any], session: Session) -> str:
    """Return a hash of all that a transfer depends on, apart from its core."""
    return row_key(settings=settings, session=content_of([session]))


def n_trials(session: Session, spec: WindowSpec) -> int:
    """Return the number of train trials; of other specs, of whole train windows."""
    stride = 1 if spec.align == "trial" else grid_points(spec.duration_s)
    return len(session.window_starts("train", stride, spec=spec))


# -- ranking of pretraining sessions for held-out sessions ----------------------------
def seed_warnings(seeds: Sequence[int]) -> tuple[str, ...]:
    """Return the warning of a ranking with one seed."""
    if len(seeds) > 1:
        return ()
    return (
        f"The ranking rests on one seed ({seeds[0]}): another one may rank the sessions otherwise.",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RankTable(HasSummary):
    """Scores of single-session cores on held-out sessions, and their order.

    Attributes
    ----------
    sessions, heldout, seeds
        Pretraining sessions, held-out sessions and seeds: the axes of `values`.
    values
        Scores on the validation tier of the held-out session.
    trials
        Train trials of each pretraining session.
    metric, unit, is_higher_better
        What the scores are.
    """

    sessions: tuple[str, ...]
    heldout: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Float[np.ndarray, "seed session heldout"]
    trials: tuple[int, ...]
    metric: str
    unit: str
    is_higher_better: bool = True

    @property
    def mean(self) -> Float[np.ndarray, "session heldout"]:
        """Mean over seeds; NaN where a seed has no score."""
        return np.asarray(self.values.mean(axis=0))

    @property
    def spread(self) -> Float[np.ndarray, "session heldout"]:
        """Standard deviation over seeds; NaN for one seed."""
        if len(self.seeds) < 2:
            return np.full(self.values.shape[1:], np.nan)
        return np.asarray(self.values.std(axis=0, ddof=1))

    @property
    def ranks(self) -> Int[np.ndarray, "session heldout"]:
        """Rank of each session for each held-out session, 1 is best."""
        return np.argsort(self._places(), axis=0) + 1

    @property
    def mean_order(self) -> tuple[int, ...]:
        """Indices of sessions, sorted by their mean rank over held-out sessions."""
        return tuple(np.argsort(self.ranks.mean(axis=1), kind="stable").tolist())

    def order(self, heldout: str) -> tuple[str, ...]:
        """Return the sessions for a held-out session, the best first.

        Scores are averaged over seeds before. Sessions without a score come last, equal
        ones in the order of `sessions`.

        Raises
        ------
        ValueError
            The ranking has no such held-out session.
        """
        if heldout not in self.heldout:
            raise ValueError(
                f"heldout is {heldout!r}; the ranking is for {', '.join(self.heldout)}."
            )
        places = self._places()[:, self.heldout.index(heldout)]
        return tuple(self.sessions[place] for place in places)

    def _places(self) -> np.ndarray:
        """Return indices of sessions, best first, for each held-out session."""
        sign = -1.0 if self.is_higher_better else 1.0
        # NaN sorts last.
        return np.argsort(sign * self.mean, axis=0, kind="stable")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the order."""
        return seed_warnings(self.seeds)

    @classmethod
    def of(
        cls,
        scores: Sequence[TransferScore],
        sessions: Sequence[str],
        heldout: Sequence[str],
        seeds: Sequence[int],
    ) -> "RankTable":
        """Return the ranking of validation scores, one for each combination.

        Raises
        ------
        KeyError
            A score is missing.
        """
        found = {(s.seed, *s.sessions, s.heldout): s for s in scores}
        rows = [[[found[k, s, h] for h in heldout] for s in sessions] for k in seeds]
        return cls(
            tuple(sessions),
            tuple(heldout),
            tuple(seeds),
            np.array([[[score.value for score in row] for row in part] for part in rows]),
            tuple(row[0].trials for row in rows[0]),
            rows[0][0][0].metric,
            rows[0][0][0].unit,
            rows[0][0][0].is_higher_better,
        )

    def rows(self) -> list[dict[str, object]]:
        """Return one row per session and held-out session, best session first."""
        mean, spread, ranks = self.mean, self.spread, self.ranks
        rows: list[dict[str, object]] = []
        for column, heldout in enumerate(self.heldout):
            for session in self.order(heldout):
                place = self.sessions.index(session)
                rows.append(
                    {
                        "name": "rank",
                        "value": number_or_none(float(mean[place, column])),
                        "unit": self.unit,
                        "metric": self.metric,
                        "tier": "validation",
                        "session": session,
                        "heldout": heldout,
                        "rank": int(ranks[place, column]),
                        "sd": number_or_none(float(spread[place, column])),
                        "n_seeds": len(self.seeds),
                        "trials": self.trials[place],
                        "warnings": list(self.warnings),
                    }
                )
        return rows

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return `rows` as a pandas data frame."""
        return data_frame(self.rows())

    def _facts(self) -> dict[str, str]:
        facts = {
            "metric": f"{self.metric}, {self.unit}, validation tier",
            "sessions": f"{len(self.sessions)}",
            "held out": f"{len(self.heldout)}",
            "seeds": ", ".join(map(str, self.seeds)),
        }
        return facts | ({"warning": " ".join(self.warnings)} if self.warnings else {})

    def _lines(self) -> list[tuple[str, str]]:
        return [(name, ", ".join(self.order(name))) for name in self.heldout]
