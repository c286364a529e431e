"""`omnimouse evaluate`: scores on held-out windows, with baselines and ceilings."""

import sys
from collections.abc import Collection, Sequence
from itertools import chain, product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from omnimouse_app.cli import inputs, terminal

if TYPE_CHECKING:
    from omnimouse_app.cli.evaluation_tables import Layout
    from omnimouse_model.data.session import Session
    from omnimouse_model.evaluation.results import BehaviorScore, Score, Scores
    from omnimouse_model.evaluation.sensorium2023 import CompetitionScore
    from omnimouse_model.predict.predictor import Predictor

# -- `omnimouse evaluate --held-out`: hidden spikes, and decoded labels of trials
Row = dict[str, Any]
CHOICE: Final = "choice"
CONDITIONS: Final = (
    *("co-smoothing", "forward", "inter-region", "intra-region"),
    CHOICE,
)


held_out_option = inputs.repeated(
    *("--held-out", "held_out"),
    help="Score a neural data transformer on hidden spikes, or on decoded labels of trials "
    "(choice), instead of strategies.",
    type=click.Choice([*CONDITIONS, "all"]),
)


def _held_out(
    held_out: Sequence[str],
    models: Sequence[str],
    sessions: "Sequence[Session]",
    settings: dict[str, Any],
) -> tuple[list[Row], list[str]]:
    """Return rows and tables of hidden spikes and decoded labels."""
    from omnimouse_model.inference.registry import load_predictor

    asked = CONDITIONS if "all" in held_out else tuple(dict.fromkeys(held_out))
    rows: list[Row] = []
    with terminal.interruptible() as stop, terminal.Progress() as progress:
        predictors = [load_predictor(name, device=settings["device"]) for name in models]
        limit = settings["max_windows"]
        for predictor, session, tier in product(predictors, sessions, settings["tiers"]):
            # Decoded labels alone need no spikes of all trials.
            if {*asked} - {CHOICE}:
                rows += _bits(predictor, session, tier, asked, limit, progress, stop.check)
            if CHOICE in asked:
                rows += _choices(predictor, session, tier)
    return rows, _spike_blocks(rows)


def _bits(
    predictor: "Predictor",
    session: "Session",
    tier: str,
    asked: Sequence[str],
    max_windows: int | None,
    progress: terminal.Progress,
    check: Any,
) -> list[Row]:
    """Return the rows of hidden spikes."""
    from omnimouse_model.analysis.spike_scores import HELD_OUT, score_held_out
    from omnimouse_model.progress import CallbackJob

    def show(done: float, total: float, text: str) -> None:
        check()
        progress(done, total, text)

    conditions = [name for name in HELD_OUT if name in asked]
    scores = score_held_out(
        predictor, session, conditions, tier=tier, max_trials=max_windows, job=CallbackJob(show)
    )
    return [score.row() for score in scores]


def _choices(predictor: "Predictor", session: "Session", tier: str) -> list[Row]:
    """Return a row for every column with labels; its refusal where there is none."""
    from omnimouse_model.analysis.peri_event import MAX_LABELS
    from omnimouse_model.analysis.spike_scores import decode_every_label
    from omnimouse_model.errors import UnsupportedRequestError

    shared: Row = {"name": "decoded_label", "value": None, "strategy": CHOICE}
    shared |= {"predictor": predictor.predictor_id, "session": session.id}
    shared |= {"tier": tier, "unit": "share of trials"}
    decodings = decode_every_label(predictor, session, tier=tier)
    if not decodings:
        return [shared | {"refusal": f"No column of the trials has two to {MAX_LABELS} labels."}]
    return [
        # Other columns can have labels in all tiers.
        shared | {"column": column, "refusal": str(decoding)}
        if isinstance(decoding, UnsupportedRequestError)
        else decoding.row()
        for column, decoding in decodings.items()
    ]


def _spike_blocks(rows: Sequence[Row]) -> list[str]:
    """Return tables of bits per spike and of decoded labels, and refusals."""
    blocks = []
    bits = [_bits_cells(row) for row in rows if row["name"] == "score"]
    if bits:
        title = (
            "bits per spike over the mean rate of each neuron: mean over neurons with "
            "spikes, and of all neurons together; 95 % over trials"
        )
        blocks += [title, terminal.table(bits)]
    decoded = [_label_cells(row) for row in rows if row["name"] == "decoded_label"]
    if decoded:
        title = (
            "decoded labels of trials: share of correct ones, 95 % over trials; chance "
            "is the share of the most frequent label"
        )
        blocks += [title, terminal.table(decoded)]
    refused = [row for row in rows if row.get("refusal")]
    blocks += [
        f"- {row['session']}, {row.get('column', row['strategy'])}: {row['refusal']}"
        for row in refused
    ]
    return blocks


