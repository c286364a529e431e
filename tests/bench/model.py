"""`omnimouse bench model`: cost of a forward pass, by part and by model size."""

from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option, repeated, threads_option
from tests.bench.benchmark import Row, benchmark, matmul_gflops

if TYPE_CHECKING:
    from tests.bench.flops import Case

SIZES = ("1M", "5M", "20M", "80M", "300M")
PARTS = ("video", "encoder", "local", "global", "decoder")
"""Parts of the network that are timed separately, in order of execution."""
DTYPES = ("float32", "bfloat16")


@benchmark(
    "model",
    title="Forward passes on {device}, in calibrated GFLOP",
    columns=(
        *("size", "case", "dtype", "value", "floor", "seconds"),
        *(*PARTS, "max_abs_error"),
    ),
    gflops=True,
)
@repeated("--size", "sizes", "A released size.", type=click.Choice(SIZES), show_default="all")
@click.option(
    "--case",
    "cases",
    multiple=True,
    type=click.Choice(["A", "B"]),
    help="A: 4,096 visible and 1,024 target neurons. B: 512 of each. [default: both]",
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
@threads_option(2)
@device_option
def command(
    sizes: tuple[str, ...], cases: "tuple[Case, ...]", repeats: int, device: str
) -> list[Row]:
    """Time forward passes in calibrated GFLOP: seconds x the fp32 matmul rate.

    The floor is the cost of the allowed pairs alone at full matmul speed. fp32 is
    compared with the same weights under dense masks, bf16 with fp32.
    """
    from omnimouse_model.predict.devices import resolve_device

    place = resolve_device(device)
    rows: list[Row] = []
    for size in sizes or SIZES:
        for case in cases or ("A", "B"):
            click.echo(f"{size}, case {case} …", err=True)
            rows += measure(size, case, str(place), repeats)
    return rows


def measure(size: str, case: "Case", device: str, repeats: int) -> list[Row]:
    """Return the rows of one size and case: fp32, then bf16."""
    import torch

    from tests.bench import flops

    task = flops.random_input(size, case, device)
    # Computed from the mask, so it is the same on every machine.
    floor = flops.masked_gflop(task)
    # The reference has the same weights and dense attention masks.
    with flops.dense_masks():
        reference = flops.run_forward(task, all_rows=True)
    rows = []
    # fp32 comes first: its output is the reference for bf16.
    for dtype in DTYPES:
        kind = getattr(torch, dtype)
        # The matmul rate is measured before and after: a machine's speed varies with
        # its load.
        before = matmul_gflops("float32", device)
        seconds = flops.time_parts(task, kind, repeats)
        rate = (before + matmul_gflops("float32", device)) / 2
        output = flops.run_forward(task, kind)
        rows.append(
            {
                "name": "forward_cgflop",
                "value": seconds["total"] * rate,
                "unit": "calibrated GFLOP",
                "size": size,
                "case": case,
                "dtype": dtype,
                "device": device,
                "floor": floor["total"],
                "seconds": seconds["total"],
                "matmul_gflops_fp32": rate,
                "max_abs_error": float((output - reference).abs().max()),
                **{part: seconds[part] * rate for part in PARTS},
                **{f"floor_{part}": floor[part] for part in PARTS},
            }
        )
        # bf16 is compared with fp32, as its error is rounding, not masking.
        if dtype == "float32":
            reference = output
    return rows
