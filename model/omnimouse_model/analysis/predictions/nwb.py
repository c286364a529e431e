"""Finished predictions as an NWB file, with HDF5 alone.

The file follows the NWB schema: time series in a processing module, the neurons as a
table, the windows as intervals, and the metadata as JSON text in the scratch space.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.predict.prediction_file.arrays import (
    NWB_METADATA,
    NWB_MODULE,
    StoredArrays,
    open_arrays,
)
from omnimouse_model.storage.arrays.hdf5 import hdf5_to_write

if TYPE_CHECKING:
    import h5py

_NWB_VERSION = "2.7.0"
_NEURONS = {
    "neuron": ("neurons", "column of the recording's responses"),
    "unit_id": ("unit_ids", "id of the neuron in the recording"),
    "position_um": ("positions_um", "x, y, z in micrometres, NaN unknown"),
    "scale": ("scale", "units of the recording per unit of normalised responses"),
}
_BLOCK_BYTES = 32 * 2**20
# NWB requires a date, which a session does not have.
_NO_DATE = "1970-01-01T00:00:00+00:00"


def write_nwb(folder: Path, path: Path, session: Session) -> None:
    """Copy the predictions of a complete zarr group into an NWB file, atomically.

    No other process may write it meanwhile.
    """
    arrays = open_arrays(folder)
    with hdf5_to_write(path) as file:
        _write_root(file, arrays.metadata, session)
        metadata = file.create_dataset(NWB_METADATA, data=json.dumps(arrays.metadata))
        _label(metadata, "core", "ScratchData", notes="metadata of the predictions, JSON")
        module = file.create_group(NWB_MODULE)
        _label(module, "core", "ProcessingModule", description="Predictions")
        unit = str(arrays.metadata["units"])
        _write_series(module, arrays, "responses", "times_s", unit)
        for name in ("valid", "window"):
            _write_series(module, arrays, name, "", "n.a.")
        if arrays.has("behavior"):
            unit = str(arrays.metadata["behavior_units"])
            _write_series(module, arrays, "behavior", "behavior_times_s", unit)
            _write_series(module, arrays, "behavior_window", "", "n.a.")
            names = ", ".join(arrays.metadata["behavior_names"])
            module["behavior"].attrs["comments"] = f"channels: {names}"
        columns = {name: (arrays.table(source), text) for name, (source, text) in _NEURONS.items()}
        _write_table(module, "neurons", columns, "predicted neurons", "hdmf-common/DynamicTable")
        starts = arrays.table("window_starts_s")
        duration_s = float(arrays.metadata["spec"]["duration_s"])
        spans = {
            "start_time": (starts, "start of the window in s"),
            "stop_time": (starts + duration_s, "end of the window in s"),
        }
        text = "windows that were predicted, one after the other"
        intervals = file.create_group("intervals")
        _write_table(intervals, "prediction_windows", spans, text, "core/TimeIntervals")


def _write_root(file: "h5py.File", metadata: Mapping[str, Any], session: Session) -> None:
    _label(file, "core", "NWBFile", nwb_version=_NWB_VERSION)
    now = datetime.now(UTC).isoformat()
    tier = metadata["tier"] or "all"
    texts = {
        "identifier": str(uuid4()),
        "session_description": f"Predictions of {metadata['predictor']} for session "
        f"{session.id}, tier {tier}. Times are s since its first response sample; the "
        "date of the recording is not known.",
        "session_start_time": _NO_DATE,
        "timestamps_reference_time": _NO_DATE,
    }
    for name, text in texts.items():
        file.create_dataset(name, data=text)
    import h5py

    file.create_dataset("file_create_date", data=[now], dtype=h5py.string_dtype())
    for name in ("acquisition", "analysis", "stimulus/presentation"):
        file.create_group(name)
    file.create_group("stimulus/templates")
    file.create_dataset("general/session_id", data=session.id)
    file.create_dataset("general/source_script", data=str(metadata["written_by"]))
    file["general/source_script"].attrs["file_name"] = "omnimouse predict"


def _write_series(
    module: "h5py.Group", arrays: StoredArrays, name: str, times: str, unit: str
) -> None:
    """Write a time series; without `times`, with those of the series it belongs to."""
    import h5py

    rows = arrays.rows(name)
    series = module.create_group(name)
    text = f"{name.replace('_', ' ')} of each predicted sample"
    _label(series, "core", "TimeSeries", description=text, comments="")
    dtype = np.dtype(np.int8) if rows.dtype.kind == "b" else rows.dtype
    # HDF5 has no chunks of an array without values.
    settings: dict[str, Any] = {}
    if all(rows.shape):
        settings = {"chunks": True, "compression": "gzip", "compression_opts": 1}
    data = series.create_dataset("data", rows.shape, dtype, **settings)
    for key, value in {"unit": unit, "conversion": 1.0, "resolution": -1.0}.items():
        data.attrs[key] = value
    row_bytes = int(np.prod(rows.shape[1:])) * rows.dtype.itemsize
    height = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for first in range(0, rows.shape[0], height):
        stop = min(rows.shape[0], first + height)
        data[first:stop] = rows.read(first, stop)
    if times:
        stamps = series.create_dataset("timestamps", data=arrays.table(times))
        stamps.attrs["interval"] = np.int32(1)
        stamps.attrs["unit"] = "seconds"
    else:
        owner = "behavior" if name.startswith("behavior") else "responses"
        series["timestamps"] = h5py.SoftLink(f"/{NWB_MODULE}/{owner}/timestamps")


def _write_table(
    parent: "h5py.Group",
    name: str,
    columns: Mapping[str, tuple[np.ndarray, str]],
    text: str,
    kind: str,
) -> None:
    table = parent.create_group(name)
    namespace, _, kind = kind.partition("/")
    names: Sequence[str] = list(columns)
    _label(table, namespace, kind, description=text, colnames=names)
    n_rows = len(next(iter(columns.values()))[0])
    ids = table.create_dataset("id", data=np.arange(n_rows))
    _label(ids, "hdmf-common", "ElementIdentifiers")
    for column, (values, description) in columns.items():
        data = table.create_dataset(column, data=values)
        _label(data, "hdmf-common", "VectorData", description=description)


def _label(item: Any, namespace: str, kind: str, **attributes: Any) -> None:
    """Give a group or dataset its type in the NWB schema."""
    attributes |= {"namespace": namespace, "neurodata_type": kind}
    for name, value in {**attributes, "object_id": str(uuid4())}.items():
        item.attrs[name] = value
