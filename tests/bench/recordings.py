"""Synthetic and simulated recordings of any size, for the benchmarks.

`write_session` writes random numbers in the experanto layout, to time their reading.
Its defaults are those of the published reference: 4,096 neurons and 20 minutes at
30 Hz with phase shifts, pupil and running, and clips of 10 s with blanks between them.
`simulated_session` simulates a mouse, to time predictions for its neurons.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.storage.arrays.npy import fill, rows_to_fill

_START = 1_000_000.0
"""Seconds on the native clock; it does not start at 0, as in real recordings."""
_CLIP, _BLANK_S = 300, 0.5
"""Frames of a clip, and seconds of a blank."""
_FRAME = (36, 64)
"""Height and width of a frame of OmniMouse."""
_BLOCK = 4096
"""Samples written at once; limits the memory."""


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a recording; a hollow one is a sparse file without values."""

    neurons: int = 4096
    minutes: float = 20.0
    is_hollow: bool = False


def write_session(root: Path, size: Size, seed: int = 0) -> Path:
    """Write a seeded recording; a hollow one uses no disk space and contains zeros."""
    draw = np.random.default_rng(seed)
    seconds = size.minutes * 60.0
    shifts = draw.uniform(0.0, 0.12, size.neurons)
    responses = (size.neurons, 30.0, _START, seconds)
    _write_stream(root / "responses", responses, np.float32, draw, shifts, size)
    for name, columns, rate in (("eye_tracker", 4, 20.0), ("treadmill", 1, 100.0)):
        # Behaviour starts before the responses and ends after them. It is small, so it
        # has values also in a hollow recording.
        span = (columns, rate, _START - 5.0, seconds + 8.0)
        _write_stream(root / name, span, np.float64, draw, None, Size())
    _write_screen(root / "screen", seconds, draw, size)
    fill(root / "meta.json", {"data_key": "bench-0-0"})
    return root


def _write_stream(
    folder: Path,
    span: tuple[int, float, float, float],
    dtype: type[np.floating[Any]],
    draw: np.random.Generator,
    shifts: np.ndarray | None,
    size: Size,
) -> None:
    columns, rate, start, seconds = span
    (folder / "meta").mkdir(parents=True)
    rows = int(seconds * rate) + 1
    scale = draw.uniform(0.5, 8.0, columns)
    with rows_to_fill(folder / "data.mem", (rows, columns), dtype) as append:
        for first in range(0, 0 if size.is_hollow else rows, _BLOCK):
            height = min(_BLOCK, rows - first)
            # The fourth power makes most values small and few large, as in responses.
            append(draw.random((height, columns), dtype=np.float32) ** 4 * scale)
    # For u uniform in 0-1: the mean of u^4 is 1/5, and its variance is 1/9 - 1/25.
    fill(folder / "meta" / "means.npy", scale[None] / 5)
    fill(folder / "meta" / "stds.npy", scale[None] * np.sqrt(1 / 9 - 1 / 25))
    if shifts is not None:
        fill(folder / "meta" / "phase_shifts.npy", shifts)
    # The keys and file names are those of the experanto format.
    meta = {
        "modality": "sequence",
        "is_mem_mapped": True,
        "dtype": np.dtype(dtype).name,
        "n_signals": columns,
        "n_timestamps": rows,
        "sampling_rate": rate,
        "start_time": start,
        "end_time": start + (rows - 1) / rate,
        "phase_shift_per_signal": shifts is not None,
    }
    fill(folder / "meta.yml", meta)


def _write_screen(folder: Path, seconds: float, draw: np.random.Generator, size: Size) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "meta").mkdir()
    time_s, slot = _START - 2.0, 0
    onsets: list[np.ndarray] = []
    trials: dict[str, dict[str, Any]] = {}
    # The screen starts before the responses and ends after them, as in real recordings,
    # so that all windows have frames.
    while time_s < _START + seconds + 2.0:
        # Blanks have odd numbers; every tenth clip is for validation.
        number = len(trials)
        common = {"first_frame_idx": slot, "image_size": list(_FRAME)}
        if number % 2:
            kind = {"modality": "blank", "interleave_value": 128.0}
            count, step = 1, _BLANK_S
        else:
            tier = "validation" if (number // 2) % 10 == 9 else "train"
            kind = {"modality": "video", "num_frames": _CLIP, "tier": tier}
            count, step = _CLIP, 1 / 30
            _write_clip(folder / "data" / f"{number:05d}.npy", draw, size)
        trials[f"{number:05d}"] = {**common, **kind}
        onsets.append(time_s + np.arange(count) * step)
        time_s, slot = time_s + count * step, slot + count
    fill(folder / "timestamps.npy", np.concatenate(onsets))
    fill(folder / "combined_meta.json", trials)
    fill(folder / "meta.yml", {"modality": "screen", "frame_rate": 30.0})
    # Grey values of 8 bits, of the size that natural videos have.
    fill(folder / "meta" / "means.npy", np.array(113.0))
    fill(folder / "meta" / "stds.npy", np.array(59.0))


def _write_clip(path: Path, draw: np.random.Generator, size: Size) -> None:
    shape = (_CLIP, *_FRAME)
    with rows_to_fill(path, shape, np.uint8) as append:
        if not size.is_hollow:
            append(draw.integers(0, 256, shape, dtype=np.uint8))


def simulated_session(count: int) -> Path:
    """Return a simulated session of `count` neurons and one minute.

    It is simulated at the first call, and then found in the cache.
    """
    from omnimouse_model import simulate
    from omnimouse_model.storage.write import cache_dir

    held_out = simulate.HeldOut(validation=1, final_test_1=1, oracle_clips=1, oracle_repeats=2)
    spec = simulate.MouseSpec("bench", session_id(count), count, 940001, count, 1.1, held_out)
    return simulate.write_session(spec, cache_dir() / "bench" / f"neurons{count}")


def session_id(count: int) -> str:
    """Return the id of the simulated session of `count` neurons."""
    return f"{900000 + count}-1-1"
