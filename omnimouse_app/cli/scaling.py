"""`omnimouse scaling`: how scores grow with data, size or compute."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.inputs import device_option, format_options
from omnimouse_app.cli.output import Progress, emit, markdown_table, table
from omnimouse_app.cli.stopping import end_stopped, interruptible

if TYPE_CHECKING:
    from omnimouse_model.analysis.scaling.fits import Quantity, ScalingCurve, SizeAxis
    from omnimouse_model.metrics import PowerLaw

# Maximum number of sizes that fit into a table as columns.
MOST_SIZES = 8
AXES = ("sessions", "neuron_samples", "trials", "compute", "parameters")


@click.command("scaling")
@click.argument("results", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--train",
    "plan",
    help="Train and score what RESULTS lacks of this plan first: a YAML file, or the "
    "name of a shipped one (simulated).",
)
@click.option(
    "--mice",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --train: folder of the simulated mice; generated where they are "
    "missing. [default: the cache]",
)
@device_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="With --train: CPU threads. [default: all cores]",
)
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
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the figure as a page (.html) that needs nothing else.",
)
@format_options
def command(
    results: Path,
    plan: str | None,
    mice: Path | None,
    device: str,
    threads: int | None,
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
    foretell the largest. Fewer than four sizes are shown as points alone.

    --train trains every size of model on every nested collection of a plan, with the
    models in a folder beside RESULTS. Ctrl-C and kills lose nothing: the same command
    goes on.
    """
    if plan is not None:
        _train(plan, results, mice, device, threads)
    curves = _curves(results, axis, quantity)
    if csv is not None:
        from omnimouse_model.analysis.scaling.fits import write_figure

        write_figure(curves, csv)
    if figure is not None:
        _write_page(curves, figure)
    if as_json:
        from omnimouse_model.analysis.scaling.fits import fit_rows

        emit(fit_rows(curves), as_json=True)
    else:
        click.echo(report(curves, as_markdown=as_markdown))


def _train(
    plan: str, results: Path, mice: Path | None, device: str, threads: int | None
) -> None:
    """Train the models of the plan that the results lack."""
    import torch

    from omnimouse_model.analysis.evaluate.evaluate import Cancelled
    from omnimouse_model.predict.omnimouse.loading import resolve_device
    from omnimouse_model.train.scaling.plan import plan_path, read_plan
    from omnimouse_model.train.scaling.study import run_study

    if threads:
        torch.set_num_threads(threads)
    asked = read_plan(plan_path(plan))
    show = Progress()
    with interruptible() as stopping:

        def cancelled() -> bool:
            # `run_study` calls this for the first time when it has a run that can be
            # saved.
            stopping.has_begun = True
            return stopping.is_asked

        try:
            run_study(
                asked,
                results,
                mice=mice,
                device=str(resolve_device(device)),
                progress=show,
                cancelled=cancelled,
            )
        except Cancelled:
            end_stopped(f"kept beside {results}: the same command goes on from there.")
        finally:
            show.finish()


def _curves(
    results: Path, axis: "SizeAxis", quantity: "Quantity"
) -> "tuple[ScalingCurve, ...]":
    """Fit the runs of a file; print warnings on standard error."""
    from omnimouse_model.analysis.scaling.fits import scaling_curves
    from omnimouse_model.analysis.scaling.runs import read_runs

    if not results.is_file():
        raise click.BadParameter(
            f"There is no file {results}: give one that `add_run` wrote, or --train "
            "PLAN to make it.",
            param_hint="RESULTS",
        )
    # Fits warn about doubtful results; on standard error they do not mix with --json.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        curves = scaling_curves(read_runs(results), axis=axis, quantity=quantity)
    if not curves:
        raise click.ClickException(
            f"No run in {results} tells its {axis} and {quantity}."
        )
    for one in told:
        click.echo(f"Note: {one.message}", err=True)
    return curves


def _write_page(curves: "Sequence[ScalingCurve]", path: Path) -> None:
    """Write the figure as an HTML page that contains plotly."""
    from omnimouse_model.atomic import atomic_path
    from omnimouse_widgets.figures import scaling_figure

    try:
        drawn = scaling_figure(curves)
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"A figure needs plotly, which is not here: pip install "
            f'"omnimouse-app[jupyter]" ({error}).'
        ) from error
    with atomic_path(path) as temporary:
        # With plotly.js inside, the page needs no network.
        drawn.write_html(temporary, include_plotlyjs=True)


def report(curves: "Sequence[ScalingCurve]", *, as_markdown: bool = False) -> str:
    """Return the mean of each size, one line per fit, and reasons for missing fits."""
    lay = markdown_table if as_markdown else table
    means = _means(curves)
    fits = [_line(curve) for curve in curves]
    refused = dict.fromkeys(curve.refusal for curve in curves if curve.refusal)
    notes = "\n".join(f"- –: {words}" for words in refused)
    return "\n\n".join(
        part for part in (lay(means) if means else "", lay(fits), notes) if part
    )


def _means(curves: "Sequence[ScalingCurve]") -> list[dict[str, str | None]]:
    """Return one row per curve with a column per size; [] if there are too many sizes.

    The intervals are in the figure, in `--csv` and in `--json`.
    """
    sizes = sorted({size.x for curve in curves for size in curve.sizes})
    if len(sizes) > MOST_SIZES:
        return []
    return [
        {"condition": curve.condition, "curve": curve.name}
        | {f"{x:.4g}": None for x in sizes}
        | {f"{size.x:.4g}": f"{size.mean:.3f}" for size in curve.sizes}
        for curve in curves
    ]


def _line(curve: "ScalingCurve") -> dict[str, object]:
    law, line, far = curve.law, curve.line, curve.extrapolation
    shown: dict[str, object] = {
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
        "largest": None,
        "line says": None,
    }
    if far is not None:
        shown["largest"] = far.measured
        shown["line says"] = f"{far.low:.3f} to {far.high:.3f}"
    return shown


def _exponent(law: "PowerLaw | None") -> str | None:
    """Return the exponent as text, marked if it is at a bound of the fit.

    At a bound, the points do not determine the exponent.
    """
    if law is None:
        return None
    return f"{law.exponent:.3g}{' (at bound)' * law.is_at_bound}"


def _span(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"
