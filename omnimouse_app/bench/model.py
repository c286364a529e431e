"""`omnimouse bench model`: cost of a forward pass, by part and by model size."""

from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, format_options
from omnimouse_app.cli.output import emit, matmul_gflops

if TYPE_CHECKING:
    from omnimouse_model.analysis.flops import Case

SIZES = ("1M", "5M", "20M", "80M", "300M")
DTYPES = ("float32", "bfloat16")


@click.command("model")
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=click.Choice(SIZES),
    help="A released size; may be repeated. All by default.",
)
@click.option(
    "--case",
    "cases",
    multiple=True,
    type=click.Choice(["A", "B"]),
    help="A: 4,096 neurons seen, 1,024 asked. B: 512 seen and asked. Both by default.",
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1))
@device_option
@format_options
def command(
    sizes: tuple[str, ...],
    cases: "tuple[Case, ...]",
    repeats: int,
    threads: int,
    device: str,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Time forward passes in calibrated GFLOP: seconds x the fp32 matmul rate.

    The floor is what the allowed pairs alone would cost at full matmul speed. fp32 is
    compared with the same weights under dense masks, bf16 with fp32.
    """
    import torch

    from omnimouse_model.predict.omnimouse.loading import resolve_device

    torch.set_num_threads(threads)
    place = resolve_device(device)
    rows: list[dict[str, Any]] = []
    for size in sizes or SIZES:
        for case in cases or ("A", "B"):
            click.echo(f"{size}, case {case} …", err=True)
            rows += measure(size, case, str(place), repeats)
    emit(
        rows,
        as_json=as_json,
        as_markdown=as_markdown,
        gflops=True,
        title=f"Forward passes on {place}, {threads} threads, in calibrated GFLOP",
        columns=[
            "size",
            "case",
            "dtype",
            "value",
            "floor",
            "seconds",
            "video",
            "encoder",
            "local",
            "global",
            "decoder",
            "max_abs_error",
        ],
    )


def measure(size: str, case: "Case", device: str, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one size and case: fp32, then bf16."""
    import torch

    from omnimouse_model.analysis import flops

    asked = flops.random_input(size, case, device)
    floor = flops.masked_gflop(asked)
    # The reference has the same weights and dense attention masks.
    with flops.dense_masks():
        reference = flops.run_forward(asked, whole=True)
    rows = []
    for dtype in DTYPES:
        kind = getattr(torch, dtype)
        # The matmul rate is measured before and after: a machine's speed varies with
        # its load.
        before = matmul_gflops("float32", device)
        spent = flops.time_parts(asked, kind, repeats)
        rate = (before + matmul_gflops("float32", device)) / 2
        found = flops.run_forward(asked, kind)
        rows.append(
            {
                "name": "forward_cgflop",
                "value": spent["total"] * rate,
                "unit": "calibrated GFLOP",
                "size": size,
                "case": case,
                "dtype": dtype,
                "device": device,
                "floor": floor["total"],
                "seconds": spent["total"],
                "matmul_gflops_fp32": rate,
                "max_abs_error": float((found - reference).abs().max()),
                **{part: spent[part] * rate for part in flops.PARTS},
                **{f"floor_{part}": floor[part] for part in flops.PARTS},
            }
        )
        # bf16 is compared with fp32, as its error is rounding, not masking.
        if dtype == "float32":
            reference = found
    return rows
