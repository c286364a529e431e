"""`omnimouse sweep` and `scaling`: scores as a function of context, data or size."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs, terminal
from omnimouse_model.display import count

if TYPE_CHECKING:
    from omnimouse_model.analysis.scaling_fits import Quantity, ScalingCurve, SizeAxis
    from omnimouse_model.analysis.sweep.contexts import Context
    from omnimouse_model.analysis.sweep.table import ContextSweep, Curve, Gain, Point
    from omnimouse_model.metrics import PowerLaw

Row = dict[str, object]
NONE = terminal.decimals(float("nan"))
"""Cell without a score."""


def numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Parse the values of an axis, separated by commas: "16,64,256"."""
    try:
        values = tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not like 16,64,256.") from None
    from omnimouse_model.analysis.sweep.contexts import Context

    try:
        for n in values:
            # `Context` checks its values; an error here names the option. How long a
            # history may be depends on the model.
            _ = Context(n) if param.name == "neurons" else Context(history_samples=n)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return values


def switches(ctx: click.Context, param: click.Parameter, value: str) -> tuple[bool, ...]:
    """Parse "on", "off" or "on,off"."""
    words = [part.strip() for part in value.split(",")]
    if not set(words) <= {"on", "off"}:
        raise click.BadParameter(f"{value!r} is not on, off or on,off.")
    return tuple(word == "on" for word in words)


@click.command("sweep")
@inputs.model_option()
@inputs.sessions_option
@click.option(
    "--neurons",
    metavar="N,N,…",
    callback=numbers,
    help="Other neurons that are visible in the target span: 0,16,64,256.",
)
@click.option(
    "--history",
    "history_samples",
    metavar="N,N,…",
    callback=numbers,
    help="Samples of history of all neurons before the target span: 0, or 10 to 25.",
)
@click.option("--video", metavar="on,off", callback=switches, default="on")
@click.option("--behavior", metavar="on,off", callback=switches, default="on")
@click.option(
    "--targets", metavar="AREA", help="Predict the neurons of this area; by default a held-out set."
)
@click.option(
    "--pool", metavar="AREA", help="Show neurons of this area only; by default all but the targets."
)
@click.option("--grid", is_flag=True, help="Every combination of neurons and history.")
@click.option(
    "--seeds",
    type=inputs.COUNT,
    default=5,
    help="Draws of neurons; intervals of gains are over draws.",
)
@click.option("--tier", default="test", help="A held-out tier.")
@inputs.metric_option
@inputs.max_windows_option
@inputs.file_option(
    "--out", makes_folders=True, help="Results file; a sweep that it contains continues."
)
@inputs.file_option("--csv", help="Write the rows as a table, too.")
@inputs.scheduler_option("rows")
@inputs.device_option
@inputs.threads_option()
@inputs.json_option
@inputs.reading_options
def command(
    model: str,
    sessions: tuple[str, ...],
    neurons: tuple[int, ...],
    history_samples: tuple[int, ...],
    out: Path | None,
    csv: Path | None,
    as_json: bool,
    reading: dict[str, Any],
    **settings: Any,
) -> None:
    """Score a predictor with increasing context, always on the same neurons.

    One curve over --neurons and one over --history, for each choice of --video and
    --behavior. Ctrl-C stops after the current step; with --out the same command
    continues.
    """
    from omnimouse_model.analysis.sweep.contexts import HistoryError
    from omnimouse_model.analysis.sweep.run import context_sweep

    if not (neurons or history_samples):
        raise click.UsageError(
            "Give --neurons or --history; --neurons 0 is the score without either."
        )
    recordings = [inputs.named_session(name, **reading) for name in sessions]
    with terminal.interruptible() as stop, terminal.Progress() as progress:
        # A stopped sweep returns its finished rows, so a signal must not raise an
        # exception.
        stop.has_results = True
        try:
            sweep = context_sweep(
                model,
                recordings,
                neurons=neurons,
                history_samples=history_samples,
                results=out,
                job=stop.job(progress),
                **settings,
            )
        except HistoryError as error:
            raise click.BadParameter(str(error), param_hint="'--history'") from None
    if csv is not None:
        sweep.write_csv(csv)
    terminal.emit(json_rows(sweep), as_json=as_json, text="\n\n".join(report(sweep)))
    if not sweep.is_complete:
        terminal.echo(_stopped(sweep, out), err=True)
        sys.exit(terminal.STOPPED)
    # Exit status 1, so that scripts notice.
    if all(row.refusal for row in sweep.rows):
        raise click.ClickException(f"Nothing was scored: {sweep.rows[0].refusal}")


