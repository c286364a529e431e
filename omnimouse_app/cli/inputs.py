"""What several commands are given: sessions by name, a device."""

from typing import TYPE_CHECKING

import click

from omnimouse_app.cli.output import Progress

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


def named_session(name: str, progress: Progress) -> "Session":
    """Open 'demo', 'unseen' or a session's folder; the first two are made once."""
    from omnimouse_model.data.open import open_session

    if name in ("demo", "unseen"):
        from omnimouse_model import demo

        make = demo.demo_session if name == "demo" else demo.unseen_session
        what = f"making the {name} session"
        return open_session(make(lambda share: progress(int(100 * share), 100, what)))
    return open_session(name)
