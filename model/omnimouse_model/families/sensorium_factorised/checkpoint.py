"""Checkpoints of the Sensorium-2023 baseline: weights with the public names.

A JSON file beside the weights has the config, the gray levels by which frames are
normalised, and the sessions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.parts.video_clips import GrayLevels
from omnimouse_model.families.sensorium_factorised.network import (
    FactorisedConfig,
    FactorisedNetwork,
)
from omnimouse_model.families.sensorium_factorised.predictor import FactorisedPredictor
from omnimouse_model.predict.description import (
    describe_weights,
    load_strictly,
    read_checkpoint,
    save_checkpoint,
    session_counts,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.family import Description
from omnimouse_model.storage.typed import decode, refused_as

FAMILY = "sensorium_factorised"


@dataclass(frozen=True, slots=True)
class FactorisedCheckpoint:
    """A network with the facts that its weights do not have.

    Attributes
    ----------
    config, gray
        Sizes of the network, and how frames are normalised.
    n_neurons
        Session -> number of neurons.
    state
        Name -> tensor.
    card
        Information for people: training, scores.
    """

    config: FactorisedConfig
    gray: GrayLevels
    n_neurons: Mapping[str, int]
    state: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write weights and description."""
        about = {
            "config": asdict(self.config),
            "gray": asdict(self.gray),
            "sessions": dict(self.n_neurons),
            "card": dict(self.card),
        }
        save_checkpoint(path, self.state, FAMILY, about)

    @classmethod
    def read(cls, path: Path) -> "FactorisedCheckpoint":
        """Read a checkpoint.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        described = path.with_suffix(".json")
        tensors, _, description, _ = read_checkpoint(path, FAMILY)
        with refused_as(CheckpointError):
            config = decode(FactorisedConfig, description.get("config"), described, "config")
            gray = decode(GrayLevels, description.get("gray"), described, "gray")
        counts = session_counts(description, described)
        return cls(config, gray, counts, tensors, description.get("card") or {})

    @property
    def description(self) -> Description:
        """What `omnimouse info` prints."""
        core = self.config.core
        sees = "video and behaviour" if core.channels > 1 else "video"
        return describe_weights(
            "Sensorium-2023 baseline",
            self.state,
            self.config,
            self.n_neurons,
            network=f"{len(core.widths)} layers of {', '.join(map(str, core.widths))} channels",
            sees=sees,
        )

    def predictor(self, name: str, weights: str, device: torch.device) -> FactorisedPredictor:
        """Return the predictor of these weights."""
        network = load_strictly(
            lambda: FactorisedNetwork(self.config, self.n_neurons), self.state, name
        )
        return FactorisedPredictor(name, weights, network.to(device), self.gray, device)


def load_factorised(path: Path, device: str = "auto") -> FactorisedPredictor:
    """Load a predictor from a checkpoint.

    Raises
    ------
    CheckpointError
        A file is missing, damaged or of another form.
    """
    checkpoint = FactorisedCheckpoint.read(path)
    return checkpoint.predictor(
        path.stem, weights_hash(dict(checkpoint.state)), resolve_device(device)
    )
