"""Scores of models on held-out sessions, and the results file that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omnimouse_model.analysis.evaluate.results import number_or_none
from omnimouse_model.analysis.evaluate.results_store import (
    JsonRow,
    ResultsFile,
    RowFormat,
    number,
    row_key,
)
from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.storage.cache import cache_dir
from omnimouse_model.storage.typed import decode

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


def _plain(score: TransferScore) -> JsonRow:
    return asdict(score) | {"value": number_or_none(score.value)}


def _parsed(values: JsonRow) -> TransferScore:
    value = number(values["value"])
    return replace(decode(TransferScore, values | {"value": 0.0}, "a row"), value=value)


RANKING: RowFormat[TransferScore] = RowFormat("ranking", "a ranking of sessions", _plain, _parsed)


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
