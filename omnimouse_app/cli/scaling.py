"""`omnimouse scaling`: how scores grow with data, size or compute."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.output import emit, table

if TYPE_CHECKING:
    from omnimouse_model.analysis.scaling import Axis, Quantity, ScalingCurve

AXES = ("sessions", "neuron_samples", "trials", "compute", "parameters")


@click.command("scaling")
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--x",
    "axis",
    type=click.Choice(AXES),
    default="sessions",
    show_default=True,
    help="What grows.",
)
@click.option(
    "--y",
    "quantity",
    type=click.Choice(["score", "loss"]),
    default="score",
    show_default=True,
    help="What is fitted.",
)
@click.option(
    "--csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the figure's data: points and fitted curves.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")
def command(
    results: Path,
    axis: "Axis",
    quantity: "Quantity",
    csv: Path | None,
    as_json: bool,
) -> None:
    """Fit curves to the runs in RESULTS, a file that `add_run` wrote.

    A saturating power law and a line over log size, with 95 % intervals from resampling
    the evaluated sessions, and whether the smaller sizes foretell the largest. Fewer
    than four sizes are shown as points alone.
    """
    from omnimouse_model.analysis.scaling import (
        fit_rows,
        scaling_curves,
        write_figure,
    )
    from omnimouse_model.analysis.scaling_runs import read_runs

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        curves = scaling_curves(read_runs(results), axis=axis, quantity=quantity)
    if not curves:
        raise click.ClickException(
            f"No run in {results} tells its {axis} and {quantity}."
        )
    if csv is not None:
        write_figure(curves, csv)
    for one in told:
        click.echo(f"Note: {one.message}", err=True)
    if as_json:
        emit(fit_rows(curves), as_json=True)
    else:
        click.echo(report(curves))


def report(curves: "Sequence[ScalingCurve]") -> str:
    """A line per curve, and what was refused."""
    lines = [_line(curve) for curve in curves]
    refused = dict.fromkeys(curve.refusal for curve in curves if curve.refusal)
    notes = "\n".join(f"- –: {words}" for words in refused)
    return "\n\n".join(part for part in (table(lines), notes) if part)


def _line(curve: "ScalingCurve") -> dict[str, object]:
    law, line, far = curve.law, curve.line, curve.extrapolation
    shown: dict[str, object] = {
        "condition": curve.condition,
        "curve": curve.name,
        "points": len(curve.x),
        "sizes": len(set(curve.x.tolist())),
        "limit": None if law is None else law.limit,
        "exponent": None if law is None else law.exponent,
        "95 %": _span(curve.intervals.get("exponent")),
        "slope": None if line is None else line.slope,
        "prefers": curve.preferred or None,
        "largest": None,
        "line says": None,
    }
    if far is not None:
        shown["largest"] = far.measured
        shown["line says"] = f"{far.low:.3f} to {far.high:.3f}"
    return shown


def _span(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"
