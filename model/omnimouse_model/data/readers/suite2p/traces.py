"""Responses from the traces of suite2p planes, without bad frames.

Files are (regions, frames); responses are (frames, neurons).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.suite2p.plane import Plane
from omnimouse_model.errors import SessionFormatError

SERIES = {
    "spks": "deconvolved activity, as suite2p stored it",
    "deconvolved": "F less neuropil, deconvolved here by OASIS (AR1)",
    "F-neu": "fluorescence less neuropil",
    "dff": "fluorescence less neuropil, as a share of each region's own baseline",
}
"""Kinds of responses, best first."""

_UNCORRECTED = "the factor of the neuropil is 0: F is read as it is"
_BASELINE_PERCENT = 8.0
"""Percentile over time that serves as the baseline of a region."""
_MAX_UNEVEN = 1
"""Most frames by which planes of one volume differ."""
_MAX_FRAMES = 4000
"""About the number of frames, spread over the recording, for a baseline."""


def series_choices(planes: list[Plane]) -> dict[str, str]:
    """Return the kinds of responses available for all planes, with descriptions."""
    # Raw F is not offered: it contains the neuropil, unless suite2p was told that
    # there is none to subtract.
    is_corrected = all(_can_be_corrected(plane) for plane in planes)
    can_be = {
        "spks": "spks" in _in_common(planes),
        "deconvolved": is_corrected and all(p.tau_s is not None for p in planes),
        "F-neu": is_corrected,
        "dff": is_corrected,
    }
    return {name: text for name, text in SERIES.items() if can_be[name]}


def choose_series(
    choices: Mapping[str, str],
    planes: list[Plane],
    name: str | None,
    path: Path,
    notes: Notes,
) -> str:
    """Return the kind of responses to read: the requested or the best one.

    Raises
    ------
    SessionFormatError
        If the kind is not available, or no deconvolved activity is.
    """
    if not choices:
        files = ", ".join(sorted(_in_common(planes))) or "nothing"
        raise SessionFormatError(
            path,
            "missing_data",
            f"planes of {path.name} have {files} in common; spks.npy, or F.npy and "
            "Fneu.npy with a factor of the neuropil (neucoeff), expected",
            "was the recording processed to its end?",
        )
    if name is not None and name not in choices:
        needed = ("neucoeff", "neuropil_coefficient", "tau")
        problems = {p.problems[n] for p in planes for n in needed if n in p.problems}
        why = f" ({'; '.join(sorted(problems))})" if problems else ""
        raise SessionFormatError(
            path,
            "no_series",
            f"{path.name} has no series {name!r}{why}; it has {', '.join(choices)}",
            "choose one of these",
        )
    # Not fluorescence by default: the models expect deconvolved activity. A factor of 0
    # says that F itself is the signal, as with one photon.
    best = "spks" if "spks" in choices else "deconvolved"
    if "F-neu" in choices and all(plane.neucoeff == 0 for plane in planes):
        best = "F-neu"
    used = name or best
    if used not in choices:
        raise SessionFormatError(
            path,
            "missing_data",
            f"{path.name} has no spks.npy, and what deconvolution needs is not there "
            "(tau in ops.npy)",
            f"choose series={next(iter(choices))!r}, or --series {next(iter(choices))}",
        )
    others = [name for name in choices if name != used]
    more = f"; there are also {', '.join(others)}" if others else ""
    notes.assume("series", f"responses are {used}: {SERIES[used]}{more}")
    if used != "spks":
        factors = sorted({plane.neucoeff for plane in planes if plane.neucoeff})
        told = " or ".join(f"{factor:g}" for factor in factors)
        text = f"F less {told} times Fneu (neucoeff)" if told else _UNCORRECTED
        notes.assume("neuropil", text)
    return used


def _in_common(planes: list[Plane]) -> set[str]:
    """Return the names of the files that every plane has."""
    return set.intersection(*(set(plane.files) for plane in planes))


def _can_be_corrected(plane: Plane) -> bool:
    has_neuropil = "Fneu" in plane.files or plane.neucoeff == 0
    return "F" in plane.files and has_neuropil and plane.neucoeff is not None


# -- frames --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of several planes on one grid of volumes.

    Attributes
    ----------
    n_rows
        Volumes in which every plane was scanned.
    source
        int64 (n_rows,) frame of each row, for every plane; None if all are in order.
    joints
        Rows at which another folder begins, ascending.
    """

    n_rows: int
    source: tuple[np.ndarray | None, ...]
    joints: tuple[int, ...]