def _stopped(sweep: "ContextSweep", out: Path | None) -> str:
    done = f"Stopped with {len(sweep.rows)} of {sweep.n_planned} rows."
    if out is None:
        return f"{done} With --out FILE the same command could continue."
    return f"{done} They are in {out}; the same command continues."


# -- for programs -------------------------------------------------------------------
def json_rows(sweep: "ContextSweep") -> list[Row]:
    """Return the rows of `--json`: `score` per draw, `curve` per point, and `rows`."""
    from omnimouse_model.metrics import METRICS

    rows: list[Row] = []
    for line in sweep.table():
        # `value` is the score in all commands; here the axis had that name.
        at, score = line.pop("value"), line.pop("score")
        unit = METRICS[str(line["metric"])].unit
        rows.append({"name": "score", "value": score, "unit": unit, "at": at, **line})
    for target in ("responses", *sweep.channels):
        for curve in sweep.curves(target):
            # Behaviour is continuous, so the metrics of spike counts do not apply to
            # it.
            metric = sweep.plan.metric if target == "responses" else "correlation"
            rows += _curve_rows(curve, sweep.gains(curve), target, metric)
    done: Row = {"name": "rows", "value": len(sweep.rows), "unit": "rows"}
    return [*rows, done | {"planned": sweep.n_planned}]


def _curve_rows(curve: "Curve", gains: "Sequence[Gain]", target: str, metric: str) -> Iterator[Row]:
    from omnimouse_model.metrics import METRICS

    for at, point, gain in zip(curve.values, curve.points, gains, strict=True):
        yield {
            "name": "curve",
            "value": point.score,
            "unit": METRICS[metric].unit,
            "metric": metric,
            "axis": curve.axis,
            "at": at,
            "fixed": curve.fixed,
            "video": curve.video,
            "behavior": curve.behavior,
            "target": target,
            "sem": point.sem,
            "ci_low": point.ci_low,
            "ci_high": point.ci_high,
            "gain": gain.value,
            "gain_ci_low": gain.ci_low,
            "gain_ci_high": gain.ci_high,
            "n_seeds": point.n_seeds,
            "n_sessions": point.n_sessions,
            "refusal": point.refusal,
        }


# -- for people ---------------------------------------------------------------------
def report(sweep: "ContextSweep") -> list[str]:
    """Return blocks of text: one table per session, and one of their mean."""
    from omnimouse_model.metrics import METRICS

    metric = METRICS[sweep.plan.metric]
    parts = [sweep.of_session(session) for session in sweep.sessions]
    blocks = [block for part in parts for block in _blocks(part, metric.unit)]
    if len(parts) > 1:
        blocks.append(
            f"Mean of {len(parts)} sessions and of their intervals, weighted by their targets"
        )
        blocks.append(terminal.table(_response_rows(sweep)))
    reasons = dict.fromkeys(row.refusal for row in sweep.rows if row.refusal)
    if reasons:
        blocks.append("\n".join(f"- –: {reason}" for reason in reasons))
    return [*blocks, f"{metric.name} = {metric.definition}"]


def _blocks(part: "ContextSweep", unit: str) -> Iterator[str]:
    windows = max((row.n_windows for row in part.rows), default=0)
    targets = max((row.n_neurons for row in part.rows), default=0)
    draws = len(part.plan.seeds)
    yield (
        f"Session {part.sessions[0]}, tier {part.plan.tier}, {part.predictor}: "
        f"{unit}, mean over draws; 95 % interval: {part.no_interval or 'over time'}\n"
        f"{count(windows, 'window')}, {count(draws, 'draw')} of {targets:,} targets"
    )
    yield terminal.table(_response_rows(part))
    if gains := _gain_rows(part):
        yield (
            f"Session {part.sessions[0]}: gain over the smallest context, of the same draws"
            + (", with the 95 % interval over draws" if draws > 1 else "")
        )
        yield terminal.table(gains)
    if part.channels:
        yield f"Session {part.sessions[0]}: decoded behaviour, correlation, mean over draws"
        yield terminal.table(_decoded_rows(part))


def _response_rows(sweep: "ContextSweep") -> list[Row]:
    """Return one row per neurons and history, one column per video and behaviour."""
    rows: dict[str, Row] = {}
    for context in sweep.plan.contexts:
        row = rows.setdefault(context.label, {"context": context.label})
        name = _inputs(context, sweep, "score")
        # Contexts that differ in unread inputs alone share a cell: the first score stays.
        if row.get(name, NONE) == NONE:
            row[name] = _score(sweep.point(context))
    return list(rows.values())


