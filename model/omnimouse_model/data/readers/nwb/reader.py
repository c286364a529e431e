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
from omnimouse_model.data.readers.build.spiking_units import as_units
from omnimouse_model.data.readers.build.trials import (
    TRIAL_START,
    aligned_to_event,
    trials_without_screen,
    with_tiers,
)
from omnimouse_model.data.readers.nwb.behavior import read_behavior
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.intervals import read_intervals
from omnimouse_model.data.readers.nwb.responses import read_responses
from omnimouse_model.data.readers.nwb.series import Chosen, choose_series, has_series
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
_TIERS = {"val": "validation"}
"""Names of the split of the Neural Latents Benchmark -> tiers."""
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


def read(place: Path | RemoteFile, options: ReadOptions) -> Session:
    """Open an NWB file, a folder of NWB as zarr, or a file on a server; see `open_session`.

    Of a file on a server, only the required blocks are transferred.
    """
    file: Hdf5 | ZarrFile
    if isinstance(place, RemoteFile):
        file, fingerprint = Hdf5(place), place.fingerprint
    elif is_folder(place):
        file, fingerprint = ZarrFile(place), folder_fingerprint(place)
    else:
        file, fingerprint = Hdf5(LocalFile(place)), file_fingerprint(place)
    nwb = NwbFile.scan(file)
    notes = nwb.notes
    _check_version(nwb)
    if isinstance(file, ZarrFile) and file.objects_left_out:
        names = listed(file.objects_left_out, 6)
        text = f"arrays of objects are not read, because their codecs run code: {names}"
        notes.assume("objects_left_out", text)
    if file.outside:
        names = listed((f"{name} (in {other})" for name, other in file.outside.items()), 6)
        notes.assume("links_left_out", f"links to other files are never followed: {names}")
    tables = units_tables(nwb)
    has_spikes = bool(tables) and (options.series == UNITS or not has_series(nwb, options.series))
    planes: list[PlaneUnits] = []
    if has_spikes:
        chosen = Chosen(UNITS, [], [], {})
        responses, spiking = read_spikes(nwb, tables[0], options)
        note_unread_units(nwb, tables[1:])
        read_from = [str(tables[0].name)]
    else:
        chosen = choose_series(nwb, options.series)
        note_unread_units(nwb, tables)
        responses, planes, series = read_responses(nwb, chosen, options)
        read_from = [str(one.group.name) for one in series]
    intervals = read_intervals(nwb, responses)
    if has_spikes and "split" in intervals.columns:
        split = [_TIERS.get(str(name), name) for name in intervals.columns["split"]]
        intervals = replace(intervals, columns={**intervals.columns, "split": split})
    stimulus = read_stimulus(nwb, intervals, responses)
    if has_spikes and stimulus is None:
        intervals = with_tiers(intervals, options, notes)
        event = options.trial_event
        intervals = aligned_to_event(intervals, event, TRIAL_START, file.path, notes)
    session = Session(
        id=_identity(nwb),
        animal_id=nwb.text("/general/subject/subject_id") or None,
        path=file.path,
        format="nwb",
        fingerprint=fingerprint,
        units=as_units(spiking, responses, notes, "electrodes.location")
        if has_spikes
        else _units(planes, responses, notes),
        responses=responses,
        behavior=read_behavior(nwb, responses, stimulus),
        stimulus=stimulus,
        trials=trials_without_screen(intervals, responses.start)
        if stimulus is None
        else stimulus.trials,
        images=_images(nwb, planes),
        # NWB files hold responses as they were recorded.
        meta={"series": read_from, RECORDING_RATE: responses.rate_hz},
        series=chosen.name,
        series_choices=chosen.choices | ({UNITS: "spike times"} if tables else {}),
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
    roi = Roi.joined([plane.roi for plane in planes])
    n_empty = int((np.diff(roi.offsets) == 0).sum())
    if 0 < n_empty < sum(counts):
        text = f"the masks of {n_empty} of {sum(counts)} regions hold no pixels"
        notes.warn("empty_masks", text)
    units = make_units(
        responses,
        notes,
        unit_id=np.concatenate([plane.unit_id for plane in planes]),
        area=area,
        area_source="ImagingPlane.location",
        plane=np.repeat(np.arange(len(planes)), counts),
        xyz_um=np.concatenate([plane.xyz_um for plane in planes]),
        xy_px=np.concatenate([plane.xy_px for plane in planes]),
        roi=roi if n_empty < sum(counts) else None,
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
