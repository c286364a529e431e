"""`omnimouse simulate`: write simulated mice as session folders with ground truth."""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from omnimouse_app.cli.output import emit
from omnimouse_app.cli.stopping import interruptible
from omnimouse_model.simulate import (
    DEMO_MICE,
    TRAINING_MICE,
    MouseSpec,
    open_truth,
    write_session,
)
from omnimouse_model.simulate.specs import RATE_HZ

SPECS = {spec.name: spec for spec in DEMO_MICE}


@click.command("simulate")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--mouse",
    "mice",
    multiple=True,
    default=("all",),
    show_default=True,
    type=click.Choice(["all", *SPECS]),
    help="Which mouse; may be given several times. 'all' are the eight for training.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(out: Path, mice: tuple[str, ...], as_json: bool) -> None:
    """Write simulated mice into the folder OUT, one session folder per mouse.

    'demo' and 'mouse-1' to 'mouse-7' are what the demo model is trained on.
    'demo-shown' is another recording of the neurons of 'demo', and 'unseen' a mouse
    kept for later. Sessions that are already there are left as they are.
    """
    with interruptible():
        rows = [_write(spec, out, quiet=as_json) for spec in _chosen(mice)]
    emit(rows, as_json=as_json, title="Single-trial ceilings (median over neurons)")


def _chosen(mice: tuple[str, ...]) -> list[MouseSpec]:
    names = dict.fromkeys(
        name
        for mouse in mice
        for name in ([s.name for s in TRAINING_MICE] if mouse == "all" else [mouse])
    )
    return [SPECS[name] for name in names]


def _write(spec: MouseSpec, out: Path, *, quiet: bool) -> dict[str, Any]:
    folder, start_s = out / spec.name, time.perf_counter()
    if quiet:
        write_session(spec, folder)
    else:
        label = f"{spec.name} ({spec.n_neurons} neurons, {spec.minutes:g} min)"
        # `bar.update` takes the increment, not the position.
        with click.progressbar(length=100, label=label) as bar:
            write_session(
                spec, folder, lambda done: bar.update(int(100 * done) - bar.pos)
            )
    return _row(spec, folder, time.perf_counter() - start_s)


def _row(spec: MouseSpec, folder: Path, wall_s: float) -> dict[str, Any]:
    ceilings = open_truth(folder).ceilings
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "name": "simulated",
        "mouse": spec.name,
        "session": spec.data_key,
        "n_neurons": spec.n_neurons,
        "value": spec.n_samples / RATE_HZ / 60,
        "unit": "min",
        "ceiling_drive": float(np.median(ceilings.drive)),
        "ceiling_full": float(np.median(ceilings.full)),
        "size_mb": size / 1e6,
        "wall_s": wall_s,
    }
