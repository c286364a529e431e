"""Reader of suite2p folders: one plane, or several planes scanned in turn."""

import re
from pathlib import Path

import numpy as np

from omnimouse_model.data.io.fingerprint import folder_fingerprint
from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units, note_no_cells
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.rate_notes import note_interpolation
from omnimouse_model.data.readers.build.statistics import complete_statistics
from omnimouse_model.data.readers.suite2p.plane import Plane, read_plane
from omnimouse_model.data.readers.suite2p.traces import (
    PlaneTraces,
    choose_series,
    series_choices,
)
from omnimouse_model.data.session import RECORDING_RATE, Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.errors import MISSING_RATE, SessionFormatError

LOOKED_FOR = ("suite2p/plane0",)
_TRACES = ("F.npy", "spks.npy")
_TABLES = ("stat.npy", "iscell.npy", "ops.npy", "settings.npy")
_PLANE = re.compile(r"plane(\d+)")
# A recording that stops within a volume gives its last planes one frame fewer.
_MAX_UNEVEN = 1


def recognises(path: Path) -> bool:
    """Return whether a folder contains suite2p planes, or is one."""
    return bool(_plane_folders(path))


def read(path: Path, options: ReadOptions) -> Session:
    """Open a suite2p folder; see `open_session`."""
    notes = Notes()
    folders = _plane_folders(path)
    # In order of their numbers, which are the order of scanning.
    planes = [
        read_plane(f, path, number, options, notes) for number, f in folders.items()
    ]
    # Planes that are not read were scanned too, and count for the lag of the others.
    scanned = 1 + max(*folders, *_not_read(folders, notes), 0)
    choices = series_choices(planes)
    series = choose_series(choices, planes, options.series, path, notes)
    responses = _responses(path, planes, scanned, series, options, notes)
    responses = complete_statistics(responses, None, notes)
    notes.assume("no_positions", "positions are pixels: no file gives their size")
    _note_cells(planes, options, notes)
    several = len(planes) > 1
    session = Session(
        id=_name(path),
        animal_id=None,
        path=path,
        format="suite2p",
        fingerprint=folder_fingerprint(path),
        units=_units(planes, responses, notes),
        responses=responses,
        behavior={"eye_tracker": None, "treadmill": None},
        stimulus=None,
        trials=Trials.none(),
        images={
            f"mean_{i}" if several else "mean": plane.mean_image
            for i, plane in enumerate(planes)
            if plane.mean_image is not None
        },
        # suite2p does not upsample.
        meta={"series": series, RECORDING_RATE: responses.rate_hz},
        series=series,
        series_choices=choices,
        options=options.changed(),
    )
    return finalise(session, notes)


def _plane_folders(path: Path) -> dict[int, Path]:
    """Return the folders of the planes by number.

    `path` is one plane, a folder of planes, or a folder that contains `suite2p`.
    """
    if _is_plane(path):
        match = _PLANE.fullmatch(path.name)
        return {int(match[1]) if match else 0: path}
    for root in (path, path / "suite2p"):
        try:
            names = [p.name for p in root.iterdir()] if root.is_dir() else []
        except OSError:
            continue
        folders = {
            int(match[1]): root / match[0]
            for match in map(_PLANE.fullmatch, names)
            if match is not None and _is_plane(root / match[0])
        }
        if folders:
            return dict(sorted(folders.items()))
    return {}


def _not_read(folders: dict[int, Path], notes: Notes) -> list[int]:
    """Return the numbers of planes beside those that are read, with a note for each."""
    first = next(iter(folders.values()))
    if not _PLANE.fullmatch(first.name):
        return []
    root, not_read = first.parent, []
    for path in sorted(root.iterdir()):
        match = _PLANE.fullmatch(path.name)
        if match is None or not path.is_dir() or int(match[1]) in folders:
            continue
        not_read.append(int(match[1]))
        if _is_plane(path):
            notes.assume(
                "other_plane",
                f"{path.name} is beside {first.name} and not read: open {root.name} "
                "for all planes",
            )
            continue
        lacks = "neither F.npy nor spks.npy"
        if any((path / file).exists() for file in _TRACES):
            lacks = "no other file of suite2p than traces"
        notes.warn("lost_plane", f"{path.name} has {lacks}: left out")
    return not_read


