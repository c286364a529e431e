"""The settings file of a fine-tuning, by which its folder belongs to one run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import decode, refused_as, shown
from omnimouse_model.storage.write import write_json
from omnimouse_model.train.checkpoints import LAST
from omnimouse_model.train.metrics_log import FILE

ABOUT = "finetune.json"


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
