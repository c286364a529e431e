"""Fine-tunings on disk: model, session, progress and score of each folder.

Only small JSON files and the log are read, not the weights, so listing is fast.
"""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from omnimouse_model.data.session import Session
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


def finetuned_in(path: Path) -> FinetunedModel | None:
    """Return the fine-tuning in a folder; None if there is none or it is damaged."""
    try:
        about = json.loads((path / ABOUT).read_text("utf-8"))
        card: dict[str, Any] = {}
        rows: list[dict[str, float]] = []
        # The weights, written after their card, exist only for a finished fine-tuning;
        # before, the log is read.
        if (path / WEIGHTS).exists():
            card = json.loads((path / CARD).read_text("utf-8"))["card"]["finetuned"]
        elif (path / FILE).exists():
            rows = list(log_rows(path / FILE))
        scores = {int(row["step"]): row[SCORE] for row in rows if SCORE in row}
        # A folder of a newer version is skipped with a warning, not shown with wrong
        # options.
        if about["train"] not in get_args(TrainedPart):
            raise ValueError(about["train"])
        return FinetunedModel(
            path,
            str(about["model"]),
            str(about["session"]),
            about["train"],
            int(card.get("steps", rows[-1]["step"] if rows else 0)),
            bool(card),
            card.get("before", scores.get(0)),
            card.get("validation", max(scores.values(), default=None)),
            card.get("minutes"),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
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
