"""Traces of suite2p planes as responses.

Files are (regions, frames); responses are (frames, neurons).
"""

from collections.abc import Mapping
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

_BASELINE_PERCENT = 8.0
"""Percentile over time that serves as the baseline of a region."""
_MAX_FRAMES = 4000
"""About the number of frames, spread over the recording, for a baseline."""


def series_choices(planes: list[Plane]) -> dict[str, str]:
    """Return the kinds of responses available for all planes, with descriptions."""
    files = _in_common(planes)
    # Raw F is not offered: it contains the neuropil.
    is_corrected = {"F", "Fneu"} <= files
    can_be = {
        "spks": "spks" in files,
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
            "Fneu.npy, expected",
            "was the recording processed to its end?",
        )
    if name is not None and name not in choices:
        raise SessionFormatError(
            path,
            "no_series",
            f"{path.name} has no series {name!r}; it has {', '.join(choices)}",
            "choose one of these",
        )
    # Never fluorescence by default: the models expect deconvolved activity.
    used = name or ("spks" if "spks" in choices else "deconvolved")
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
    return used


def _in_common(planes: list[Plane]) -> set[str]:
    """Return the names of the files that every plane has."""
    return set.intersection(*(set(plane.files) for plane in planes))


class PlaneTraces:
    """Selected regions of all planes as columns, (frames, neurons); see `Rows`."""

    def __init__(
        self,
        path: Path,
        planes: tuple[Plane, ...],
        series: str,
        rate_hz: float,
        n_frames: int,
    ) -> None:
        self.path = path
        self._rate_hz = rate_hz
        self.shape: tuple[int, ...] = (n_frames, sum(len(p.chosen) for p in planes))
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._planes, self._series = planes, series
        self._baselines: list[tuple[np.ndarray, np.ndarray]] = []
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
            return self._all_deconvolved()[rows]
        parts = [self._of_plane(i, rows) for i in range(len(self._planes))]
        return np.ascontiguousarray(np.concatenate(parts).T)

    def _of_plane(self, index: int, rows: slice | np.ndarray) -> np.ndarray:
        """Return the selected regions of one plane, (regions, frames)."""
        plane = self._planes[index]
        if self._series == "spks":
            return _stored(plane, "spks", rows)
        corrected = _corrected(plane, rows)
        if self._series == "dff":
            baseline, divisor = self._baseline(index)
            corrected = (corrected - baseline[:, None]) / divisor[:, None]
        return corrected

    def _baseline(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the baselines of corrected and of raw traces of one plane's regions.

        dF/F divides by the raw baseline: the corrected one can be near 0 or negative.
        """
        if not self._baselines:
            # A percentile needs few frames; a slice keeps the files mapped.
            step = max(1, self.shape[0] // _MAX_FRAMES)
            some = slice(0, self.shape[0], step)
            self._baselines = [
                (
                    np.percentile(_corrected(p, some), _BASELINE_PERCENT, axis=1),
                    _positive(
                        np.percentile(_stored(p, "F", some), _BASELINE_PERCENT, axis=1)
                    ),
                )
                for p in self._planes
            ]
        return self._baselines[index]

    def _all_deconvolved(self) -> np.ndarray:
        if self._deconvolved is None:
            from omnimouse_model.data.readers.suite2p.deconvolution import deconvolve

            all_rows = slice(0, self.shape[0])
            parts = [
                deconvolve(_corrected(p, all_rows), p.tau_s or 0.0, self._rate_hz)
                for p in self._planes
            ]
            self._deconvolved = np.concatenate(parts).T
        return self._deconvolved


def _stored(plane: Plane, name: str, rows: slice | np.ndarray) -> np.ndarray:
    # Frames before regions: the result of a slice is a view, and only the regions
    # that are chosen are copied.
    stored: np.ndarray = plane.files[name].open()[:, rows][plane.chosen]
    return stored.astype(np.float32, copy=False)


def _corrected(plane: Plane, rows: slice | np.ndarray) -> np.ndarray:
    """Return F - neucoeff · Fneu, float32 (regions, frames)."""
    return _stored(plane, "F", rows) - np.float32(plane.neucoeff) * _stored(
        plane, "Fneu", rows
    )


def _positive(values: np.ndarray) -> np.ndarray:
    """Return divisors: the values, with 1 in place of those that are not positive."""
    return np.where(values > 0, values, 1.0)
