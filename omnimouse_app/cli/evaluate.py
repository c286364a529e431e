"""`omnimouse evaluate`: scores on held-out windows, with baselines and ceilings."""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    format_options,
    named_session,
    reading_options,
    sessions_option,
)
from omnimouse_app.cli.output import Progress, emit, markdown_table, table
from omnimouse_app.cli.stopping import STOPPED, interruptible

if TYPE_CHECKING:
    from omnimouse_model.analysis.evaluate.conditions import Condition
    from omnimouse_model.analysis.evaluate.results import Scores
    from omnimouse_model.analysis.evaluate.sensorium2023 import CompetitionScore
    from omnimouse_model.analysis.evaluate.stimulus_groups import Grouping
    from omnimouse_model.data.session import Session
    from omnimouse_model.predict.predictor import Predictor

BASELINES = ("mean", "last", "ridge", "context-ridge", "video-ridge")


@click.command("evaluate")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("demo",),
    show_default="demo",
    help="Predictor to score: a name, a checkpoint file or folder. May be repeated.",
)
@sessions_option
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    help="A strategy such as test/video_behavior. May be repeated.",
)
@click.option(
    "--demo-table",
    is_flag=True,
    help="The conditions of the demo table; so it is where no strategy is named.",
)
@click.option(
    "--paper-table",
    is_flag=True,
    help="The conditions of the paper's table of tasks, and that table.",
)
@click.option(
    "--sensorium2023",
    is_flag=True,
    help="The competition's protocol: whole clips without their first 50 frames.",
)
@click.option(
    "--submission",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --sensorium2023 and one model: write its submission file.",
)
@click.option(
    "--ensemble",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Score the mean of all --model too, and write it to this .ensemble.json.",
)
@click.option(
    "--baselines/--no-baselines", default=True, help="Score naive predictors beside."
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    default=("test",),
    show_default="test",
    help="Which held-out tier. May be repeated.",
)
@click.option(
    "--by",
    type=click.Choice(["kind", "tier", "distribution"]),
    help="Score each kind of stimulus, each tier, or what training had and had not.",
)
@click.option(
    "--metric",
    default="correlation",
    show_default=True,
    help="correlation, fve or bits_per_spike; its definition is printed.",
)
@click.option(
    "--max-windows",
    type=click.IntRange(min=1),
    help="At most this many windows of a session, spread over it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Results file; what is in it already is not computed again.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Spread the work over a Dask scheduler's workers: tls://…, or local:4.",
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the scores of every neuron, too.",
)
@device_option
@format_options
@reading_options
def command(
    models: tuple[str, ...],
    sessions: tuple[str, ...],
    strategies: tuple[str, ...],
    demo_table: bool,
    paper_table: bool,
    sensorium2023: bool,
    submission: Path | None,
    ensemble: Path | None,
    baselines: bool,
    tiers: tuple[str, ...],
    by: "Grouping | None",
    metric: str,
    max_windows: int | None,
    out: Path | None,
    scheduler: str | None,
    parquet: Path | None,
    device: str,
    as_json: bool,
    as_markdown: bool,
    reading: dict[str, Any],
) -> None:
    """Score a predictor on held-out windows, beside naive predictors and ceilings.

    A score is the --metric per neuron over all windows, averaged over
    neurons, with a 95 % interval from resampling neurons. What a predictor cannot
    serve is shown as "–". With --out, Ctrl-C loses nothing that is finished: the same
    command goes on from there.
    """
    if metric != "correlation" and (paper_table or sensorium2023):
        raise click.UsageError("These protocols are scored by correlation only.")
    if scheduler is not None:
        from omnimouse_model.analysis.evaluate.dask_map import checked_scheduler

        checked_scheduler(scheduler)
    progress = Progress()
    recordings = [named_session(name, progress, **reading) for name in sessions]
    # A model that is named twice, or is a baseline as well, is scored once.
    names = list(dict.fromkeys([*models, *(BASELINES if baselines else ())]))
    if sensorium2023:
        # A submission contains one model and no baselines.
        competition = models if submission else names
        _competition(competition, recordings, tiers, submission, device, as_json)
        return
    if ensemble is not None:
        # After its members and before the baselines.
        names.insert(len(models), _ensemble(ensemble, models, device))
    from omnimouse_model.analysis.evaluate.sharded import evaluate_all

    asked = _asked(strategies, demo_table, paper_table)
    is_kept = out is not None or scheduler is not None
    if is_kept and not all(isinstance(one, str) for one in asked):
        raise click.UsageError(
            "With --out or --scheduler name the conditions: --strategy or "
            "--paper-table."
        )
    with interruptible() as stopping:
        # With something to save, Ctrl-C ends after the current step instead of at once.
        stopping.has_begun = is_kept
        found = evaluate_all(
            names,
            recordings,
            asked,
            tiers=tiers,
            by=by,
            metric=metric,
            max_windows=max_windows,
            results=out,
            scheduler=scheduler,
            device=device,
            progress=progress,
            cancelled=lambda: stopping.is_asked,
        )
    progress.finish()
    if parquet is not None:
        from omnimouse_model.analysis.evaluate.table import write_neurons

        write_neurons(_joined(found), parquet, recordings)
    if as_json:
        emit([row for scores in found.values() for row in scores.rows()], as_json=True)
    else:
        lay_out = markdown_table if as_markdown else table
        blocks = _blocks(found, recordings, lay_out, paper_table)
        if ensemble is not None:
            blocks += _members(found, ensemble, device)
        click.echo("\n\n".join(blocks))
    if stopping.is_asked:
        click.echo("stopped; the same command with --out goes on from here", err=True)
        sys.exit(STOPPED)
    # Exit status 1, so that scripts notice.
    if not any(scores.any_value for scores in found.values()):
        raise click.ClickException(
            "Nothing could be scored: every question was refused."
        )


