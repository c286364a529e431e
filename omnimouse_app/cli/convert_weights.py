"""`omnimouse convert-weights`: published weights of a baseline as a checkpoint."""

import tempfile
import time
from pathlib import Path
from typing import Any

import click

from omnimouse_app.cli.inputs import json_option
from omnimouse_app.cli.output import echo, emit
from omnimouse_app.cli.progress import interruptible

_SHOWN = 12
"""Placeholders that a message names."""


@click.command("convert-weights")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--family", required=True, metavar="KEY", help="Family of the weights.")
@click.option(
    "--about",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with what the weights do not contain: sessions, config, gray levels.",
)
@click.option(
    "--part", metavar="NAME", help="Mapping that has the weights; by default the largest."
)
@json_option
def command(
    source: Path, target: Path, family: str, about: Path | None, part: str | None, as_json: bool
) -> None:
    """Write published weights SOURCE to TARGET, a file such as model.safetensors.

    SOURCE is a pickle of PyTorch, such as model.pth or last.ckpt. Nothing in it is
    executed: classes of other programs become placeholders, which are listed. No other
    command reads such a file. The file beside TARGET says what was read and assumed.

    Tested on files in the layouts of the public programs, written for this purpose; not
    on the published files themselves.
    """
    from omnimouse_model.errors import CheckpointError
    from omnimouse_model.inference.families import families
    from omnimouse_model.predict.description import save_checkpoint
    from omnimouse_model.storage.files import label
    from omnimouse_model.storage.tensors import read_published
    from omnimouse_model.storage.trees import read_json

    if target.suffix != ".safetensors":
        raise click.UsageError(f"A checkpoint's file ends in .safetensors: {target}")
    if target.exists():
        raise FileExistsError(f"{target} exists: choose another name")
    if family not in families():
        known = ", ".join(families())
        raise ValueError(f"--family is {family[:80]!r}; the installed families are {known}")
    start_s = time.perf_counter()
    with interruptible():
        found = read_published(source, part)
        stated = {} if about is None else read_json(about)
        if not isinstance(stated, dict):
            raise ValueError(f"{about} is no JSON object")
        notes = {
            "source": source.name,
            "part": found.part,
            "settings": found.settings,
            "placeholders": list(found.placeholders),
            "assumed": "the defaults of the family where neither file states a value",
        }
        everything: dict[str, Any] = {**stated, "published": notes}
        # Loaded before it is written in its place, so that no file remains that nobody
        # can load.
        with tempfile.TemporaryDirectory(prefix="omnimouse-") as folder:
            trial = save_checkpoint(Path(folder) / target.name, found.tensors, family, everything)
            try:
                families()[family].load(trial, "cpu")
            except CheckpointError as error:
                # Messages name files by their path, or by folder and name.
                reason = str(error)
                for path, name in ((trial.with_suffix(".json"), "--about"), (trial, source.name)):
                    reason = reason.replace(str(path), name).replace(label(path), name)
                raise CheckpointError(f"{source} does not load as {family}: {reason}") from error
        path = save_checkpoint(target, found.tensors, family, everything)
    row = {
        "name": "checkpoint",
        "value": path.stat().st_size / 2**20,
        "unit": "MiB",
        "path": str(path),
        "family": family,
        "part": found.part,
        "tensors": len(found.tensors),
        "placeholders": list(found.placeholders),
        "seconds": time.perf_counter() - start_s,
    }
    if found.placeholders and not as_json:
        named = ", ".join(found.placeholders[:_SHOWN])
        n_others = len(found.placeholders) - _SHOWN
        more = f" and {n_others} more" if n_others > 0 else ""
        echo(f"not imported: {named}{more}", err=True)
    text = f"{path}: {row['tensors']} tensors of {family}, {row['value']:z,.1f} MiB"
    emit([row], as_json=as_json, text=text)
