"""The store: a session in one zarr v3 group; its layout, its tables, and its reader.

A pause costs a store no rows: it holds the rows of the recorded stretches, one after
the other, and the bins of its summaries that contain such rows. What the writer and the
reader must agree on stands in one module.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers.build.checked_values import check_extent
from omnimouse_model.data.readers.build.finalise import check_overlap
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.readers.build.trial_files import Placed, PlacedRows
from omnimouse_model.data.recording import Note
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Level, Signal
from omnimouse_model.data.spike_trains import Observed, SpikeTrains
from omnimouse_model.data.stimulus import TRIAL_COLUMNS, Stimulus, Trials
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.rows import MemoryRows, Rows
from omnimouse_model.storage.arrays.zarr_arrays import COPY, ZarrArray, ZarrGroup
from omnimouse_model.storage.byte_source import combine_options, folder_fingerprint
from omnimouse_model.storage.files import bad_file, damage_refused, is_file, is_folder
from omnimouse_model.storage.trees import decode_json, read_json_mapping

FORMAT = "omses"
VERSION = 2
"""Version 2: rows in pauses of a recording are not stored. Other stores have 1."""
SUFFIX = ".omses.zarr"

Codec = Literal["default", "fast", "none"]
CODECS: tuple[Codec, ...] = ("default", "fast", "none")

RESPONSE_CHUNK = (32, 1024)
"""Rows and neurons of a chunk; a 2-s window at 30 Hz spans three chunks in time."""
FRAME_CHUNK = 32
"""Frames of a chunk; fewer if they are large, see `frame_rows`."""
SHARD_ROWS = 4096
"""Rows of a shard (file) of responses, about 2 minutes at 30 Hz."""
FRAME_SHARD = PYRAMID_SHARD = 1024
PYRAMID_SECONDS = (1, 10)
"""Bin widths in seconds of the levels of minimum, maximum and mean."""


# Targets for frames at writing.
_CHUNK_BYTES, _SHARD_BYTES = 8 * 2**20, 256 * 2**20


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Return whether a store can hold numbers of this type."""
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def little(values: np.ndarray) -> np.ndarray:
    """Return the same values in little-endian byte order, that of a store."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def frame_rows(frame_bytes: int, most: int) -> tuple[int, int]:
    """Return the frames of a chunk and of a shard of `most` or fewer frames."""

    def within(limit: int, rows: int) -> int:
        # Halving keeps both numbers powers of two, so that chunks divide a shard
        # exactly.
        while rows > 1 and rows * frame_bytes > limit:
            rows //= 2
        return rows

    chunk = within(_CHUNK_BYTES, min(FRAME_CHUNK, most))
    return chunk, max(chunk, within(_SHARD_BYTES, most))


def compressors(codec: Codec) -> list[Any]:
    """Return the codecs of a chunk, a checksum last."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    # The checksum covers the compressed bytes, so that damaged input is found before a
    # decompressor in C reads it.
    if codec == "none":
        return [Crc32cCodec()]
    if codec == "fast":
        return [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()]
    return [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()]


def recorded_runs(signal: Signal, n_rows: int) -> np.ndarray:
    """Return the first row and the row after the last of each stretch, int64 (n, 2).

    One for all rows if none of the `n_rows` rows of the recording lies in a pause.
    """
    whole = np.array([[0, n_rows]], np.int64)
    # Only numbers with NaN can be missing.
    if signal.recorded_spans is None or signal.dtype.kind != "f":
        return whole
    places = np.rint((signal.recorded_spans - signal.start) * signal.rate_hz)
    runs = np.clip(places + np.array([0, 1]), 0, n_rows).astype(np.int64)
    return whole if np.diff(runs, axis=1).sum() == n_rows else runs


def has_pauses(signal: Signal) -> bool:
    """Return whether rows of a stream lie in pauses."""
    runs = recorded_runs(signal, signal.n_samples)
    return int(np.diff(runs, axis=1).sum()) < signal.n_samples


