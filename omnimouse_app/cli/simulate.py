"""`omnimouse simulate`: write simulated mice and animals with spikes."""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from omnimouse_app.cli.inputs import OutputPath, json_option, repeated
from omnimouse_app.cli.terminal import emit, interruptible, n_bytes
from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.metrics.information import bits_per_spike
from omnimouse_model.progress import QUIET, CallbackJob
from omnimouse_model.simulate import (
    DEMO_FURTHER,
    DEMO_MICE,
    TRAINING_MICE,
    MouseSpec,
    open_truth,
    write_session,
)
from omnimouse_model.simulate.specs import RATE_HZ
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    BEFORE,
    STEP_S,
    laboratory_rates,
    write_animal,
)

SPECS = {spec.name: spec for spec in (*DEMO_MICE, *DEMO_FURTHER)}
TRIALS = WindowSpec(3.0, 50.0, responses="count", align="trial", trial_offset_s=-BEFORE * STEP_S)
"""Trials whose true rates are known."""


@click.command("simulate")
@click.argument("out", type=OutputPath(file_okay=False))
@repeated(
    *("--mouse", "mice"),
    help="A mouse or an animal; 'all' are the eight training mice.",
    default=("all",),
    type=click.Choice(["all", *SPECS, *ANIMALS]),
)
@json_option
def command(out: Path, mice: tuple[str, ...], as_json: bool) -> None:
    """Write simulated mice into the folder OUT, one session folder per mouse.

    The demo model is trained on 'demo' and 'mouse-1' to 'mouse-7', and in its last
    phases on further recordings of the neurons of 'demo': 'demo-3' to 'demo-7'.
    'demo-shown' is another one, on which no model is trained, and none on 'unseen'.
    'spikes' to 'spikes-6', on which 'ndt-demo' is trained, and 'unseen-spikes' are
    animals with spikes, one .npz file each. Existing sessions are not written again.
    """
    # A dict as an ordered set: an animal that is named twice is written once.
    animals = list(dict.fromkeys(name for name in mice if name in ANIMALS))
    with interruptible():
        rows = [_write(spec, out, is_quiet=as_json) for spec in _specs(mice)]
        rows += [_write_spikes(name, out) for name in animals]
    title = "Single-trial ceilings (median over neurons)"
    if animals:
        title += "; bits per spike of the true rates"
    emit(rows, as_json=as_json, title=title)


def _specs(mice: tuple[str, ...]) -> list[MouseSpec]:
    # A dict as an ordered set: a mouse that is named twice is written once.
    names = dict.fromkeys(
        name
        for mouse in mice
        if mouse not in ANIMALS
        for name in ([s.name for s in TRAINING_MICE] if mouse == "all" else [mouse])
    )
    return [SPECS[name] for name in names]


def _write(spec: MouseSpec, out: Path, *, is_quiet: bool) -> dict[str, Any]:
    folder, start_s = out / spec.name, time.perf_counter()
    if is_quiet:
        write_session(spec, folder, QUIET)
    else:
        label = f"{spec.name} ({spec.n_neurons} neurons, {spec.minutes:g} min)"
        with click.progressbar(length=100, label=label) as bar:
            # `update` takes the increment, not the position.
            write_session(
                spec,
                folder,
                CallbackJob(lambda done, total, _: bar.update(int(100 * done / total) - bar.pos)),
            )
    return _row(spec, folder, time.perf_counter() - start_s)


def _row(spec: MouseSpec, folder: Path, wall_s: float) -> dict[str, Any]:
    # The ceiling is known, since the noise is simulated; a model cannot score higher.
    ceilings = open_truth(folder).ceilings
    return {
        "name": "simulated",
        "mouse": spec.name,
        "session": spec.data_key,
        "n_neurons": spec.n_neurons,
        "value": spec.n_samples / RATE_HZ / 60,
        "unit": "min",
        "ceiling_drive": float(np.median(ceilings.drive)),
        "ceiling_full": float(np.median(ceilings.full)),
        "size_mb": n_bytes(folder) / 1e6,
        "wall_s": wall_s,
    }


def _write_spikes(name: str, out: Path) -> dict[str, Any]:
    start_s = time.perf_counter()
    path = write_animal(name, out)
    wall_s = time.perf_counter() - start_s
    session = open_session(path)
    starts = session.trials.t_on - BEFORE * STEP_S
    counts = [session.window(float(start), TRIALS).responses for start in starts]
    return {
        "name": "simulated",
        "mouse": name,
        "session": session.id,
        "n_neurons": session.n_neurons,
        "value": session.duration_s / 60,
        "unit": "min",
        "ceiling_bits": bits_per_spike(laboratory_rates(name), np.stack(counts)).value,
        "size_mb": n_bytes(path) / 1e6,
        "wall_s": wall_s,
    }
