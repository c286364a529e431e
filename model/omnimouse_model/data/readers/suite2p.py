"""Reader of suite2p folders: one plane, or several planes scanned in turn.

Files are (regions, frames); responses are (frames, neurons), without bad frames. Traces
and their baselines stand here, because only this reader joins planes that are scanned in
turn: the module is long.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers import suite2p_plane
from omnimouse_model.data.readers.build.checked_values import check_scan_rate
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units, note_no_cells
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes, ReadOptions, choose_series
from omnimouse_model.data.readers.build.trial_files import Placed, PlacedRows, traces_signal
from omnimouse_model.data.readers.suite2p_plane import Plane
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.errors import MISSING_RATE, SessionFormatError
from omnimouse_model.storage.arrays.matlab import open_mat
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.byte_source import fingerprint_of
from omnimouse_model.storage.files import bad_file, folders_in, is_file, is_folder, is_there

SERIES = {
    "spks": "deconvolved activity, as suite2p stored it",
    "deconvolved": "F less neuropil, deconvolved here by OASIS (AR1)",
    "F-neu": "fluorescence less neuropil",
    "dff": "fluorescence less neuropil, as a share of each region's own baseline",
}
"""Kinds of responses, best first."""

_PROCESSED = "was the recording processed to its end?"
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
    is_corrected = all(
        "F" in plane.files
        and ("Fneu" in plane.files or plane.neucoeff == 0)
        and plane.neucoeff is not None
        for plane in planes
    )
    can_be = {
        "spks": "spks" in _in_common(planes),
        "deconvolved": is_corrected and all(p.tau_s is not None for p in planes),
        "F-neu": is_corrected,
        "dff": is_corrected,
    }
    return {name: text for name, text in SERIES.items() if can_be[name]}


def _series(
    choices: Mapping[str, str], planes: list[Plane], name: str | None, path: Path, notes: Notes
) -> str:
    """Return the kind of responses to read: the requested or the best one.

    Raises
    ------
    SessionFormatError
        If the kind is not available, or no deconvolved activity is.
    """
    if not choices:
        files = ", ".join(sorted(_in_common(planes))) or "nothing"
        needed = "spks.npy, or F.npy and Fneu.npy with a factor of the neuropil (neucoeff)"
        problem = f"has planes with {files} in common; {needed}, expected"
        hint = _PROCESSED
        if "F" in _in_common(planes):
            hint = "a neucoeff of 0 in ops.npy says that F needs no Fneu, and is read as it is"
        raise bad_file(path, "missing_data", problem, hint)
    # Not fluorescence by default: the models expect deconvolved activity. A factor of 0
    # says that F itself is the signal, as with one photon.
    best = "spks" if "spks" in choices else "deconvolved"
    if "F-neu" in choices and all(plane.neucoeff == 0 for plane in planes):
        best = "F-neu"
    if name is None and best not in choices:
        problem = "has no spks.npy, and what deconvolution needs is not there (tau in ops.npy)"
        first = next(iter(choices))
        hint = f"choose series={first!r}, or --series {first}"
        raise bad_file(path, "missing_data", problem, hint)
    settings = ("neucoeff", "neuropil_coefficient", "tau")
    problems = {p.problems[n] for p in planes for n in settings if n in p.problems}
    why = f" ({'; '.join(sorted(problems))})" if problems else ""
    used = choose_series(choices, name or best, path, notes, why)
    if used != "spks":
        factors = sorted({plane.neucoeff for plane in planes if plane.neucoeff})
        told = " or ".join(f"{factor:g}" for factor in factors)
        text = f"F less {told} times Fneu (neucoeff)" if told else _UNCORRECTED
        notes.assume("neuropil", text)
    return used


def _in_common(planes: list[Plane]) -> set[str]:
    """Return the names of the files that every plane has."""
    return set.intersection(*(set(plane.files) for plane in planes))


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
        found = f"has planes of {min(total)[0]} to {max(total)[0]} frames"
        problem = f"{found}; one volume gives all planes as many, or one fewer"
        raise bad_file(path, "wrong_shape", problem, _PROCESSED)
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
    """Selected regions of one plane as columns, (frames, neurons); see `Rows`.

    Parameters
    ----------
    source
        int64 (n,) frame of the plane of each row, None if all are in order.
    is_known
        bool (n,) False for bad frames.
    joints
        Rows at which another folder begins, ascending.
    """

    def __init__(
        self,
        plane: Plane,
        series: str,
        rate_hz: float,
        source: np.ndarray | None,
        is_known: np.ndarray,
        joints: tuple[int, ...],
    ) -> None:
        self.path = plane.folder
        self.shape: tuple[int, ...] = (len(is_known), len(plane.chosen))
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._plane, self._series, self._rate_hz = plane, series, rate_hz
        self._source, self._is_known, self._joints = source, is_known, joints
        self._baselines: tuple[np.ndarray, np.ndarray] | None = None
        self._deconvolved: np.ndarray | None = None

    # The deconvolved traces can be large; each process computes them again.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_deconvolved": None}

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        for file in self._plane.files.values():
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
        if self._series == "spks":
            return self._stored("spks", rows).T
        corrected = self._corrected(rows)
        if self._series == "dff":
            baseline, divisor = self._baseline()
            corrected = (corrected - baseline[:, None]) / divisor[:, None]
        return corrected.T

    def _stored(self, name: str, rows: slice | np.ndarray) -> np.ndarray:
        frames = rows if self._source is None else self._source[rows]
        stored = self._plane.files[name].part(self._plane.chosen, frames)
        return stored.astype(np.float32, copy=False)

    def _corrected(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return F - neucoeff · Fneu, float32 (regions, frames)."""
        corrected, factor = self._stored("F", rows), self._plane.neucoeff
        if factor:
            corrected = corrected - np.float32(factor) * self._stored("Fneu", rows)
        return corrected

    def _baseline(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the baselines of the corrected and of the raw traces.

        dF/F divides by the raw baseline: the corrected one can be near 0 or negative.
        """
        if self._baselines is None:
            # A percentile needs few frames.
            some = slice(0, self.shape[0], max(1, self.shape[0] // _MAX_FRAMES))
            known = self._is_known[some]
            divisor = _low(self._stored("F", some)[:, known])
            # 1 in place of divisors that are not positive. Assigned at once: several
            # threads may ask first.
            divisor = np.where(divisor > 0, divisor, 1.0)
            self._baselines = _low(self._corrected(some)[:, known]), divisor
        return self._baselines

    def _all_deconvolved(self) -> np.ndarray:
        if self._deconvolved is None:
            traces = self._corrected(slice(0, self.shape[0]))
            traces[:, ~self._is_known] = np.nan
            # Calcium does not decay from one folder to the next.
            pieces = np.split(traces, self._joints, axis=1)
            tau_s = self._plane.tau_s or 0.0
            done = [deconvolve(piece, tau_s, self._rate_hz) for piece in pieces]
            self._deconvolved = np.concatenate(done, axis=1).T
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


LOOKED_FOR = ("suite2p/plane0", suite2p_plane.MATLAB)
_PLANE = re.compile(r"plane(\d{1,4})")
_COMBINED = "combined"
_BAD_FRAMES = "bad_frames.npy"
_MAT_SUFFIX = ".mat"
_SAME_RATE = 1e-3
"""Largest relative difference of the stored rates of planes of one recording."""


def recognises(path: Path) -> bool:
    """Return whether a path is of suite2p: planes, one plane, or its `Fall.mat`."""
    if not is_file(path):
        return bool(_plane_folders(path) or _without_traces(path))
    if path.suffix != _MAT_SUFFIX or path.name == suite2p_plane.MATLAB:
        return path.name == suite2p_plane.MATLAB
    # A copy of Fall.mat may have any name; its variables tell.
    names = set(open_mat(path).names)
    return bool(names & {"F", "spks"}) and bool(names & {"iscell", "stat", "ops"})


def read(path: Path, options: ReadOptions) -> Session:
    """Open a suite2p folder or its MATLAB output; see `open_session`."""
    notes = Notes()
    matlab = path if is_file(path) else None
    root = path if matlab is None else path.parent
    folders = _plane_folders(path)
    if not folders:
        lacking = ", ".join(_without_traces(path))
        found = f"has neither F.npy nor spks.npy in {lacking}"
        problem = f"{found}: suite2p found no regions, or did not extract their traces"
        raise bad_file(path, "missing_data", problem, _PROCESSED)
    # In order of their numbers, which are the order of scanning.
    planes = [
        suite2p_plane.read_plane(folder, root, number, options, notes, matlab)
        for number, folder in folders.items()
    ]
    fingerprint = fingerprint_of(path)
    numbers, is_outside = _bad_frames(path, folders)
    if numbers is not None:
        planes = _marked(planes, numbers, notes)
        if is_outside:
            content = fingerprint.encode() + numbers.tobytes()
            fingerprint = blake2b(content, digest_size=12).hexdigest()
    # Planes that are not read were scanned too, and count for the lag of the others.
    all_planes = [*folders, *_not_read(folders, notes)]
    scanned = 1 + max((n for n in all_planes if n is not None), default=0)
    _note_cells(planes, options, notes)
    used = _with_cells(path, planes, notes)
    choices = series_choices(used)
    series = _series(choices, used, options.series, path, notes)
    responses = _responses(path, used, scanned, series, options, notes)
    notes.assume("no_positions", "positions are pixels: no file gives their size")
    session = Session(
        id=_name(path),
        path=path,
        format="suite2p",
        fingerprint=fingerprint,
        units=_units(planes, responses, notes),
        responses=responses,
        images={
            "mean" if len(planes) == 1 else f"mean_{number or 0}": plane.mean_image
            for number, plane in zip(folders, planes, strict=True)
            if plane.mean_image is not None
        },
        # suite2p does not upsample.
        meta={"series": series, RECORDING_RATE: responses.rate_hz},
        series=series,
        series_choices=choices,
    )
    return finalise(session, options, notes)


# -- folders -------------------------------------------------------------------------
def _plane_folders(path: Path) -> dict[int | None, Path]:
    """Return the folders of the planes by number; None if the regions state it.

    `path` is one plane, a folder of planes, a folder that contains `suite2p`, or a
    MATLAB file of one of them. The folder `combined` repeats all planes; it is read if
    it is opened itself, or the only one.
    """
    if is_file(path):
        return {_number(path.parent): path.parent}
    if suite2p_plane.is_plane(path):
        return {_number(path): path}
    for root in (path, path / "suite2p"):
        planes: dict[int | None, Path] = {
            number: folder
            for number, folder in _numbered(root).items()
            if suite2p_plane.is_plane(folder)
        }
        if planes:
            return planes
        if suite2p_plane.is_plane(root):
            return {None: root}
        if suite2p_plane.is_plane(root / _COMBINED):
            return {None: root / _COMBINED}
    return {}


def _number(folder: Path) -> int | None:
    match = _PLANE.fullmatch(folder.name)
    return int(match[1]) if match else None


def _numbered(root: Path) -> dict[int, Path]:
    """Return the folders `planeN` by number, in their order."""
    found = Notes().attempt(root.name, folders_in, root)
    numbers = {n: path for path in found or () if (n := _number(path)) is not None}
    return dict(sorted(numbers.items()))


def _without_traces(path: Path) -> list[str]:
    """Return names of planes that have tables of suite2p and no traces."""
    if not is_folder(path):
        return []
    folders = [f for root in (path, path / "suite2p") for f in _numbered(root).values()]
    folders += [path] * (_number(path) is not None)
    return [f.name for f in folders if any(is_file(f / file) for file in suite2p_plane.TABLES)]


def _not_read(folders: dict[int | None, Path], notes: Notes) -> list[int]:
    """Return the numbers of planes beside those that are read, with a note for each."""
    first = next(iter(folders.values()))
    if _number(first) is None:
        return []
    root, not_read = first.parent, []
    for number, path in _numbered(root).items():
        if number in folders:
            continue
        not_read.append(number)
        if suite2p_plane.is_plane(path):
            notes.assume(
                "other_plane",
                f"{path.name} is beside {first.name} and not read: open {root.name} for all planes",
            )
            continue
        lacks = "neither F.npy nor spks.npy"
        if any(is_there(path / file, follows=False) for file in suite2p_plane.TRACES):
            lacks = "no other file of suite2p than traces"
        notes.warn("lost_plane", f"{path.name} has {lacks}: left out")
    return not_read


def _name(path: Path) -> str:
    """Return the name of the recording's folder, above the folders of suite2p."""
    if path.suffix == _MAT_SUFFIX:
        if path.name != suite2p_plane.MATLAB:
            return path.stem
        path = path.parent
    # Every recording has folders of these names, so they identify none.
    while path.name in ("suite2p", _COMBINED) or _PLANE.fullmatch(path.name):
        path = path.parent
    return path.name


def _with_cells(path: Path, planes: list[Plane], notes: Notes) -> list[Plane]:
    """Return the planes with neurons, after a note on the others.

    Raises
    ------
    SessionFormatError
        If no plane has one.
    """
    empty = [plane for plane in planes if not len(plane.chosen)]
    lacks = [
        f"{plane.folder.name} has no regions"
        if not plane.n_rois
        else f"iscell.npy of {plane.folder.name} marks none of {plane.n_rois} regions as a cell"
        for plane in empty
    ]
    if len(empty) == len(planes):
        hint = "suite2p found nothing: run it with other settings of the detection"
        if any(plane.n_rois for plane in planes):
            hint = f"{ALL_ROIS}, reads them all"
        raise bad_file(path, "empty", f"has no neurons: {'; '.join(lacks)}", hint)
    if empty:
        notes.warn("empty_plane", f"{'; '.join(lacks)}: the other planes are read")
    return [plane for plane in planes if len(plane.chosen)]


def _bad_frames(path: Path, folders: dict[int | None, Path]) -> tuple[np.ndarray | None, bool]:
    """Return the frames that the user marked, and whether their file is above `path`.

    They are numbers of frames, or flags, in `bad_frames.npy`; None without the file.
    """
    first = next(iter(folders.values()))
    # suite2p reads the file beside its folder, that is, above those of the planes.
    above = first.parent.parent
    is_outside = not above.is_relative_to(path)
    is_inner = first.name == _COMBINED or _PLANE.fullmatch(first.name)
    # Above what was opened, only where suite2p looks for it.
    is_looked_for = is_inner and (not is_outside or first.parent.name == "suite2p")
    if not is_looked_for or not is_there(above / _BAD_FRAMES, follows=False):
        return None, False
    return load_small_array(above / _BAD_FRAMES, above).reshape(-1), is_outside


def _marked(planes: list[Plane], numbers: np.ndarray, notes: Notes) -> list[Plane]:
    """Return planes with the frames of `bad_frames.npy` marked as well."""
    if numbers.dtype.kind not in "fiub":
        text = f"{_BAD_FRAMES} holds {numbers.dtype}, no numbers: not used"
        notes.warn("bad_setting", text)
        return planes
    # Some planes may be one frame shorter, or cut by their padding.
    n_stored = max(file.shape[1] for plane in planes for file in plane.files.values())
    marked = []
    for plane in planes:
        where = f"{_BAD_FRAMES} for {plane.folder.name}"
        bad = suite2p_plane.marked_frames(numbers, plane.bad_frames, n_stored, where, notes)
        marked.append(replace(plane, bad_frames=bad))
    return marked


# -- responses -----------------------------------------------------------------------
def _responses(
    path: Path, planes: list[Plane], scanned: int, series: str, options: ReadOptions, notes: Notes
) -> Signal:
    rate = _rate(path, planes, options, notes)
    frames = common_frames(path, planes, notes)
    missing = _missing(path, planes, frames, notes)
    recorded = ~np.logical_and.reduce(missing)
    if recorded.sum() < 2:
        problem = f"marks all frames but {recorded.sum()} as bad"
        hint = "was the registration right? badframes of ops.npy and bad_frames.npy count"
        raise bad_file(path, "empty", problem, hint)
    place = np.flatnonzero(recorded)
    parts: list[Placed] = []
    for plane, source, bad in zip(planes, frames.source, missing, strict=True):
        traces = PlaneTraces(plane, series, rate, source, ~bad, frames.joints)
        known = np.flatnonzero(~bad)
        parts.append(Placed(traces, known, known, parts[-1].stop if parts else 0))
    rows = PlacedRows(parts, frames.n_rows)
    shift_s, joints = _lags(planes, scanned, rate, notes), frames.joints
    return traces_signal(rows, rate, 0.0, place, notes, joints, shift_s=shift_s)


def _missing(path: Path, planes: list[Plane], frames: Frames, notes: Notes) -> list[np.ndarray]:
    """Return the rows of each plane whose frames are bad, or only padding, bool."""
    missing = []
    for plane, source in zip(planes, frames.source, strict=True):
        rows = slice(frames.n_rows) if source is None else source
        missing.append(plane.bad_frames[rows])
    counts = [int(bad.sum()) for bad in missing]
    if any(counts):
        parts = ", ".join(
            f"{n:,} in {plane.folder.name}" for n, plane in zip(counts, planes, strict=True) if n
        )
        notes.assume(
            "bad_frames",
            f"{path.name}: frames that suite2p marks as bad are missing: {parts}, of "
            f"{frames.n_rows:,}",
        )
    return missing


def _rate(path: Path, planes: list[Plane], options: ReadOptions, notes: Notes) -> float:
    """Return volumes per second: the stored rate, else the rate option.

    `fs` of suite2p is the rate per plane, that is, of volumes.

    Raises
    ------
    SessionFormatError
        If the planes differ in rate, or no rate is known.
    """
    stored = sorted({plane.rate_hz for plane in planes if plane.rate_hz is not None})
    if stored and stored[-1] > stored[0] * (1 + _SAME_RATE):
        problem = f"has planes with rates {stored} in fs; one expected"
        raise bad_file(path, "bad_key", problem, "are all of one recording?")
    if stored:
        return stored[0]
    problem = next((p.problems["fs"] for p in planes if "fs" in p.problems), "")
    if options.rate_hz is None:
        where = problem or f"no ops.npy, settings.npy or ops of {suite2p_plane.MATLAB} gives fs"
        raise bad_file(path, MISSING_RATE, f"states no frames per second of a plane: {where}")
    check_scan_rate(path, options.rate_hz)
    notes.assume(
        "given_rate",
        f"{options.rate_hz:g} Hz, as stated in the options; no file states "
        f"{'a right one' if problem else 'it'}",
    )
    return options.rate_hz


def _lags(planes: list[Plane], scanned: int, rate_hz: float, notes: Notes) -> np.ndarray | None:
    """Return the scan delay of each neuron's plane in seconds; None if all are 0."""
    depth, count = _depths(planes, scanned)
    if not depth.any():
        if any(plane.scan.is_mesoscope for plane in planes) and scanned > 1:
            notes.assume(
                "mesoscope",
                "the folders are regions of one plane of a mesoscope, scanned within "
                "one frame: no lags between them",
            )
        return None
    if any(plane.scan.is_bidirectional for plane in planes):
        notes.assume(
            "plane_lags",
            f"{count} planes are scanned forth and back: their lags change from volume "
            "to volume, and none are taken",
        )
        return None
    notes.assume(
        "plane_lags", f"planes are scanned in turn: plane p of {count} lags p/{count} of a volume"
    )
    # Planes of a volume are scanned one after another, evenly over 1 / rate seconds.
    return np.asarray(depth / (rate_hz * count))


def _depths(planes: list[Plane], scanned: int) -> tuple[np.ndarray, int]:
    """Return the place of each neuron's plane among those of a volume, and their count.

    Of a mesoscope, a plane has several regions, with a folder each: suite2p numbers
    folder = plane · regions + region. `nplanes` counts planes in version 1, and before
    it folders.
    """
    number = np.concatenate([plane.number for plane in planes])
    n_planes = max(plane.scan.n_planes for plane in planes)
    scanned = max(scanned, int(number.max()) + 1)
    if not any(plane.scan.is_mesoscope for plane in planes):
        return number, max(scanned, n_planes)
    n_regions = max(plane.scan.n_regions for plane in planes)
    is_version_1 = any(plane.scan.is_version_1 for plane in planes)
    if not is_version_1 and scanned <= n_planes and n_planes % n_regions == 0:
        n_planes //= n_regions
    if n_regions == 1:
        # No file counts the regions: their planes are what the folders state, else one.
        stated = [plane.scan.depth for plane in planes]
        known = [depth for depth in stated if depth is not None]
        depths = known if len(known) == len(planes) else [0] * len(planes)
        depth = np.repeat(depths, [len(plane.chosen) for plane in planes])
        return depth, int(depth.max()) + 1
    depth = number // n_regions
    return depth, max(n_planes, int(depth.max()) + 1)


# -- neurons -------------------------------------------------------------------------
def _units(planes: list[Plane], responses: Signal, notes: Notes) -> Units:
    # Ids count all regions, so that they do not depend on the selection of cells.
    first = np.cumsum([0, *(plane.n_rois for plane in planes)])
    ids = [plane.chosen + at for plane, at in zip(planes, first, strict=False)]
    # suite2p does not store the pixel size: positions are pixels.
    return make_units(
        responses,
        notes,
        unit_id=np.concatenate(ids),
        plane=np.concatenate([plane.number for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=Roi.joined([plane.roi for plane in planes]),
    )


def _note_cells(planes: list[Plane], options: ReadOptions, notes: Notes) -> None:
    unknown = [plane.folder.name for plane in planes if plane.n_cells is None]
    if unknown:
        notes.assume(
            "cells_unknown",
            f"{', '.join(unknown)} without iscell.npy: all regions are read as neurons",
        )
    known = [(p.n_rois, p.n_cells) for p in planes if p.n_cells is not None]
    note_no_cells(
        sum(n_rois for n_rois, _ in known),
        sum(n_cells for _, n_cells in known),
        notes,
        where="iscell.npy",
        cells_only=options.cells_only,
    )
