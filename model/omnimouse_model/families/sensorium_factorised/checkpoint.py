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
    check_pair,
    load_strictly,
    read_description,
    save_described,
    session_counts,
    weights_hash,
)
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.storage.tensors import read_safetensors
from omnimouse_model.storage.typed import decode, refused_as

FAMILY = "sensorium_factorised"
_KEY, _VERSION = "omnimouse_factorised", 1


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
        description = {
            _KEY: _VERSION,
            "family": FAMILY,
            "config": asdict(self.config),
            "gray": asdict(self.gray),
            "sessions": dict(self.n_neurons),
            "card": dict(self.card),
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state.items()}
        save_described(path, description, tensors)

    @classmethod
    def read(cls, path: Path) -> "FactorisedCheckpoint":
        """Read a checkpoint.

        Raises
        ------
        CheckpointError
            A file is missing, damaged or of another form.
        """
        described = path.with_suffix(".json")
        description = read_description(path, _KEY, _VERSION, "the Sensorium-2023 baseline")
        tensors, notes = read_safetensors(path)
        check_pair(description, notes, path)
        with refused_as(CheckpointError):
            config = decode(FactorisedConfig, description.get("config"), described, "config")
            gray = decode(GrayLevels, description.get("gray"), described, "gray")
        counts = session_counts(description, described)
        return cls(config, gray, counts, tensors, description.get("card") or {})

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
