"""Small experanto recordings of random numbers, and of simulated mice."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from omnimouse_model import simulate
from omnimouse_model.data.session import Session
from omnimouse_model.simulate import simulation
from omnimouse_model.storage.write import cache_dir
from tests.model.experanto_folder import write_spikes, write_stream, write_videos

WEEK_S = 7 * 86400.0
SECONDS_PER_TRIAL = 5
TIERS = ("train", "train", "validation", "final_test_1")
_textures = cache(simulation.draw_textures)


def write_session(
    folder: Path,
    n_neurons: int = 40,
    repeats: int = 1,
    trial_s: int = SECONDS_PER_TRIAL,
    *,
    is_spiking: bool = False,
) -> Path:
    """Write an experanto folder: 5-s videos of four tiers, behaviour, responses or spikes."""
    tiers = TIERS * repeats
    seconds = trial_s * len(tiers)
    draw = np.random.default_rng(7)
    if is_spiking:
        units = [np.sort(draw.uniform(0, seconds, 8 * seconds)) for _ in range(n_neurons)]
        write_spikes(folder / "spikes", units, 0.0, seconds)
    else:
        rates = draw.gamma(2.0, 5.0, (seconds * 30 + 1, n_neurons)).astype(np.float32)
        _write_stream(folder / "responses", rates, 30.0, 0.0, seconds)
    eye = np.cumsum(draw.normal(size=((seconds + 2) * 20, 4)), axis=0)
    _write_stream(folder / "eye_tracker", eye, 20.0, -1.0, seconds + 0.9)
    run = np.abs(np.cumsum(draw.normal(size=((seconds + 2) * 20, 1)), axis=0))
    _write_stream(folder / "treadmill", run, 20.0, -1.0, seconds + 0.9)
    shape = (trial_s * 30, 36, 64)
    videos = [draw.integers(0, 256, shape).astype(np.uint8) for _ in tiers]
    rows = [
        {"tier": tier, "trial_idx": k, "condition_hash": f"c{k}", "valid_trial": True}
        for k, tier in enumerate(tiers)
    ]
    write_videos(folder / "screen", videos, rows)
    return folder


@contextmanager
def rough_calibration() -> Iterator[None]:
    """Simulate with rates that were calibrated with 3 videos instead of 18.

    Pictures of one seed are drawn once. Both take longer than a minute of a mouse.
    """
    with (
        patch.object(simulation, "draw_textures", _textures),
        patch.object(simulation, "N_BLOCKS", 3),
    ):
        yield


def simulate_mouse(
    folder: Path,
    n: int,
    minutes: float,
    *,
    tests: int = 1,
    clips: int = 1,
    times: int,
    number: int = 1,
) -> Path:
    """Simulate a mouse of `n` neurons; `clips` of its clips are shown `times` times.

    Mice of other numbers have other neurons and see the same pictures. Each mouse is
    simulated once for all processes of tests, and copied.
    """
    kept = _folder_of_mice() / f"{number}-{n}-{minutes}-{tests}-{clips}-{times}"
    if not kept.exists():
        held_out = simulate.HeldOut(1, tests, clips, times)
        key, seeds = f"8000{number}-1-1", (10 + number, 12)
        spec = simulate.MouseSpec("small", key, *seeds, n, minutes, held_out)
        with rough_calibration(), TemporaryDirectory(dir=kept.parent) as scratch:
            written = simulate.write_session(spec, Path(scratch) / kept.name)
            try:
                written.rename(kept)
            except OSError:
                if not kept.exists():  # else another process was faster
                    raise
    return Path(shutil.copytree(kept, folder))


@cache
def _folder_of_mice() -> Path:
    """Make the folder of this version of the simulator; delete those of last week."""
    sources = [Path(__file__), *sorted(Path(simulate.__file__).parent.rglob("*.py"))]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources))
    folder = cache_dir() / "test_mice" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    for other in folder.parent.iterdir():  # which no other run still needs
        with suppress(FileNotFoundError):  # another process deletes it, too
            if other.stat().st_mtime < time.time() - WEEK_S:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def with_trials(session: Session, t_on: np.ndarray, t_off: np.ndarray) -> Session:
    """Return the session with trials at other times; kinds and tiers repeat."""
    rows = np.arange(len(t_on)) % len(session.trials.t_on)
    table = {f.name: getattr(session.trials, f.name) for f in fields(session.trials)}
    columns = {
        name: column[rows] for name, column in table.items() if isinstance(column, np.ndarray)
    }
    times = {"t_on": np.asarray(t_on, float), "t_off": np.asarray(t_off, float)}
    return replace(session, trials=replace(session.trials, **(columns | times)))


def _write_stream(folder: Path, data: np.ndarray, rate_hz: float, start: float, end: float) -> None:
    more: dict[str, Any] = {"end_time": float(end)}
    if folder.name == "responses":
        more["neuron_properties"] = {"unit_ids": "meta/unit_ids.npy"}
    write_stream(folder, data, rate_hz, start, **more)
    if folder.name == "responses":
        np.save(folder / "meta" / "unit_ids.npy", np.arange(data.shape[1]))
