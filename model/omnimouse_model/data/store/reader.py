"""Reader of the store: returns the converted session bit by bit."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.read_options import ReadOptions
from omnimouse_model.data.readers.build.finalise import check_overlap
from omnimouse_model.data.readers.build.stored_values import check_extent
from omnimouse_model.data.recording import Note
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Level, Signal
from omnimouse_model.data.spike_trains import Observed, SpikeTrains
from omnimouse_model.data.stimulus import Stimulus, Trials
from omnimouse_model.data.store.layout import FORMAT, PYRAMID_SECONDS, VERSION, is_storable
from omnimouse_model.data.store.recorded_rows import recorded_bins, recorded_runs, with_pauses
from omnimouse_model.data.store.tables import table_digest, trials_of, units_of
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.rows import MemoryRows
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray, ZarrGroup
from omnimouse_model.storage.files import bad_file, is_file, is_folder
from omnimouse_model.storage.fingerprint import combine_options, folder_fingerprint
from omnimouse_model.storage.trees import read_json_mapping

LOOKED_FOR = ("zarr.json",)
_STREAMS = ("eye_tracker", "treadmill")


def recognises(path: Path) -> bool:
    """Return whether a folder is a store, complete or not."""
    metadata = path / "zarr.json"
    if not is_folder(path) or not is_file(metadata):
        return False
    try:
        attributes = read_json_mapping(metadata).get("attributes")
    except SessionFormatError:
        return True  # reading it reports the fault
    # A group that lost its attributes is recognised by its arrays, so that the error is
    # about a damaged or unfinished store.
    is_ours = isinstance(attributes, Mapping) and attributes.get("format") == FORMAT
    return is_ours or is_folder(path / "responses" / "data")


def read(path: Path, options: ReadOptions, *, is_unfinished: bool = False) -> Session:
    """Open a store; see `open_session`. `is_unfinished` allows an unfinished one."""
    attributes = _checked(path, is_unfinished)
    try:
        return _session(path, attributes, options)
    except SessionFormatError:
        raise
    except Exception as error:  # damaged metadata raises errors of many types
        raise SessionFormatError(
            path,
            "bad_store",
            f"{path.name} is damaged: {type(error).__name__}: {str(error)[:200]}",
            "copy the store again, or convert the session again",
        ) from error


def _checked(path: Path, is_unfinished: bool) -> Mapping[str, Any]:
    """Return the attributes of a store; raise if unfinished or of a newer version."""
    attributes = read_json_mapping(path / "zarr.json").get("attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    version = attributes.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SessionFormatError(
            path,
            "newer_version",
            f"{path.name} was written by a newer version ({version} > {VERSION})",
            "update this program",
        )
    is_complete = attributes.get("complete") is True or is_unfinished
    if not is_complete or attributes.get("format") != FORMAT:
        raise SessionFormatError(
            path,
            "unfinished",
            f"{path.name}: the store was not finished (interrupted write?)",
            "run omnimouse convert again: it continues where it stopped",
        )
    return attributes


def _session(path: Path, attributes: Mapping[str, Any], options: ReadOptions) -> Session:
    store = _Store(path)
    responses = store.signal("responses", store.rows("responses/data"))
    n_rows = store.attributes("responses").get("rows")
    if n_rows is not None:
        check_extent(path, "responses", n_rows, responses.rate_hz)
        spans = responses.recorded_spans
        if spans is None or not np.isfinite(spans).all():
            raise ValueError("stretches without times")
        runs = recorded_runs(responses, n_rows)
        responses = replace(responses, file=with_pauses(responses.file, runs, n_rows))
    responses = replace(responses, levels=tuple(_levels(store, responses)))
    if store.has("responses/spike_times"):
        responses = replace(responses, file=_spikes(store, responses))
    behavior: dict[str, Signal | None] = dict.fromkeys(_STREAMS)
    for name in _STREAMS:
        if store.has(f"behaviour/{name}"):
            rows = MemoryRows(path, store.array(f"behaviour/{name}/data"))
            behavior[name] = store.signal(f"behaviour/{name}", rows)
    stimulus = _stimulus(store)
    session = Session(
        id=str(attributes["id"]),
        animal_id=None if attributes["animal_id"] is None else str(attributes["animal_id"]),
        path=path,
        format=f"store ({attributes['source']['format']})",
        fingerprint=combine_options(folder_fingerprint(path), options.changed()),
        units=units_of(store.arrays("units"), store.attributes("units"), responses),
        responses=responses,
        behavior=behavior,
        stimulus=stimulus,
        trials=_trials(store),
        images=store.arrays("images") if store.has("images") else {},
        meta=dict(attributes["meta"]),
        options=options.changed(),
        warnings=_notes(attributes["warnings"]),
        assumptions=(*_notes(attributes["assumptions"]), _origin(attributes["source"])),
    )
    # Checksums protect the arrays; this hash also protects the attributes, which are
    # plain JSON. Without it, tables that do not fit together would fail later.
    if table_digest(session) != attributes["hashes"]["tables"]:
        raise ValueError("its tables are not those that were written")
    check_overlap(session)
    return session


def _origin(source: Mapping[str, Any]) -> Note:
    return Note("store", f"converted from {source['uri']} ({source['format']})")


def _spikes(store: "_Store", responses: Signal) -> SpikeTrains:
    """Return spike times; their counts at one rate are the stored responses."""
    times = MemoryRows(store.path, store.array("responses/spike_times"))
    offsets = store.array("responses/spike_offsets")
    clock = responses.start, responses.rate_hz, responses.n_samples
    observed = None
    if store.has("responses/observed_spans"):
        of_units = store.has("responses/observed_offsets")
        observed = Observed(
            store.array("responses/observed_spans"),
            store.array("responses/observed_offsets") if of_units else None,
        )
    return SpikeTrains(times, offsets, *clock, observed)


def _levels(store: "_Store", responses: Signal) -> Iterator[Level]:
    for seconds in PYRAMID_SECONDS:
        rows = store.rows(f"responses/pyramid/{seconds}s")
        step = max(1, round(seconds * responses.rate_hz))
        bins = recorded_bins(recorded_runs(responses, responses.n_samples), step)
        if rows.shape != (len(bins), responses.n_columns, 3):
            raise ValueError(f"a pyramid of {rows.shape}")
        yield Level(step, partial(_means, rows), bins)


def _means(rows: ZarrArray, columns: slice) -> np.ndarray:
    """Return the means of a level of minimum, maximum and mean."""
    return rows.part((slice(None), columns, slice(2, 3)))[..., 0]


def _notes(stored: Any) -> tuple[Note, ...]:
    return tuple(Note(str(note["code"]), str(note["message"])) for note in stored)


def _trials(store: "_Store") -> Trials:
    if not store.has("trials"):
        return Trials.none()
    return trials_of(store.arrays("trials"), store.attributes("trials"))


def _stimulus(store: "_Store") -> Stimulus | None:
    if not store.has("stimulus"):
        return None
    arrays = store.arrays("stimulus", but=("frames",))
    size = tuple(int(v) for v in store.attributes("stimulus")["size"])
    frames = None
    if store.has("stimulus/frames"):
        frames = store.rows("stimulus/frames")
    trials, first = _trials(store), arrays["first_row"]
    # The first rows are not part of the hash of the tables.
    count = 0 if frames is None else frames.shape[0]
    last = np.where(first >= 0, first + trials.n_slots, 0)
    if (last > count).any() or (frames is not None and frames.shape[1:] != size):
        raise ValueError("the frames do not fit the trials")
    return Stimulus(
        slot_t=arrays["slot_t"],
        slot_trial=arrays["slot_trial"],
        slot_frame=arrays["slot_frame"],
        size=size,
        source=StoreVideo(frames, first),
        trials=trials,
    )


class StoreVideo:
    """Frames of trials in one array; see `VideoSource`.

    Trials with equal videos share rows.
    """

    def __init__(self, frames: ZarrArray | None, first: np.ndarray) -> None:
        self._frames, self._first = frames, first

    def has(self, trial: int) -> bool:
        """Return whether a trial has stored frames."""
        return bool(self._first[trial] >= 0)

    def check(self) -> None:
        """Raise if a file is missing or has changed."""
        if self._frames is not None:
            self._frames.check()

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Return frames `first` to `stop` of a trial."""
        if self._frames is None:
            raise KeyError(f"Trial {trial} has no frames of its own.")
        begin = int(self._first[trial])
        return self._frames.read(begin + first, begin + stop)