def _gain_rows(part: "ContextSweep") -> list[Row]:
    """Return one row per context and smallest one of its curve, one column per inputs."""
    from omnimouse_model.analysis.sweep.table import distinct_curves

    rows: dict[tuple[str, str], Row] = {}
    for curve in distinct_curves(part):
        least = curve.points[curve.values.index(min(curve.values))].context.label
        for point, gain in zip(curve.points, part.gains(curve), strict=True):
            label = point.context.label
            if gain.value == gain.value:
                row = rows.setdefault((label, least), {"context": label, "over": least})
                row[_inputs(point.context, part, "gain")] = str(gain)
    return list(rows.values())


def _decoded_rows(sweep: "ContextSweep") -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    # Behaviour is decoded only where it is not an input.
    for context in (context for context in sweep.plan.contexts if not context.behavior):
        label, inputs = context.label, _inputs(context, sweep)
        scores = {name: _score(sweep.point(context, name)) for name in sweep.channels}
        rows.setdefault((label, inputs), {"context": label, "inputs": inputs, **scores})
    return list(rows.values())


def _inputs(context: "Context", sweep: "ContextSweep", only: str = "nothing") -> str:
    """Return what is visible and read beside responses; `only` where nothing ever is."""
    from omnimouse_model.analysis.sweep.contexts import inputs_label

    if inputs_label(True, True, sweep.unread) == inputs_label(False, False):
        return only
    return inputs_label(context.video, context.behavior, sweep.unread)


def _score(point: "Point") -> str:
    return terminal.estimate(point.score, *point.over_time)


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
@click.option(
    "--mice",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --train: folder of the simulated mice; missing ones are generated. "
    "[default: the cache]",
)
@inputs.device_option
@inputs.threads_option(help="With --train: CPU threads.")
@click.option(
    "--x",
    "axis",
    type=click.Choice(AXES),
    default="sessions",
    help="Horizontal axis: the quantity that is scaled.",
)
@click.option(
    "--y",
    "quantity",
    type=click.Choice(["score", "loss"]),
    default="score",
    help="Vertical axis: the quantity that is fitted.",
)
@inputs.file_option("--csv", help="Write the figure's data: points and fitted curves.")
@inputs.file_option("--figure", help="Write the figure as a self-contained page (.html).")
@inputs.format_options
def scaling(
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

    curves = _fitted_curves(results, axis, quantity)
    if csv is not None:
        write_figure(curves, csv)
    if figure is not None:
        _write_page(curves, figure)
    terminal.emit(
        fit_rows(curves), as_json=as_json, text=scaling_report(curves, as_markdown=as_markdown)
    )


def _train(plan: str, results: Path, mice: Path | None, device: str) -> None:
    """Train the models of the plan that the results lack."""
    from omnimouse_model.analysis.scaling_study import plan_path, read_plan, run_study
    from omnimouse_model.predict.devices import resolve_device

    with terminal.stoppable(terminal.SAVED.format(results), saves=True) as job:
        place = str(resolve_device(device))
        run_study(read_plan(plan_path(plan)), results, mice=mice, device=place, job=job)


def _fitted_curves(
    results: Path, axis: "SizeAxis", quantity: "Quantity"
) -> "tuple[ScalingCurve, ...]":
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
        terminal.echo(f"Note: {entry.message}", err=True)
    return curves


def _write_page(curves: "Sequence[ScalingCurve]", path: Path) -> None:
    """Write the figure as an HTML page that contains plotly."""
    from omnimouse_model.storage.write import write_text
    from omnimouse_widgets.figures import scaling_figure

    figure = scaling_figure(curves)
    # With plotly.js inside, the page needs no network.
    write_text(path, figure.to_html(include_plotlyjs=True))


def scaling_report(curves: "Sequence[ScalingCurve]", *, as_markdown: bool = False) -> str:
    """Return the mean of each size, one line per fit, and reasons for missing fits."""
    layout = terminal.markdown_table if as_markdown else terminal.table
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
        "line predicts": None if far is None else terminal.interval(far.low, far.high),
    }


def _exponent(law: "PowerLaw | None") -> str | None:
    """Return the exponent as text, marked if it is at a bound of the fit.

    At a bound, the points do not determine the exponent.
    """
    if law is None:
        return None
    return f"{law.exponent:.3g}{' (at bound)' * law.is_at_bound}"


def _span(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else terminal.interval(*pair)
