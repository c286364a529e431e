"""`omnimouse train`, `fit` and `finetune`: train a model from a config, or on a recording."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli import inputs, terminal
from omnimouse_model.errors import StoppedError
from omnimouse_model.storage.files import real_path

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session
    from omnimouse_model.inference.families import TrainingPlan
    from omnimouse_model.predict.predictor import Predictor
    from omnimouse_model.training.distributed import Team

run_option = inputs.folder_option(
    "--out",
    required=True,
    help="Folder of the run and its result; a run that it contains continues.",
)


# -- train ----------------------------------------------------------------------------
@click.command("train")
@click.argument("config")
@run_option
@inputs.places_option(
    "--sessions", "places", "Session or folder of sessions, instead of the config's."
)
@click.option(
    "--mice",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the simulated training mice; missing ones are generated. [default: the cache]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Stop after this many steps; the same command continues.",
)
@click.option("--accumulate", type=inputs.COUNT, help="Batches per step, instead of the config's.")
@click.option("--compile", "is_compiled", is_flag=True, help="Compile the blocks of the network.")
@inputs.device_option
@inputs.threads_option()
@click.option(
    "--export",
    type=inputs.OutputPath(),
    help="Write the weights here at the end: a .safetensors file, or a folder for the "
    "format of the released models.",
)
def command(
    config: str,
    out: Path,
    places: tuple[Path, ...],
    mice: Path | None,
    steps: int | None,
    accumulate: int | None,
    is_compiled: bool,
    device: str,
    export: Path | None,
) -> None:
    """Train CONFIG: the name of a shipped config, or a YAML file of the same form.

    The family that a config names is what it trains. Ctrl-C saves and ends after the
    current step; before the first step it ends at once. The same command continues, also
    after a kill. Under torchrun (torchrun --nproc-per-node N -m omnimouse_app train …) N
    processes share the sessions and train one core.
    """
    from omnimouse_model.analysis.fit import run_steps
    from omnimouse_model.inference.families import families, training_plan
    from omnimouse_model.predict.devices import resolve_device
    from omnimouse_model.storage.write import sole_writer
    from omnimouse_model.training.distributed import joined, local_device

    changes: dict[str, Any] = {"accumulate": accumulate, "compile": is_compiled or None}
    plan = training_plan(config, {k: v for k, v in changes.items() if v is not None})
    family = families()[plan.family]
    if export is not None and family.export is None:
        raise click.BadParameter(f"{family.title} has no export: use the weights in --out.")
    plan = _with_choices(plan, places)
    with terminal.interruptible() as stop, ExitStack() as locks:
        team = locks.enter_context(joined(local_device(resolve_device(device))))
        # Until the results are written, which are read from the run.
        if team.is_main:
            locks.enter_context(sole_writer(out))
        plan, sessions = _opened(plan, mice, team)
        progress = terminal.TrainingProgress(terminal.Progress())

        def on_step(step: int, facts: dict[str, float]) -> None:
            # After the first step, there is something to save.
            stop.has_results = True
            if team.is_main:
                progress(facts)

        job = stop.job(progress.show)
        try:
            run_steps(plan, sessions, out, job, steps, device=device, on_step=on_step)
        except StoppedError:
            if not stop.is_received:  # a family stops unasked, and is not trained
                raise
        # Only the main process writes results and messages.
        if not team.is_main:
            sys.exit(terminal.STOPPED if stop.is_received else 0)
        progress.finish()
        if export is not None and family.export is not None and not stop.is_received:
            # The run is saved, so that a signal ends the export at once.
            stop.has_results = False
            with contextlib.suppress(KeyboardInterrupt):  # reported below
                family.export(out, export)
                terminal.echo(f"wrote {export}")
    if stop.is_received:
        terminal.exit_stopped(f"saved in {out}: the same command continues.")
    terminal.echo(f"trained; the weights are in {out}", err=True)


def _with_choices(plan: "TrainingPlan", places: tuple[Path, ...]) -> "TrainingPlan":
    """Return a plan with the sessions of the command line, else its own, checked.

    Raises
    ------
    click.BadParameter
        A place contains no session, a mouse is unknown, or there is no session.
    """
    from omnimouse_model.training.config import SessionChoice
    from omnimouse_model.training.sessions import check_mouse, sessions_in

    choices: tuple[SessionChoice, ...] = plan.settings.sessions
    try:
        if places:
            folders = [folder for place in places for folder in sessions_in(place)]
            choices = tuple(SessionChoice(str(folder)) for folder in folders)
        for choice in choices:
            check_mouse(choice.mouse)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not choices:
        raise click.BadParameter("The config names no sessions: give --sessions FOLDER.")
    settings = replace(plan.settings, sessions=choices, is_replaced=bool(places))
    return replace(plan, settings=settings)


def _opened(
    plan: "TrainingPlan", mice: Path | None, team: "Team"
) -> "tuple[TrainingPlan, list[Session]]":
    """Open the sessions of this process; missing mice are simulated once for all."""
    from omnimouse_model.data.open import open_session
    from omnimouse_model.training.sessions import session_place

    choices = plan.settings.sessions
    team.share_of(choices)  # refuses too many processes, before mice are simulated
    if team.is_main:
        for choice in choices:
            session_place(choice.mouse, mice, partial(terminal.echo, err=True))
    # The other processes open the mice only after the main one has simulated them.
    team.wait()
    places = [real_path(session_place(choice.mouse, mice)) for choice in choices]
    settings = replace(plan.settings, places=tuple(map(str, places)))
    sessions = [open_session(place) for place in team.share_of(places)]
    return replace(plan, settings=settings), sessions


# -- fit and finetune: one recording --------------------------------------------------
@click.command("fit")
@click.argument("name")
@click.argument("session")
@run_option
@click.option("--steps", type=click.IntRange(min=0), help="Stop after this many steps.")
@click.option("--seed", type=int, default=0)
@inputs.device_option
@inputs.threads_option()
@inputs.json_option
@inputs.reading_options
def fit(
    name: str, session: str, out: Path, as_json: bool, reading: dict[str, Any], **settings: Any
) -> None:
    """Train the small config of NAME, a family or one of its models, on SESSION.

    NAME may also be a training config. Ctrl-C saves and ends after the current step. The
    same command continues, also after a kill.
    """
    from omnimouse_model.analysis.fit import fit as fit_family

    recording = inputs.named_session(session, **reading)
    fitted = _trained(out, partial(fit_family, name, recording, out, **settings))
    row = {
        "name": "predictor",
        "value": fitted.needs.n_neurons.get(recording.id, recording.n_neurons),
        "unit": "neurons",
        "predictor": fitted.predictor_id,
        "session": recording.id,
        "out": str(out),
    }
    text = (
        f"{fitted.predictor_id} knows {recording.id}. To use it: omnimouse app "
        f'{session}{inputs.options_text(reading)} --model {out}, or om.load_predictor("{out}")'
    )
    terminal.emit([row], as_json=as_json, text=text)


@click.command("finetune")
@click.argument("model")
@click.argument("session")
@run_option
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
@click.option("--batch", type=inputs.COUNT, help="Windows per step.")
@click.option("--seed", type=int, help="Of held-out windows, masks and start values.")
@inputs.repeated("--set", "others", "Another option of the model's family.", metavar="NAME=VALUE")
@inputs.device_option
@inputs.threads_option()
@inputs.json_option
@inputs.reading_options
def finetune(
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
    from omnimouse_model.analysis.fit import finetune as finetune_model

    settings |= dict(map(_named_value, others)) | {"device": device}
    recording = inputs.named_session(session, **reading)
    known = None if neurons_of is None else inputs.named_session(neurons_of)
    _trained(out, partial(finetune_model, model, recording, out, neurons_of=known, **settings))
    _print_result(out, session, inputs.options_text(reading), as_json)


def _named_value(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE; a value that is not JSON is taken as text."""
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
        terminal.emit(
            # Row 0 of the log was scored before the first training step.
            _scores(rows[0], best, about),
            as_json=as_json,
            title=f"{_scored_text(about)}, {about['unit']} before and after",
            columns=("name", "before", "value"),
        )
    elif as_json:
        terminal.emit([], as_json=True)
    if as_json:
        return
    if about is not None:
        _print_training(about)
    terminal.echo(
        f'to use it: omnimouse app {session}{options} --model {out}, or om.load_predictor("{out}")',
        err=True,
    )


