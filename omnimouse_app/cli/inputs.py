"""Options and arguments that several commands share: sessions, device, formats."""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

import click

from omnimouse_app.cli.terminal import Progress, interruptible
from omnimouse_model.storage.files import real_path
from omnimouse_model.storage.write import check_output

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

Option = Callable[[Any], Any]
"""A decorator that adds an option to a command."""
_ROOT = real_path(__file__).parents[2]
IN_CLONE = (_ROOT / "tests" / "bench").is_dir()
"""Whether this is the source code with its tests and tasks, and no installed wheel."""

DEMO_SESSIONS = ("demo", "unseen", "spikes", "unseen-spikes")
"""Names of generated sessions; `./demo` is a folder of that name."""

COUNT: Final = click.IntRange(min=1)


def repeated(name: str, variable: str, help: str, **settings: Any) -> Option:
    """Return an option that may be given several times, as its help says."""
    return click.option(name, variable, multiple=True, help=f"{help} May be repeated.", **settings)


sessions_option = repeated(
    *("--session", "sessions"),
    help="'demo', 'unseen', 'spikes', 'unseen-spikes' or a session's folder.",
    default=("demo",),
)


def model_option(default: str = "demo") -> Option:
    """Return `--model`, one predictor."""
    return click.option(
        "--model", default=default, help="Name of a predictor, a checkpoint file or folder."
    )


device_option = click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Where the model computes.",
)
max_windows_option = click.option(
    "--max-windows", type=COUNT, help="At most this many windows of a session, spread over it."
)
metric_option = click.option(
    "--metric",
    help="correlation, cc_norm, fve or bits_per_spike; its definition is printed. By "
    "default bits_per_spike if the first model predicts counts, else correlation.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)


class OutputPath(click.Path):
    """Path of a file or folder that a command writes, checked before its work."""

    def __init__(self, *, makes_folders: bool = True, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)
        self._makes_folders = makes_folders

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; raise `DriveError` if nothing can be written there."""
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        check_output(path, makes_folders=self._makes_folders)
        return path


def file_option(*names: str, help: str, makes_folders: bool = False, **settings: Any) -> Option:
    """Return an option for the path of a file that is written."""
    kind = OutputPath(dir_okay=False, makes_folders=makes_folders)
    return click.option(*names, type=kind, help=help, **settings)


def folder_option(*names: str, help: str, **settings: Any) -> Option:
    """Return an option for the path of a folder that is written."""
    return click.option(*names, type=OutputPath(file_okay=False), help=help, **settings)


def places_option(name: str, variable: str, help: str) -> Option:
    """Return an option for sessions, or folders of them, that exist."""
    return repeated(name, variable, help, type=click.Path(path_type=Path, exists=True))


def threads_option(default: int | None = None, help: str = "CPU threads.") -> Option:
    """Return `--threads`, which sets the threads of torch; all cores by default."""

    def set_threads(ctx: click.Context, param: click.Parameter, n: int | None) -> None:
        if n:
            import torch

            torch.set_num_threads(n)

    return click.option(
        "--threads",
        type=COUNT,
        default=default,
        show_default=True if default else "all cores",
        expose_value=False,
        callback=set_threads,
        help=help,
    )


def scheduler_option(tasks: str) -> Option:
    """Return `--scheduler`, which refuses a wrong address before any work."""

    def check(ctx: click.Context, param: click.Parameter, address: str | None) -> str | None:
        if address is not None:
            from omnimouse_model.inference.dask_map import checked_scheduler

            checked_scheduler(address)
        return address

    return click.option(
        "--scheduler",
        metavar="ADDRESS",
        callback=check,
        help=f"Compute {tasks} on workers of a Dask scheduler: tls://…, or local:4.",
    )


READING: dict[str, tuple[Any, str]] = {
    "rate_hz": (float, "Responses per second, if no file states it."),
    "recording_rate_hz": (
        click.FloatRange(min=0, min_open=True),
        "Responses per second before they were upsampled, if no file states it.",
    ),
    "series": (str, "Kind of responses, if a session has several kinds."),
    "unit_tables": (
        click.Path(exists=True),
        "CSV file with unit_id, or folder of such files: properties of neurons.",
    ),
    "quality": (str, "Least quality label of units (spikes), or the text it is."),
    "min_rate_hz": (click.FloatRange(min=0), "Least spikes per second of units."),
    "min_presence": (
        click.FloatRange(0, 1),
        "Least share of the recording in which a unit has spikes.",
    ),
    "trial_event": (str, "Event at which trials begin (spikes)."),
    "split_seed": (int, "Seed of the split of trials without tiers."),
}
"""Field of `ReadOptions` -> type and help of its option."""


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for properties that a session's files lack, as `reading`.

    The command receives a dict of keywords for `open_session`.
    """

    @click.option("--all-rois", is_flag=True, help="Include regions that are marked as no cells.")
    @wraps(command)
    def with_reading(all_rois: bool, **values: Any) -> None:
        from omnimouse_model.data.readers.build.notes import ReadOptions

        # Only options that differ from their defaults are passed on.
        stated = {name: values.pop(name) for name in READING}
        command(reading=ReadOptions(cells_only=not all_rois, **stated).changed(), **values)

    decorated: Callable[..., None] = with_reading
    for name, (kind, text) in reversed(READING.items()):
        decorated = click.option(f"--{name.replace('_', '-')}", type=kind, help=text)(decorated)
    return decorated


def options_text(reading: Mapping[str, Any]) -> str:
    """Return the options of `reading_options` as they are typed, with a space before.

    Examples
    --------
    >>> from omnimouse_app.cli.inputs import options_text
    >>> options_text({"quality": "good", "cells_only": False})
    ' --quality good --all-rois'
    """
    return "".join(
        " --all-rois"
        if name == "cells_only"
        else f" --{name.replace('_', '-')} {quote(str(value))}"
        for name, value in reading.items()
    )


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--json` and `--markdown`, as `as_json` and `as_markdown`."""
    markdown_option = click.option(
        "--markdown",
        "as_markdown",
        is_flag=True,
        help="Print tables in Markdown, as in the documents.",
    )
    return json_option(markdown_option(command))


def named_session(name: str, **options: Any) -> "Session":
    """Open a generated session by its name, or a path; see `open_session`."""
    from omnimouse_model.data.open import open_session

    return open_session(session_folder(name), **options)


def session_folder(name: str) -> Path | str:
    """Return the path or address of a session; a generated one is made once."""
    from omnimouse_model.data.hub.exchange import hub_place
    from omnimouse_model.storage.web import web_address

    if name not in DEMO_SESSIONS:
        # An address stays a string: `Path` would merge its two slashes.
        return name if web_address(name) or hub_place(name) else Path(name)
    from omnimouse_model.progress import CallbackJob
    from omnimouse_model.simulate.demo import SESSIONS

    with interruptible(), Progress() as progress:
        text = f"making the {name} session"
        return SESSIONS[name](CallbackJob(lambda done, of, _: progress(done, of, text)))


def require_source_code() -> None:
    """Make `tests.bench` importable: benchmarks and drivers of browsers.

    Raises
    ------
    click.ClickException
        This is an installed wheel, which does not contain them.
    """
    if not IN_CLONE:
        raise click.ClickException(
            "Benchmarks and browser drivers are not part of the installed package. "
            "Clone the repository and run the command there."
        )
    sys.path.insert(0, str(_ROOT))  # before a module `tests` of another package
