"""`omnimouse train`: run or resume a training config."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import click


@click.command("train")
@click.argument("config")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run; a run that is there already goes on.",
)
@click.option(
    "--mice",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the simulated training mice; generated where they are missing. "
    "[default: the cache]",
)
@click.option("--steps", type=int, help="Stop after this many steps; resume later.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--threads", type=int, help="CPU threads. [default: all cores]")
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the averaged weights here (.safetensors) when done.",
)
def command(
    config: str,
    out: Path,
    mice: Path | None,
    steps: int | None,
    device: str,
    threads: int | None,
    export: Path | None,
) -> None:
    """Train CONFIG: "demo", or a YAML file of the same form.

    Ctrl-C saves and stops; the same command goes on from there.
    """
    import torch

    from omnimouse_model.demo import cache_dir
    from omnimouse_model.predict.loading import resolve_device
    from omnimouse_model.train.config import config_path, read_config
    from omnimouse_model.train.loop import train

    if threads:
        torch.set_num_threads(threads)
    settings = read_config(config_path(config))
    folder = mice or cache_dir() / "mice"
    sessions = [_training_session(folder, choice) for choice in settings.sessions]
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)
        click.echo("stopping after this step …", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    def report(step: int, facts: dict[str, float]) -> None:
        if step % 20 == 0 or "video_behavior" in facts:
            words = " ".join(f"{k} {v:.4g}" for k, v in facts.items() if k != "step")
            click.echo(f"step {step}/{settings.total_steps} {words}", err=True)

    train(
        settings,
        sessions,
        out,
        device=resolve_device(device),
        max_steps=steps,
        on_step=report,
        cancelled=lambda: bool(stopping),
    )
    if export is not None:
        from omnimouse_model.train.export import export_run

        click.echo(f"wrote {export_run(out, export, settings)}")


def _training_session(folder: Path, choice: Any) -> Any:
    from omnimouse_model.simulate import TRAINING_MICE, write_session
    from omnimouse_model.train.batches import open_training_session

    given = Path(choice.mouse)
    if given.is_dir():
        return open_training_session(given, choice)
    specs = {spec.name: spec for spec in TRAINING_MICE}
    if choice.mouse not in specs:
        raise click.BadParameter(
            f"{choice.mouse!r} is neither a session folder nor one of {list(specs)}."
        )
    click.echo(f"mouse {choice.mouse} …", err=True)
    place = write_session(specs[choice.mouse], folder / choice.mouse)
    return open_training_session(place, choice)
