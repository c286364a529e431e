"""`omnimouse demo`: the first two minutes, in a window or as a report."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--headless",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave a report with pictures in this folder; needs no display.",
)
@click.option("--model", default="demo", help="A predictor's name, or a checkpoint.")
def command(out: Path | None, model: str) -> None:
    """Open the demo session with the demo model, a preset chosen.

    With --headless the same window is opened on a virtual display and worked by real
    mouse and key events; OUT/index.html shows it, and compares what was on screen with
    what the library computes.
    """
    from omnimouse_app.screen import has_display

    if out is not None:
        _leave_report(out, model)
        return
    if not has_display():
        raise click.ClickException(
            "There is no display here: use `omnimouse demo --headless demo_report`."
        )
    from omnimouse_app.opening import launch

    launch(_session(), model, block=True)


def _session() -> Path:
    from omnimouse_model.demo import demo_session

    click.echo("Demo session (simulated here the first time, under a minute) …")
    return demo_session()


def _leave_report(out: Path, model: str) -> None:
    from omnimouse_app.screen import has_display, run_on_virtual_display

    if not has_display():
        arguments = ["demo", "--headless", str(out), "--model", model]
        sys.exit(run_on_virtual_display(arguments))
    folder = _session()
    with _own_settings():
        from omnimouse_app.demo_report import write_report

        click.echo("Window, strokes and report …")
        click.echo(f"Report: {write_report(out, folder, model)}")


@contextmanager
def _own_settings() -> Iterator[None]:
    """Keep the user's napari settings out of the report, and the report out of them."""
    with tempfile.TemporaryDirectory(prefix="omnimouse-demo-") as scratch:
        chosen = {
            "NAPARI_CONFIG": str(Path(scratch) / "napari.yaml"),
            "OMNIMOUSE_CONFIG": scratch,
        }
        before = {name: os.environ.get(name) for name in chosen}
        os.environ.update(chosen)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
