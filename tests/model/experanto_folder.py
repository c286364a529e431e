"""Writes small experanto session folders for tests, of every kind a reader may meet."""

import atexit
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import yaml

SIZE = (36, 64)


@dataclass(frozen=True)
class Trial:
    """One trial of the screen: kind, tier, frames, and anything else to store."""

    kind: str
    tier: str | None = None
    frames: int = 1
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        return self.frames if self.kind == "video" else 1


TRIALS = (
    Trial("blank"),
    Trial("video", "train", 120),
    Trial("image", "train"),
    Trial("INVALID"),
    Trial("video", "validation", 120),
    Trial("blank", "blank"),
    Trial("video", "final_test_1", 90),
    Trial("video", "oracle", 70),
    Trial("blank"),
)


@dataclass(frozen=True)
class Folder:
    """What to write. Seeded: equal folders hold equal numbers."""

    t0: float = 1000.0
    n_neurons: int = 9
    rate_hz: float = 30.0
    seconds: float = 16.0
    mem: bool = True
    dtype: str = "float32"
    shifts: bool = True
    trials: tuple[Trial, ...] = TRIALS
    size: tuple[int, ...] = SIZE
    frame_dtype: str = "uint8"
    eye_columns: int = 4
    streams: tuple[str, ...] = ("responses", "screen", "eye_tracker", "treadmill")
    combined: bool = True
    identity: bool = True
    missing: tuple[tuple[int, int], ...] = ()
    seed: int = 3


_written: dict[str, Path] = {}
"""Small folders that were written once, to be copied."""