def _bits_cells(row: Row) -> Row:
    about = {k: row[k] for k in ("predictor", "session", "tier")}
    return about | {
        "condition": row["strategy"],
        "mean": row["value"],
        "interval": _interval(row, ""),
        "pooled": row["pooled"],
        "its interval": _interval(row, "pooled_"),
        "neurons": row["n_neurons"],
        "excluded": row["n_excluded"],
        "trials": row["windows"],
    }


def _label_cells(row: Row) -> Row:
    about = {k: row.get(k) for k in ("predictor", "session", "tier", "column")}
    return about | {
        "accuracy": row["value"],
        "interval": _interval(row, ""),
        "balanced": row.get("balanced"),
        "chance": row.get("chance"),
        "trials": row.get("windows"),
    }


def _interval(row: Row, prefix: str) -> str:
    low, high = row.get(f"{prefix}ci_low"), row.get(f"{prefix}ci_high")
    if low is not None and high is not None:
        return terminal.interval(low, high)
    return "–" if row["value"] is None else "too few trials for an interval"


# -- `omnimouse evaluate`: scores on held-out windows, with baselines and ceilings
@click.command("evaluate")
@inputs.repeated(
    *("--model", "models"),
    help="Predictor to score: a name, a checkpoint file or folder.",
    default=("demo",),
)
@inputs.sessions_option
@inputs.repeated("--strategy", "strategies", "A strategy such as test/video_behavior.")
@click.option(
    "--table",
    "named_table",
    type=click.Choice(["paper", "demo"]),
    help="Score the conditions of a table: of the paper's tasks, beside its published "
    "numbers, or of the demo (the default without a strategy).",
)
@held_out_option
@click.option(
    "--sensorium2023",
    is_flag=True,
    help="Score as in the competition: whole videos without their first 50 frames.",
)
@inputs.file_option(
    "--submission", help="With --sensorium2023 and one model: write its submission file."
)
@inputs.file_option(
    "--ensemble",
    makes_folders=True,
    help="Score the mean of all --model too, and write it to this .ensemble.json.",
)
@click.option("--baselines/--no-baselines", default=True, help="Score naive predictors, too.")
@inputs.repeated("--tier", "tiers", "A held-out tier.", default=("test",))
@click.option(
    "--by",
    type=click.Choice(["kind", "tier", "distribution"]),
    help="Score each kind of stimulus, each tier, or stimuli in and out of the "
    "training distribution.",
)
@inputs.metric_option
@inputs.max_windows_option
@inputs.file_option(
    "--out",
    makes_folders=True,
    help="Results file; results that it contains are not computed again.",
)
@inputs.scheduler_option("windows")
@inputs.file_option("--parquet", help="Write the scores of every neuron, too.")
@inputs.device_option
@inputs.threads_option()
@inputs.format_options
@inputs.reading_options
def command(
    models: tuple[str, ...],
    sessions: tuple[str, ...],
    strategies: tuple[str, ...],
    named_table: str | None,
    held_out: tuple[str, ...],
    sensorium2023: bool,
    submission: Path | None,
    ensemble: Path | None,
    baselines: bool,
    out: Path | None,
    parquet: Path | None,
    as_json: bool,
    as_markdown: bool,
    reading: dict[str, Any],
    **settings: Any,
) -> None:
    """Score a predictor on held-out windows, with naive predictors and ceilings.

    A score is the --metric per neuron over all windows, averaged over neurons, with a
    95 % interval over time. The gain is the paired difference from linear-gaussian. A
    request that a predictor does not support is shown as "–". With --out, Ctrl-C loses
    no finished result: the same command continues.
    """
    if settings["metric"] not in (None, "correlation") and (
        named_table == "paper" or sensorium2023
    ):
        raise click.UsageError("These protocols are scored by correlation only.")
    from omnimouse_model.inference.families import baseline_names

    # Sessions are opened first: a wrong path is reported before a model is loaded.
    recordings = [inputs.named_session(name, **reading) for name in sessions]
    device, failure, was_stopped = settings["device"], "", False
    # A model that is named twice, or is a baseline as well, is scored once.
    own = list(dict.fromkeys(models))
    others = [name for name in (baseline_names() if baselines else ()) if name not in own]
    if sensorium2023 and submission is not None:
        rows, blocks = _submission(submission, models, recordings, settings["tiers"], device)
    elif held_out:
        rows, blocks = _held_out(held_out, models, recordings, settings)
        if all(row["value"] is None for row in rows):
            failure = "No score: every condition was refused."
    elif sensorium2023:
        rows, blocks = _competition([*own, *others], recordings, settings["tiers"], device)
    else:
        predictors: list[Predictor | str] = [*own, *others]
        members: list[str] = []
        if ensemble is not None:
            import omnimouse_model as om

            named = {name: om.load_predictor(name, device=device) for name in own}
            om.save_ensemble(ensemble, named)
            members = [member.predictor_id for member in named.values()]
            # Workers load by name; here each member is loaded once.
            is_here = settings["scheduler"] is None
            mean = om.Ensemble(tuple(named.values()))
            predictors = [*named.values(), mean] if is_here else [*own, str(ensemble)]
            predictors += others
        conditions = _conditions(strategies, named_table)
        loaded: list[Predictor] = []
        if is_paper := named_table == "paper":
            from omnimouse_model.data.window_spec import default_spec
            from omnimouse_model.inference.registry import resolve_predictor

            settings |= {"span": default_spec(), "metric": settings["metric"] or "correlation"}
            loaded = [resolve_predictor(one, device) for one in predictors]
            # Workers load by name; here each predictor is loaded once.
            predictors = [*loaded] if settings["scheduler"] is None else predictors
        results, stop = _evaluate(predictors, recordings, conditions, out, settings)
        if parquet is not None:
            from omnimouse_model.evaluation.results import write_neurons

            write_neurons(_joined(results), parquet)
        layout = terminal.markdown_table if as_markdown else terminal.table
        blocks = _blocks(results, recordings, layout)
        rows = [row for scores in results.values() for row in scores.rows()]
        if is_paper and not stop.is_received:
            rows, blocks = _paper(results, loaded, recordings, layout)
        if members:
            blocks.append(_members(results, members))
        failure = _silent_model(_joined(results), set(baseline_names()).difference(models))
        was_stopped = stop.is_received
    terminal.emit(rows, as_json=as_json, text="\n\n".join(blocks))
    if was_stopped:
        terminal.echo("stopped; the same command with --out continues", err=True)
        sys.exit(terminal.STOPPED)
    # Exit status 1, so that scripts notice.
    if failure:
        raise click.ClickException(failure)


