"""Small ALF folders of the International Brain Laboratory, from their documentation."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SECONDS = 60.0
CHANNELS = 12
REGIONS = (385, 385, 672, -672)
"""Ids of VISp and, in both hemispheres, CP, in turn on the channels."""


@dataclass
class ProbeFiles:
    """What is written for one probe.

    Attributes
    ----------
    name, sorter, revision
        Names of the folders; "" for none.
    n_units
        Number of units; the last one has no spikes.
    seed
        Seed of the numbers.
    """

    name: str = "probe00"
    sorter: str = "pykilosort"
    revision: str = ""
    n_units: int = 6
    seed: int = 5


@dataclass
class AlfSession:
    """An ALF session that a test has written: its folder and its contents.

    Attributes
    ----------
    path, probe
        Folder of the session, and the one with the spikes of its first probe.
    spikes
        Name of a probe -> times and units of its spikes.
    trials
        Columns of the trial table.
    """

    path: Path
    probe: Path
    spikes: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    trials: dict[str, np.ndarray] = field(default_factory=dict)


def write_alf(folder: Path, *probes: ProbeFiles, n_trials: int = 20) -> AlfSession:
    """Write a session with some probes, one by default."""
    probes = probes or (ProbeFiles(),)
    session = AlfSession(folder, _folder(folder, probes[0]))
    for probe in probes:
        session.spikes[probe.name] = _write_probe(session.path, probe)
    alf = session.path / "alf"
    session.trials = trial_columns(n_trials)
    write_table(alf / "_ibl_trials.table.pqt", session.trials)
    times = np.arange(0.5, SECONDS - 0.5, 0.01)
    np.save(alf / "_ibl_wheel.timestamps.npy", times)
    # Still for the first half, then one turn in 10 s.
    turned = np.maximum(times - SECONDS / 2, 0.0) * 2 * np.pi / 10
    np.save(alf / "_ibl_wheel.position.npy", -turned)
    return session


def trial_columns(n_trials: int) -> dict[str, np.ndarray]:
    """Return a trial table; the last trial has no movement."""
    begin = 2.0 + np.arange(n_trials) * (SECONDS - 6.0) / max(n_trials, 1)
    draw = np.random.default_rng(8)
    side = draw.random(n_trials) < 0.5
    contrast = draw.choice([0.0, 0.0625, 0.25, 1.0], n_trials)
    moved = begin + 0.6
    moved[-1:] = np.nan
    return {
        "intervals_0": begin,
        "intervals_1": begin + 2.4,
        "stimOn_times": begin + 0.25,
        "goCue_times": begin + 0.26,
        "firstMovement_times": moved,
        "response_times": begin + 1.0,
        "feedback_times": begin + 1.01,
        "choice": draw.choice([-1, 1], n_trials).astype(np.int64),
        "feedbackType": draw.choice([-1, 1], n_trials).astype(np.int64),
        "contrastLeft": np.where(side, contrast, np.nan),
        "contrastRight": np.where(side, np.nan, contrast),
        "probabilityLeft": draw.choice([0.2, 0.5, 0.8], n_trials),
        "rewardVolume": np.full(n_trials, 1.5),
    }


def write_table(path: Path, columns: Mapping[str, object]) -> Path:
    """Write a Parquet table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def replace(written: AlfSession, name: str, content: object) -> AlfSession:
    """Replace a file of the first probe, or of `alf` where its name begins with "_ibl".

    An array, columns of a table, text or bytes take its place; None removes it.
    """
    path = (written.path / "alf" if name.startswith("_ibl") else written.probe) / name
    path.unlink(missing_ok=True)
    if isinstance(content, Mapping):
        write_table(path, content)
    elif isinstance(content, str | bytes):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif content is not None:
        np.save(path, content)
    return written


def _folder(session: Path, probe: ProbeFiles) -> Path:
    names = (probe.name, probe.sorter, probe.revision)
    return session.joinpath("alf", *(name for name in names if name))


def _write_probe(session: Path, probe: ProbeFiles) -> tuple[np.ndarray, np.ndarray]:
    folder = _folder(session, probe)
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(probe.seed)
    n, n_spikes = probe.n_units, 400 * probe.n_units
    unit = draw.integers(0, max(1, n - 1), n_spikes).astype(np.uint32)
    times = np.sort(draw.uniform(0.1, SECONDS, n_spikes))
    # Unit 0 fires only in the first 15 s.
    unit[(unit == 0) & (times > 15.0)] = min(1, n - 1)
    arrays: dict[str, np.ndarray] = {
        "spikes.times": times,
        "spikes.clusters": unit,
        "clusters.channels": (np.arange(n) * 2 % CHANNELS).astype(np.int64),
        "channels.brainLocationIds_ccf_2017": np.resize(REGIONS, CHANNELS),
        "channels.mlapdv": np.arange(3.0 * CHANNELS).reshape(CHANNELS, 3),
        "channels.localCoordinates": np.stack(
            [np.resize([16.0, 48.0], CHANNELS), 20.0 * np.arange(CHANNELS)], axis=1
        ),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    with (folder / "clusters.uuids.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["uuids"], *([f"unit-{k}"] for k in range(n))])
    metrics = {
        "cluster_id": np.arange(n),
        "label": np.resize([1.0, 2 / 3, 1 / 3, 0.0], n),
        "presence_ratio": np.resize([0.25, 1.0, 0.9], n),
        "firing_rate": np.bincount(unit, minlength=n) / SECONDS,
        "slidingRP_viol": np.resize([1, 0], n).astype(np.int64),
        "ks2_label": ["good", *["mua"] * (n - 1)],
    }
    write_table(folder / "clusters.metrics.pqt", metrics)
    return times, unit
