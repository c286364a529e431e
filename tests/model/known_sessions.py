"""Small recordings with known answers, written as experanto folders."""

import json
from pathlib import Path

import numpy as np
import yaml

TRIAL_S = 10
RATE = 30


def write_known_session(
    folder: Path,
    responses: np.ndarray,
    *,
    video: np.ndarray | None = None,
    behavior: np.ndarray | None = None,
    tiers: list[str] | None = None,
    key: str = "1-1-1",
) -> Path:
    """Write (T, P) responses at 30 Hz, video (T, 36, 64), behaviour (T * 2 / 3, 5).

    Trials of 10 s take the tiers in turn.
    """
    generator = np.random.default_rng(5)
    samples, neurons = responses.shape
    if video is None:
        video = generator.integers(0, 255, (samples, 36, 64), dtype=np.uint8)
    if behavior is None:
        behavior = generator.normal(size=(samples * 2 // 3, 5))
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"data_key": key}))
    end = samples / RATE
    _sequence(folder / "responses", responses.astype(np.float32), RATE, end)
    meta = folder / "responses" / "meta"
    np.save(meta / "unit_ids.npy", np.arange(neurons))
    _sequence(folder / "eye_tracker", behavior[:, :4], 20, end)
    _sequence(folder / "treadmill", behavior[:, 4:], 20, end)
    _screen(folder / "screen", video, tiers or ["train"])
    return folder


def _sequence(folder: Path, data: np.ndarray, rate: int, end: float) -> None:
    meta = folder / "meta"
    meta.mkdir(parents=True)
    np.save(folder / "data.npy", data)
    np.save(meta / "means.npy", np.nanmean(data, axis=0)[None].astype(np.float64))
    np.save(meta / "stds.npy", np.nanstd(data, axis=0)[None].astype(np.float64))
    np.save(meta / "phase_shifts.npy", np.zeros(data.shape[1]))
    facts = {
        "modality": "sequence",
        "sampling_rate": float(rate),
        "start_time": 0.0,
        "end_time": float(end),
        "n_signals": data.shape[1],
        "n_timestamps": data.shape[0],
        "dtype": str(data.dtype),
        "is_mem_mapped": False,
        "phase_shift_per_signal": True,
    }
    (folder / "meta.yml").write_text(yaml.safe_dump(facts))


def _screen(folder: Path, video: np.ndarray, tiers: list[str]) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "meta").mkdir()
    frames = TRIAL_S * RATE
    trials = {}
    for number in range(len(video) // frames):
        name = f"{number:05d}"
        np.save(folder / "data" / f"{name}.npy", video[number * frames :][:frames])
        trials[name] = {
            "modality": "video",
            "first_frame_idx": number * frames,
            "num_frames": frames,
            "image_size": [36, 64],
            "tier": tiers[number % len(tiers)],
            "valid_trial": True,
        }
    (folder / "combined_meta.json").write_text(json.dumps(trials))
    np.save(folder / "timestamps.npy", np.arange(len(trials) * frames) / RATE)
    (folder / "meta.yml").write_text(yaml.safe_dump({"modality": "screen"}))
    np.save(folder / "meta" / "means.npy", np.array(113.0))
    np.save(folder / "meta" / "stds.npy", np.array(59.0))
