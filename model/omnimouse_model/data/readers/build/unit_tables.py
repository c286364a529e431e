"""Properties of neurons from tables beside a recording, joined by unit id.

A table is a CSV file with the column `unit_id`, one row per neuron, and any columns of
numbers. Tables of several recordings also have `session` and `scan_idx`, as those of
the released digital twins do (performance, tuning, anatomy, readout).
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.io.file_stamp import bad_file, unreadable
from omnimouse_model.data.io.safe_files import npy_file, read_text
from omnimouse_model.data.session import Note, Session
from omnimouse_model.data.units import Units
from omnimouse_model.errors import SessionFormatError

MATRICES = {"readout_weights": "weights", "readout_locations": "positions"}
"""Arrays of the release with one row for each row of the table beside them."""
_KEYS = ("session", "scan_idx", "unit_id")
_POSITION, _AREA = ("unit_x", "unit_y", "unit_z"), "brain_area"
_TAKEN = frozenset(
    {"id", "area", "probe", "plane", "depth", "x", "y", "state", "score", "field"}
)
"""Names with a meaning of their own in the table of neurons."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SCAN = re.compile(r"(\d+)-(\d+)$")
_MAX_BYTES, _LONGEST = 64 * 2**20, 80
"""Bytes of a table, and characters of a cell."""


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Rows of one recording.

    Attributes
    ----------
    path
        File of the table.
    row
        int64 (n,) rows of the file.
    unit_id
        int64 (n,) of these rows.
    texts
        Cells of these rows by lower-case name of the column.
    """

    path: Path
    row: np.ndarray
    unit_id: np.ndarray
    texts: Mapping[str, np.ndarray]


def with_unit_tables(session: Session, path: str | Path) -> Session:
    """Return a session whose neurons have the properties of tables.

    Parameters
    ----------
    session
        An open recording.
    path
        A CSV file, or a folder with CSV files in it or in its folders. Arrays of the
        release beside a table (`readout_weights.npy`, `readout_locations.npy`) are read
        with it.

    Raises
    ------
    SessionFormatError
        A table is missing or damaged, or has no row of this recording; the message
        names the file and the column.
    """
    units = session.units
    assumed: list[Note] = []
    for file in _files(Path(path).expanduser()):
        table = _read(file, session.id)
        unit_ids = units.unit_id
        if _are_numbered(units) and len(table.row) == len(units):
            # Trial trees have no ids; the rows of their tables have their order.
            units = replace(units, unit_id=table.unit_id)
            assumed.append(
                Note(
                    "unit_order",
                    f"the recording has no unit ids: its neurons are the rows of "
                    f"{file.name} in order",
                )
            )
            unit_ids = table.unit_id
        units = _joined(units, table, unit_ids)
    return replace(session, units=units, assumptions=(*session.assumptions, *assumed))


def _files(path: Path) -> list[Path]:
    """Return the tables at a path."""
    if path.is_file():
        return [path]
    try:
        found = sorted(path.glob("*.csv")) + sorted(path.glob("*/*.csv"))
    except OSError as error:
        raise unreadable(path, error) from error
    # Tables of other things, such as of scans, have no units in their name.
    found = [file for file in found if file.is_file() and "unit" in file.stem]
    if not found:
        raise SessionFormatError(
            path,
            "no_tables",
            f"{path} holds no table of units",
            "give a CSV file with the column unit_id, or a folder with units.csv files",
        )
    return found


def _read(path: Path, session_id: str) -> _Table:
    """Return the rows of a session."""
    lines = csv.reader(io.StringIO(read_text(path, _MAX_BYTES)))
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        if "unit_id" not in header:
            found = ", ".join(header[:12])[:200]
            raise bad_file(path, "bad_table", f"has no column unit_id; found: {found}")
        own = _OwnRows.of(header, session_id)
        rows: list[list[str]] = []
        chosen: list[int] = []
        for number, row in enumerate(line for line in lines if line):
            if len(row) != len(header) or max(map(len, row)) > _LONGEST:
                problem = (
                    f"row {number + 1} has {len(row)} cells, the longest of "
                    f"{max(map(len, row))} characters; {len(header)} cells of at most "
                    f"{_LONGEST} expected"
                )
                raise bad_file(path, "bad_table", problem)
            if own.has(row):
                rows.append(row)
                chosen.append(number)
    except csv.Error as error:
        raise bad_file(path, "bad_table", f"is no CSV table: {error}") from error
    if not rows:
        raise bad_file(path, "no_rows", f"has no row of session {session_id}")
    if len(own.scans) > 1 and own.scan is None:
        raise bad_file(
            path,
            "no_rows",
            f"has {len(own.scans)} scans, and the name of session {session_id} does "
            "not end with one of them, such as 4-7",
        )
    cells = np.array(rows, str)
    columns = {name: cells[:, k] for k, name in enumerate(header)}
    unit_id = _integers(path, "unit_id", columns["unit_id"])
    if len(np.unique(unit_id)) != len(unit_id):
        raise bad_file(path, "bad_table", "has a unit_id of one session twice")
    texts = {name: v for name, v in columns.items() if name not in _KEYS}
    return _Table(path, np.array(chosen), unit_id, texts)


@dataclass(slots=True)
class _OwnRows:
    """Choice of the rows of one recording.

    Attributes
    ----------
    places
        Columns of session and scan_idx; empty without them.
    scan
        Session and scan of the recording, if its name states them.
    scans
        Those of all rows, if the name does not.
    """

    places: tuple[int, ...]
    scan: tuple[str, ...] | None
    scans: set[tuple[str, ...]]

    @classmethod
    def of(cls, header: Sequence[str], session_id: str) -> "_OwnRows":
        """Return the choice for a table with this header."""
        names = ("session", "scan_idx")
        has_scans = all(name in header for name in names)
        places = tuple(header.index(name) for name in names) if has_scans else ()
        scan = _SCAN.search(session_id)
        return cls(places, scan and scan.groups(), set())

    def has(self, row: Sequence[str]) -> bool:
        """Whether a row is of the recording."""
        if not self.places:
            return True
        scan = tuple(row[place].strip() for place in self.places)
        if self.scan is None:
            self.scans.add(scan)
            return True
        return scan == self.scan


def _joined(units: Units, table: _Table, unit_ids: np.ndarray) -> Units:
    """Return the neurons with the columns of a table; NaN without a row."""
    place = {int(unit): k for k, unit in enumerate(table.unit_id)}
    rows = np.array([place.get(int(unit), -1) for unit in unit_ids])
    if (rows < 0).all():
        raise bad_file(
            table.path,
            "no_rows",
            f"has none of the recording's units ({_some(unit_ids)}); found "
            f"{_some(table.unit_id)}",
        )
    properties = dict(units.properties)
    for name, values in _columns(table):
        if name in _POSITION or name in _TAKEN:
            continue
        unknown: Any = "" if values.dtype.kind == "U" else np.nan
        joined = np.full((len(rows), *values.shape[1:]), unknown, values.dtype)
        joined[rows >= 0] = values[rows[rows >= 0]]
        properties[name] = joined
    units = replace(units, properties=properties)
    if _AREA in table.texts and units.area is None:
        area = np.where(rows >= 0, table.texts[_AREA][rows], "")
        units = replace(units, area=area, area_source=table.path.name)
    if all(name in table.texts for name in _POSITION) and np.isnan(units.xyz_um).all():
        xyz = np.stack([_values(table, name) for name in _POSITION], axis=1)
        if xyz.dtype.kind != "f":
            problem = f"has a cell that is no number in {', '.join(_POSITION)}"
            raise bad_file(table.path, "bad_table", problem)
        placed = np.where(rows[:, None] >= 0, xyz[rows], np.nan)
        units = replace(units, xyz_um=placed.astype(np.float32))
    return units


def _columns(table: _Table) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the properties of a table: columns of numbers, and arrays beside it."""
    for name in table.texts:
        if name != _AREA and _NAME.fullmatch(name):
            yield name, _values(table, name)
    for stem in MATRICES:
        path = table.path.with_name(f"{stem}.npy")
        if path.exists():
            file = npy_file(path)
            if len(file.shape) != 2 or file.dtype.kind != "f":
                problem = f"is {file.shape} {file.dtype}; (units, values) expected"
                raise bad_file(path, "wrong_shape", problem)
            if file.shape[0] <= int(table.row.max()):
                problem = f"has {file.shape[0]} rows, its table has more"
                raise bad_file(path, "wrong_length", problem)
            yield stem, np.asarray(file.open()[table.row], np.float64)


def _values(table: _Table, name: str) -> np.ndarray:
    """Return a column: numbers (an empty cell is NaN), or texts if one is no number."""
    texts = table.texts[name]
    try:
        return np.where(texts == "", "nan", texts).astype(np.float64)
    except ValueError:
        return texts


def _integers(path: Path, name: str, texts: np.ndarray) -> np.ndarray:
    try:
        return texts.astype(np.int64)
    except (ValueError, OverflowError) as error:
        problem = f"has a cell that is no whole number in column {name}: {error}"
        raise bad_file(path, "bad_table", problem) from error


def _are_numbered(units: Units) -> bool:
    """Whether the recording numbers its neurons from 0, having no ids of its own."""
    return bool(np.array_equal(units.unit_id, np.arange(len(units))))


def _some(values: np.ndarray) -> str:
    listed = ", ".join(str(value) for value in values[:4].tolist())
    return f"{listed}, …" if len(values) > 4 else listed
