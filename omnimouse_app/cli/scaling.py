"""`omnimouse scaling`: fits of scores against data, size or compute."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
    folder_option,
    format_options,
    threads_option,
)
from omnimouse_app.cli.terminal import (
    Progress,
    echo,
    emit,
    exit_stopped,
    interruptible,
    interval,
    markdown_table,
    table,
)

if TYPE_CHECKING:
    from omnimouse_model.analysis.scaling_fits import Quantity, ScalingCurve, SizeAxis
    from omnimouse_model.metrics import PowerLaw

MAX_SIZES = 8
"""Maximum number of sizes that fit into a table as columns."""
AXES = ("sessions", "neuron_samples", "trials", "compute", "parameters")


@click.command("scaling")
@click.argument("results", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--train",
    "plan",
    help="First train and score the runs of this plan that RESULTS lacks: a YAML file, "
    "or the name of a shipped plan (simulated).",
)
@folder_option(
    "--mice",
    help="With --train: folder of the simulated mice; missing ones are generated. "
    "[default: the cache]",
)
@device_option
@threads_option(help="With --train: CPU threads.")
@click.option(
    "--x",
    "axis",
    type=click.Choice(AXES),
    default="sessions",
    show_default=True,
    help="Horizontal axis: the quantity that is scaled.",
)
@click.option(
    "--y",
    "quantity",
    type=click.Choice(["score", "loss"]),
    default="score",
    show_default=True,
    help="Vertical axis: the quantity that is fitted.",
)
@file_option("--csv", help="Write the figure's data: points and fitted curves.")
@file_option("--figure", help="Write the figure as a self-contained page (.html).")
@format_options
def command(
    results: Path,
    plan: str | None,
    mice: Path | None,
    device: str,
    axis: "SizeAxis",
    quantity: "Quantity",
    csv: Path | None,
    figure: Path | None,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Fit curves to the runs in RESULTS, a file that --train or `add_run` wrote.

    A saturating power law and a line over log size, with 95 % intervals from resampling
    the evaluated sessions and the runs of each size, and whether the smaller sizes
    predict the largest. Fewer than four sizes are shown as points without a fit.

    --train trains every size of model on every nested collection of a plan, with the
    models in a folder beside RESULTS. Ctrl-C and kills lose no finished run: the same
    command continues.
    """
    if plan is not None:
        _train(plan, results, mice, device)
    from omnimouse_model.analysis.scaling_fits import fit_rows, write_figure

    curves = _curves(results, axis, quantity)
    if csv is not None:
        write_figure(curves, csv)
    if figure is not None:
        _write_page(curves, figure)
    emit(
        fit_rows(curves),
        as_json=as_json,
        text=report(curves, as_markdown=as_markdown),
    )


def _train(plan: str, results: Path, mice: Path | None, device: str) -> None:
    """Train the models of the plan that the results lack."""
    from omnimouse_model.analysis.scaling_study import plan_path, read_plan, run_study
    from omnimouse_model.errors import StoppedError
    from omnimouse_model.predict.devices import resolve_device

    with interruptible() as stop, Progress() as progress:
        try:
            run_study(
                read_plan(plan_path(plan)),
                results,
                mice=mice,
                device=str(resolve_device(device)),
                job=stop.job(progress, saves=True),
            )
        except StoppedError:
            exit_stopped(f"saved beside {results}: the same command continues.")


def _curves(results: Path, axis: "SizeAxis", quantity: "Quantity") -> "tuple[ScalingCurve, ...]":
    """Fit the runs of a file; print warnings on standard error."""
    from omnimouse_model.analysis.scaling_fits import read_runs, scaling_curves

    if not results.is_file():
        raise click.BadParameter(
            f"There is no file {results}: give a file of `add_run`, or --train PLAN to write it.",
            param_hint="RESULTS",
        )
    # Fits warn about doubtful results; on standard error they do not mix with --json.
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        curves = scaling_curves(read_runs(results), axis=axis, quantity=quantity)
    if not curves:
        raise click.ClickException(f"No run in {results} states its {axis} and {quantity}.")
    for entry in messages:
        echo(f"Note: {entry.message}", err=True)
    return curves


def _write_page(curves: "Sequence[ScalingCurve]", path: Path) -> None:
    """Write the figure as an HTML page that contains plotly."""
    from omnimouse_model.storage.write import write_text
    from omnimouse_widgets.figures import scaling_figure

    figure = scaling_figure(curves)
    # With plotly.js inside, the page needs no network.
    write_text(path, figure.to_html(include_plotlyjs=True))


def report(curves: "Sequence[ScalingCurve]", *, as_markdown: bool = False) -> str:
    """Return the mean of each size, one line per fit, and reasons for missing fits."""
    layout = markdown_table if as_markdown else table
    means = _means(curves)
    reasons = dict.fromkeys(curve.refusal for curve in curves if curve.refusal)
    blocks = [
        layout(means) if means else "",
        layout([_fit_row(curve) for curve in curves]),
        "\n".join(f"- –: {reason}" for reason in reasons),
    ]
    return "\n\n".join(block for block in blocks if block)


def _means(curves: "Sequence[ScalingCurve]") -> list[dict[str, str | None]]:
    """Return one row per curve with a column per size; [] if there are too many sizes.

    The intervals are in the figure, in `--csv` and in `--json`.
    """
    sizes = sorted({size.x for curve in curves for size in curve.sizes})
    # A wider table would wrap in a terminal.
    if len(sizes) > MAX_SIZES:
        return []
    return [
        {"condition": curve.condition, "curve": curve.name}
        | {f"{x:.4g}": None for x in sizes}
        | {f"{size.x:.4g}": f"{size.mean:z.3f}" for size in curve.sizes}
        for curve in curves
    ]


def _fit_row(curve: "ScalingCurve") -> dict[str, object]:
    # Fits are None where a curve has too few sizes.
    law, line, far = curve.law, curve.line, curve.extrapolation
    return {
        "condition": curve.condition,
        "curve": curve.name,
        "points": len(curve.x),
        "sizes": len(set(curve.x.tolist())),
        "limit": None if law is None else law.limit,
        "exponent": _exponent(law),
        "exponent, 95 %": _span(curve.intervals.get("exponent")),
        "slope": None if line is None else line.slope,
        "slope, 95 %": _span(curve.intervals.get("slope")),
        "prefers": curve.preferred or None,
        # The line is fitted without the largest size, which it should predict.
        "largest": None if far is None else far.measured,
        "line predicts": None if far is None else interval(far.low, far.high),
    }


def _exponent(law: "PowerLaw | None") -> str | None:
    """Return the exponent as text, marked if it is at a bound of the fit.

    At a bound, the points do not determine the exponent.
    """
    if law is None:
        return None
    return f"{law.exponent:.3g}{' (at bound)' * law.is_at_bound}"


def _span(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else interval(*pair)