def _conditions(strategies: tuple[str, ...], named_table: str | None) -> tuple[str, ...]:
    from omnimouse_model.evaluation.conditions import DEMO
    from omnimouse_model.evaluation.published import STRATEGIES

    named = (*(STRATEGIES if named_table == "paper" else ()), *strategies)
    if named_table == "demo" or not named:
        named = (*DEMO, *named)
    return tuple(dict.fromkeys(named))


def _evaluate(
    predictors: "Sequence[Predictor | str]",
    sessions: "Sequence[Session]",
    conditions: Sequence[str],
    out: Path | None,
    settings: dict[str, Any],
) -> "tuple[dict[str, Scores], terminal.StopSignal]":
    """Return the scores by tier, and the signal that may have ended the evaluation."""
    from omnimouse_model.analysis.evaluate import evaluate_all

    is_saved = out is not None or settings["scheduler"] is not None
    with terminal.interruptible() as stop, terminal.Progress() as progress:
        # With something to save, Ctrl-C ends after the current step instead of at once.
        stop.has_results = is_saved
        results = evaluate_all(
            predictors, sessions, conditions, results=out, job=stop.job(progress), **settings
        )
    return results, stop


def _silent_model(results: "Scores", unasked: Collection[str]) -> str:
    """Return which asked model has no score at all, and why; "" if all have some.

    Baselines that were not asked by name do not count.
    """
    listed: list[Score | BehaviorScore] = [*results.scores, *results.behavior]
    names = dict.fromkeys(s.predictor for s in listed if s.predictor not in unasked)
    for name in names:
        own = [score for score in listed if score.predictor == name]
        if not any(isfinite(score.value) for score in own):
            reason = next((score.refusal for score in own if score.refusal), "")
            return f"No score of {name}: every request was refused. {reason}".rstrip()
    return ""


def _joined(results: "dict[str, Scores]") -> "Scores":
    from omnimouse_model.evaluation.results import Scores

    return Scores(
        tuple(score for scores in results.values() for score in scores.scores),
        tuple(score for scores in results.values() for score in scores.behavior),
        ", ".join(results),
        next(iter(results.values())).metric,
        next(iter(results.values())).units,
    )


