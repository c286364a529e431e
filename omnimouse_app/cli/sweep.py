"""`omnimouse sweep`: score as a function of the given context."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    named_session,
    reading_options,
    sessions_option,
)
from omnimouse_app.cli.output import Progress, emit, table
from omnimouse_app.cli.stopping import STOPPED, interruptible

if TYPE_CHECKING:
    from omnimouse_model.analysis.sweep.contexts import Context
    from omnimouse_model.analysis.sweep.table import ContextSweep, Point

Row = dict[str, object]


def numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...]:
    """Parse the values of an axis, separated by commas: "16,64,256"."""
    try:
        found = tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not like 16,64,256.") from None
    from omnimouse_model.analysis.sweep.contexts import Context

    try:
        for n in found:
            # `Context` checks its values; an error here names the option. How long a
            # history may be depends on the model.
            _ = Context(n) if param.name == "neurons" else Context(history_samples=n)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return found


def switches(
    ctx: click.Context, param: click.Parameter, value: str
) -> tuple[bool, ...]:
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
    help="A predictor's name, a checkpoint file or folder.",
)
@sessions_option
@click.option(
    "--neurons",
    metavar="N,N,…",
    callback=numbers,
    help="Other neurons seen in the asked second: 0,16,64,256.",
)
@click.option(
    "--history",
    "history_samples",
    metavar="N,N,…",
    callback=numbers,
    help="Samples of everyone's history before it: 0 or 10 to 25.",
)
@click.option(
    "--video", metavar="on,off", callback=switches, default="on", show_default=True
)
@click.option(
    "--behavior", metavar="on,off", callback=switches, default="on", show_default=True
)
@click.option("--grid", is_flag=True, help="Every combination of neurons and history.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Draws of neurons; the error bars are over them.",
)
@click.option("--tier", default="test", show_default=True, help="Which held-out tier.")
@click.option(
    "--max-windows",
    type=click.IntRange(min=1),
    help="At most this many windows of a session, spread over it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Results file; a sweep that is there already goes on.",
)
@click.option(
    "--csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the rows as a table, too.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Spread the rows over a Dask scheduler's workers: tls://…, or local:4.",
)
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")
@reading_options
def command(
    model: str,
    sessions: tuple[str, ...],
    neurons: tuple[int, ...],
    history_samples: tuple[int, ...],
    video: tuple[bool, ...],
    behavior: tuple[bool, ...],
    grid: bool,
    seeds: int,
    tier: str,
    max_windows: int | None,
    out: Path | None,
    csv: Path | None,
    scheduler: str | None,
    device: str,
    threads: int | None,
    as_json: bool,
    reading: dict[str, Any],
) -> None:
    """Score a predictor under more and more context, always on the same neurons.

    One curve over --neurons and one over --history, for each choice of --video and
    --behavior. Ctrl-C stops after the step that runs; with --out the same command goes
    on from there.
    """
    from omnimouse_model.analysis.evaluate.dask_map import checked_scheduler
    from omnimouse_model.analysis.sweep.contexts import HistoryError
    from omnimouse_model.analysis.sweep.run import context_sweep

    if scheduler is not None:
        checked_scheduler(scheduler)
    if not (neurons or history_samples):
        raise click.UsageError(
            "Give --neurons or --history; --neurons 0 is the score without either."
        )
    progress = Progress()
    if threads:
        import torch

        torch.set_num_threads(threads)
    recordings = [named_session(name, progress, **reading) for name in sessions]
    with interruptible() as stopping:
        # A stopped sweep returns its finished rows, so a signal must not raise an
        # exception.
        stopping.has_begun = True
        try:
            found = context_sweep(
                model,
                recordings,
                neurons=neurons,
                history_samples=history_samples,
                video=video,
                behavior=behavior,
                seeds=seeds,
                tier=tier,
                grid=grid,
                max_windows=max_windows,
                results=out,
                scheduler=scheduler,
                device=device,
                progress=progress,
                cancelled=lambda: stopping.is_asked,
            )
        except HistoryError as error:
            raise click.BadParameter(str(error), param_hint="'--history'") from None
    progress.finish()
    if csv is not None:
        found.write_csv(csv)
    if as_json:
        emit(json_rows(found), as_json=True)
    else:
        click.echo("\n\n".join(report(found)))
    if not found.is_complete:
        click.echo(_stopped(found, out), err=True)
        sys.exit(STOPPED)
    # Exit status 1, so that scripts notice.
    if all(row.refusal for row in found.rows):
        raise click.ClickException(f"Nothing was scored: {found.rows[0].refusal}")


def _stopped(found: "ContextSweep", out: Path | None) -> str:
    done = f"Stopped with {len(found.rows)} of {found.n_planned} rows."
    if out is None:
        return f"{done} With --out FILE the same command could go on from here."
    return f"{done} They are in {out}; the same command goes on from there."


# -- for programs -------------------------------------------------------------------
def json_rows(found: "ContextSweep") -> list[Row]:
    """Return the rows of `--json`: `score` per draw, `curve` per point, and `rows`."""
    unit = "single-trial correlation"
    rows: list[Row] = []
    for line in found.table():
        at, score = line.pop("value"), line.pop("score")
        rows.append({"name": "score", "value": score, "unit": unit, "at": at, **line})
    for target in ("responses", *found.channels):
        for curve in found.curves(target):
            for at, point in zip(curve.values, curve.points, strict=True):
                rows.append(
                    {
                        "name": "curve",
                        "value": point.score,
                        "unit": unit,
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
                )
    done: Row = {"name": "rows", "value": len(found.rows), "unit": "rows"}
    return [*rows, done | {"planned": found.n_planned}]


# -- for people ---------------------------------------------------------------------
def report(found: "ContextSweep") -> list[str]:
    """Return blocks of text: one table per session, and one of their mean."""
    parts = [found.of_session(session) for session in found.sessions]
    blocks = [block for part in parts for block in _blocks(part)]
    if len(parts) > 1:
        blocks.append(f"Mean of {len(parts)} sessions, weighted by their targets")
        blocks.append(table(_response_rows(found)))
    reasons = dict.fromkeys(row.refusal for row in found.rows if row.refusal)
    if reasons:
        blocks.append("\n".join(f"- –: {reason}" for reason in reasons))
    return blocks


def _blocks(part: "ContextSweep") -> Iterator[str]:
    windows = max((row.n_windows for row in part.rows), default=0)
    targets = max((row.n_neurons for row in part.rows), default=0)
    draws = len(part.plan.seeds)
    spread = "± s.e.m. over draws" if draws > 1 else "and 95 % interval over neurons"
    yield (
        f"Session {part.sessions[0]}, tier {part.plan.tier}, {part.predictor}: "
        f"single-trial correlation {spread}\n"
        f"{windows} windows, {draws} draws of {targets:,} targets"
    )
    yield table(_response_rows(part))
    if part.channels:
        yield f"Session {part.sessions[0]}: decoded behaviour, correlation"
        yield table(_decoded_rows(part))


def _response_rows(found: "ContextSweep") -> list[Row]:
    """Return one row per neurons and history, one column per video and behaviour."""
    rows: dict[str, Row] = {}
    for context in found.plan.contexts:
        row = rows.setdefault(context.label, {"given": context.label})
        row[_inputs(context)] = _shown(found.point(context))
    return list(rows.values())


def _decoded_rows(found: "ContextSweep") -> list[Row]:
    rows: list[Row] = []
    for context in found.plan.contexts:
        # Behaviour is decoded only where it is not an input.
        if not context.behavior:
            row: Row = {"given": context.label, "beside": _inputs(context)}
            names = found.channels
            row |= {name: _shown(found.point(context, name)) for name in names}
            rows.append(row)
    return rows


def _inputs(context: "Context") -> str:
    from omnimouse_model.analysis.sweep.contexts import inputs_label

    return inputs_label(context.video, context.behavior)


def _shown(point: "Point") -> str:
    if point.score != point.score:
        return "–"
    if point.sem == point.sem:
        return f"{point.score:.3f} ± {point.sem:.3f}"
    if point.ci_low == point.ci_low:
        return f"{point.score:.3f} ({point.ci_low:.3f} to {point.ci_high:.3f})"
    return f"{point.score:.3f}"
