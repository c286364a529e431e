"""Records of a fine-tuning: its settings, the card of its result, and its stages."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError
from omnimouse_model.predict.omnimouse.loading import weights_hash
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import decode, refused_as, shown
from omnimouse_model.storage.write import write_json
from omnimouse_model.train.checkpoints import LAST
from omnimouse_model.train.metrics_log import FILE, log_rows
from omnimouse_model.train.validate import SUMMARY

ABOUT = "finetune.json"
STARTING = "finding start values for the neurons"
SAVING = "writing the result"
"""What is done before and after the training, as the progress of a job describes it."""


def write_settings(
    out: Path,
    source: str,
    weights: str,
    session: Session,
    settings: Mapping[str, Any],
) -> None:
    """Write the settings of the run into `out`; refuse a folder with another run."""
    about = {
        "model": source,
        "weights": weights,
        "session": session.id,
        "recording": session.fingerprint,
        **settings,
    }
    path = out / ABOUT
    if path.exists():
        with refused_as(partial(FinetuneError, "other_run")):
            saved = decode(dict[str, Any], read_json(path), path)
        # [1:] leaves out the model's name: a file can be renamed or moved, and the hash
        # of the weights identifies the model.
        other = [name for name in list(about)[1:] if saved.get(name) != about[name]]
        if other:
            text = ", ".join(f"{n} {shown(saved.get(n))}, not {about[n]!r}" for n in other)
            raise FinetuneError(
                "other_run",
                f"{out} holds another fine-tuning ({text}): choose another folder.",
            )
        return
    if (out / LAST).exists() or (out / FILE).exists():
        raise FinetuneError("other_run", f"{out} holds a training run: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, about)


def result_card(
    about: Mapping[str, Any],
    frozen: Mapping[str, Tensor],
    trained: Iterable[Tensor],
    out: Path,
    best: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card of a fine-tuned model.

    Parameters
    ----------
    about
        Model, session, mode, seed, and the unit of the scores.
    frozen, trained
        Tensors that kept their values, and those that were trained.
    out
        Folder of the run, with its log.
    best
        Card of the best weights.
    """
    rows = list(log_rows(out / FILE))
    # Step 0 is the validation before training (`loop`).
    before = rows[0].get(SUMMARY) if rows[0]["step"] == 0 else None
    return {
        **about,
        "frozen_hash": weights_hash(dict(frozen)) if frozen else None,
        "n_trained": sum(value.numel() for value in trained),
        "steps": int(rows[-1]["step"]),
        "best_step": best["steps"],
        "before": before,
        "validation": best.get("validation"),
        "minutes": round(rows[-1]["seconds"] / 60, 1),
    }