class RecordedRows:
    """The rows of a stream that were recorded, without those of its pauses."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self.runs = recorded_runs(signal, signal.n_samples)
        lengths = self.runs[:, 1] - self.runs[:, 0]
        self._ends = np.cumsum(lengths)
        self._shift = self.runs[:, 1] - self._ends
        self.shape = (int(lengths.sum()), signal.n_columns)

    def parts(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return the rows of the stream at rows `first` to `stop`, as (first, stop)."""
        low = np.maximum(first + self._shift, self.runs[:, 0])
        high = np.minimum(stop + self._shift, self.runs[:, 1])
        pairs = np.stack([low, high], axis=1)[low < high]
        return [(int(a), int(b)) for a, b in pairs.tolist()]

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        parts = [self._signal.read(a, b) for a, b in self.parts(first, stop)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def with_pauses(rows: Rows, runs: np.ndarray, n_rows: int) -> PlacedRows:
    """Return stored rows at their places in the recording; see `RecordedRows`.

    Raises
    ------
    ValueError
        The rows are not those of the stretches.
    """
    # Compared first: a damaged store could claim stretches of any length.
    n_recorded = int(np.diff(runs, axis=1).sum())
    if n_recorded != rows.shape[0] or (np.diff(runs.ravel()) < 0).any():
        raise ValueError(f"{rows.shape[0]} rows for stretches of {n_recorded}")
    place = np.concatenate([np.arange(a, b) for a, b in runs.tolist()])
    return PlacedRows([Placed(rows, np.arange(len(place)), place)], n_rows)


def recorded_bins(runs: np.ndarray, rows_per_bin: int) -> np.ndarray:
    """Return the numbers of the bins of rows that contain recorded rows, int64 (n,)."""
    first, last = runs[:, 0] // rows_per_bin, (runs[:, 1] - 1) // rows_per_bin
    parts = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    return np.unique(np.concatenate(parts))


_TEXTS = [name for name, kind in TRIAL_COLUMNS.items() if kind is np.str_]
_NUMBERS = [name for name in TRIAL_COLUMNS if name not in _TEXTS]
_PROPERTY = "property_"
_UNITS = ("unit_id", "plane", "xyz_um", "xy_px")
_OF_COLUMNS = ("mean", "std", "shift_s", "recorded_spans")
_OF_SIGNAL = ("rate_hz", "start", "end_declared", "names", "units", "mode")
_OF_SLOTS = ("slot_t", "slot_trial", "slot_frame")


def digest_of(values: np.ndarray) -> str:
    """Return the hash of the values of an array in C order, for any byte order."""
    return blake2b(little(values).tobytes()).hexdigest()[:32]


def plain(value: Any) -> Any:
    """Return a value as JSON stores it; unknown types and keys become texts."""
    # A round trip, so that a value before writing equals the same value after reading
    # (tuples are lists, keys are texts).
    try:
        text = json.dumps(value, default=str)
    except TypeError:  # a key that JSON cannot store
        text = json.dumps(_with_text_keys(value), default=str)
    return decode_json(text, "the session", nan=True)


def _with_text_keys(value: Any) -> Any:
    """Return the same value with keys that JSON can store."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str | int | float | None) else str(key): (_with_text_keys(item))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value


def table_digest(session: Session) -> str:
    """Return the hash of all small data, equal for a session and its store."""
    digest = blake2b()
    # Type and shape are hashed too: the same bytes in another shape are another table.
    for name, values in sorted(small_arrays(session).items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    texts = [identity(session), group_attributes(session)]
    digest.update(json.dumps(texts, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def small_arrays(session: Session) -> dict[str, np.ndarray]:
    """Return all arrays except responses and frames, by their name in a store."""
    arrays: dict[str, np.ndarray] = {}
    for name, signal in _signals(session).items():
        for column in _OF_COLUMNS:
            values = getattr(signal, column)
            if values is not None:
                arrays[f"{name}/{column}"] = values
        if signal is not session.responses:
            arrays[f"{name}/data"] = np.ascontiguousarray(signal.data)
        # The rows of the responses are only counts at one rate.
        if isinstance(signal.file, SpikeTrains):
            arrays[f"{name}/spike_times"] = np.asarray(signal.file.all_times())
            arrays[f"{name}/spike_offsets"] = signal.file.offsets
            observed = signal.file.observed
            if observed is not None:
                arrays[f"{name}/observed_spans"] = observed.spans
                if observed.offsets is not None:
                    arrays[f"{name}/observed_offsets"] = observed.offsets
    for name, values in unit_columns(session.units).items():
        arrays[f"units/{name}"] = values
    for name, image in session.images.items():
        arrays[f"images/{name}"] = np.asarray(image)
    stimulus, trials = session.stimulus, session.trials
    if stimulus is not None:
        for name in _OF_SLOTS:
            arrays[f"stimulus/{name}"] = getattr(stimulus, name)
    if len(trials):
        for name in _NUMBERS:
            values = getattr(trials, name)
            # A store holds no booleans.
            is_flag = values.dtype == bool
            arrays[f"trials/{name}"] = values.astype(np.uint8) if is_flag else values
    return {name: little(values) for name, values in arrays.items()}


def group_attributes(session: Session) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of a store, by group."""
    attributes = {name: _signal_attributes(signal) for name, signal in _signals(session).items()}
    units = session.units
    attributes["units"] = {
        "area": None if units.area is None else units.area.tolist(),
        "area_source": units.area_source,
        "least_scale": units.least_scale,
    }
    if units.probe is not None:
        attributes["units"]["probe"] = units.probe.tolist()
    texts = {n: v.tolist() for n, v in units.properties.items() if v.dtype.kind == "U"}
    if texts:
        attributes["units"]["properties"] = texts
    if session.stimulus is not None:
        attributes["stimulus"] = {"size": list(session.stimulus.size)}
    if len(session.trials):
        # Texts of the trial table; its numbers are stored as arrays.
        texts = {name: getattr(session.trials, name).tolist() for name in _TEXTS}
        attributes["trials"] = {**texts, "extra": plain(list(session.trials.extra))}
    return attributes


def identity(session: Session) -> dict[str, Any]:
    """Return the attributes of the store that describe the session."""
    return {
        "id": session.id,
        "animal_id": session.animal_id,
        "n_units": session.n_neurons,
        "behavior_names": list(session.behavior_names),
        "meta": plain(dict(session.meta)),
        "warnings": [asdict(note) for note in session.warnings],
    }


def _signals(session: Session) -> dict[str, Signal]:
    signals = {"responses": session.responses}
    for name, signal in session.behavior.items():
        if signal is not None:
            signals[f"behaviour/{name}"] = signal
    return signals


def _signal_attributes(signal: Signal) -> dict[str, Any]:
    # Only where they are not 0: stores from before these attributes stay valid.
    missing: dict[str, Any] = {
        name: value for name in ("n_missing", "rounding_s") if (value := getattr(signal, name))
    }
    if signal.name == "responses" and has_pauses(signal):
        # Rows of the recording, of which those in pauses are not stored.
        missing["rows"] = signal.n_samples
    return missing | {name: getattr(signal, name) for name in _OF_SIGNAL}


def unit_columns(units: Units) -> dict[str, np.ndarray]:
    """Return the columns of the neurons, and their pixel masks if there are any."""
    columns = {name: getattr(units, name) for name in _UNITS}
    if units.roi is not None:
        columns["roi_offsets"] = units.roi.offsets
        columns["roi_yx"] = units.roi.yx
        columns["roi_weight"] = units.roi.weight
    for name, values in units.properties.items():
        if values.dtype.kind != "U":  # texts are attributes
            columns[f"{_PROPERTY}{name}"] = values
    return {name: np.asarray(values) for name, values in columns.items()}


def units_of(
    arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any], responses: Signal
) -> Units:
    """Return the neurons of a store."""
    assert responses.mean is not None
    assert responses.std is not None
    area, probe = (
        None if attributes.get(name) is None else np.array(attributes[name])
        for name in ("area", "probe")
    )
    roi = None
    if "roi_offsets" in arrays:
        roi = Roi(*(arrays[f"roi_{name}"] for name in ("offsets", "yx", "weight")))
    properties = {
        name.removeprefix(_PROPERTY): values
        for name, values in arrays.items()
        if name.startswith(_PROPERTY)
    }
    texts = attributes.get("properties", {})
    properties |= {name: np.array(values, str) for name, values in texts.items()}
    return Units(
        **{name: arrays[name] for name in _UNITS},
        area=area,
        probe=probe,
        area_source=attributes["area_source"],
        mean=responses.mean,
        std=responses.std,
        roi=roi,
        least_scale=attributes["least_scale"],
        properties=properties,
    )


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
    with damage_refused(path, "bad_store", "is damaged", COPY):
        return _session(path, attributes, options)


