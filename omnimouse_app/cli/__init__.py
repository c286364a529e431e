"""The command `omnimouse`: a table of commands, each imported only when it runs."""

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from importlib import import_module
from io import StringIO
from itertools import islice
from typing import Any

import click

from omnimouse_app.cli.terminal import STOPPED, echo, line_alone, only_json
from omnimouse_app.sigint import was_interrupted
from omnimouse_model.errors import WorkerError
from omnimouse_model.extras import missing_extra
from omnimouse_model.own_families import family_points
from omnimouse_model.predict.devices import full_memory_text
from omnimouse_model.storage.write import explained

COMMANDS = {
    "app": "Open napari with the plugin.",
    "demo": "Open the demo in a window, or write pictures of it.",
    "info": "Describe a session or checkpoint, and its problems.",
    "convert": "Write a session into the store: one folder, checked, compressed.",
    "convert-weights": "Write published weights of a baseline as a checkpoint.",
    "fetch": "Download checkpoints and recordings from the model hub.",
    "evaluate": "Score predictors on sessions, with baselines and ceilings.",
    "predict": "Write the predictions of a recording to one file.",
    "sweep": "Score a predictor as a function of the context.",
    "sources": "Measure how much of each neuron each source predicts.",
    "informants": "Find the neurons that best predict a neuron or an area.",
    "areas": "Measure what each area tells each area.",
    "scaling": "Fit scores as a function of data, size or compute.",
    "rank": "Rank sessions by how well their models transfer to others.",
    "lab": "Run experiments on a model that sees video.",
    "report": "Write a saved analysis as one HTML page.",
    "simulate": "Write simulated mice with known ground truth.",
    "train": "Train a model from a config.",
    "fit": "Train a small model of a family on one recording.",
    "finetune": "Fine-tune a model to a new session.",
    "bench": "Run the project's benchmarks.",
    "doctor": "Check this machine, and list a remedy for each problem.",
}
"""Command name -> its line in `omnimouse --help`.

The command itself is `command` in the file of that name in this folder; or, with the name
of the table, in a file that several commands share.
"""
SHARED = {
    "areas": "sources",
    "bench": "doctor",
    "convert-weights": "convert",
    "demo": "app",
    "fetch": "convert",
    "finetune": "train",
    "fit": "train",
    "informants": "sources",
    "report": "info",
    "scaling": "sweep",
}
"""Command name -> file of another command, which it shares."""

# Errors caused by bad input. SessionFormatError, CheckpointError, MaskError and
# UnsupportedRequestError are ValueErrors. A WorkerError is an accident, such as a Dask
# scheduler that does not answer. Any other exception is a bug.
INPUT_ERRORS = (ValueError, KeyError, OSError, ModuleNotFoundError, WorkerError)

_OWN = "omnimouse_model"
_LONGEST = 2000
"""Letters of a message, after which its line goes on."""
WITH_LESS_MEMORY = (
    " To train or fine-tune, choose a smaller `batch`; `accumulate` in a config makes "
    "up for it. The same command continues from what is saved."
)


