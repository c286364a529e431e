"""`omnimouse sweep`: score as a function of the visible context."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    file_option,
    json_option,
    max_windows_option,
    metric_option,
    named_session,
    reading_options,
    scheduler_option,
    sessions_option,
    threads_option,
)
from omnimouse_app.cli.terminal import (
    STOPPED,
    Progress,
    decimals,
    echo,
    emit,
    interruptible,
    interval,
    table,
)

if TYPE_CHECKING:
    from omnimouse_model.analysis.sweep.contexts import Context
    from omnimouse_model.analysis.sweep.table import ContextSweep, Curve, Point

Row = dict[str, object]


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
@click.option(
    "--model",
    default="demo",
    show_default=True,
    help="Name of a predictor, a checkpoint file or folder.",
)
@sessions_option
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
@click.option("--video", metavar="on,off", callback=switches, default="on", show_default=True)
@click.option("--behavior", metavar="on,off", callback=switches, default="on", show_default=True)
@click.option(
    "--targets",
    metavar="AREA",
    help="Predict the neurons of this area; by default a held-out set.",
)
@click.option(
    "--pool",
    metavar="AREA",
    help="Show neurons of this area only; by default all but the targets.",
)
@click.option("--grid", is_flag=True, help="Every combination of neurons and history.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Draws of neurons; error bars are over draws.",
)
@click.option("--tier", default="test", show_default=True, help="A held-out tier.")
@metric_option
@max_windows_option
@file_option("--out", help="Results file; a sweep that it contains continues.")
@file_option("--csv", help="Write the rows as a table, too.")
@scheduler_option("rows")
@device_option
@threads_option()
@json_option
@reading_options
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
    recordings = [named_session(name, **reading) for name in sessions]
    with interruptible() as stop, Progress() as progress:
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
    emit(json_rows(sweep), as_json=as_json, text="\n\n".join(report(sweep)))
    if not sweep.is_complete:
        echo(_stopped(sweep, out), err=True)
        sys.exit(STOPPED)
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
            rows += _curve_rows(curve, target, metric)
    done: Row = {"name": "rows", "value": len(sweep.rows), "unit": "rows"}
    return [*rows, done | {"planned": sweep.n_planned}]


def _curve_rows(curve: "Curve", target: str, metric: str) -> Iterator[Row]:
    from omnimouse_model.metrics import METRICS

    for at, point in zip(curve.values, curve.points, strict=True):
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
        blocks.append(f"Mean of {len(parts)} sessions, weighted by their targets")
        blocks.append(table(_response_rows(sweep)))
    reasons = dict.fromkeys(row.refusal for row in sweep.rows if row.refusal)
    if reasons:
        blocks.append("\n".join(f"- –: {reason}" for reason in reasons))
    return [*blocks, f"{metric.name} = {metric.definition}"]


def _blocks(part: "ContextSweep", unit: str) -> Iterator[str]:
    windows = max((row.n_windows for row in part.rows), default=0)
    targets = max((row.n_neurons for row in part.rows), default=0)
    draws = len(part.plan.seeds)
    spread = "± s.e.m. over draws" if draws > 1 else "and 95 % interval over time"
    yield (
        f"Session {part.sessions[0]}, tier {part.plan.tier}, {part.predictor}: "
        f"{unit} {spread}\n"
        f"{windows} windows, {draws} draws of {targets:,} targets"
    )
    yield table(_response_rows(part))
    if part.channels:
        yield f"Session {part.sessions[0]}: decoded behaviour, correlation"
        yield table(_decoded_rows(part))


def _response_rows(sweep: "ContextSweep") -> list[Row]:
    """Return one row per neurons and history, one column per video and behaviour."""
    rows: dict[str, Row] = {}
    for context in sweep.plan.contexts:
        row = rows.setdefault(context.label, {"context": context.label})
        row[_inputs(context)] = _score(sweep.point(context))
    return list(rows.values())


def _decoded_rows(sweep: "ContextSweep") -> list[Row]:
    return [
        {
            "context": context.label,
            "inputs": _inputs(context),
            **{name: _score(sweep.point(context, name)) for name in sweep.channels},
        }
        for context in sweep.plan.contexts
        # Behaviour is decoded only where it is not an input.
        if not context.behavior
    ]


def _inputs(context: "Context") -> str:
    from omnimouse_model.analysis.sweep.contexts import inputs_label

    return inputs_label(context.video, context.behavior)


def _score(point: "Point") -> str:
    text = decimals(point.score)
    # Several draws have a standard error, a single draw an interval over time.
    if point.sem == point.sem:
        return f"{text} ± {point.sem:z.3f}"
    if point.ci_low == point.ci_low:
        return f"{text} ({interval(point.ci_low, point.ci_high)})"
    return text
