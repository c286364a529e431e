"""`omnimouse finetune`: fine-tune a model to a new session."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from omnimouse_app.cli.inputs import (
    device_option,
    folder_option,
    json_option,
    named_session,
    options_text,
    reading_options,
    threads_option,
)
from omnimouse_app.cli.output import echo, emit
from omnimouse_app.cli.progress import (
    Progress,
    TrainingProgress,
    duration,
    exit_stopped,
    interruptible,
)


@click.command("finetune")
@click.argument("model")
@click.argument("session")
@folder_option(
    "--out",
    required=True,
    help="Folder of the run and its result; a run that it contains continues.",
)
@click.option(
    "--train",
    metavar="PART",
    help="Trained parameters: embeddings, those of the session with a frozen core, or all.",
)
@click.option(
    "--neurons-of",
    metavar="SESSION",
    help="Recording that the model knows, with some of the same neurons by their ids.",
)
@click.option("--steps", type=click.IntRange(min=0), help="Number of steps in total.")
@click.option("--batch", type=click.IntRange(min=1), help="Windows per step.")
@click.option("--seed", type=int, help="Of held-out windows, masks and start values.")
@click.option(
    "--set",
    "others",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another option of the model's family. May be repeated.",
)
@device_option
@threads_option()
@json_option
@reading_options
def command(
    model: str,
    session: str,
    out: Path,
    device: str,
    as_json: bool,
    reading: dict[str, Any],
    neurons_of: str | None,
    others: tuple[str, ...],
    **settings: Any,
) -> None:
    """Fine-tune MODEL to SESSION and write the result to --out.

    SESSION is 'unseen', 'unseen-spikes' or the path of another recording. Start values
    are fitted first; then every step is shown, with its scores on held-out windows of
    the train tier. Ctrl-C saves and ends after the current step. The same command
    continues, also after a kill.
    """
    from omnimouse_model.analysis.finetune import finetune
    from omnimouse_model.errors import StoppedError

    settings |= dict(map(_named_value, others))
    recording = named_session(session, **reading)
    known = None if neurons_of is None else named_session(neurons_of)
    with interruptible() as stop:
        training = TrainingProgress(Progress())

        def show_step(step: int, row: dict[str, float]) -> None:
            # From the first training step on, there is something to save.
            stop.has_results = True
            training(row)

        try:
            finetune(
                model,
                recording,
                out,
                neurons_of=known,
                device=device,
                on_step=show_step,
                job=stop.job(training.show_other),
                **settings,
            )
        except StoppedError:
            exit_stopped(f"saved in {out}: the same command continues.")
    training.finish()
    _print_result(out, session, options_text(reading), as_json)


def _named_value(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE; what is no JSON is text."""
    from omnimouse_model.errors import SessionFormatError
    from omnimouse_model.storage.trees import decode_json

    name, is_given, value = text.partition("=")
    if not is_given:
        raise click.BadParameter(f"--set is NAME=VALUE, found {text!r}.")
    try:
        return name.strip(), decode_json(value, "--set")
    except SessionFormatError:
        return name.strip(), value


def _print_result(out: Path, session: str, options: str, as_json: bool) -> None:
    """Print held-out scores before and after, and how to use the result."""
    from omnimouse_model.storage.trees import read_json
    from omnimouse_model.training.checkpoints import FINISHED
    from omnimouse_model.training.loop import SUMMARY
    from omnimouse_model.training.metrics_log import FILE, log_rows

    card, rows = (out / FINISHED).with_suffix(".json"), {}
    about = read_json(card).get("card", {}).get("finetuned") if card.exists() else None
    if (out / FILE).exists():
        rows = {int(row["step"]): row for row in log_rows(out / FILE)}
    # A family may write neither card nor log.
    if about is not None and rows:
        # The log of a run that was killed while it saved may end before its best step.
        best = rows.get(about["best_step"], {SUMMARY: about["validation"]})
        emit(
            # Row 0 of the log was scored before the first training step.
            _scores(rows[0], best, about),
            as_json=as_json,
            title=f"held-out windows, {about['unit']} before and after",
            columns=("name", "before", "value"),
        )
    elif as_json:
        emit([], as_json=True)
    if as_json:
        return
    if about is not None:
        _print_training(about)
    echo(
        f'to use it: omnimouse app {session}{options} --model {out}, or om.load_predictor("{out}")',
        err=True,
    )


def _print_training(about: Mapping[str, Any]) -> None:
    """Print how much was trained, and whether the core is unchanged."""
    frozen = about["frozen_hash"]
    if about["best_step"] == 0:
        echo("no step beat the start values, which are the result", err=True)
    core = f"; the frozen core is unchanged ({frozen})" if frozen else ""
    echo(
        f"{about['n_trained']:,} parameters fine-tuned in {about['steps']} steps, "
        f"{duration(60 * about['minutes'])}{core}",
        err=True,
    )


def _scores(
    before: Mapping[str, float], after: Mapping[str, float], about: Mapping[str, Any]
) -> "list[dict[str, Any]]":
    """Return one row per scored condition, the mean first."""
    from omnimouse_model.training.loop import SUMMARY

    # The log also has times; only conditions have a score before and after.
    names = [SUMMARY, *(c for c in before if c not in ("step", "seconds", SUMMARY))]
    return [
        # The card holds the unit, and as "before" the mean alone.
        {**about, "name": name, "value": after[name], "before": before[name]}
        for name in names
        if name in after
    ]
