"""Trial table of an ALF folder: `trials.table.pqt`, or one array for each column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.readers.alf.layout import behavior_files
from omnimouse_model.data.readers.build.decode_text import decode_texts
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import PresentationIntervals
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.build.trial_times import (
    TrialClock,
    trial_intervals,
)
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.arrays.parquet_columns import read_parquet_columns
from omnimouse_model.storage.files import bad_file

EVENT = "stimOn_times"
"""Event at which trials begin if the table has it."""
_BEGIN, _END = "intervals_0", "intervals_1"
_SIDES = {"contrastLeft": "left", "contrastRight": "right"}
_MAX_TRIALS, _LATEST_S = 200_000, 1e12


def read_trials(root: Path, clock: TrialClock, notes: Notes) -> PresentationIntervals:
    """Return the trials of a session, empty if there are none.

    A column that is damaged, or has another length than the intervals, is left out
    with a note. Times of events stay in the clock of the files.

    Raises
    ------
    SessionFormatError
        The trials have no intervals.
    """
    files = behavior_files(root, "trials", notes)
    columns: dict[str, np.ndarray] = {}
    for name, path in files.items():
        if name.endswith(".npy"):
            attribute = name.split(".")[1]
            columns |= _column(path, attribute, root, notes)
    table = files.get("trials.table.pqt")
    if table is not None:
        found = read_side_stream("trials.table", lambda inner: _table(table, root, inner), notes)
        columns |= found or {}
    columns = {k: v for k, v in columns.items() if not k.startswith("__")}
    if not columns:
        return PresentationIntervals()
    path = table or next(iter(files.values()))
    _check_intervals(columns, path)
    n = len(columns[_BEGIN])
    for name in [name for name, values in columns.items() if len(values) != n]:
        length = len(columns.pop(name))
        notes.warn(
            "left_out_columns",
            f"trials: {name} is left out: it has {length:,} values for {n:,} intervals "
            "(are all files of one revision?)",
        )
    on, off = (columns.pop(name).astype(np.float64) for name in (_BEGIN, _END))
    # Numbers that no time has count as missing.
    on, off = (np.where(np.abs(times) < _LATEST_S, times, np.nan) for times in (on, off))
    fields: dict[str, Sequence[Any]] = {name: values.tolist() for name, values in columns.items()}
    fields["stim_id"] = _stimuli(columns, n)
    fields["id"] = list(range(n))
    return trial_intervals("trials", on, off, fields, clock, notes)


def _table(path: Path, root: Path, notes: Notes) -> dict[str, np.ndarray]:
    columns, unread = read_parquet_columns(path, root)
    if unread:
        listed = ", ".join(unread[:8])
        message = f"not read from {path.name}: {listed}, which are no numbers or texts"
        notes.assume("unread_columns", message)
    return columns


def _column(path: Path, name: str, root: Path, notes: Notes) -> dict[str, np.ndarray]:
    found = read_side_stream(f"trials.{name}", lambda _: _of_array(path, name, root), notes)
    return found or {}


def _of_array(path: Path, name: str, root: Path) -> dict[str, np.ndarray]:
    """Return the columns of one array: one, or the two ends of intervals."""
    values = decode_texts(load_small_array(path, root))
    if values.dtype.kind not in "fiubU":
        problem = f"is {values.shape} {values.dtype}; numbers or texts expected"
        raise bad_file(path, "wrong_shape", problem)
    if values.dtype.kind == "U" and values.dtype.itemsize > 4 * 200:
        raise bad_file(path, "too_large", "holds texts of more than 200 characters")
    if values.ndim == 2 and values.shape[1] == 2 and name == "intervals":
        return {_BEGIN: values[:, 0], _END: values[:, 1]}
    # MATLAB saves vectors as one row or one column.
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise bad_file(path, "wrong_shape", f"is {values.shape}; (trials,) expected")
    return {name: values}


def _check_intervals(columns: dict[str, np.ndarray], path: Path) -> None:
    for name in (_BEGIN, _END):
        if name not in columns or columns[name].dtype.kind not in "fiu":
            found = ", ".join(columns)[:200]
            raise bad_file(
                path,
                "bad_trials",
                f"has no column {name} of numbers; found: {found}",
                "trials need the times at which they begin and end",
            )
    lengths = [len(columns[name]) for name in (_BEGIN, _END)]
    if lengths[0] != lengths[1]:
        problem = f"has {lengths[0]:,} begins and {lengths[1]:,} ends of trials"
        raise bad_file(path, "wrong_length", problem, "are all of one revision?")
    if lengths[0] > _MAX_TRIALS:
        problem = f"has {lengths[0]:,} trials; at most {_MAX_TRIALS:,}"
        raise bad_file(path, "too_large", problem)


def _stimuli(columns: dict[str, np.ndarray], n: int) -> list[str]:
    """Return side and contrast of each trial's stimulus, "" if unknown."""
    names = np.full(n, "", "<U20")
    for column, side in _SIDES.items():
        contrast = columns.get(column)
        if contrast is not None and contrast.dtype.kind in "fiu":
            for k in np.flatnonzero(np.isfinite(contrast.astype(np.float64))):
                names[k] = f"{side} {float(contrast[k]):.4g}"
    return names.tolist()
