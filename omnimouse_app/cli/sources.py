"""`omnimouse sources`, `informants` and `areas`: what predicts a neuron."""

import sys
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs, terminal
from omnimouse_model.display import count
from omnimouse_model.errors import StoppedError
from omnimouse_model.progress import Job

if TYPE_CHECKING:
    from omnimouse_model.analysis.sources.areas import AreaMatrix
    from omnimouse_model.analysis.sources.informants import Informants
    from omnimouse_model.analysis.sources.sources import SourceScores
    from omnimouse_model.metrics.time_blocks import Estimate

    Found = SourceScores | Informants | AreaMatrix

Row = dict[str, object]
UNIT = "explained variance"
NO_CAUSE = "This is information that the model finds, not cause."


def chosen(ctx: click.Context, param: click.Parameter, value: str | None) -> str | list[int] | None:
    """Parse neurons: an area, or indices separated by commas."""
    if value is None:
        return None
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        return value


def targets_option(help: str, **settings: Any) -> inputs.Option:
    """Return the option `--targets` of a command."""
    return click.option("--targets", metavar="AREA|N,N,…", callback=chosen, help=help, **settings)


def common_options(pieces: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the options that the three commands share."""
    options = (
        click.argument("place", metavar="[SESSION]", required=False),
        inputs.model_option("linear-gaussian"),
        click.option(
            "--session",
            "name",
            show_default="demo",
            help="'demo', 'unseen', 'spikes', 'unseen-spikes' or a session's folder; as SESSION.",
        ),
        click.option("--tier", default="test", help="A held-out tier."),
        inputs.max_windows_option,
        click.option("--seed", type=click.IntRange(min=0), default=0),
        inputs.file_option(
            "--out",
            makes_folders=True,
            help="Results file; an analysis that it contains continues.",
        ),
        inputs.file_option("--csv", help="Write the table, too."),
        inputs.scheduler_option(pieces),
        inputs.device_option,
        inputs.threads_option(),
        inputs.json_option,
        inputs.reading_options,
    )
    return lambda command: reduce(lambda one, option: option(one), reversed(options), command)


@click.command("sources")
@inputs.repeated(
    *("--source", "names"),
    help="video, behavior, a channel of behaviour, history, 'same area', 'other areas', "
    "'other neurons' or an area; by default those that the session has.",
)
@targets_option("Neurons that are predicted, by area or index; all by default.")
@common_options("groups of targets")
def command(names: tuple[str, ...], csv: Path | None, as_json: bool, **settings: Any) -> None:
    """Measure how much of each neuron of SESSION is predictable from each source.

    Of each source: alone, unique (lost without it), and its share of the whole. With
    --out, the same command continues after Ctrl-C.
    """
    from omnimouse_model.analysis.sources.sources import sources

    found = _run(lambda job, **rest: sources(sources=names or None, job=job, **rest), settings)
    rows: list[Row] = [{"name": "mean", "unit": UNIT, **row} for row in _mean_rows(found)]
    per_neuron = [
        {"name": "source", "value": row["share"], "unit": UNIT, **row} for row in found.table()
    ]
    text = _title(found, count(len(found.neurons), "target"))
    reasons = [f"- {name}: left out, {reason}" for name, reason in found.refused.items()]
    shown = terminal.table([_shown_row(found, name) for name in found.names])
    total = f"All sources together: {_estimate(found.mean_total())}, as {UNIT}. {NO_CAUSE}"
    _finish(
        found, rows + per_neuron, "\n".join([text, shown, total, *reasons]), csv, as_json, settings
    )


@click.command("informants")
@targets_option("Neurons that are predicted, by area or index.", required=True)
@click.option("--k", type=inputs.COUNT, help="Informants, by default 16 at most.")
@click.option(
    "--random",
    "n_random",
    type=inputs.COUNT,
    default=5,
    help="Draws of random neurons beside them.",
)
@common_options("the values")
def informants(csv: Path | None, as_json: bool, **settings: Any) -> None:
    """Find the k neurons of SESSION that best predict a neuron or an area.

    The values of the first 1, 2, 4, … of them stand beside those of as many random
    neurons. With --out, the same command continues after Ctrl-C.
    """
    from omnimouse_model.analysis.sources.informants import informants as find

    found = _run(lambda job, **rest: find(job=job, **rest), settings)
    curve: list[Row] = [{"name": "curve", "unit": UNIT, **row} for row in found.curve_table()]
    ranked = sorted((row for row in found.table() if row["rank"]), key=lambda row: row["rank"])
    best: list[Row] = [
        {"name": "informant", "value": row["adds"], "unit": UNIT, **row} for row in ranked
    ]
    pairs = zip(found.counts, found.curve(), found.random_curve(), strict=True)
    shown = terminal.table(
        [
            {"visible": n, "informants": _estimate(one), "random": _estimate(other)}
            for n, one, other in pairs
        ]
    )
    names = [{name: row[name] for name in ("rank", "unit_id", "area", "adds")} for row in ranked]
    text = _title(found, count(len(found.targets), "target"))
    everyone = f"all neurons: {_estimate(found.everyone())}. {NO_CAUSE}"
    _finish(
        found,
        curve + best,
        "\n".join([text, shown, everyone, terminal.table(names)]),
        csv,
        as_json,
        settings,
    )


@click.command("areas")
@click.option(
    "--by",
    type=click.Choice(["area", "plane", "depth"]),
    default="area",
    help="Sets of neurons that are compared.",
)
@click.option("--neurons", type=inputs.COUNT, help="Visible neurons of each set.")
@click.option("--lagged", is_flag=True, help="Show only the past of the source.")
@click.option("--draws", type=click.IntRange(1, 10), default=5)
@common_options("draws")
def areas(csv: Path | None, as_json: bool, **settings: Any) -> None:
    """Measure what each area of SESSION tells each area, alone and beyond its inputs.

    Of each area, the same number of neurons is visible. With --out, the same command
    continues after Ctrl-C.
    """
    from omnimouse_model.analysis.sources.areas import KINDS, area_matrix

    found = _run(lambda job, **rest: area_matrix(job=job, **rest), settings)
    rows: list[Row] = [{"name": "areas", "unit": UNIT, **row} for row in found.table()]
    plan = found.plan
    blocks = [
        _title(found, f"{count(plan.n_visible, 'visible neuron')} of each"),
    ]
    for kind in KINDS:
        if kind == "beyond" and not plan.inputs:
            continue
        title = f"beyond {' and '.join(plan.inputs)}" if kind == "beyond" else kind
        blocks.append(f"{title}; source in rows, target in columns")
        blocks.append(
            terminal.table(
                [
                    {"from": source}
                    | {target: _estimate(found.of(kind, source, target)) for target in plan.labels}
                    for source in plan.labels
                ]
            )
        )
    _finish(found, rows, "\n".join([*blocks, NO_CAUSE]), csv, as_json, settings)


# -- shared ---------------------------------------------------------------------------
def _run(run: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """Run an analysis of a session; Ctrl-C ends it with what is known."""
    rest = {name: value for name, value in settings.items() if name not in _OWN}
    place, name = settings["place"], settings["name"]
    if place is not None and name is not None:
        raise click.UsageError("Name one recording: SESSION or --session.")
    session = inputs.named_session(place or name or "demo", **settings["reading"])
    with terminal.interruptible() as stop, terminal.Progress() as progress:
        stop.has_results = True
        job: Job = stop.job(progress)
        try:
            return run(
                job, predictor=settings["model"], session=session, results=settings["out"], **rest
            )
        except StoppedError:
            terminal.exit_stopped("nothing is measured yet.")


_OWN = ("model", "place", "name", "out", "reading")


def _finish(
    found: "Found",
    rows: list[Row],
    text: str,
    csv: Path | None,
    as_json: bool,
    settings: dict[str, Any],
) -> None:
    """Write and print a result; end with the status of a stop if it is not complete."""
    if csv is not None:
        found.write_csv(csv)
    terminal.emit(rows, as_json=as_json, text=text)
    if not found.is_complete:
        out = settings["out"]
        end = "With --out FILE the same command could continue."
        if out is not None:
            end = f"What is finished is in {out}; the same command continues."
        terminal.echo(f"Stopped before the end. {end}", err=True)
        sys.exit(terminal.STOPPED)


def _mean_rows(found: "SourceScores") -> Iterator[Row]:
    """Yield the means over targets: of each source and kind, and of all sources."""
    from omnimouse_model.analysis.sources.sources import KINDS

    parts = [(name, kind, found.mean_of(kind, name)) for name in found.names for kind in KINDS]
    for name, kind, one in [*parts, ("all", "v_all", found.mean_total())]:
        yield {
            "value": one.value,
            "source": name,
            "kind": kind,
            "ci_low": one.low,
            "ci_high": one.high,
            "n_targets": len(found.neurons),
            "n_windows": found.n_windows,
            "predictor": found.predictor,
            "session": found.session,
        }


def _shown_row(found: "SourceScores", name: str) -> Row:
    from omnimouse_model.analysis.sources.sources import KINDS

    return {"source": name, **{kind: _estimate(found.mean_of(kind, name)) for kind in KINDS}}


def _estimate(one: "Estimate") -> str:
    return terminal.estimate(one.value, one.low, one.high)


def _title(found: "Found", what: str) -> str:
    windows = f"{count(found.n_windows, 'window')} of tier {found.tier}"
    return f"{found.predictor}, session {found.session}: {what}, {windows}"
