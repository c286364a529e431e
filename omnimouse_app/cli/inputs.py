"""Options and arguments that several commands share: sessions, device, formats."""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omnimouse_app.cli.output import Progress
from omnimouse_app.cli.stopping import interruptible

if TYPE_CHECKING:
    from omnimouse_model.data.session import Session

sessions_option = click.option(
    "--session",
    "sessions",
    multiple=True,
    default=("demo",),
    show_default="demo",
    help="'demo', 'unseen' or a session's folder. May be repeated.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Where the model computes.",
)


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for properties that a session's files lack, as `reading`.

    The command receives a dict of keywords for `open_session`.
    """

    @click.option(
        "--rate-hz", type=float, help="Responses per second, where no file says."
    )
    @click.option(
        "--series", help="Which responses, where a session has several kinds."
    )
    @click.option(
        "--all-rois", is_flag=True, help="Also regions that are marked as no cells."
    )
    @wraps(command)
    def with_reading(
        rate_hz: float | None, series: str | None, all_rois: bool, **others: Any
    ) -> None:
        from omnimouse_model.data.read_options import ReadOptions

        # Only options that differ from their defaults are passed on.
        given = ReadOptions(rate_hz=rate_hz, series=series, cells_only=not all_rois)
        command(reading=given.given(), **others)

    return with_reading


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--json` and `--markdown`, as `as_json` and `as_markdown`."""
    for name, what in (
        ("markdown", "Tables in Markdown, as in the documents."),
        ("json", "One JSON object, nothing else."),
    ):
        command = click.option(f"--{name}", f"as_{name}", is_flag=True, help=what)(
            command
        )
    return command


DEMO_SESSIONS = ("demo", "unseen")
"""Names of generated sessions; `./demo` is a folder of that name."""


def named_session(name: str, progress: Progress, **options: Any) -> "Session":
    """Open 'demo', 'unseen' or a session's folder; see `open_session`."""
    from omnimouse_model.data.open import open_session

    return open_session(session_folder(name, progress), **options)


def session_folder(name: str, progress: Progress) -> Path | str:
    """Return the path or address of a session; generate 'demo' or 'unseen' once."""
    from omnimouse_model.data.hub.names import hub_place
    from omnimouse_model.data.io.http_file import web_address

    if name not in DEMO_SESSIONS:
        # An address stays a string: `Path` would merge its two slashes.
        return name if web_address(name) or hub_place(name) else Path(name)
    from omnimouse_model import demo

    make = demo.demo_session if name == "demo" else demo.unseen_session
    what = f"making the {name} session"
    with interruptible():
        return make(lambda share: progress(int(100 * share), 100, what))


def require_source_code() -> None:
    """Raise `click.ClickException` if the benchmarks are not part of this installation.

    The wheel contains neither benchmarks nor the drivers of browsers.
    """
    if find_spec("omnimouse_app.bench") is None:
        raise click.ClickException(
            "Benchmarks and browser drivers are not part of the installed package. "
            "Clone the repository and run the command there."
        )
