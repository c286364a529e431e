"""`omnimouse finetune`: fine-tune a model to a session that is new to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.inputs import device_option, named_session, reading_options
from omnimouse_app.cli.output import Progress, emit
from omnimouse_app.cli.stopping import Stopping, end_stopped, interruptible
from omnimouse_app.cli.train_report import TrainReport, duration

if TYPE_CHECKING:
    from omnimouse_model.train.finetune.progress import FinetuneProgress


@click.command("finetune")
@click.argument("model")
@click.argument("session")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run and its result; a run that is there already goes on.",
)
@click.option(
    "--train",
    type=click.Choice(["embeddings", "all"]),
    default="embeddings",
    show_default=True,
    help="What is learned: the session's own, on a frozen core, or everything.",
)
@click.option("--steps", type=click.IntRange(min=0), help="All steps of the run.")
@click.option("--batch", type=click.IntRange(min=1), help="Windows of a step.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")
@reading_options
def command(
    model: str,
    session: str,
    out: Path,
    batch: int | None,
    device: str,
    threads: int | None,
    as_json: bool,
    reading: dict[str, Any],
    **settings: Any,
) -> None:
    """Fine-tune MODEL to SESSION ('unseen', or a folder) and leave the result in DIR.

    Start values are found first; then every step is shown, and what it reaches on
    windows of the train tier that are held out. Ctrl-C ends after the step that runs
    and saves. The same command goes on from there, also after a kill.
    """
    import torch

    from omnimouse_model.errors import StoppedError
    from omnimouse_model.train.finetune.run import BATCH, finetune

    if threads:
        torch.set_num_threads(threads)
    progress = Progress()
    recording = named_session(session, progress, **reading)
    with interruptible() as stopping:
        report = Report(progress, stopping)
        try:
            finetune(
                model,
                recording,
                out,
                # Its default is not in the option, because that import loads torch.
                batch=batch or BATCH,
                device=device,
                progress=report,
                cancelled=lambda: stopping.is_asked,
                **settings,
            )
        except StoppedError:
            end_stopped(f"saved in {out}: the same command goes on from there.")
    report.finish()
    _tell_result(out, session, as_json)


class Report:
    """Progress lines of `omnimouse train`, and of the work before the first step."""

    def __init__(self, progress: Progress, stopping: Stopping | None = None) -> None:
        self._progress, self._stopping = progress, stopping
        self._steps: TrainReport | None = None

    def __call__(self, told: "FinetuneProgress") -> None:
        """Show a step; from the first training step on, there is something to save."""
        if told.stage == "training":
            if self._stopping is not None:
                self._stopping.has_begun = True
            self._steps = self._steps or TrainReport(self._progress, told.of)
            self._steps(told.row)
        elif told.stage == "starting":
            self._progress.say("finding start values …")

    def finish(self) -> None:
        """Keep the last line on screen."""
        self._progress.finish(keep=True)


def _tell_result(out: Path, session: str, as_json: bool) -> None:
    """Print held-out scores before and after, and how to use the result."""
    from omnimouse_model.nets.checkpoint import FINISHED, read_card
    from omnimouse_model.train.metrics_log import FILE, log_rows
    from omnimouse_model.train.validate import SUMMARY

    about = read_card(out / FINISHED)["finetuned"]
    rows = {int(row["step"]): row for row in log_rows(out / FILE)}
    # The log of a run that was killed while it saved may end before its best step.
    best = rows.get(about["best_step"], {SUMMARY: about["validation"]})
    emit(
        # Row 0 of the log was scored before the first training step.
        list(_scores(rows[0], best, about)),
        as_json=as_json,
        title="held-out windows, correlation before and after",
        columns=("name", "before", "value"),
    )
    if as_json:
        return
    frozen = about["frozen_hash"]
    kept = f"; the frozen core is unchanged ({frozen})" if frozen else ""
    click.echo(
        f"{about['n_trained']:,} parameters fine-tuned in {about['steps']} steps, "
        f"{duration(60 * about['minutes'])}{kept}\n"
        f"use it: omnimouse app {session} --model {out}, or "
        f'om.load_predictor("{out}")',
        err=True,
    )


def _scores(
    before: Mapping[str, float], after: Mapping[str, float], about: Mapping[str, Any]
) -> "list[dict[str, Any]]":
    """Return one row per scored condition, the mean first."""
    from omnimouse_model.train.validate import SUMMARY

    names = [SUMMARY, *(c for c in before if c not in ("step", "seconds", SUMMARY))]
    return [
        {
            "name": name,
            "value": after[name],
            "unit": "single-trial correlation",
            "before": before[name],
        }
        | dict(about)
        for name in names
        if name in after
    ]
