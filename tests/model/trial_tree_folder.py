"""Small trial trees of the digital twin, written from their documented layout."""

from pathlib import Path

import numpy as np

N_UNITS, SIZE = 6, (12, 20)
LENGTHS = {"trial2": 150, "trial10": 180, "trial1": 165}
TRAINED = {"trial2": True, "trial10": True, "trial1": False}
REPEATS = (("video0", "repeat0"), ("video0", "repeat1"), ("video1", "repeat0"))
REPEAT_LENGTH = 120


def write_tree(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Write training and evaluation data; return the arrays of each trial by key."""
    draw = np.random.default_rng(3)
    training = folder / "training_data_27203_4_7"
    evaluation = folder / "evaluation_data_27203_4_7"
    stored = {}
    for name, length in LENGTHS.items():
        stored[name] = _trial(_frames(draw, length), draw)
        settings = {"training": TRAINED[name], "samples": length}
        values = {kind: np.array(value) for kind, value in settings.items()}
        _write(training, name, stored[name] | values)
    clips = {clip: _frames(draw, REPEAT_LENGTH) for clip, _ in REPEATS}
    for clip, repeat in REPEATS:
        key = f"{clip}/{repeat}"
        stored[key] = _trial(clips[clip], draw)
        _write(evaluation, key, stored[key])
    return stored


def _frames(draw: np.random.Generator, length: int) -> np.ndarray:
    return draw.integers(0, 256, (length, *SIZE, 1), np.uint8)


def _trial(frames: np.ndarray, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Return frames and random behaviour and responses; the mean of running is 2."""
    length = len(frames)
    values = {
        "perspectives": draw.normal(size=(length, 2)),
        "modulations": draw.normal((0.0, 2.0), size=(length, 2)),
        "units": draw.gamma(1.0, 1.0, (length, N_UNITS)),
    }
    return {"stimuli": frames, **{k: v.astype(np.float32) for k, v in values.items()}}


def _write(folder: Path, name: str, arrays: dict[str, np.ndarray]) -> None:
    for kind, values in arrays.items():
        path = folder / kind / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
