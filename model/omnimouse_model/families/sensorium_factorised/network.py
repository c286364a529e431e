"""The Sensorium-2023 baseline: its network, from video to rates, and its training.

    video (+ pupil size, running) -> FactorisedCore -> maps
    pupil center -> Shifter of the session -> shift of all places
    maps, shift -> GaussianReadout of the session -> ELU + 1 -> rates

Source: Turishcheva et al. 2023 (Sensorium 2023) and its public code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.parts.clips import (
    Batch,
    ClipCheckpoint,
    Inputs,
    clip_spec,
    poisson_sum,
)
from omnimouse_model.families.parts.factorised import (
    CoreConfig,
    CoreNetwork,
    CoreTrainConfig,
    CoreTraining,
    FactorisedCore,
    GaussianReadout,
    OnCore,
    ReadoutConfig,
    by_session,
    inverse_elu,
    module_key,
    rows_of,
    start_readout,
)
from omnimouse_model.predict.checkpoint_file import Copies, Size
from omnimouse_model.progress import Cancelled
from omnimouse_model.storage.trees import Within


@dataclass(frozen=True, slots=True)
class ShifterConfig:
    """Sizes of the shifter.

    Attributes
    ----------
    inputs, hidden, layers
        Number of inputs, width and number of layers.
    """

    inputs: Size = 2
    hidden: Size = 5
    layers: Copies = 3


@dataclass(frozen=True, slots=True)
class FactorisedConfig(OnCore):
    """Sizes and choices of the network; the defaults are the published ones.

    Attributes
    ----------
    shifter
        Network from pupil center to a shift; None for video alone.
    offset
        Added before the last nonlinearity.
    """

    core: CoreConfig = field(default_factory=CoreConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    shifter: ShifterConfig | None = ShifterConfig()
    offset: Annotated[float, Within(-1e6, 1e6)] = 0.0

    @property
    def spec(self) -> WindowSpec:
        """Windows that the network reads."""
        reads_behavior = self.core.channels > 1 or self.shifter is not None
        return clip_spec(self.core.lost_frames, reads_behavior=reads_behavior)


class Shifter(nn.Module):
    """Shift of all places, from the pupil center."""

    def __init__(self, config: ShifterConfig) -> None:
        super().__init__()
        widths = [config.inputs, *[config.hidden] * (config.layers - 1), 2]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.Tanh()]
        self.mlp = nn.Sequential(*layers)

    def forward(self, pupil: Tensor) -> Tensor:
        """Return shifts (..., 2) of pupil centers (..., inputs)."""
        return self.mlp(pupil)


class FactorisedNetwork(CoreNetwork):
    """Rates of the neurons of several sessions that share the core.

    Parameters
    ----------
    n_neurons
        Session -> number of neurons.
    coordinates
        Session -> `source_grid` of its neurons; from the weights where absent.
    """

    family, title = "sensorium_factorised", "Sensorium-2023 baseline"

    def __init__(
        self,
        config: FactorisedConfig,
        n_neurons: Mapping[str, int],
        coordinates: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.n_neurons = config, dict(n_neurons)
        self.core = FactorisedCore(config.core)
        known = coordinates or {}
        self.readout = by_session(
            (s, GaussianReadout(config.readout, config.core.widths[-1], n, 1, known.get(s)))
            for s, n in n_neurons.items()
        )
        if config.shifter is not None:
            self.shifter = by_session((s, Shifter(config.shifter)) for s in n_neurons)

    def shift(self, pupil: Tensor, session: str) -> Tensor:
        """Return the shift (B, T, 2) for pupil centers (B, inputs, T)."""
        return self.shifter[module_key(session)](pupil.transpose(1, 2))

    def rates(
        self,
        maps: Tensor,
        session: str,
        pupil: Tensor | None = None,
        *,
        noise: Tensor | None = None,
        neurons: Tensor | None = None,
    ) -> Tensor:
        """Return rates (B, T', n) from maps (B, width, T', h, w).

        Parameters
        ----------
        pupil
            Centers (B, inputs, T) whose last T' samples belong to the maps; None for
            no shift.
        noise
            Standard normal (B * T', N, 2) for drawn places; None for mean places.
        neurons
            Those to predict; None for all.
        """
        n_clips, n_frames = maps.shape[0], maps.shape[2]
        shift = None
        if pupil is not None:
            shift = self.shift(pupil[:, :, -n_frames:], session).flatten(0, 1)
        values = self.readout_of(session)(rows_of(maps), noise=noise, shift=shift, neurons=neurons)
        rates = F.elu(values + self.config.offset) + 1
        return rates.reshape(n_clips, n_frames, -1)

    def state_of(
        self, session: str, inputs: Inputs, visible: Tensor, cancelled: Cancelled
    ) -> tuple[Tensor | None, ...]:
        """Return the maps of the core, and the gaze."""
        return self.core(inputs.video(self.config.core.channels)), inputs.gaze

    def rates_of(
        self, session: str, state: tuple[Tensor | None, ...], neurons: Tensor | None
    ) -> Tensor:
        """Return the rates (B, T', n) of neurons."""
        maps, pupil = state
        assert maps is not None
        return self.rates(maps, session, pupil, neurons=neurons)


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorisedCheckpoint(ClipCheckpoint):
    """Content of a file of the Sensorium-2023 baseline: config and weights, no network yet."""

    family, network = FactorisedNetwork.family, FactorisedNetwork
    config: FactorisedConfig


# -- training --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class FactorisedTrainConfig(CoreTrainConfig):
    """Settings of a training; the defaults are those of the public baseline.

    Attributes
    ----------
    model
        Sizes of the network.
    """

    model: FactorisedConfig = field(default_factory=FactorisedConfig)


class FactorisedTraining(CoreTraining):
    """Training on video, gaze and behaviour: Poisson loss of rates at drawn places."""

    title = FactorisedNetwork.title
    config, checkpoint = FactorisedTrainConfig, FactorisedCheckpoint
    load_model = FactorisedCheckpoint.load

    def start(self) -> bool:
        """Set the biases to the mean responses, or all values to those of motion energy."""
        if self.settings.start == "motion-energy":
            for key, chunks in self.start_core().items():
                if self.net.config.shifter is not None:
                    with torch.no_grad():
                        last = self.net.shifter[module_key(key)].mlp[-2]
                        last.weight.zero_()
                        last.bias.zero_()
                start_readout(self.net.readout_of(key), chunks)
            return True
        for key, source in self.by_key.items():
            mean = source.session.units.mean / source.session.response_scale
            readout = self.net.readout_of(key)
            if readout.config.has_bias:
                with torch.no_grad():
                    readout.bias.copy_(inverse_elu(torch.as_tensor(mean)))
        return False

    def loss(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, int]:
        """Return the Poisson loss, and how many responses are in it."""
        maps = self.net.core(inputs.video(self.net.config.core.channels))
        n_frames, n_neurons = maps.shape[2], self.net.n_neurons[batch.session]
        noise = torch.randn(len(maps) * n_frames, n_neurons, 2, device=self.device)
        rates = self.net.rates(maps, batch.session, inputs.gaze, noise=noise)
        responses = batch.responses[:, -n_frames:].to(self.device)
        recorded = responses.isfinite()
        return poisson_sum(rates[recorded], responses[recorded]), int(recorded.sum())
