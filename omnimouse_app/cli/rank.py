"""`omnimouse rank`: which sessions to pretrain on for a new session."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from omnimouse_app.cli import inputs, terminal

if TYPE_CHECKING:
    from omnimouse_model.analysis.ranking.core_runs import Criterion
    from omnimouse_model.analysis.ranking.curve_table import OrderName, PretrainCurve
    from omnimouse_model.analysis.ranking.rank_table import RankTable
    from omnimouse_model.data.window_spec import WindowSpec

MAX_HELDOUT = 8
"""Maximum number of held-out sessions that fit into a table as columns."""
_COLUMNS = (
    *("heldout", "order", "k", "trials", "value", "sd", "n", "gain"),
    "percent",
)
"""Columns of the table of the curves."""
_ORDERS = ("ranked", "random", "reverse")


@click.command("rank")
@click.argument("config", required=False)
@inputs.places_option("--sessions", "places", "Session or folder of sessions to pretrain on.")
@inputs.places_option("--heldout", "heldout_places", "Held-out session or folder of them.")
@inputs.file_option(
    "--results",
    required=True,
    makes_folders=True,
    help="File of finished scores (.ranking.jsonl); the models are kept beside it.",
)
@click.option(
    "--task",
    default="forward",
    help="What models are scored by: forward, co-smoothing, inter-region or "
    "intra-region (neural data transformers), or the name of a strategy (any family).",
)
@click.option("--metric", help="Metric of a strategy, as in `omnimouse evaluate`.")
@inputs.max_windows_option
@inputs.repeated("--seed", "seeds", "Seed of the trainings.", type=int, default=(0, 1, 2))
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Steps of a transfer; by default those of a fine-tuning.",
)
@click.option("--batch", type=inputs.COUNT, help="Windows per step of a transfer.")
@click.option(
    "--curve",
    "with_curve",
    is_flag=True,
    help="Then pretrain on the first sessions of each order; test tier.",
)
@inputs.repeated(
    *("--k", "ks"),
    help="Number of sessions of the curve.",
    type=inputs.COUNT,
    show_default="1, 2, 3, 4, 5, 10, 20, 30, 40 and all",
)
@inputs.repeated(
    "--order", "orders", "Order of the curve.", type=click.Choice(_ORDERS), default=_ORDERS
)
@click.option("--shuffles", type=inputs.COUNT, default=3, help="Number of random orders.")
@inputs.scheduler_option("models")
@inputs.device_option
@inputs.threads_option()
@inputs.file_option("--csv", help="Write the rows of --json as CSV, without warnings.")
@inputs.file_option("--figure", help="Write matrix and curves as a page (.html).")
@inputs.format_options
@click.pass_context
def command(
    context: click.Context,
    /,
    config: str | None,
    results: Path,
    csv: Path | None,
    figure: Path | None,
    as_markdown: bool,
    as_json: bool,
    **study: Any,
) -> None:
    """Rank sessions by how well models trained on them transfer to held-out sessions.

    CONFIG is the name of a training config or a YAML file, of any family. One model is
    trained on each session; its frozen core is transferred to each held-out session
    and scored on the validation tier. No test tier can be read by the ranking. Without
    CONFIG, the command shows what --results holds, with at most --shuffles random
    orders.

    Ctrl-C and kills lose no finished score, and training goes on from its last save:
    the same command continues.
    """
    if config is None:
        _refuse_study(context, set(study) - {"shuffles"})
        ranking, curve = _stored(results, study["shuffles"])
    else:
        ranking, curve = _computed(config, results, **study)
    rows = ranking.rows() + (curve.rows() if curve else [])
    if csv is not None:
        _write_csv(rows, csv)
    if figure is not None:
        _write_page(ranking, curve, figure)
    for note in dict.fromkeys((*ranking.warnings, *(curve.warnings if curve else ()))):
        terminal.echo(f"Note: {note}", err=True)
    terminal.emit(rows, as_json=as_json, text=report(ranking, curve, as_markdown=as_markdown))


def _refuse_study(context: click.Context, names: AbstractSet[str]) -> None:
    """Raise a usage error if options of a study were given without CONFIG."""
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"Give CONFIG, too: {', '.join(given)} need it.")


def _stored(results: Path, shuffles: int) -> "tuple[RankTable, PretrainCurve | None]":
    """Return the ranking of a results file, and its curve if it has one."""
    from omnimouse_model.analysis.ranking.curve_table import read_ranking

    if not results.is_file():
        raise click.BadParameter(
            f"There is no file {results}: give CONFIG, --sessions and --heldout to write it.",
            param_hint="--results",
        )
    found = read_ranking(results, shuffles=shuffles)
    return found.ranking, found.curve


def _computed(
    config: str,
    results: Path,
    *,
    places: tuple[Path, ...],
    heldout_places: tuple[Path, ...],
    task: str,
    metric: str | None,
    max_windows: int | None,
    seeds: tuple[int, ...],
    steps: int | None,
    batch: int | None,
    with_curve: bool,
    ks: tuple[int, ...],
    orders: "tuple[OrderName, ...]",
    shuffles: int,
    scheduler: str | None,
    device: str,
) -> "tuple[RankTable, PretrainCurve | None]":
    """Return ranking and curve; compute the scores that the file lacks."""
    from omnimouse_model.analysis.ranking.rank import model_factory, pretrain_curve, rank_sessions

    factory = model_factory(config, transfer_steps=steps, transfer_batch=batch, device=device)
    criterion = _criterion(task, metric, max_windows, factory.spec)
    sessions, heldout = (
        _opened(places, "--sessions"),
        _opened(heldout_places, "--heldout"),
    )
    shared: dict[str, Any] = {
        "seeds": seeds,
        "results": results,
        "scheduler": scheduler,
    }
    with terminal.stoppable(terminal.SAVED.format(results), saves=True) as job:
        ranking = rank_sessions(factory, sessions, heldout, criterion, job=job, **shared)
        if not with_curve:
            return ranking, None
        curve = pretrain_curve(
            factory,
            ranking,
            sessions,
            heldout,
            criterion,
            ks=ks or None,
            orders=orders,
            shuffles=shuffles,
            **shared,
            job=job,
        )
    return ranking, curve


def _criterion(
    task: str, metric: str | None, max_windows: int | None, spec: "WindowSpec"
) -> "Criterion":
    """Return the criterion of the ranking; a wrong name is a usage error."""
    from omnimouse_model.analysis.ranking.core_runs import task_score

    try:
        return task_score(task, spec, metric, max_windows)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--task") from error


def _opened(places: Sequence[Path], option: str) -> list[Path]:
    """Return the paths of all sessions; raise a usage error if there are none."""
    from omnimouse_model.training.sessions import sessions_in

    try:
        folders = [folder for place in places for folder in sessions_in(place)]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if not folders:
        raise click.BadParameter("Give one or more sessions.", param_hint=option)
    return folders


def _write_csv(rows: Sequence[dict[str, object]], path: Path) -> None:
    from omnimouse_model.storage.tables import columns_of, write_table

    columns = columns_of(rows)
    columns.pop("warnings", None)
    write_table(path, columns)


def _write_page(ranking: "RankTable", curve: "PretrainCurve | None", path: Path) -> None:
    """Write the figures one below the other, as a page that needs no network."""
    from omnimouse_model.storage.write import write_text
    from omnimouse_widgets.figures import pretrain_figure, ranking_figure

    figures = [ranking_figure(ranking)]
    if curve is not None:
        figures += [
            pretrain_figure(curve, axis="k"),
            pretrain_figure(curve, axis="trials"),
        ]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]
    page = '<!doctype html><meta charset="utf-8"><title>Ranking of sessions</title>'
    write_text(path, page + "\n".join(parts))


# -- tables ----------------------------------------------------------------------------
def report(
    ranking: "RankTable", curve: "PretrainCurve | None", *, as_markdown: bool = False
) -> str:
    """Return the matrix, then the best gains, the curves and the fits as tables."""
    layout: Callable[..., str] = terminal.markdown_table if as_markdown else terminal.table
    n_seeds = len(ranking.seeds)
    blocks = [
        f"{ranking.metric}, {ranking.unit}: mean over {n_seeds} seed"
        f"{'' if n_seeds == 1 else 's'} on the validation tier, and rank",
        layout(_matrix(ranking)),
    ]
    if curve is not None:
        blocks += [
            f"{curve.metric}, {curve.unit}, test tier; gains over a model trained from "
            "scratch on the held-out session",
            layout(_curve_rows(curve), _COLUMNS),
            "Line over ln(trials) without the largest size, and its value for all "
            f"{curve.trials:,} trials",
            layout(_fit_rows(curve)),
        ]
        reasons = dict.fromkeys(fit.refusal for fit in curve.fits() if fit.refusal)
        blocks += [f"- –: {reason}" for reason in reasons]
    return "\n\n".join(blocks)


def _matrix(ranking: "RankTable") -> list[dict[str, object]]:
    """Return one row per session; or, for many held-out sessions, one for each pair."""
    if len(ranking.heldout) > MAX_HELDOUT:
        return [
            {name: row[name] for name in ("heldout", "rank", "session", "value", "sd")}
            for row in ranking.rows()
        ]
    mean, ranks = ranking.mean, ranking.ranks
    return [
        {"session": ranking.sessions[row], "trials": ranking.trials[row]}
        | {
            name: f"{terminal.decimals(float(mean[row, column]))} ({ranks[row, column]})"
            for column, name in enumerate(ranking.heldout)
        }
        for row in ranking.mean_order
    ]


def _curve_rows(curve: "PretrainCurve") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for heldout, values in curve.baseline.items():
        base = {"heldout": heldout, "order": "from scratch"}
        rows.append({**base, "value": terminal.decimals(sum(values) / len(values))})
        rows += [
            {
                "heldout": heldout,
                "order": mean.order,
                "value": terminal.decimals(mean.mean),
                "sd": terminal.decimals(mean.sd),
                "n": mean.n,
                "k": mean.k,
                "trials": round(mean.trials),
                "gain": terminal.decimals(mean.gain, signed=True),
                "percent": round(mean.gain_percent, 1),
            }
            for mean in curve.means()
            if mean.heldout == heldout
        ]
    return rows


def _fit_rows(curve: "PretrainCurve") -> list[dict[str, object]]:
    return [
        {
            "heldout": fit.heldout,
            "order": fit.order,
            "slope": None if fit.line is None else terminal.decimals(fit.line.slope, signed=True),
            "slope, 95 %": terminal.interval(*fit.slope),
            "predicted": terminal.decimals(fit.predicted),
            "predicted, 95 %": terminal.interval(*fit.interval),
            "measured": terminal.decimals(fit.measured),
        }
        for fit in curve.fits()
    ]
