"""Compare the session reader with recorded outputs of the reference package.

    python -m tests.conformance.session DIR EXPECTED.npz

prints one line per case with its largest error, and fails if one is out of
tolerance. Covered: everything of revision `fm` (what models see), and of `main` the
modes `nn` and `linear_*`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import SCREEN_MEAN, SCREEN_STD, Session, Window
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import COMMON_TIERS, Stimulus, rescale_area
from tests.conformance.line import Line, run

LINEAR, NORMALISED, EXACT = 1e-9, 1e-5, 1e-300
_SHORT_TIERS = {"val": "validation"}


class Unsupported(ValueError):
    """A recorded case this command does not know how to compute."""


def lines(folder: Path, file: Path) -> Iterator[Line]:
    """Compute every covered key and compare it with the recorded value."""
    session = open_session(folder)
    with np.load(file, allow_pickle=False) as stored:
        expected = {key: stored[key] for key in stored.files}
    for key, wanted in expected.items():
        if not _is_covered(key):
            continue
        line = Line(key)
        try:
            found = _compute(session, expected, key)
        except Exception as error:  # one value must not end the run
            line.faults.append(f"{type(error).__name__}: {error}")
        else:
            if wanted.dtype.kind not in "US":
                line.add("value", found, wanted, _tolerance(key))
            elif str(found) != str(wanted):
                line.faults.append(f"{found!s}, expected {wanted!s}")
        yield line


def _is_covered(key: str) -> bool:
    return bool(re.match(r"fm/|main/[^/]+/(nn|linear_\w+)/", key))


def _tolerance(key: str) -> float:
    if "/linear_" in key and key.endswith("/values"):
        return LINEAR
    if "/rescaled/" in key and key.endswith("/values"):
        return 255 * NORMALISED
    if re.search(r"/windows/[^/]+/\d+/(responses|eye|treadmill|screen(_mean_std)?$)", key):
        return NORMALISED
    return EXACT


def _compute(session: Session, expected: dict[str, np.ndarray], key: str) -> np.ndarray:
    parts = key.split("/")
    if parts[1] == "windows":
        return _window_value(session, expected, parts)
    stream = session.streams[parts[1]]
    if parts[2] == "valid_interval":
        interval = stream.valid_interval()
        return np.array([interval.start, interval.stop])
    if parts[2] == "start_end":
        return _start_end(stream)
    values, valid = _sampled(stream, expected, parts)
    return valid if parts[-1] == "valid" else values


def _start_end(stream: Signal | Stimulus) -> np.ndarray:
    if isinstance(stream, Stimulus):
        return np.array([stream.slot_t[0], stream.slot_t[-1]])
    return np.array([stream.start, stream.end_declared])


def _sampled(
    stream: Signal | Stimulus, expected: dict[str, np.ndarray], parts: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    revision, device, mode, name = parts[:4]
    ending = "/rescaled" if mode == "rescaled" else ""
    times = expected[f"times/{device}/{name}{ending}"]
    if isinstance(stream, Stimulus):
        frames, valid = stream.sample(times)
        if mode == "rescaled":
            height, width = expected[f"{'/'.join(parts[:4])}/values"].shape[1:3]
            frames = rescale_area(frames, (height, width))
        return frames, valid
    if mode.startswith("linear"):
        values, valid = stream.sample(times, "linear")
        # The reference package can fill missing values of the block that it returns.
        return (values if mode == "linear_keepnan" else _fill_with_mean(values)), valid
    values, valid = stream.sample(times)
    return (values.astype(np.float32) if revision == "fm" else values), valid


def _fill_with_mean(values: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    count = (~missing).sum(axis=0)
    total = np.where(missing, 0.0, values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    return np.where(missing, mean, values)


def _window_value(
    session: Session, expected: dict[str, np.ndarray], parts: list[str]
) -> np.ndarray:
    known = {*COMMON_TIERS, *session.trials.tier.tolist()} - {None, ""}
    tiers, stride, blanks = _plan(parts[2], known)
    starts = session.window_indices(tiers, stride, blanks)
    if parts[3] == "starts":
        return np.asarray(session.start_grid[starts])
    if parts[3] == "range":
        common = session.common_interval()
        return np.array([common.start, common.stop])
    if parts[3] == "data_key":
        return np.array(session.id)
    return _array(Window(session, int(starts[int(parts[3])])), parts[4])


def _plan(name: str, known: set[str]) -> tuple[list[str], int, bool]:
    """Tiers, stride and blanks of a plan such as `val_oracle_s60_blanks`."""
    matched = re.fullmatch(r"(.+)_s(\d+)_(no)?blanks", name)
    if matched is None:
        raise Unsupported(f"plan {name!r} is not TIERS_sSTRIDE_[no]blanks")
    words = {tier: tier for tier in known} | _SHORT_TIERS
    rest, tiers = matched[1], []
    while rest:
        # The longest first: final_test_1 before final_test.
        for word in sorted(words, key=len, reverse=True):
            if rest == word or rest.startswith(word + "_"):
                tiers.append(words[word])
                rest = rest[len(word) + 1 :]
                break
        else:
            raise Unsupported(f"plan {name!r} names an unknown tier: {rest!r}")
    return tiers, int(matched[2]), matched[3] is None


def _array(window: Window, name: str) -> np.ndarray:
    if name.startswith("timestamps_"):
        return window.timestamps[name.removeprefix("timestamps_")]
    if name.startswith("screen"):
        return _film(window, name)
    values, valid = window.stream(name)
    return np.asarray(values[valid])


def _film(window: Window, name: str) -> np.ndarray:
    """The film as (channel, time, height, width), in its own size."""
    stimulus = window.session.stimulus
    if stimulus is None:
        raise Unsupported("the session has no screen")
    frames, _ = stimulus.sample(window.times("screen"))
    film = np.moveaxis(frames, -1, 0) if frames.ndim == 4 else frames[None]
    if name == "screen_raw_u8":
        return film
    if name == "screen_shape":
        return np.array(film.shape)
    if film.shape[2:] == (36, 64) and film.shape[0] == 1:
        normalised = window.video[None]
    else:
        normalised = (film - SCREEN_MEAN) / SCREEN_STD
    if name == "screen":
        return normalised
    if name == "screen_mean_std":
        film64 = normalised.astype(np.float64)
        return np.array([film64.mean(), film64.std()])
    raise Unsupported(f"no recorded value is called {name!r}")


if __name__ == "__main__":
    run(lines, "DIR EXPECTED.npz")
