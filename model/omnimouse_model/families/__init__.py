"""Kinds of models, one folder each, and what the author of another family imports.

Functions of checkpoints import torch, so they are imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

from omnimouse_model.predict.family import Description as Description
from omnimouse_model.predict.family import Family as Family
from omnimouse_model.predict.family import Preset as Preset
from omnimouse_model.predict.family import Training as Training
from omnimouse_model.predict.family import Transfer as Transfer
from omnimouse_model.progress import Job as Job

if TYPE_CHECKING:
    from omnimouse_model.predict.checkpoint_file import read_checkpoint as read_checkpoint
    from omnimouse_model.predict.checkpoint_file import save_checkpoint as save_checkpoint


def __getattr__(name: str) -> Any:
    if name in ("read_checkpoint", "save_checkpoint"):
        from omnimouse_model.predict import checkpoint_file

        return getattr(checkpoint_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
