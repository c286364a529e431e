"""Fine-tunings on disk: model, session, progress and score of each folder.

Only small JSON files and the log are read, not the weights, so listing is fast.
"""

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from omnimouse_model.data.session import Session
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import decode
from omnimouse_model.train.metrics_log import FILE, log_rows

TrainedPart = Literal["embeddings", "all"]
logger = logging.getLogger(__name__)

ABOUT: Final = "finetune.json"
CARD: Final = "finetuned.json"
WEIGHTS: Final = "finetuned.safetensors"
SCORE: Final = "validation"


@dataclass(frozen=True, slots=True)
class FinetunedModel:
    """One fine-tuning, as described by its folder.

    Attributes
    ----------
    model, session, train
        Model, session id, and whether only embeddings or all weights are trained.
    step
        Number of finished steps.
    is_finished
        Whether the result exists, for `load_predictor(path)`.
    start_score, best_score
        Held-out score of the start values, and the best one so far.
    minutes
        Duration of all steps in minutes, None before the end.
    """

    path: Path
    model: str
    session: str
    train: TrainedPart
    step: int = 0
    is_finished: bool = False
    start_score: float | None = None
    best_score: float | None = None
    minutes: float | None = None

    @property
    def text(self) -> str:
        """Text such as "demo, fine-tuned to 90009-1-1"."""
        return f"{Path(self.model).name.partition('@')[0]}, fine-tuned to {self.session}"


@dataclass(frozen=True, slots=True)
class _About:
    """The settings of a fine-tuning that are shown."""

    model: str
    session: str
    train: TrainedPart


@dataclass(frozen=True, slots=True)
class _Result:
    """The part of a card that a finished fine-tuning adds."""

    steps: int = 0
    before: float | None = None
    validation: float | None = None
    minutes: float | None = None


def finetuned_in(path: Path) -> FinetunedModel | None:
    """Return the fine-tuning in a folder; None if there is none or it is damaged."""
    try:
        # A folder of a newer version is skipped with a warning, not shown with wrong
        # options.
        about = decode(_About, read_json(path / ABOUT), path / ABOUT, is_open=True)
        result: _Result | None = None
        rows: list[dict[str, float]] = []
        # The weights, written after their card, exist only for a finished fine-tuning;
        # before, the log is read.
        if (path / WEIGHTS).exists():
            card = read_json(path / CARD)["card"]["finetuned"]
            result = decode(_Result, card, path / CARD, "card.finetuned", is_open=True)
        elif (path / FILE).exists():
            rows = list(log_rows(path / FILE))
        scores = {int(row["step"]): row[SCORE] for row in rows if SCORE in row}
        found = FinetunedModel(path, about.model, about.session, about.train)
        if result is not None:
            return replace(
                found,
                step=result.steps,
                is_finished=True,
                start_score=result.before,
                best_score=result.validation,
                minutes=result.minutes,
            )
        return replace(
            found,
            step=int(rows[-1]["step"]) if rows else 0,
            start_score=scores.get(0),
            best_score=max(scores.values(), default=None),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        if getattr(error, "code", "") == "missing_file":
            return None
        logger.warning("%s is not read as a fine-tuning: %s", path, error)
        return None


def finetuned_under(folder: Path) -> tuple[FinetunedModel, ...]:
    """Return all fine-tunings in the sub-folders of a folder, newest first."""
    try:
        paths = sorted(
            (about.parent for about in folder.glob(f"*/{ABOUT}")),
            # The time of the folder, which changes with every save.
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
    except OSError:
        return ()
    models = (finetuned_in(path) for path in paths)
    return tuple(model for model in models if model is not None)


def folder_for(
    folder: Path,
    model: str,
    session: Session,
    train: TrainedPart,
    *,
    is_fresh: bool = False,
) -> Path:
    """Return the folder of the fine-tuning of a model to a recording.

    The same arguments give the same folder, so that a stopped fine-tuning continues.
    `is_fresh` starts a new numbered folder; later calls return the newest one.
    """
    # The hash distinguishes models and recordings whose names, without special
    # characters, are the same.
    key = "\n".join((model, session.fingerprint, train)).encode()
    plain = (re.sub(r"[^\w.-]+", "-", name) for name in (Path(model).name, session.id))
    name = "_".join((*plain, hashlib.sha256(key).hexdigest()[:6]))
    # The last folder of the unbroken sequence name, name-2, name-3, ... is in use.
    path, following, number = folder / name, folder / f"{name}-2", 2
    while following.exists():
        number += 1
        path, following = following, folder / f"{name}-{number}"
    return following if is_fresh and path.exists() else path