class LazyGroup(click.Group):
    """Click group that imports the module of a command only when it runs.

    Parameters
    ----------
    table
        Line of the help by name of the command.
    package
        Package whose module of that name contains `command`.
    shared
        Name of a command -> module of another one that contains it, under its own name.
    """

    def __init__(
        self,
        *arguments: Any,
        table: dict[str, str],
        package: str,
        shared: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self._table, self._package, self._shared = table, package, shared or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the table, in its order."""
        # In the order of the table: click would sort the names by the alphabet.
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None for a name that is not in the table."""
        if cmd_name not in self._table:
            return None
        # Imports of torch and napari take seconds, so each command pays only for its
        # own.
        file = self._shared.get(cmd_name, cmd_name)
        name = cmd_name.replace("-", "_") if cmd_name in self._shared else "command"
        command = getattr(import_module(f"{self._package}.{file.replace('-', '_')}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    package="omnimouse_app.cli",
    shared=SHARED,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--connect",
    metavar="HOST",
    multiple=True,
    help="Allow a server that an ensemble or an analysis names; may be repeated.",
)
@click.version_option(package_name="omnimouse-app", prog_name="omnimouse")
def group(debug: bool, connect: tuple[str, ...]) -> None:
    """Predict responses of the mouse visual cortex with a model, and score it.

    Bad input ends with one line on standard error and exit status 1 (a wrong option
    with 2), with --json too: then nothing is on standard output.
    """
    if connect:
        from omnimouse_model.data.hub.servers import allow_connections

        allow_connections(connect)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error ends with one line.

    The exit status is 1 after bad input or a bug, 2 for a wrong option, and 130 after
    Ctrl-C. With --debug, the traceback is shown.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments = _common_first(arguments)
    hook, shown_warning = threading.excepthook, warnings.formatwarning
    if "--debug" not in arguments:
        threading.excepthook = _show_error_of_thread
        warnings.formatwarning = _warning_line
    status: object = 0
    try:
        with only_json() if "--json" in arguments else nullcontext():
            status = group.main(args=arguments, prog_name="omnimouse", standalone_mode=False)
    except SystemExit as end:
        status = end.code
        if not _is_own(end):
            _show(message_of(end))
            status = 1
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        echo(shown.getvalue().rstrip(), err=True)
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _show("stopped")
        status = STOPPED
    except BrokenPipeError as error:
        if _package_at_fault(error):
            _show(message_of(error))
        else:
            # The reader of a pipe has ended, as in `omnimouse info demo | head`; the
            # interpreter would try to write the rest at its end: a new pipe takes it.
            os.dup2(os.pipe()[1], sys.stdout.fileno())
        status = 1
    except BaseException as error:  # a package of models may raise anything
        if "--debug" in arguments:
            raise
        if was_interrupted():  # and an import raised another error in its place
            _show("stopped")
            status = STOPPED
        else:
            _show(message_of(error))
            status = 1
    finally:
        threading.excepthook, warnings.formatwarning = hook, shown_warning
    # A second Ctrl-C during the clean-up of the interpreter must not print a traceback.
    if status == STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Commands return nothing; `Context.exit` returns a status.
    sys.exit(status if isinstance(status, int | str) else 0)


def _common_first(arguments: list[str]) -> list[str]:
    """Move the options of all commands to the front: they are accepted after the command, too."""
    common, rest = [], []
    words = iter(arguments)
    for word in words:
        if word == "--debug" or word.startswith("--connect="):
            common.append(word)
        elif word == "--connect":
            common += [word, *islice(words, 1)]
        else:
            rest.append(word)
    return [*common, *rest]


def _show(message: str) -> None:
    click.echo(line_alone(f"omnimouse: {message}"), err=True)


def _warning_line(message: Warning | str, *place: object, **line: object) -> str:
    # Python's own has the place in the code and prints texts of files as they are.
    return line_alone(f"omnimouse: {' '.join(str(message).split())}") + "\n"


def _show_error_of_thread(ended: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread raises errors of the drive again on the main thread.
    if isinstance(ended.exc_value, Exception) and not isinstance(ended.exc_value, OSError):
        _show(message_of(ended.exc_value))


def _package_at_fault(error: BaseException) -> str:
    """Return the package of models in whose code an error was raised; "" for others."""
    packages = {point.module.partition(".")[0] for point in family_points()} - {_OWN}
    # A StopIteration reaches this place as the cause of another error.
    for one in filter(None, (error, error.__cause__)):
        frames = traceback.walk_tb(one.__traceback__)
        found = [str(f.f_globals.get("__name__")).partition(".")[0] for f, _ in frames]
        if named := [name for name in found if name in packages]:
            return named[-1]
    return ""


def _is_own(end: SystemExit) -> bool:
    """Whether this program ends itself, and not a package of models."""
    *_, last = traceback.walk_tb(end.__traceback__)
    return str(last[0].f_globals.get("__name__")).startswith(("omnimouse_app.", "click."))


def message_of(error: BaseException) -> str:
    """Return the problem and the next step in one line."""
    if text := full_memory_text(error):
        return text + WITH_LESS_MEMORY
    if missing := missing_extra(error):
        return missing
    try:
        text = explained(error) if isinstance(error, OSError) else str(error)
        # The text of a KeyError has quotes.
        if isinstance(error, KeyError) and error.args:
            text = str(error.args[0])
    except Exception:  # a package of models can have errors without a text
        text = ""
    message = " ".join(text[:_LONGEST].split()) or type(error).__name__
    if isinstance(error, INPUT_ERRORS):
        return message
    if package := _package_at_fault(error):
        return (
            f"{package}, a package of models, failed with {type(error).__name__}: {message}; "
            "--debug shows where. Please report it to its authors."
        )
    return (
        f"internal error ({type(error).__name__}: {message}); --debug shows where. "
        "Please report it."
    )
