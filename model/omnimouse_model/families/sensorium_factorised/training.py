"""Training of the Sensorium-2023 baseline: Poisson loss of rates at drawn places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.families.parts.clip_training import Batch, ClipTrainConfig, ClipTraining
from omnimouse_model.families.parts.losses import poisson_sum
from omnimouse_model.families.parts.video_clips import Inputs, inverse_elu
from omnimouse_model.families.sensorium_factorised.network import (
    FACTORISED,
    FactorisedConfig,
)
from omnimouse_model.masks import Mask
from omnimouse_model.storage.typed import decode


@dataclass(frozen=True, slots=True)
class FactorisedTrainConfig(ClipTrainConfig):
    """Settings of a training; the defaults are those of the public baseline.

    Attributes
    ----------
    model
        Sizes of the network.
    """

    model: FactorisedConfig = field(default_factory=FactorisedConfig)


def read_factorised_config(tree: Mapping[str, Any]) -> FactorisedTrainConfig:
    """Return the training config from a parsed file (`Training.read`).

    Raises
    ------
    ValueError
        A field is unknown or of another type; the message names it.
    """
    config = decode(FactorisedTrainConfig, tree, "the file")
    config.check(config.model.core.lost_frames)
    return config


class FactorisedTraining(ClipTraining):
    """Steps on video, gaze and behaviour."""

    family = FACTORISED

    def start(self) -> bool:
        """Set the biases to the mean responses."""
        for key, source in self.sessions.items():
            mean = source.session.units.mean / source.session.response_scale
            readout = self.net.readout_of(key)
            if readout.config.has_bias:
                with torch.no_grad():
                    readout.bias.copy_(inverse_elu(torch.as_tensor(mean)))
        return False

    def loss(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, int]:
        """Return the Poisson loss, and how many responses are in it."""
        maps = self.net.core(inputs.video)
        n_frames, n_neurons = maps.shape[2], self.net.n_neurons[batch.session]
        noise = torch.randn(len(maps) * n_frames, n_neurons, 2, device=self.device)
        rates = self.net.rates(maps, batch.session, inputs.pupil, noise=noise)
        responses = batch.responses[:, -n_frames:].to(self.device)
        recorded = responses.isfinite()
        return poisson_sum(rates[recorded], responses[recorded]), int(recorded.sum())

    def condition(self) -> Condition:
        """Video, and behaviour where it is read."""
        name = "test/video_behavior" if self.spec.behavior else "test/video_only"
        return Condition(name.removeprefix("test/"), partial(Mask.from_strategy, name))