def common_frames(path: Path, planes: Sequence[Plane], notes: Notes) -> Frames:
    """Return the frames that all planes have, folder by folder.

    A recording that stops within a volume gives its last planes one frame fewer, in
    each folder that suite2p joined.

    Raises
    ------
    SessionFormatError
        If the planes differ in length by more.
    """
    total: list[tuple[int, ...]] = [(plane.n_frames,) for plane in planes]
    folders = [plane.scan.folder_frames or total[i] for i, plane in enumerate(planes)]
    if len({len(counts) for counts in folders}) > 1:
        # Some planes do not state their folders: only their lengths can be compared.
        folders = total
    counts = np.array(folders, np.int64)
    shortest, longest = counts.min(axis=0), counts.max(axis=0)
    if (longest - shortest).max() > _MAX_UNEVEN:
        raise SessionFormatError(
            path,
            "wrong_shape",
            f"planes of {path.name} have {min(total)[0]} to {max(total)[0]} frames; "
            "one volume gives all planes as many, or one fewer",
            "was the recording processed to its end?",
        )
    n_rows = int(shortest.sum())
    if max(total)[0] > n_rows:
        notes.assume("cut_frames", f"planes are cut to the shortest, {n_rows}")
    stated = next((p.scan.folder_frames for p in planes if p.scan.folder_frames), ())
    if counts.shape[1] == 1 and len({n for (n,) in total}) == 1 and stated:
        shortest = np.array(stated, np.int64)
    ends = np.cumsum(shortest)
    joints = sorted({int(end) for end in ends[:-1]} - {0, n_rows})
    if joints:
        lengths = ", ".join(f"{n:,}" for n in shortest if n)
        notes.assume(
            "joints",
            f"suite2p joined {len(joints) + 1} folders ({lengths} frames); the pauses "
            "between them are unknown, and no window touches a joint",
        )
    source: list[np.ndarray | None] = []
    for own in counts:
        first = np.cumsum(own) - own
        parts = [np.arange(n) + a for a, n in zip(first, shortest, strict=False)]
        is_even = len(own) == 1 or (own[:-1] == shortest[:-1]).all()
        source.append(None if is_even else np.concatenate(parts))
    return Frames(n_rows, tuple(source), tuple(joints))