def _asked(
    strategies: tuple[str, ...], demo_table: bool, paper_table: bool
) -> "tuple[Condition | str, ...]":
    from omnimouse_model.analysis.evaluate.conditions import DEMO
    from omnimouse_model.analysis.evaluate.paper_table import STRATEGIES

    asked = (*(STRATEGIES if paper_table else ()), *strategies)
    if demo_table or not asked:
        return (*DEMO, *asked)
    return tuple(dict.fromkeys(asked))


def _predictors(names: Sequence[str], device: str) -> "list[Predictor]":
    from omnimouse_model.predict.registry import load_predictor

    return [load_predictor(name, device=device) for name in names]


def _ensemble(path: Path, models: Sequence[str], device: str) -> str:
    from omnimouse_model.predict.registry import save_ensemble

    return str(save_ensemble(path, models, device))


def _joined(found: "dict[str, Scores]") -> "Scores":
    from omnimouse_model.analysis.evaluate.results import Scores

    return Scores(
        tuple(score for scores in found.values() for score in scores.scores),
        tuple(score for scores in found.values() for score in scores.behavior),
        ", ".join(found),
        next(iter(found.values())).metric,
    )


def _blocks(
    found: "dict[str, Scores]",
    sessions: "Sequence[Session]",
    lay_out: Any,
    with_paper: bool,
) -> list[str]:
    from omnimouse_app.cli.evaluate_report import paper_rows, report
    from omnimouse_model.analysis.evaluate.paper_table import PRINTED, paper_table
    from omnimouse_model.metrics.named import METRICS

    shown = [session.id for session in sessions]
    metric = METRICS[next(iter(found.values())).metric]
    blocks = [f"{metric.name} = {metric.definition}"]
    blocks += [b for scores in found.values() for b in report(scores, shown, lay_out)]
    if with_paper:
        for tier, scores in found.items():
            blocks.append(f"The paper's tasks, tier {tier}")
            blocks.append(lay_out(paper_rows([*paper_table(scores), *PRINTED])))
    return blocks


def _members(found: "dict[str, Scores]", ensemble: Path, device: str) -> list[str]:
    from omnimouse_app.cli.evaluate_report import seeds_line
    from omnimouse_model.predict.ensemble import load_ensemble
    from omnimouse_model.predict.registry import load_predictor

    loaded = load_ensemble(ensemble, partial(load_predictor, device=device))
    members = [member.predictor_id for member in loaded.members]
    lines = [
        seeds_line(scores, strategy, members)
        for scores in found.values()
        for strategy in dict.fromkeys(score.strategy for score in scores.scores)
    ]
    return ["\n".join(lines)]


def _competition(
    names: Sequence[str],
    sessions: "Sequence[Session]",
    tiers: Sequence[str],
    submission: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Score whole videos, or write a submission file."""
    from omnimouse_app.cli.evaluate_report import competition_rows
    from omnimouse_model.analysis.evaluate.sensorium2023 import (
        competition_score,
        predict_clips,
        write_submission,
    )
    from omnimouse_model.errors import UnsupportedRequestError

    predictors = _predictors(names, device)
    if submission is not None:
        if len(predictors) > 1:
            raise click.UsageError("A submission is of one --model.")
        ids = {s.id: s.units.unit_id.tolist() for s in sessions}
        # A generator: predictions of one session at a time are in memory.
        parts = (predict_clips(predictors[0], s, t) for s in sessions for t in tiers)
        path = write_submission(submission, chain.from_iterable(parts), ids)
        click.echo(f"wrote {path}")
        return
    rows: list[dict[str, object]] = []
    blocks = []
    for predictor, tier in product(predictors, tiers):
        found = []
        for session in sessions:
            try:
                clips = predict_clips(predictor, session, tier)
                found.append(competition_score(session.id, clips))
            except UnsupportedRequestError as error:
                # The scores of other sessions and predictors remain valid.
                blocks.append(f"{predictor.predictor_id}: – ({error})")
        about = {"predictor": predictor.predictor_id, "tier": tier}
        rows += [row | about for score in found for row in _competition_json(score)]
        if found:
            title = f"Sensorium 2023, tier {tier}, {predictor.predictor_id}"
            blocks += [title, table(competition_rows(found))]
    if as_json:
        emit(rows, as_json=True)
    else:
        click.echo("\n\n".join(blocks))


def _competition_json(score: "CompetitionScore") -> list[dict[str, object]]:
    values = {"single_trial": score.single_trial, "to_average": score.to_average}
    return [
        {
            "name": name,
            "value": value,
            "unit": "correlation",
            "session": score.session,
            "n_trials": score.n_trials,
            "refusal": score.problem,
        }
        for name, value in values.items()
    ]