class _Store:
    """Small arrays and attributes of a store, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group = ZarrGroup(path, is_whole=True)
        self.has, self.attributes = self._group.has, self._group.attributes_of

    def rows(self, name: str) -> ZarrArray:
        """Return an array that is read in parts; raise if a piece is missing."""
        array = self._group.array(name)
        if not is_storable(array.dtype):
            raise bad_file(array.path, "bad_store", f"holds {array.dtype}; expected numbers")
        return array

    def array(self, name: str) -> np.ndarray:
        """Return a whole array; raise if a piece is missing."""
        return self._group.array(name).part()

    def arrays(self, name: str, but: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """Return all arrays of a group by name."""
        names, _ = self._group.names(name)
        return {n: self.array(f"{name}/{n}") for n in names if n not in but}

    def signal(self, name: str, rows: Any) -> Signal:
        """Return a stream with its clock and statistics."""
        attributes = self.attributes(name)
        shift_s, spans = (
            self.array(f"{name}/{part}") if self.has(f"{name}/{part}") else None
            for part in ("shift_s", "recorded_spans")
        )
        return Signal(
            name.rsplit("/", 1)[-1],
            rows,
            attributes["rate_hz"],
            attributes["start"],
            attributes["end_declared"],
            shift_s=shift_s,
            names=tuple(attributes["names"]),
            units=tuple(attributes["units"]),
            mean=self.array(f"{name}/mean"),
            std=self.array(f"{name}/std"),
            mode=attributes["mode"],
            recorded_spans=spans,
            n_missing=int(attributes.get("n_missing", 0)),
            rounding_s=float(attributes.get("rounding_s", 0.0)),
        )
