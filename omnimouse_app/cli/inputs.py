"""What several commands are given: sessions by name, a device."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

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


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--json` and `--markdown`, as `as_json` and `as_markdown`."""
    for name, what in (
        ("markdown", "Tables in Markdown, as in the documents."),
        ("json", "One JSON object, nothing else."),
    ):
        command = click.option(f"--{name}", f"as_{name}", is_flag=True, help=what)(
            command
        )
    return command


DEMO_SESSIONS = ("demo", "unseen")
"""Names that stand for a session; `./demo` is a folder of that name."""


def named_session(name: str, progress: Progress) -> "Session":
    """Open 'demo', 'unseen' or a session's folder."""
    from omnimouse_model.data.open import open_session

    return open_session(session_folder(name, progress))


def session_folder(name: str, progress: Progress) -> Path:
    """Where a session is; 'demo' and 'unseen' are made the first time."""
    if name not in DEMO_SESSIONS:
        return Path(name)
    from omnimouse_model import demo

    make = demo.demo_session if name == "demo" else demo.unseen_session
    what = f"making the {name} session"
    with interruptible():
        return make(lambda share: progress(int(100 * share), 100, what))
