"""Small recordings with known answers, written as experanto folders."""

import json
from pathlib import Path

import numpy as np

from tests.model.experanto_folder import write_stream, write_videos

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
    responses = responses.astype(np.float32)
    _write_shifted(folder / "responses", responses, RATE, end)
    meta = folder / "responses" / "meta"
    np.save(meta / "unit_ids.npy", np.arange(neurons))
    _write_shifted(folder / "eye_tracker", behavior[:, :4], 20, end)
    _write_shifted(folder / "treadmill", behavior[:, 4:], 20, end)
    frames, tiers = TRIAL_S * RATE, tiers or ["train"]
    videos = [video[k : k + frames] for k in range(0, len(video) - frames + 1, frames)]
    tier_of = [tiers[k % len(tiers)] for k in range(len(videos))]
    rows = [{"tier": tier, "valid_trial": True} for tier in tier_of]
    write_videos(folder / "screen", videos, rows)
    return folder


def _write_shifted(folder: Path, data: np.ndarray, rate: int, end: float) -> None:
    """Write a stream whose phase shifts are stored, and zero."""
    more = {"end_time": float(end), "phase_shift_per_signal": True}
    write_stream(folder, data, float(rate), 0.0, **more)
    np.save(folder / "meta" / "phase_shifts.npy", np.zeros(data.shape[1]))
