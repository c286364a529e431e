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
    type=click.Choice(["embeddings", "all"]),
    default="embeddings",
    show_default=True,
    help="Trained parameters: those of the session, with a frozen core, or all.",
)
@click.option(
    "--neurons-of",
    metavar="SESSION",
    help="Recording that the model knows, with some of the same neurons by their ids.",
)
@click.option("--steps", type=click.IntRange(min=0), help="Number of steps in total.")
@click.option("--batch", type=click.IntRange(min=1), help="Windows per step.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@threads_option()
@json_option
@reading_options
def command(
    model: str,
    session: str,
    out: Path,
    batch: int | None,
    device: str,
    as_json: bool,
    reading: dict[str, Any],
    neurons_of: str | None,
    **settings: Any,
) -> None:
    """Fine-tune MODEL to SESSION and write the result to --out.

    SESSION is 'unseen', 'unseen-spikes' or the path of another recording. Start values
    are fitted first; then every step is shown, with its scores on held-out windows of
    the train tier. Ctrl-C saves and ends after the current step. The same command
    continues, also after a kill.
    """
    from omnimouse_model.analysis.finetune.run import BATCH, STEPS, finetune
    from omnimouse_model.errors import StoppedError

    recording = named_session(session, **reading)
    known = None if neurons_of is None else named_session(neurons_of)
    with interruptible() as stop:
        training = TrainingProgress(Progress(), settings["steps"] or STEPS)

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
                # Its default is not in the option, because that import loads torch.
                batch=batch or BATCH,
                device=device,
                on_step=show_step,
                job=stop.job(training.show_other),
                **settings,
            )
        except StoppedError:
            exit_stopped(f"saved in {out}: the same command continues.")
    training.finish()
    _print_result(out, session, options_text(reading), as_json)


def _print_result(out: Path, session: str, options: str, as_json: bool) -> None:
    """Print held-out scores before and after, and how to use the result."""
    from omnimouse_model.families.omnimouse.checkpoint import read_card
    from omnimouse_model.training.checkpoints import FINISHED
    from omnimouse_model.training.loop import SUMMARY
    from omnimouse_model.training.metrics_log import FILE, log_rows

    about = read_card(out / FINISHED)["finetuned"]
    rows = {int(row["step"]): row for row in log_rows(out / FILE)}
    # The log of a run that was killed while it saved may end before its best step.
    best = rows.get(about["best_step"], {SUMMARY: about["validation"]})
    emit(
        # Row 0 of the log was scored before the first training step.
        _scores(rows[0], best, about),
        as_json=as_json,
        title=f"held-out windows, {about['unit']} before and after",
        columns=("name", "before", "value"),
    )
    if as_json:
        return
    frozen = about["frozen_hash"]
    if about["best_step"] == 0:
        echo("no step beat the start values, which are the result", err=True)
    core = f"; the frozen core is unchanged ({frozen})" if frozen else ""
    echo(
        f"{about['n_trained']:,} parameters fine-tuned in {about['steps']} steps, "
        f"{duration(60 * about['minutes'])}{core}\n"
        f"to use it: omnimouse app {session}{options} --model {out}, or "
        f'om.load_predictor("{out}")',
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
