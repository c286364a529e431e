"""Small experanto recordings of random numbers."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import yaml

from omnimouse_model.data.session import Session

SECONDS_PER_TRIAL = 5
TIERS = ("train", "train", "validation", "final_test_1")


def write_session(folder: Path, n_neurons: int = 40, repeats: int = 1) -> Path:
    """Write an experanto folder: 5-s videos of four tiers, behaviour, responses."""
    tiers = TIERS * repeats
    seconds = SECONDS_PER_TRIAL * len(tiers)
    draw = np.random.default_rng(7)
    rates = draw.gamma(2.0, 5.0, (seconds * 30 + 1, n_neurons)).astype(np.float32)
    _write_stream(folder / "responses", rates, 30.0, 0.0, seconds)
    eye = np.cumsum(draw.normal(size=((seconds + 2) * 20, 4)), axis=0)
    _write_stream(folder / "eye_tracker", eye, 20.0, -1.0, seconds + 0.9)
    run = np.abs(np.cumsum(draw.normal(size=((seconds + 2) * 20, 1)), axis=0))
    _write_stream(folder / "treadmill", run, 20.0, -1.0, seconds + 0.9)
    _write_screen(folder / "screen", tiers, draw)
    return folder


def with_trials(session: Session, t_on: np.ndarray, t_off: np.ndarray) -> Session:
    """Return the session with trials at other times; kinds and tiers repeat."""
    rows = np.arange(len(t_on)) % len(session.trials.t_on)
    table = {f.name: getattr(session.trials, f.name) for f in fields(session.trials)}
    columns = {
        name: column[rows]
        for name, column in table.items()
        if isinstance(column, np.ndarray)
    }
    times = {"t_on": np.asarray(t_on, float), "t_off": np.asarray(t_off, float)}
    return replace(session, trials=replace(session.trials, **(columns | times)))


def _write_stream(
    folder: Path, data: np.ndarray, rate_hz: float, start: float, end: float
) -> None:
    (folder / "meta").mkdir(parents=True)
    np.save(folder / "data.npy", data)
    np.save(folder / "meta" / "means.npy", data.mean(axis=0, dtype=np.float64))
    np.save(folder / "meta" / "stds.npy", data.std(axis=0, dtype=np.float64))
    meta = {
        "modality": "sequence",
        "dtype": str(data.dtype),
        "is_mem_mapped": False,
        "n_signals": data.shape[1],
        "n_timestamps": len(data),
        "phase_shift_per_signal": False,
        "sampling_rate": rate_hz,
        "start_time": start,
        "end_time": float(end),
    }
    if folder.name == "responses":
        ids = np.arange(data.shape[1])
        np.save(folder / "meta" / "unit_ids.npy", ids)
        meta["neuron_properties"] = {"unit_ids": "meta/unit_ids.npy"}
    (folder / "meta.yml").write_text(yaml.safe_dump(meta))


def _write_screen(
    folder: Path, tiers: tuple[str, ...], draw: np.random.Generator
) -> None:
    (folder / "meta").mkdir(parents=True)
    (folder / "data").mkdir()
    n_frames = SECONDS_PER_TRIAL * 30
    rows = {}
    for trial, tier in enumerate(tiers):
        key = f"{trial:05d}"
        video = draw.integers(0, 256, (n_frames, 36, 64)).astype(np.uint8)
        np.save(folder / "data" / f"{key}.npy", video)
        rows[key] = {
            "modality": "video",
            "first_frame_idx": trial * n_frames,
            "image_size": [36, 64],
            "num_frames": n_frames,
            "tier": tier,
            "trial_idx": trial,
            "condition_hash": f"c{trial}",
            "valid_trial": True,
        }
        (folder / "meta" / f"{key}.yml").write_text(yaml.safe_dump(rows[key]))
    times = np.arange(len(tiers) * n_frames + 1) / 30.0
    np.save(folder / "timestamps.npy", times[:-1])
    (folder / "combined_meta.json").write_text(json.dumps(rows))
    (folder / "meta.yml").write_text("modality: screen\nframe_rate: 30.0\n")
    np.save(folder / "meta" / "means.npy", np.float64(113))
    np.save(folder / "meta" / "stds.npy", np.float64(59))
