"""Trial table of an ALF folder: `trials.table.pqt`, or one array for each column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.file_stamp import bad_file
from omnimouse_model.data.io.parquet_columns import read_parquet_columns
from omnimouse_model.data.io.safe_files import load_small_array
from omnimouse_model.data.readers.alf.layout import behavior_files
from omnimouse_model.data.readers.build.decode_text import decode_texts
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import PresentationIntervals

EVENT = "stimOn_times"
"""Event at which trials begin if the table has it."""
_BEGIN, _END = "intervals_0", "intervals_1"
_SIDES = {"contrastLeft": "left", "contrastRight": "right"}
_MAX_TRIALS = 200_000


def read_trials(root: Path, notes: Notes) -> PresentationIntervals:
    """Return the trials of a session, empty if there are none.

    Times of events stay in the clock of the files.

    Raises
    ------
    SessionFormatError
        A file is damaged, or the trials have no intervals.
    """
    files = behavior_files(root, "trials", notes)
    columns: dict[str, np.ndarray] = {}
    for name, path in files.items():
        if name.endswith(".npy"):
            columns |= _of_array(path, name.split(".")[1], root)
    table = files.get("trials.table.pqt")
    if table is not None:
        columns |= read_parquet_columns(table, root)
    columns = {k: v for k, v in columns.items() if not k.startswith("__")}
    if not columns:
        return PresentationIntervals()
    path = table or next(iter(files.values()))
    _check(columns, path)
    on, off = (columns.pop(name).astype(np.float64) for name in (_BEGIN, _END))
    is_timed = np.isfinite(on) & np.isfinite(off) & (off >= on)
    is_timed &= (np.abs(on) < 1e9) & (np.abs(off) < 1e9)
    if not is_timed.all():
        lost = int((~is_timed).sum())
        notes.warn("odd_trials", f"{lost:,} trials have no valid interval; left out")
    rows = np.flatnonzero(is_timed)
    fields: dict[str, Sequence[Any]] = {
        name: values[rows].tolist() for name, values in columns.items()
    }
    fields["stim_id"] = _stimuli(columns, rows)
    fields["id"] = rows.tolist()
    return PresentationIntervals.sorted(on[rows], off[rows], fields)


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
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return {name: values} if values.ndim == 1 else {}


def _check(columns: dict[str, np.ndarray], path: Path) -> None:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        longest = max(lengths, key=lengths.__getitem__)
        shortest = min(lengths, key=lengths.__getitem__)
        raise bad_file(
            path,
            "wrong_length",
            f"has {lengths[longest]:,} trials in {longest}, and {lengths[shortest]:,} "
            f"in {shortest}",
            "are all files of one revision?",
        )
    if max(lengths.values()) > _MAX_TRIALS:
        problem = f"has {max(lengths.values()):,} trials; at most {_MAX_TRIALS:,}"
        raise bad_file(path, "too_large", problem)
    for name in (_BEGIN, _END):
        if name not in columns or columns[name].dtype.kind not in "fiu":
            found = ", ".join(columns)[:200]
            raise bad_file(
                path,
                "bad_trials",
                f"has no column {name} of numbers; found: {found}",
                "trials need the times at which they begin and end",
            )


def _stimuli(columns: dict[str, np.ndarray], rows: np.ndarray) -> list[str]:
    """Return side and contrast of each trial's stimulus, "" if unknown."""
    names = np.full(len(rows), "", "<U20")
    for column, side in _SIDES.items():
        contrast = columns.get(column)
        if contrast is not None and contrast.dtype.kind in "fiu":
            for k in np.flatnonzero(np.isfinite(contrast[rows].astype(np.float64))):
                names[k] = f"{side} {float(contrast[rows[k]]):.4g}"
    return names.tolist()
