"""The public package of the digital twin, with the weights of ours, for comparison."""

import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from omnimouse_model.families.twin.network import TwinNetwork


def public_twin(
    checkout: Path, net: "TwinNetwork", video: "Tensor", rates: "Tensor"
) -> tuple[float, float]:
    """Return the seconds per frame of the package, and the largest difference of rates.

    Parameters
    ----------
    checkout
        Folder of the package's repository.
    video
        uint8 (T, H, W).
    rates
        Our rates (T, 1, U).

    Raises
    ------
    click.UsageError
        The folder has no package.
    """
    if not (checkout / "fnn" / "model" / "networks.py").is_file():
        raise click.UsageError(f"{checkout} is no checkout of cajal/fnn.")
    sys.path.insert(0, str(checkout))
    try:
        public = _built(net)
        frames = public.generate_response(video[..., None].cpu().numpy())
        # The first frame normalises the weights, before the clock starts.
        first = next(frames)
        begin = perf_counter()
        found = np.stack([first, *frames])
        seconds = (perf_counter() - begin) / (len(video) - 1)
    finally:
        sys.path.remove(str(checkout))
    ours = rates[:, 0].cpu().numpy()
    return seconds, float(abs(found - ours).max())


def _built(net: "TwinNetwork") -> Any:  # a class of the foreign package
    """Build the package's network of the released architecture, with our weights."""
    config = net.config

    def make(module: str, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(import_module(f"fnn.model.{module}"), name)(*arguments, **options)

    feedforward = make(
        "feedforwards",
        "InputDense",
        input_spatial=config.input_spatial,
        input_stride=config.input_stride,
        block_channels=config.block_channels,
        block_groups=config.block_groups,
        block_layers=config.block_layers,
        block_temporals=config.block_temporals,
        block_spatials=config.block_spatials,
        block_pools=config.block_pools,
        out_channels=config.feedforward_channels,
        nonlinear=config.feedforward_nonlinear,
    )
    recurrent = make(
        "recurrents",
        "CvtLstm",
        in_channels=config.recurrent_channels,
        out_channels=config.out_channels,
        hidden_channels=config.hidden_channels,
        common_channels=config.common_channels,
        groups=config.groups,
        spatial=config.recurrent_spatial,
    )
    perspective = make(
        "perspectives",
        "MlpMonitorRetina",
        mlp_features=config.gaze_features,
        mlp_layers=config.gaze_layers,
        mlp_nonlinear=config.gaze_nonlinear,
        monitor=make("monitors", "Plane"),
        monitor_pixel=make("pixels", "StaticPower", power=1.7),
        retina=make("retinas", "Angular", config.retina_degrees),
        retina_pixel=make("pixels", "SigmoidPower"),
        height=config.retina_height,
        width=config.retina_width,
    )
    modulation = make(
        "modulations",
        "MlpLstm",
        mlp_features=config.state_features,
        mlp_layers=config.state_layers,
        mlp_nonlinear=config.state_nonlinear,
        lstm_features=config.state_hidden,
    )
    readout = make(
        "readouts",
        "PositionFeature",
        make("positions", "Gaussian"),
        make("bounds", "Tanh"),
        make("features", "Vanilla"),
    )
    network = make(
        "networks",
        "Visual",
        make("cores", "FeedforwardRecurrent", feedforward, recurrent),
        perspective,
        modulation,
        readout,
        make("reductions", "Mean"),
        make("units", "Poisson"),
    )
    network._init(
        stimuli=config.colours,
        perspectives=config.pupil,
        modulations=config.behavior,
        units=net.n_units,
        streams=config.streams,
    )
    network.load_state_dict({k: v.cpu() for k, v in net.state_dict().items()})
    return network.eval()
