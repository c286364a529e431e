"""Sizes of the digital twin; the defaults are those of the released network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Core = Literal["cvt-lstm", "conv-lstm"]
Unit = Literal["poisson", "elu-mse"]


@dataclass(frozen=True, slots=True)
class TwinConfig:
    """Sizes of perspective, modulation, core and readout (Wang et al. 2025).

    Attributes
    ----------
    colours, pupil, behavior
        Channels of a frame; values of the gaze (pupil x, y); values of the modulation
        (pupil radius and running; 3 with the change of the pupil).
    streams
        Independent copies of modulation, core and readout.
    gaze_features, gaze_layers, gaze_nonlinear
        Hidden layers from the pupil to the angles of the eye.
    retina_height, retina_width, retina_degrees
        Pixels of the retina, and the polar angle at its left and right edge.
    monitor_distance
        First distance of the monitor from the eye, in half widths of the monitor.
    max_power, pixel_eps
        Limit of the learned power of luminance, and the value that is added first.
    state_features, state_layers, state_nonlinear, state_hidden
        Hidden layers of the modulation, and units of its LSTM.
    input_spatial, input_stride
        Kernel and stride of the first convolution.
    block_channels, block_groups, block_layers, block_temporals, block_spatials,
    block_pools
        The dense blocks, one value for each.
    feedforward_channels, feedforward_nonlinear
        Channels after the last block.
    core
        "cvt-lstm" (with attention over space, as released) or "conv-lstm".
    recurrent_channels, hidden_channels, common_channels, out_channels, groups
        Channels of the recurrent core; groups are the paper's cells.
        `common_channels` is that of queries, keys and values.
    recurrent_spatial, input_bias, forget_bias
        Its kernel, and the first biases of the input and forget gates.
    unit
        "poisson" (exponential rates) or "elu-mse".
    position_sign
        Direction of the second coordinate of `DigitalTwin.readout_position`: 1
        downwards, in which the network samples its maps; -1 upwards, as the property
        files of the release state. Assumed: no released file could be compared.
    """

    colours: int = 1
    pupil: int = 2
    behavior: int = 2
    streams: int = 4
    gaze_features: int = 16
    gaze_layers: int = 3
    gaze_nonlinear: str = "gelu"
    retina_height: int = 128
    retina_width: int = 192
    retina_degrees: float = 75.0
    monitor_distance: float = 0.5
    max_power: float = 1.0
    pixel_eps: float = 1e-5
    state_features: int = 16
    state_layers: int = 1
    state_nonlinear: str = "gelu"
    state_hidden: int = 16
    input_spatial: int = 6
    input_stride: int = 2
    block_channels: tuple[int, ...] = (32, 64, 128)
    block_groups: tuple[int, ...] = (1, 2, 4)
    block_layers: tuple[int, ...] = (2, 2, 2)
    block_temporals: tuple[int, ...] = (3, 3, 3)
    block_spatials: tuple[int, ...] = (3, 3, 3)
    block_pools: tuple[int, ...] = (2, 2, 1)
    feedforward_channels: int = 128
    feedforward_nonlinear: str = "gelu"
    core: Core = "cvt-lstm"
    recurrent_channels: int = 256
    hidden_channels: int = 256
    common_channels: int = 512
    out_channels: int = 128
    groups: int = 8
    recurrent_spatial: int = 3
    input_bias: float = -1.0
    forget_bias: float = 1.0
    unit: Unit = "poisson"
    position_sign: int = 1

    def __post_init__(self) -> None:
        if self.position_sign not in (-1, 1):
            raise ValueError(f"position_sign is {self.position_sign!r}, not 1 or -1.")

    @classmethod
    def from_public(cls, names: Mapping[str, Any]) -> "TwinConfig":
        """Return the config that has the settings of the public package.

        Raises
        ------
        KeyError
            A setting is missing.
        ValueError
            A part has a type that this network does not have.
        """
        kinds = {
            "feedforward": "InputDense",
            "perspective": "MlpMonitorRetina",
            "monitor": "Plane",
            "monitor_pixel": "StaticPower",
            "retina": "Angular",
            "retina_pixel": "SigmoidPower",
            "modulation": "MlpLstm",
            "readout": "PositionFeature",
        }
        for part, kind in kinds.items():
            if names[part]["type"] != kind:
                raise ValueError(f"{part} is {names[part]['type']!r}, not {kind!r}.")
        cores: dict[str, Core] = {"CvtLstm": "cvt-lstm", "ConvLstm": "conv-lstm"}
        units: dict[str, Unit] = {"Poisson": "poisson", "EluMse": "elu-mse"}
        if names["recurrent"]["type"] not in cores or names["unit"] not in units:
            raise ValueError(
                f"recurrent is {names['recurrent']['type']!r} and unit is "
                f"{names['unit']!r}, not of {', '.join([*cores, *units])}."
            )
        feedforward, recurrent = names["feedforward"], names["recurrent"]
        gaze, state = names["perspective"], names["modulation"]
        pixel = names["retina_pixel"]
        return cls(
            colours=names["stimuli"],
            pupil=names["perspectives"],
            behavior=names["modulations"],
            streams=names["streams"],
            gaze_features=gaze["mlp_features"],
            gaze_layers=gaze["mlp_layers"],
            gaze_nonlinear=gaze["mlp_nonlinear"],
            retina_height=gaze["height"],
            retina_width=gaze["width"],
            retina_degrees=float(names["retina"]["degrees"]),
            max_power=float(pixel["max_power"]),
            pixel_eps=float(pixel["eps"]),
            state_features=state["mlp_features"],
            state_layers=state["mlp_layers"],
            state_nonlinear=state["mlp_nonlinear"],
            state_hidden=state["lstm_features"],
            input_spatial=feedforward["input_spatial"],
            input_stride=feedforward["input_stride"],
            block_channels=tuple(feedforward["block_channels"]),
            block_groups=tuple(feedforward["block_groups"]),
            block_layers=tuple(feedforward["block_layers"]),
            block_temporals=tuple(feedforward["block_temporals"]),
            block_spatials=tuple(feedforward["block_spatials"]),
            block_pools=tuple(feedforward["block_pools"]),
            feedforward_channels=feedforward["out_channels"],
            feedforward_nonlinear=feedforward["nonlinear"],
            core=cores[recurrent["type"]],
            recurrent_channels=recurrent["in_channels"],
            hidden_channels=recurrent["hidden_channels"],
            common_channels=recurrent.get("common_channels", 0),
            out_channels=recurrent["out_channels"],
            groups=recurrent["groups"],
            recurrent_spatial=recurrent["spatial"],
            input_bias=float(recurrent["init_input"]),
            forget_bias=float(recurrent["init_forget"]),
            unit=units[names["unit"]],
        )