def _scored_text(about: Mapping[str, Any]) -> str:
    """Return over what the held-out scores are; a result of an older version does not say."""
    from omnimouse_model.display import count
    from omnimouse_model.training.metrics_log import SCORED_NEURONS, SCORED_WINDOWS

    if SCORED_WINDOWS not in about:
        return "held-out windows"
    neurons = about.get(SCORED_NEURONS)
    text = count(about[SCORED_WINDOWS], "held-out window")
    return text if neurons is None else f"{text} of {count(neurons, 'neuron')}"


def _print_training(about: Mapping[str, Any]) -> None:
    """Print how much was trained, and whether the core is unchanged."""
    frozen = about["frozen_hash"]
    if about["best_step"] == 0:
        terminal.echo("no step beat the start values, which are the result", err=True)
    core = f"; the frozen core is unchanged ({frozen})" if frozen else ""
    # Of the whole run; what is beside the steps, of this call alone.
    trained, other = (terminal.duration(60 * about.get(n, 0)) for n in ("minutes", "other_minutes"))
    beside = f", start values and context part {other} in this call" * ("other_minutes" in about)
    terminal.echo(
        f"{about['n_trained']:,} parameters fine-tuned in {about['steps']} steps; steps and their "
        f"scoring took {trained}{beside}{core}",
        err=True,
    )


def _scores(
    before: Mapping[str, float], after: Mapping[str, float], about: Mapping[str, Any]
) -> "list[dict[str, Any]]":
    """Return one row per scored condition, the mean first."""
    from omnimouse_model.training.loop import SUMMARY
    from omnimouse_model.training.metrics_log import OVER

    # The log also has times and counts; only conditions have a score before and after.
    others = ("step", "seconds", SUMMARY, *OVER)
    names = [SUMMARY, *(c for c in before if c not in others)]
    return [
        # The card holds the unit, and as "before" the mean alone.
        {**about, "name": name, "value": after[name], "before": before[name]}
        for name in names
        if name in after
    ]


def _trained(out: Path, run: "Callable[..., Predictor]") -> "Predictor":
    """Return the result of a training with `on_step` and `job`; Ctrl-C ends the command.

    From the first step on, the run is saved before it ends.
    """
    with terminal.interruptible() as stop:
        training = terminal.TrainingProgress(terminal.Progress())

        def show_step(step: int, row: dict[str, float]) -> None:
            stop.has_results = True
            training(row)

        try:
            trained = run(on_step=show_step, job=stop.job(training.show))
        except StoppedError:
            terminal.exit_stopped(f"saved in {out}: the same command continues.")
    training.finish()
    return trained
