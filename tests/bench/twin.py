"""`omnimouse bench twin`: the digital twin per frame, in a clip and streamed."""

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option, folder_option, threads_option
from tests.bench.benchmark import Row, benchmark, matmul_gflops
from tests.bench.peers.public_twin import public_twin

if TYPE_CHECKING:
    from torch import Tensor

    from omnimouse_model.families.twin.network import TwinNetwork

CLIP = 32
"""Frames of the clip."""
STEPS = 8
"""Frames that are streamed one by one."""
FULL = (144, 256)
"""Height and width of a frame of the released models."""
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


@benchmark(
    "twin",
    title="Digital twin on {device}",
    columns=(
        *("name", "size", "units", "precision", "value", "unit"),
        *("calibrated_gflop", "floor_gflop", "ratio", "difference"),
    ),
    gflops=True,
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
@folder_option("--fnn", help="Also time this checkout of the public package, with equal weights.")
@threads_option(2)
@device_option
def command(repeats: int, fnn: Path | None, device: str) -> list[Row]:
    """Time frames of the released architecture, and of the demo twin.

    Weights are random, because they do not change the cost. `calibrated_gflop` is the
    time multiplied by the matmul rate of the machine; `floor_gflop` counts the
    multiplications and additions of convolutions and products alone. With --fnn,
    `ratio` is how many times longer a frame of the public package takes, and
    `difference` the largest one of the rates. On a GPU, rows of bf16 follow those of
    fp32, and `difference` is the largest one from the rates in fp32 on the CPU.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
    from omnimouse_model.inference.families import training_plan
    from omnimouse_model.predict.devices import resolve_device

    place = resolve_device(device)
    if fnn is not None and place.type != "cpu":
        raise click.UsageError("--fnn compares both programs on the CPU: --device cpu.")
    demo = training_plan("twin-demo").config
    rows: list[Row] = []
    for size, config, frame, units in (
        ("full", TwinConfig(), FULL, 10),
        ("full", TwinConfig(), FULL, 8000),
        ("demo", demo.model, demo.frame_size, 1000),
    ):
        click.echo(f"{size}, {units:,} units …", err=True)
        torch.manual_seed(0)
        net = TwinNetwork(config, units).eval()
        _respond(net)
        video = torch.randint(0, 256, (CLIP, *frame), dtype=torch.uint8)
        gray = video[:, None, None].float() / 255
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            rates = net(gray, None, None, net.start()).rates
        net, gray = net.to(place), gray.to(place)
        shared = {"size": size, "units": units, "unit": "ms per frame", "n": repeats}
        shared |= {
            "floor_gflop": counter.get_total_flops() / CLIP / 1e9,
            "device": str(place),
        }
        seconds = {}
        for precision in ("fp32", "bf16") if place.type == "cuda" else ("fp32",):
            rate = matmul_gflops(_DTYPES[precision], place.type)
            with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
                difference = _difference(net, gray, rates)
                for name, n_frames, step in (
                    ("twin_clip_ms", CLIP, CLIP),
                    ("twin_stream_ms", STEPS, 1),
                ):
                    frames = gray[:n_frames]
                    value = median(_seconds(net, frames, step) for _ in range(repeats))
                    seconds[name] = value
                    rows.append(
                        shared
                        | {
                            "name": name,
                            "precision": precision,
                            "value": 1000 * value,
                            "calibrated_gflop": value * rate,
                            "difference": difference,
                        }
                    )
        if fnn is not None and size == "full":
            value, difference = public_twin(fnn, net, video[:STEPS], rates[:STEPS])
            rows.append(
                shared
                | {
                    "name": "public_package_ms",
                    "value": 1000 * value,
                    "n": 1,
                    "calibrated_gflop": value * rate,
                    "ratio": value / seconds["twin_clip_ms"],
                    "difference": difference,
                }
            )
    return rows


def _respond(net: "TwinNetwork") -> None:
    """Give units random weights, which begin at 0."""
    import torch

    with torch.no_grad():
        for weight in net.readout.feature.weights:
            weight.normal_(0, 0.05)
        net.readout.position.mu.normal_(0, 0.4)


def _difference(net: "TwinNetwork", video: "Tensor", rates: "Tensor") -> float:
    """Return the largest difference from rates that the CPU computed."""
    import torch

    with torch.inference_mode():
        found = net(video, None, None, net.start()).rates
    return float((found.float().cpu() - rates).abs().max())


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
