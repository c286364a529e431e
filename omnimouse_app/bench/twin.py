"""`omnimouse bench twin`: the digital twin per frame, in a clip and streamed."""

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import click

from omnimouse_app.bench.benchmark import Row, benchmark
from omnimouse_app.cli.inputs import device_option, threads_option

if TYPE_CHECKING:
    from torch import Tensor

    from omnimouse_model.nets.twin.network import TwinNetwork

CLIP = 32
"""Frames of the clip."""
STEPS = 8
"""Frames that are streamed one by one."""
FULL, SMALL = (144, 256), (36, 64)
"""Height and width of a frame."""


@benchmark(
    "twin",
    title="Digital twin on {device}",
    columns=(
        *("name", "size", "units", "value", "unit"),
        *("calibrated_gflop", "floor_gflop"),
    ),
    gflops=True,
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
@threads_option(2)
@device_option
def command(repeats: int, device: str) -> list[Row]:
    """Time frames of the released architecture, and of a small one.

    Weights are random, because they do not change the cost. `calibrated_gflop` is the
    time multiplied by the matmul rate of the machine; `floor_gflop` counts the
    multiplications and additions of convolutions and products alone.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from omnimouse_app.cli.output import matmul_gflops
    from omnimouse_model.nets.twin.config import TwinConfig
    from omnimouse_model.nets.twin.network import TwinNetwork
    from omnimouse_model.predict.omnimouse.loading import resolve_device

    place = resolve_device(device)
    small = TwinConfig(
        retina_height=32,
        retina_width=48,
        block_channels=(8, 16, 32),
        feedforward_channels=32,
        recurrent_channels=64,
        hidden_channels=64,
        common_channels=128,
        out_channels=32,
    )
    rows: list[Row] = []
    for size, config, frame, units in (
        ("full", TwinConfig(), FULL, 10),
        ("full", TwinConfig(), FULL, 8000),
        ("small", small, SMALL, 1000),
    ):
        click.echo(f"{size}, {units:,} units …", err=True)
        net = TwinNetwork(config, units).eval().to(place)
        video = torch.rand(CLIP, 1, 1, *frame, device=place)

        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            net(video, None, None, net.start())
        floor = counter.get_total_flops() / CLIP / 1e9
        rate = matmul_gflops("float32", place.type)
        for name, n_frames, step in (
            ("twin_clip_ms", CLIP, CLIP),
            ("twin_stream_ms", STEPS, 1),
        ):
            frames = video[:n_frames]
            value = median(_seconds(net, frames, step) for _ in range(repeats))
            rows.append(
                {
                    "name": name,
                    "size": size,
                    "units": units,
                    "value": 1000 * value,
                    "unit": "ms per frame",
                    "n": repeats,
                    "calibrated_gflop": value * rate,
                    "floor_gflop": floor,
                    "device": str(place),
                }
            )
    return rows


def _seconds(net: "TwinNetwork", video: "Tensor", step: int) -> float:
    """Return the seconds per frame of a clip that is predicted in steps."""
    import torch

    with torch.inference_mode():
        state = net.start()
        # The weights are normalised before the clock starts.
        net(video[:1], None, None, state)
        begin = perf_counter()
        for first in range(0, len(video), step):
            rates = net(video[first : first + step], None, None, state).rates
        # Reading a value waits for a GPU.
        float(rates.sum())
        return (perf_counter() - begin) / len(video)
