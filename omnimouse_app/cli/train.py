"""`omnimouse train`: run or resume a training config."""

from pathlib import Path
from typing import Any

import click

from omnimouse_app.cli.inputs import device_option
from omnimouse_app.cli.stopping import interruptible


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
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Stop after this many steps; resume later.",
)
@device_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads. [default: all cores]",
)
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

    Ctrl-C ends after the step that runs and saves; before the first step it ends at
    once. The same command goes on from there.
    """
    import torch

    from omnimouse_model.cache import cache_dir
    from omnimouse_model.predict.loading import resolve_device
    from omnimouse_model.train.config import config_path, read_config
    from omnimouse_model.train.loop import train

    if threads:
        torch.set_num_threads(threads)
    settings = read_config(config_path(config))
    place = resolve_device(device)
    folder = mice or cache_dir() / "mice"
    for choice in settings.sessions:
        _check_mouse(choice.mouse)
    with interruptible() as stopping:
        sessions = [_training_session(folder, choice) for choice in settings.sessions]

        def report(step: int, facts: dict[str, float]) -> None:
            stopping.has_begun = True
            if step % 20 == 0 or "video_behavior" in facts:
                click.echo(_report_line(step, settings.total_steps, facts), err=True)

        train(
            settings,
            sessions,
            out,
            device=place,
            max_steps=steps,
            on_step=report,
            cancelled=lambda: stopping.is_asked,
        )
    if export is not None:
        from omnimouse_model.train.export import export_run

        click.echo(f"wrote {export_run(out, export, settings)}")


def _report_line(step: int, total: int, facts: dict[str, float]) -> str:
    words = " ".join(f"{k} {v:.4g}" for k, v in facts.items() if k != "step")
    return f"step {step}/{total} {words}"


def _check_mouse(name: str) -> None:
    """Refuse an unknown mouse before the first is simulated."""
    from omnimouse_model.simulate import TRAINING_MICE

    known = [spec.name for spec in TRAINING_MICE]
    if not Path(name).is_dir() and name not in known:
        raise click.BadParameter(
            f"{name!r} is neither a session folder nor one of {', '.join(known)}."
        )


def _training_session(folder: Path, choice: Any) -> Any:
    from omnimouse_model.simulate import TRAINING_MICE, write_session
    from omnimouse_model.train.batches import open_training_session

    given = Path(choice.mouse)
    if given.is_dir():
        return open_training_session(given, choice)
    (spec,) = [spec for spec in TRAINING_MICE if spec.name == choice.mouse]
    click.echo(f"mouse {choice.mouse} …", err=True)
    return open_training_session(write_session(spec, folder / choice.mouse), choice)