def _checked(path: Path, is_unfinished: bool) -> Mapping[str, Any]:
    """Return the attributes of a store; raise if unfinished or of a newer version."""
    attributes = read_json_mapping(path / "zarr.json").get("attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    version = attributes.get("version")
    if isinstance(version, int) and version > VERSION:
        problem = f"was written by a newer version ({version} > {VERSION})"
        raise bad_file(path, "newer_version", problem)
    is_complete = attributes.get("complete") is True or is_unfinished
    if not is_complete or attributes.get("format") != FORMAT:
        problem = "is a store that was not finished (interrupted write?)"
        raise bad_file(path, "unfinished", problem)
    return attributes


def _session(path: Path, attributes: Mapping[str, Any], options: ReadOptions) -> Session:
    store, source = _Store(path), attributes["source"]
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
        format=f"store ({source['format']})",
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
        assumptions=(
            *_notes(attributes["assumptions"]),
            Note("store", f"converted from {source['uri']} ({source['format']})"),
        ),
    )
    # Checksums protect the arrays; this hash also protects the attributes, which are
    # plain JSON. Without it, tables that do not fit together would fail later.
    if table_digest(session) != attributes["hashes"]["tables"]:
        raise ValueError("its tables are not those that were written")
    check_overlap(session)
    return session


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
    arrays, texts = store.arrays("trials"), store.attributes("trials")
    columns = {name: arrays[name] for name in _NUMBERS} | {name: texts[name] for name in _TEXTS}
    return Trials.of(**columns, extra=texts["extra"])


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
        **{name: arrays[name] for name in _OF_SLOTS},
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
        """Return a stream, whose samples are `rows`."""
        attributes = self.attributes(name)
        fields = {n: attributes[n] for n in _OF_SIGNAL}
        fields |= {n: tuple(attributes[n]) for n in ("names", "units")}
        fields["n_missing"] = int(attributes.get("n_missing", 0))
        fields["rounding_s"] = float(attributes.get("rounding_s", 0.0))
        # Every stream has its statistics.
        stored = [n for n in _OF_COLUMNS if n in ("mean", "std") or self.has(f"{name}/{n}")]
        fields |= {n: self.array(f"{name}/{n}") for n in stored}
        return Signal(name.rsplit("/", 1)[-1], rows, **fields)