# -- traces --------------------------------------------------------------------------
class PlaneTraces:
    """Selected regions of all planes as columns, (frames, neurons); see `Rows`."""

    def __init__(
        self,
        path: Path,
        planes: Sequence[Plane],
        series: str,
        rate_hz: float,
        frames: Frames,
        missing: Sequence[np.ndarray],
    ) -> None:
        self.path = path
        self._rate_hz = rate_hz
        n_neurons = sum(len(plane.chosen) for plane in planes)
        self.shape: tuple[int, ...] = (frames.n_rows, n_neurons)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._planes, self._series, self._frames = planes, series, frames
        # bool (n_rows,) of each plane; None if no frame is missing.
        self._missing = [bad if bad.any() else None for bad in missing]
        self._baselines: list[tuple[np.ndarray, np.ndarray]] | None = None
        self._deconvolved: np.ndarray | None = None

    # The deconvolved traces can be large; each process computes them again.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_deconvolved": None}

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for plane in self._planes:
            for file in plane.files.values():
                file.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return frames `first` to `stop`, float32 (stop - first, neurons)."""
        return self._take(slice(first, min(stop, self.shape[0])))

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered frames of a slice of neurons."""
        return self._take(rows)[:, columns]

    def _take(self, rows: slice | np.ndarray) -> np.ndarray:
        # Deconvolution depends on the whole trace, so parts cannot be computed alone.
        if self._series == "deconvolved":
            values = self._all_deconvolved()[rows].copy()
        else:
            parts = [self._of_plane(i, rows) for i in range(len(self._planes))]
            values = np.ascontiguousarray(np.concatenate(parts).T)
        at = 0
        for plane, missing in zip(self._planes, self._missing, strict=True):
            if missing is not None:
                values[missing[rows], at : at + len(plane.chosen)] = np.nan
            at += len(plane.chosen)
        return values

    def _of_plane(self, index: int, rows: slice | np.ndarray) -> np.ndarray:
        """Return the selected regions of one plane, (regions, frames)."""
        if self._series == "spks":
            return self._stored(index, "spks", rows)
        corrected = self._corrected(index, rows)
        if self._series == "dff":
            baseline, divisor = self._baseline(index)
            corrected = (corrected - baseline[:, None]) / divisor[:, None]
        return corrected

    def _stored(self, index: int, name: str, rows: slice | np.ndarray) -> np.ndarray:
        plane, source = self._planes[index], self._frames.source[index]
        frames = rows if source is None else source[rows]
        stored = plane.files[name].part(plane.chosen, frames)
        return stored.astype(np.float32, copy=False)

    def _corrected(self, index: int, rows: slice | np.ndarray) -> np.ndarray:
        """Return F - neucoeff · Fneu, float32 (regions, frames)."""
        corrected, factor = self._stored(index, "F", rows), self._planes[index].neucoeff
        if factor:
            corrected = corrected - np.float32(factor) * self._stored(index, "Fneu", rows)
        return corrected

    def _baseline(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the baselines of corrected and of raw traces of one plane's regions.

        dF/F divides by the raw baseline: the corrected one can be near 0 or negative.
        """
        # Assigned at once: several threads may ask first.
        if self._baselines is None:
            baselines = []
            # A percentile needs few frames.
            some = slice(0, self.shape[0], max(1, self.shape[0] // _MAX_FRAMES))
            for i, missing in enumerate(self._missing):
                is_known = slice(None) if missing is None else ~missing[some]
                corrected = self._corrected(i, some)[:, is_known]
                raw = self._stored(i, "F", some)[:, is_known]
                divisor = _low(raw)
                # 1 in place of divisors that are not positive.
                divisor = np.where(divisor > 0, divisor, 1.0)
                baselines.append((_low(corrected), divisor))
            self._baselines = baselines
        return self._baselines[index]

    def _all_deconvolved(self) -> np.ndarray:
        if self._deconvolved is None:
            parts = []
            for i, (plane, missing) in enumerate(zip(self._planes, self._missing, strict=True)):
                traces = self._corrected(i, slice(0, self.shape[0]))
                if missing is not None:
                    traces[:, missing] = np.nan
                # Calcium does not decay from one folder to the next.
                pieces = np.split(traces, self._frames.joints, axis=1)
                tau_s = plane.tau_s or 0.0
                done = [deconvolve(piece, tau_s, self._rate_hz) for piece in pieces]
                parts.append(np.concatenate(done, axis=1))
            self._deconvolved = np.concatenate(parts).T
        return self._deconvolved


def _low(traces: np.ndarray) -> np.ndarray:
    """Return the baseline of each trace; NaN if it has no value."""
    is_known = ~np.isnan(traces)
    low = np.full(len(traces), np.nan)
    whole, broken = is_known.all(axis=1), is_known.any(axis=1)
    # Without a frame, no value is known.
    whole, broken = whole & broken, broken & ~whole
    # Of traces with NaN, numpy takes one after the other, which is slow.
    if whole.any():
        low[whole] = np.percentile(traces[whole], _BASELINE_PERCENT, axis=1)
    if broken.any():
        low[broken] = np.nanpercentile(traces[broken], _BASELINE_PERCENT, axis=1)
    return low


def deconvolve(traces: np.ndarray, tau_s: float, rate_hz: float) -> np.ndarray:
    """Return the deconvolved activity of calcium traces, float32 (regions, frames).

    By OASIS (Friedrich, Zhou & Paninski 2017). The model is AR(1): activity >= 0 that
    decays with time constant `tau_s`. There is no sparsity penalty. The 8th percentile of
    each trace is subtracted first.

    Parameters
    ----------
    traces
        float32 (regions, frames) fluorescence minus neuropil. NaN stays NaN; calcium is
        interpolated linearly there.

    Raises
    ------
    SessionFormatError
        If the optional package oasis-deconv is not installed.
    """
    try:
        from oasis.oasis_methods import oasisAR1
    except ImportError as error:
        raise SessionFormatError(
            "spks.npy",
            "missing_package",
            "spks.npy is missing, and deconvolution needs the package oasis-deconv",
            "pip install oasis-deconv, or choose series='F-neu'",
        ) from error
    # AR(1) coefficient: the factor by which calcium decays from frame to frame.
    decay = float(np.exp(-1.0 / (tau_s * rate_hz)))
    activity = np.empty(traces.shape, np.float32)
    # OASIS takes float64.
    for i, trace in enumerate(traces.astype(np.float64)):
        is_known = np.isfinite(trace)
        if not is_known.any():
            activity[i] = np.nan
            continue
        at = np.arange(len(trace))
        trace = np.interp(at, at[is_known], trace[is_known])
        trace = trace - np.percentile(trace, _BASELINE_PERCENT)
        activity[i] = oasisAR1(trace, decay, lam=0.0)[1]
        activity[i, ~is_known] = np.nan
    return activity
