"""`omnimouse evaluate`: scores on held-out windows, beside baselines and ceilings."""

from collections.abc import Callable, Sequence
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

if TYPE_CHECKING:
    from omnimouse_model.analysis.scores import BehaviorScore, Score, Scores
    from omnimouse_model.predict.predictor import Predictor

Row = dict[str, object]
Layout = Callable[[Sequence[Row]], str]
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
    "--baselines/--no-baselines", default=True, help="Score naive predictors beside."
)
@click.option("--tier", default="test", show_default=True, help="Which held-out tier.")
@click.option(
    "--max-windows",
    type=click.IntRange(min=1),
    help="At most this many windows of a session, spread over it.",
)
@device_option
@format_options
@reading_options
def command(
    models: tuple[str, ...],
    sessions: tuple[str, ...],
    strategies: tuple[str, ...],
    demo_table: bool,
    baselines: bool,
    tier: str,
    max_windows: int | None,
    device: str,
    as_json: bool,
    as_markdown: bool,
    reading: dict[str, Any],
) -> None:
    """Score a predictor on held-out windows, beside naive predictors and ceilings.

    A score is the single-trial correlation per neuron over all windows, averaged over
    neurons, with a 95 % interval from resampling neurons. What a predictor cannot
    serve is shown as "–".
    """
    from omnimouse_model.analysis.conditions import DEMO, conditions
    from omnimouse_model.analysis.evaluate import evaluate

    progress = Progress()
    recordings = [named_session(name, progress, **reading) for name in sessions]
    asked = conditions(strategies)
    if demo_table or not asked:
        asked = (*DEMO, *asked)
    found = evaluate(
        _predictors([*models, *(BASELINES if baselines else ())], device),
        recordings,
        asked,
        tier=tier,
        max_windows=max_windows,
        progress=progress,
    )
    progress.finish()
    if as_json:
        emit(found.rows(), as_json=True)
    else:
        lay_out = markdown_table if as_markdown else table
        sessions_shown = [session.id for session in recordings]
        click.echo("\n\n".join(_report(found, sessions_shown, lay_out)))
    if not found.any_value:
        raise click.ClickException(
            "Nothing could be scored: every question was refused."
        )


def _predictors(names: Sequence[str], device: str) -> "list[Predictor]":
    from omnimouse_model.predict.catalogue import load_predictor

    return [load_predictor(name, device=device) for name in dict.fromkeys(names)]


# -- for people -----------------------------------------------------------------
def _report(found: "Scores", sessions: Sequence[str], lay_out: Layout) -> list[str]:
    """Blocks of text: a table of responses and one of behaviour per session."""
    blocks = []
    for session in sessions:
        scores = [score for score in found.scores if score.session == session]
        blocks.append(f"Session {session}, tier {found.tier}: single-trial correlation")
        if scores:
            blocks.append(lay_out(_response_rows(scores)))
        notes = [f"- {score.strategy}: {score.note}" for score in scores if score.note]
        blocks += _lines([*notes, *_refusals(scores)])
        decoded = [score for score in found.behavior if score.session == session]
        if decoded:
            blocks.append(f"Session {session}: decoded behaviour, correlation")
            blocks.append(lay_out(_behavior_rows(decoded)))
            blocks += _lines(_refusals(decoded))
    return blocks


def _response_rows(scores: "Sequence[Score]") -> list[Row]:
    """One line per condition: the first predictor in full, the others beside it."""
    rows: list[Row] = []
    for strategy in dict.fromkeys(score.strategy for score in scores):
        first, *others = [score for score in scores if score.strategy == strategy]
        row: Row = {
            "condition": strategy,
            "neurons": first.n_neurons,
            "windows": max(score.n_windows for score in (first, *others)),
            first.predictor: _shown(first.value),
            "95 %": _interval(first),
            "ceiling": _shown(first.ceiling),
            "share": _share(first),
        }
        rows.append(row | {score.predictor: _shown(score.value) for score in others})
    return rows


def _behavior_rows(decoded: "Sequence[BehaviorScore]") -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for score in decoded:
        if score.refusal:
            continue
        key = (score.strategy, score.predictor)
        row = rows.setdefault(key, {"condition": key[0], "predictor": key[1]})
        row[score.channel] = _shown(score.value)
    return list(rows.values())


def _refusals(scores: "Sequence[Score | BehaviorScore]") -> list[str]:
    return [f"- –: {score.refusal}" for score in scores if score.refusal]


def _lines(lines: Sequence[str]) -> list[str]:
    """One block of the different lines, or none."""
    return ["\n".join(sorted(set(lines)))] if lines else []


def _shown(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _interval(score: "Score") -> str:
    if score.ci_low != score.ci_low:
        return "–"
    return f"{score.ci_low:.3f} to {score.ci_high:.3f}"


def _share(score: "Score") -> str:
    share = score.value / score.ceiling
    return "–" if share != share else f"{100 * share:.0f} %"
