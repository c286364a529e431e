"""Reader of NWB files with calcium imaging or spikes, based on types and names."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers.build.checked_values import text_of
from omnimouse_model.data.readers.build.finalise import finalise
from omnimouse_model.data.readers.build.neurons import make_units
from omnimouse_model.data.readers.build.notes import Notes, ReadOptions
from omnimouse_model.data.readers.build.trials import trials_without_screen
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.intervals import read_intervals
from omnimouse_model.data.readers.nwb.responses import read_responses
from omnimouse_model.data.readers.nwb.series import choose_series, has_series
from omnimouse_model.data.readers.nwb.spikes import (
    UNITS,
    note_unread_units,
    read_spikes,
    units_tables,
)
from omnimouse_model.data.readers.nwb.stimulus import read_stimulus
from omnimouse_model.data.readers.nwb.units import AREAS, SPECIMEN_ID, PlaneUnits
from omnimouse_model.data.recording import RECORDING_RATE
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.display import listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import SIGNATURE, Hdf5
from omnimouse_model.storage.arrays.zarr_file import ZarrFile
from omnimouse_model.storage.arrays.zarr_metadata import read_node
from omnimouse_model.storage.byte_source import LocalFile, file_fingerprint, folder_fingerprint
from omnimouse_model.storage.files import begins_with, is_folder
from omnimouse_model.storage.web import RemoteFile

LOOKED_FOR = ("*.nwb", "*.nwb.zarr")
_MARKS = frozenset({"nwb_version", "neurodata_type"})
_VERSION = re.compile(r"(?:NWB[-_ ]?)?(\d+)\.(\d+)(?:\.\d+)?[-_.]?([a-z]*)", re.I)


def recognises(path: Path) -> bool:
    """Return whether a file is HDF5, or a folder a zarr group, with the attributes of NWB.

    An HDF5 file that cannot be opened counts, so that reading it reports the error.
    """
    if is_folder(path):
        return _is_zarr(path)
    # The signature first: it needs no h5py.
    if not begins_with(path, SIGNATURE):
        return False
    try:
        file = Hdf5(LocalFile(path)).root
        has_version = file.id.links.exists(b"nwb_version")  # as in version 1
        return has_version or not _MARKS.isdisjoint(file.attrs)
    except Exception:  # h5py is missing, or the file is damaged
        return True


def _is_zarr(folder: Path) -> bool:
    try:
        node = read_node(folder)
    except SessionFormatError:
        return False
    return node is not None and not node.is_array and not _MARKS.isdisjoint(node.attributes)


def read(path: Path, options: ReadOptions) -> Session:
    """Open an NWB file, or a folder of NWB as zarr; see `open_session`."""
    if is_folder(path):
        return _read(ZarrFile(path), folder_fingerprint(path), options)
    return _read(Hdf5(LocalFile(path)), file_fingerprint(path), options)


def read_remote(remote: RemoteFile, address: str, options: ReadOptions) -> Session:
    """Open an NWB file on a server; only the required blocks are transferred.

    `address` is the one by which it is opened again.
    """
    session = _read(Hdf5(remote), remote.fingerprint, options)
    return replace(session, origin=address)


def _read(file: Hdf5 | ZarrFile, fingerprint: str, options: ReadOptions) -> Session:
    """Return the session of an open file."""
    nwb = NwbFile.scan(file)
    notes = nwb.notes
    _check_version(nwb)
    if isinstance(file, ZarrFile) and file.objects_left_out:
        names = listed(file.objects_left_out, 6)
        text = f"arrays of objects are not read, because their codecs run code: {names}"
        notes.assume("objects_left_out", text)
    if nwb.file.outside:
        names = listed((f"{name} (in {file})" for name, file in nwb.file.outside.items()), 6)
        notes.assume("links_left_out", f"links to other files are never followed: {names}")
    units = units_tables(nwb)
    if units and (options.series == UNITS or not has_series(nwb, options.series)):
        name = _identity(nwb)
        return read_spikes(nwb, units[0], name, fingerprint, options)
    chosen = choose_series(nwb, options.series)
    note_unread_units(nwb, units)
    found = read_responses(nwb, chosen, options)
    responses, planes = found.signal, found.planes
    intervals = read_intervals(nwb, responses)
    stimulus = read_stimulus(nwb, intervals, responses)
    if stimulus is None:
        trials = trials_without_screen(intervals, responses.start)
    else:
        trials = stimulus.trials
    session = Session(
        id=_identity(nwb),
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=file.path,
        format="nwb",
        fingerprint=fingerprint,
        units=_units(planes, responses, notes),
        responses=responses,
        behavior=read_behavior(nwb, responses, stimulus),
        stimulus=stimulus,
        trials=trials,
        images=_images(nwb, planes),
        # NWB files hold responses as they were recorded.
        meta={
            "series": [str(one.group.name) for one in found.series],
            RECORDING_RATE: responses.rate_hz,
        },
        series=chosen.name,
        series_choices=chosen.choices | ({UNITS: "spike times"} if units else {}),
        options=options.changed(),
    )
    # Of a table that several series share, each fact is noted once.
    for found_notes in (notes.warnings, notes.assumptions):
        found_notes[:] = dict.fromkeys(found_notes)
    return finalise(session, notes)


def _check_version(nwb: NwbFile) -> None:
    """Raise if the file has the layout of NWB 1, or of a pre-release of NWB 2."""
    stored = text_of(nwb.file.attribute(nwb.file.root, "nwb_version", ""))
    version = stored or nwb.text("/nwb_version")
    parts = _VERSION.match(version.strip())
    if parts is None:
        return
    major, minor, stage = int(parts[1]), int(parts[2]), parts[3].lower()
    if major >= 2 and not (major == 2 and minor == 0 and stage):
        return
    what = "a pre-release of NWB 2" if major == 2 else f"NWB {major}"
    raise SessionFormatError(
        nwb.file.path,
        "old_version",
        f"{nwb.file.path.name} is {what} (nwb_version {version!r}), which is stored "
        "in another layout than NWB 2.0 and later",
        "convert it: read it with the package that wrote it (AllenSDK for files of the "
        "Allen Institute) or with h5py, and write NWB 2 with pynwb or MatNWB, or save "
        "its traces with numpy.savez(path, responses=…, rate_hz=…)",
    )


def _identity(nwb: NwbFile) -> str:
    for name in ("/general/session_id", "/identifier"):
        if text := nwb.text(name):
            return text
    nwb.notes.assume("no_identity", "nothing names the session: the file's name is used")
    return nwb.file.path.stem


# -- neurons -------------------------------------------------------------------------
def _units(planes: list[PlaneUnits], responses: Signal, notes: Notes) -> Units:
    counts = [len(plane.unit_id) for plane in planes]
    # Locations outside the table keep their stored names.
    names = [AREAS.get(plane.location, plane.location) for plane in planes]
    area = None
    if any(names):
        area = np.repeat(np.array(names, np.str_), counts)
        stored = ", ".join(dict.fromkeys(p.location for p in planes if p.location))
        notes.assume("area_names", f"areas are the planes' locations ({stored})")
    if len(names) > 1 and not all(names):
        notes.warn("no_areas", "some planes do not say which area they cover")
    masks = [mask for plane in planes for mask in plane.masks]
    n_empty = sum(not len(weight) for _, weight in masks)
    if 0 < n_empty < len(masks):
        notes.warn(
            "empty_masks",
            f"the masks of {n_empty} of {len(masks)} regions hold no pixels",
        )
    units = make_units(
        responses,
        notes,
        unit_id=np.concatenate([plane.unit_id for plane in planes]),
        area=area,
        area_source="ImagingPlane.location",
        plane=np.repeat(np.arange(len(planes)), counts),
        xyz_um=np.concatenate([plane.xyz_um for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=Roi.of(masks) if n_empty < len(masks) else None,
    )
    specimens = [plane.specimen_id for plane in planes if plane.specimen_id is not None]
    if len(specimens) < len(planes):
        return units
    return replace(units, properties={SPECIMEN_ID: np.concatenate(specimens)})


def _images(nwb: NwbFile, planes: list[PlaneUnits]) -> dict[str, np.ndarray]:
    """Return the mean image, empty if there are several planes or no image.

    With several planes, nothing tells to which of them an image belongs.
    """
    names = [
        str(item.name)
        for item in nwb.groups_of("GrayscaleImage", "Image")
        if "/processing/" in item.name
        and re.search(r"mean|average|avg", item.name.rsplit("/", 1)[-1], re.I)
    ]
    if len(planes) != 1 or not names:
        return {}
    image = nwb.notes.attempt("the mean image", nwb.file.table, names[0])
    if image is None or image.ndim != 2 or image.dtype.kind not in "fiu":
        return {}
    # neuroconv stores images as (width, height), like its masks.
    if nwb.generator() == "neuroconv" and image.shape != planes[0].image_size:
        image = image.T
    return {"mean": np.nan_to_num(image.astype(np.float32))} if image.size else {}
