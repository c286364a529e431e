"""Checkpoints of digital twins: one core, and the other parts of each session.

Weights are safetensors; a JSON file beside them has the config, the size of the frames
and the sessions. Tensors of a session are named `sessions.<key>.<tensor>`; `mean` is
the mean response of each neuron in the train tier, in units of the recording, of which
the rates are multiples; NaN if it is not known.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.twin.config import TwinConfig
from omnimouse_model.families.twin.network import TwinNetwork
from omnimouse_model.predict.description import (
    checkpoint_file,
    config_of,
    load_strictly,
    read_checkpoint,
    save_checkpoint,
    session_counts,
)

FAMILY = "twin"
MEAN = "mean"
_COUNTS = ("streams", "gaze_layers", "state_layers", "block_layers")
"""Fields of which each unit is a layer or a copy."""


@dataclass(frozen=True, slots=True)
class TwinCheckpoint:
    """Twins that share a core, read from disk but not built.

    Attributes
    ----------
    config
        Sizes of the network.
    frame_size
        Height and width in pixels of the frames on which it was trained.
    core
        Tensors of the core, by name.
    sessions
        Session key -> tensors of the other parts, and `mean`.
    card
        Information for people: training, scores.
    """

    config: TwinConfig
    frame_size: tuple[int, int]
    core: Mapping[str, Tensor]
    sessions: Mapping[str, Mapping[str, Tensor]]
    source: str
    card: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        states: Mapping[str, Mapping[str, Tensor]],
        means: Mapping[str, Tensor],
        config: TwinConfig,
        frame_size: tuple[int, int],
        card: Mapping[str, Any] | None = None,
    ) -> "TwinCheckpoint":
        """Return the checkpoint of the networks of some sessions with one core.

        Parameters
        ----------
        states, means
            State dict of the network, and mean response of each neuron, by session.
        """
        core: dict[str, Tensor] = {}
        sessions: dict[str, dict[str, Tensor]] = {}
        for key, state in states.items():
            tensors = {name: value.detach().cpu() for name, value in state.items()}
            core |= {k: v for k, v in tensors.items() if k.startswith("core.")}
            own = {k: v for k, v in tensors.items() if k not in core}
            sessions[key] = own | {MEAN: means[key].to(torch.float32)}
        return cls(config, frame_size, core, sessions, "", card)

    def build(self, session: str) -> TwinNetwork:
        """Build the network of one session.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or of another shape; it names them.
        """
        own = {k: v for k, v in self.sessions[session].items() if k != MEAN}
        return load_strictly(
            lambda: TwinNetwork(self.config, self.n_units(session)),
            {**self.core, **own},
            f"{self.source} (session {session})",
        )

    def n_units(self, session: str) -> int:
        """Return the number of neurons of a session."""
        return len(self.sessions[session][MEAN])


def save_twins(path: Path, checkpoint: TwinCheckpoint) -> None:
    """Write a checkpoint to a file and its description."""
    tensors = dict(checkpoint.core)
    for key, own in checkpoint.sessions.items():
        tensors |= {f"sessions.{key}.{name}": value for name, value in own.items()}
    about = {
        "config": asdict(checkpoint.config),
        "frame_size": list(checkpoint.frame_size),
        "sessions": {key: checkpoint.n_units(key) for key in checkpoint.sessions},
        "card": dict(checkpoint.card or {}),
    }
    save_checkpoint(path, tensors, FAMILY, about)


def read_twins(path: Path) -> TwinCheckpoint:
    """Read a checkpoint of twins.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form; the message names the field.
    """
    path = checkpoint_file(path)
    described = path.with_suffix(".json")
    tensors, _, description, _ = read_checkpoint(path, FAMILY)
    core = {k: v for k, v in tensors.items() if k.startswith("core.")}
    sessions: dict[str, dict[str, Tensor]] = {}
    for key, count in session_counts(description, described).items():
        prefix = f"sessions.{key}."
        own = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        if MEAN not in own or own[MEAN].shape != (count,):
            raise CheckpointError(f"{path} has no {prefix}{MEAN} of {count} neurons.")
        sessions[key] = own
    return TwinCheckpoint(
        config_of(TwinConfig, description, described, _COUNTS),
        _frame_size_of(description, described),
        core,
        sessions,
        str(path),
        description.get("card"),
    )


def _frame_size_of(description: Mapping[str, Any], path: Path) -> tuple[int, int]:
    match description.get("frame_size"):
        case [int(height), int(width)] if 1 < height <= 4096 and 1 < width <= 4096:
            return height, width
    raise CheckpointError(
        f"{path}: frame_size is {shortened(description.get('frame_size'))}; expected "
        "height and width."
    )