def write_folder(root: Path, what: Folder | None = None, **changes: Any) -> Path:
    """Write a session folder and return it."""
    what = Folder(**changes) if what is None else what
    if what.n_neurons > 9 or what.seconds > 16:
        return _write(root, what)
    if repr(what) not in _written:
        scratch = Path(mkdtemp(prefix="experanto-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        _written[repr(what)] = _write(scratch / "s", what)
    source = _written[repr(what)]
    shutil.copytree(source, root, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return root


def _write(root: Path, what: Folder) -> Path:
    draw = np.random.default_rng(what.seed)
    root.mkdir(parents=True, exist_ok=True)
    if what.identity:
        save_json(root / "meta.json", {"data_key": "77-1-2", "animal_id": 77})
    if "responses" in what.streams:
        _write_responses(root / "responses", what, draw)
    if "eye_tracker" in what.streams:
        n = int((what.seconds + 2) * 20)
        eye = smooth_traces(draw, n, what.eye_columns)
        if what.eye_columns == 4:
            eye[:, 1] = np.gradient(eye[:, 0]) * 20
        for begin, end in what.missing:
            eye[begin:end] = np.nan
        write_stream(root / "eye_tracker", eye, 20.0, what.t0 - 0.75)
    if "treadmill" in what.streams:
        run = np.abs(smooth_traces(draw, int((what.seconds + 2) * 100), 1))
        write_stream(root / "treadmill", run, 100.0, what.t0 - 0.9, mem=True)
    if "screen" in what.streams:
        write_screen(root / "screen", what, draw)
    return root


def smooth_traces(draw: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Slow random traces, (rows, columns) float64."""
    noise = draw.normal(size=(rows + 20, columns))
    kernel = np.ones(20) / 20
    traces = [np.convolve(c, kernel, "same")[:rows] for c in noise.T]
    return np.stack(traces, axis=1) * 5 + 30


def _write_responses(folder: Path, what: Folder, draw: np.random.Generator) -> None:
    n, rows = what.n_neurons, int(what.seconds * what.rate_hz) + 1
    data = draw.gamma(1.0, 4.0, (rows, n))
    data[:, n // 2] *= 0.05
    data = data.astype(what.dtype)
    shifts = np.sort(draw.uniform(0, 0.12, n))[draw.permutation(n)]
    phase = {"phase_shift_per_signal": what.shifts}
    write_stream(folder, data, what.rate_hz, what.t0, mem=what.mem, **phase)
    if what.shifts:
        np.save(folder / "meta" / "phase_shifts.npy", shifts)
    np.save(folder / "meta" / "unit_ids.npy", np.arange(100, 100 + n))
    np.save(folder / "meta" / "fields.npy", np.arange(n) % 3)
    xyz = draw.integers(-900, 900, (n, 3))
    np.save(folder / "meta" / "cell_motor_coordinates.npy", xyz)
    np.save(folder / "meta" / "area.npy", np.array(["V1", "LM"])[np.arange(n) % 2])


def write_stream(
    folder: Path,
    data: np.ndarray,
    rate_hz: float,
    start: float,
    *,
    mem: bool = False,
    **more: Any,
) -> None:
    """Write one `sequence` device with its statistics."""
    (folder / "meta").mkdir(parents=True)
    if mem:
        data.tofile(folder / "data.mem")
    else:
        np.save(folder / "data.npy", data)
    known = np.where(np.isnan(data).all(axis=0), 0, data)
    mean = np.nanmean(known, axis=0, dtype=np.float64)
    std = np.nanstd(known, axis=0, dtype=np.float64)
    np.save(folder / "meta" / "means.npy", np.squeeze(mean))
    np.save(folder / "meta" / "stds.npy", np.squeeze(std))
    meta = {
        "modality": "sequence",
        "sampling_rate": rate_hz,
        "start_time": start,
        "end_time": start + (len(data) - 1) / rate_hz,
        "n_signals": data.shape[1],
        "n_timestamps": len(data),
        "dtype": str(data.dtype),
        "is_mem_mapped": mem,
        "phase_shift_per_signal": False,
        **more,
    }
    (folder / "meta.yml").write_text(yaml.safe_dump(meta))


def write_spikes(folder: Path, spikes: list[np.ndarray], start_s: float, end_s: float) -> None:
    """Write the spike times of units, in the place of others."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "meta").mkdir(parents=True)
    np.concatenate(spikes).tofile(folder / "spikes.mem")
    np.save(folder / "meta" / "unit_ids.npy", np.arange(len(spikes)) + 7)
    offsets = np.cumsum([0, *(len(s) for s in spikes)]).tolist()
    meta = {"modality": "spikes", "is_mem_mapped": True, "dtype": "float64"}
    meta |= {"spike_indices": offsets, "start_time": start_s, "end_time": end_s}
    (folder / "meta.yml").write_text(yaml.safe_dump(meta))


def write_screen(folder: Path, what: Folder, draw: np.random.Generator) -> None:
    """Write the screen: frames whose values tell trial and frame apart."""
    (folder / "meta").mkdir(parents=True)
    (folder / "data").mkdir()
    at, slot, onsets, stored = what.t0 + 0.2, 0, [], {}
    for number, trial in enumerate(what.trials):
        key = f"{number:05d}"
        stored[key] = trial_meta(trial, slot, what.size)
        step = 1 / 30 if trial.kind == "video" else 0.45
        onsets.append(at + np.arange(trial.slots) * step)
        at += trial.slots * step
        slot += trial.slots
        if trial.kind in ("video", "image"):
            shape = (trial.frames, *what.size) if trial.kind == "video" else what.size
            frames = draw.integers(0, 256, shape).astype(what.frame_dtype)
            np.save(folder / "data" / f"{key}.npy", frames)
        (folder / "meta" / f"{key}.yml").write_text(yaml.safe_dump(stored[key]))
    _write_screen_facts(folder, np.concatenate(onsets))
    if what.combined:
        save_json(folder / "combined_meta.json", stored)


def write_videos(
    folder: Path, videos: Iterable[np.ndarray], rows: Iterable[dict[str, Any]]
) -> None:
    """Write a screen of videos one after another at 30 Hz; rows are more metadata."""
    (folder / "meta").mkdir(parents=True)
    (folder / "data").mkdir()
    slot, stored = 0, {}
    for number, (video, more) in enumerate(zip(videos, rows, strict=True)):
        key = f"{number:05d}"
        np.save(folder / "data" / f"{key}.npy", video)
        stored[key] = trial_meta(
            Trial("video", frames=len(video), more=more), slot, video.shape[1:]
        )
        (folder / "meta" / f"{key}.yml").write_text(yaml.safe_dump(stored[key]))
        slot += len(video)
    _write_screen_facts(folder, np.arange(slot) / 30.0)
    save_json(folder / "combined_meta.json", stored)


def _write_screen_facts(folder: Path, times: np.ndarray) -> None:
    np.save(folder / "timestamps.npy", times)
    (folder / "meta.yml").write_text("modality: screen\nframe_rate: 30.0\n")
    np.save(folder / "meta" / "means.npy", np.array(113.0))
    np.save(folder / "meta" / "stds.npy", np.array(59.0))


def trial_meta(trial: Trial, slot: int, size: tuple[int, ...]) -> dict[str, Any]:
    """A trial's metadata as stored."""
    meta: dict[str, Any] = {
        "modality": trial.kind,
        "first_frame_idx": slot,
        "image_size": list(size),
    }
    if trial.tier is not None:
        meta["tier"] = trial.tier
    if trial.kind == "video":
        meta["num_frames"] = trial.frames
    if trial.kind in ("blank", "INVALID"):
        meta["interleave_value"] = 128.0
    return {**meta, **trial.more}


def save_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def edit_yaml(path: Path, **changes: Any) -> None:
    """Change keys of a YAML file; None removes one."""
    meta = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        meta.pop(key, None)
        if value is not None:
            meta[key] = value
    path.write_text(yaml.safe_dump(meta))


def edit_trial(root: Path, key: str, **changes: Any) -> None:
    """Change keys of one trial, in the combined JSON and in its own file."""
    path = root / "screen" / "combined_meta.json"
    stored = json.loads(path.read_text())
    stored[key].update(changes)
    save_json(path, stored)
    edit_yaml(root / "screen" / "meta" / f"{key}.yml", **changes)