def _is_plane(path: Path) -> bool:
    # Traces alone could be those of another program.
    return all(
        any((path / file).exists() for file in files) for files in (_TRACES, _TABLES)
    )


def _name(path: Path) -> str:
    """Return the name of the recording's folder, above the folders of suite2p."""
    # Every recording has folders of these names, so they identify none.
    while path.name == "suite2p" or _PLANE.fullmatch(path.name):
        path = path.parent
    return path.name


# -- responses -----------------------------------------------------------------------
def _responses(
    path: Path,
    planes: list[Plane],
    scanned: int,
    series: str,
    options: ReadOptions,
    notes: Notes,
) -> Signal:
    rate = _rate(path, planes, options, notes)
    length = [plane.n_frames for plane in planes]
    if max(length) - min(length) > _MAX_UNEVEN:
        raise SessionFormatError(
            path,
            "wrong_shape",
            f"planes of {path.name} have {min(length)} to {max(length)} frames; one "
            "volume gives all planes as many, or one fewer",
            "was the recording processed to its end?",
        )
    if max(length) > min(length):
        notes.assume("cut_frames", f"planes are cut to the shortest, {min(length)}")
    rows = PlaneTraces(path, tuple(planes), series, rate, min(length))
    note_interpolation(rate, notes)
    return Signal.of_rows(
        "responses",
        rows,
        rate,
        0.0,
        shift_s=_lags(planes, scanned, rate, notes),
        mode="linear",
    )


def _rate(path: Path, planes: list[Plane], options: ReadOptions, notes: Notes) -> float:
    """Return volumes per second: the stored rate, else the rate option.

    `fs` of suite2p is the rate per plane, that is, of volumes.

    Raises
    ------
    SessionFormatError
        If the planes differ in rate, or no rate is known.
    """
    stored = {plane.rate_hz for plane in planes if plane.rate_hz is not None}
    if len(stored) > 1:
        raise SessionFormatError(
            path,
            "bad_key",
            f"planes of {path.name} have rates {sorted(stored)} in fs; one expected",
            "are all of one recording?",
        )
    if stored:
        rate = stored.pop()
        if options.rate_hz is not None and options.rate_hz != rate:
            notes.warn(
                "rate_disagrees",
                f"responses: {options.rate_hz:g} Hz was given, the files say fs "
                f"{rate:g}, which is used",
            )
        return rate
    if options.rate_hz is None:
        raise SessionFormatError(
            path,
            MISSING_RATE,
            f"no ops.npy or settings.npy of {path.name} gives fs, the frames per "
            "second of a plane",
            "state it: rate_hz=…, or --rate-hz",
        )
    if not 0.1 <= options.rate_hz <= 1000:
        raise SessionFormatError(
            path,
            MISSING_RATE,
            f"{path.name}: rate_hz must lie between 0.1 and 1000, found "
            f"{options.rate_hz:g}",
            "say how often each plane was scanned per second",
        )
    notes.assume(
        "given_rate",
        f"{options.rate_hz:g} Hz, as stated in the options; no file states it",
    )
    return options.rate_hz


def _lags(
    planes: list[Plane], scanned: int, rate_hz: float, notes: Notes
) -> np.ndarray | None:
    """Return the scan delay of each neuron's plane in seconds; None if all are 0."""
    # Planes of a volume are scanned one after another, evenly over 1 / rate seconds.
    # The folder may hold only some of the planes, hence also the stored number.
    count = max(scanned, *(plane.n_planes for plane in planes))
    lag = [plane.number / (rate_hz * count) for plane in planes]
    if not any(lag):
        return None
    notes.assume(
        "plane_lags",
        f"planes are scanned in turn: plane p of {count} lags p/{count} of a volume",
    )
    return np.repeat(np.array(lag), [len(plane.chosen) for plane in planes])


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
        plane=np.repeat([p.number for p in planes], [len(p.chosen) for p in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=Roi.of([mask for plane in planes for mask in plane.masks]),
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