def _blocks(
    results: "dict[str, Scores]", sessions: "Sequence[Session]", layout: "Layout"
) -> list[str]:
    from omnimouse_app.cli.evaluation_tables import report
    from omnimouse_model.metrics.named import METRICS

    ids = [session.id for session in sessions]
    metric = METRICS[next(iter(results.values())).metric]
    blocks = [f"{metric.name} = {metric.definition}"]
    blocks += [block for s in results.values() for block in report(s, ids, layout)]
    return blocks


def _paper(
    results: "dict[str, Scores]",
    predictors: "Sequence[Predictor]",
    sessions: "Sequence[Session]",
    layout: "Layout",
) -> tuple[list[Row], list[str]]:
    """Return rows and tables of the paper's tasks, with costs and published numbers."""
    from omnimouse_app.cli.evaluation_tables import paper_blocks, published_blocks
    from omnimouse_model.analysis.paper_table import table_of
    from omnimouse_model.evaluation.published import PUBLISHED_ROWS

    rows: list[Row] = []
    blocks: list[str] = []
    for scores in results.values():
        found = table_of(scores, predictors, sessions)
        rows += found.rows()
        blocks += paper_blocks(found, layout)
    return [*rows, *PUBLISHED_ROWS], [*blocks, *published_blocks(layout)]


def _members(results: "dict[str, Scores]", members: Sequence[str]) -> str:
    from omnimouse_app.cli.evaluation_tables import seeds_line

    return "\n".join(
        seeds_line(scores, strategy, members)
        for scores in results.values()
        for strategy in dict.fromkeys(score.strategy for score in scores.scores)
    )


# -- the competition -----------------------------------------------------------------
def _submission(
    path: Path,
    models: Sequence[str],
    sessions: "Sequence[Session]",
    tiers: Sequence[str],
    device: str,
) -> tuple[list[Row], list[str]]:
    """Write the predictions of one model, without baselines; return what was written."""
    from omnimouse_model.evaluation.sensorium2023 import (
        check_submission,
        predict_clips,
        write_submission,
    )
    from omnimouse_model.inference.registry import load_predictor

    if len(models) > 1:
        raise click.UsageError("A submission contains one --model.")
    predictor = load_predictor(models[0], device=device)
    # A generator: predictions of one session at a time are in memory.
    parts = (predict_clips(predictor, *pair) for pair in product(sessions, tiers))
    # The competition identifies neurons by the ids of its files.
    ids = {session.id: session.units.unit_id.tolist() for session in sessions}
    written = write_submission(path, chain.from_iterable(parts), ids)
    n_trials = check_submission(written, sessions, tiers)
    row = {"name": "submission", "value": n_trials, "unit": "trials"}
    return (
        [row | {"path": str(written), "sessions": list(ids), "predictor": predictor.predictor_id}],
        [f"wrote {written}; {n_trials} trials of {len(ids)} mice are complete"],
    )


def _competition(
    names: Sequence[str], sessions: "Sequence[Session]", tiers: Sequence[str], device: str
) -> tuple[list[Row], list[str]]:
    """Return rows and tables of whole videos, scored as in the competition."""
    from omnimouse_app.cli.evaluation_tables import competition_rows
    from omnimouse_model.errors import UnsupportedRequestError
    from omnimouse_model.evaluation.sensorium2023 import competition_score, predict_clips
    from omnimouse_model.inference.registry import load_predictor

    predictors = [load_predictor(name, device=device) for name in names]
    rows: list[Row] = []
    blocks = []
    for predictor, tier in product(predictors, tiers):
        scores = []
        for session in sessions:
            try:
                clips = predict_clips(predictor, session, tier)
                scores.append(competition_score(session.id, clips))
            except UnsupportedRequestError as error:
                # The scores of other sessions and predictors remain valid.
                blocks.append(f"{predictor.predictor_id}: – ({error})")
        about = {"predictor": predictor.predictor_id, "tier": tier}
        rows += [row | about for score in scores for row in _json_rows(score)]
        if scores:
            title = f"Sensorium 2023, tier {tier}, {predictor.predictor_id}"
            blocks += [title, terminal.table(competition_rows(scores))]
    return rows, blocks


def _json_rows(score: "CompetitionScore") -> list[dict[str, object]]:
    # The two scores of the competition, which ranks by the first.
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
