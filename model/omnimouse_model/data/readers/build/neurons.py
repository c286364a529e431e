"""Table of neurons: defaults for what a format lacks, and properties from other tables.

A table of properties is a CSV file with the column `unit_id`, one row per neuron, and any
columns of numbers or texts. Tables of several recordings also have `session` and
`scan_idx`, as those of the released digital twins do (performance, tuning, anatomy,
readout).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.neurons import Roi, Units
from omnimouse_model.data.readers.build.checked_values import MAX_COLUMNS, MAX_PIXELS, require
from omnimouse_model.data.readers.build.notes import ALL_ROIS, Notes
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.display import listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import npy_file
from omnimouse_model.storage.files import (
    FileStamp,
    bad_file,
    check_length,
    check_most,
    folders_in,
    is_file,
    is_link,
    is_there,
    paths_in,
    unless_missing,
)
from omnimouse_model.storage.tables import csv_lines

_LEAST_SPAN_UM = 3.0
"""Less than this lies between no four neurons."""


def make_units(
    responses: Signal,
    notes: Notes,
    *,
    unit_id: np.ndarray | None = None,
    area: np.ndarray | None = None,
    area_source: str = "",
    plane: np.ndarray | None = None,
    xyz_um: np.ndarray | None = None,
    xy_px: np.ndarray | None = None,
    roi: Roi | None = None,
    least_scale: float = 0.0,
    probe: np.ndarray | None = None,
) -> Units:
    """Return the neurons of the columns of a stream; see `Units`.

    Without ids, neurons are numbered from 0; without positions on the image, they lie
    at the centroids of their masks. Notes state what is missing. `finalise` adds the
    statistics, and `least_scale` where it is 0: for responses in their own unit.
    """
    n = responses.n_columns
    if unit_id is not None:
        _note_repeated(unit_id, plane, notes)
    if area is None:
        notes.assume("no_areas", "the session does not say which areas it covers")
    if xyz_um is None:
        xyz_um = np.full((n, 3), np.nan)
    if xy_px is None:
        xy_px = np.full((n, 2), np.nan) if roi is None else roi.centroids()
    # NaN, which no comparison is true of, where no position is known.
    span_um = np.fmax.reduce(np.fmax.reduce(xyz_um) - np.fmin.reduce(xyz_um))
    if n > 3 and 0 < span_um < _LEAST_SPAN_UM:
        notes.warn(
            "small_field",
            f"the positions of {n} neurons lie within {span_um:.3g} µm: are they in mm or meters? "
            "They are drawn as stored (store µm, or the unit in which they are)",
        )
    return Units(
        unit_id=np.arange(n) if unit_id is None else unit_id.astype(np.int64),
        area=area,
        area_source="" if area is None else area_source,
        plane=np.full(n, -1, np.int32) if plane is None else plane.astype(np.int32),
        xyz_um=xyz_um.astype(np.float32),
        xy_px=xy_px.astype(np.float32),
        mean=np.full(n, np.nan),
        std=np.full(n, np.nan),
        roi=roi,
        least_scale=least_scale,
        probe=probe,
    )


def of_units(
    values: np.ndarray | None, name: str, shape: tuple[int, ...], notes: Notes, kinds: str = "fiub"
) -> np.ndarray | None:
    """Return a stored array of the units in a shape, None (noted) if it does not fit."""
    if values is None:
        return None
    # By size: (1, N) and (N, 1) are accepted for (N,).
    if values.size == int(np.prod(shape)) and values.dtype.kind in kinds:
        return values.reshape(shape)
    found = f"{name}.npy is {values.shape} {values.dtype} for {shape[0]} units"
    notes.warn("wrong_length", f"{found}; left out")
    return None


def _note_repeated(unit_id: np.ndarray, plane: np.ndarray | None, notes: Notes) -> None:
    """Note ids that several neurons have, in one plane or in different ones."""
    _, n_shared = _repeated(unit_id)
    if not n_shared:
        return
    found = f"{n_shared:,} of {len(unit_id):,} neurons share their id with another one"
    effect = "a table of properties gives them the same row"
    planes = np.zeros(len(unit_id)) if plane is None else plane
    inside, _ = _repeated(np.stack([planes, unit_id], axis=1))
    if not len(inside):
        notes.assume("repeated_ids", f"{found} of another plane: {effect}")
        return
    ids = np.unique(inside[:, 1].astype(np.int64))
    notes.warn(
        "repeated_ids", f"{found} (ids {listed(ids)}): {effect}, and a neuron may be there twice"
    )


def _repeated(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the rows that occur several times, and how many rows these are."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    is_shared = counts > 1
    return found[is_shared], int(counts[is_shared].sum())


def note_no_cells(n_rois: int, n_cells: int, notes: Notes, *, where: str, cells_only: bool) -> None:
    """Note how many regions are marked as no cells, and whether they are read.

    `where` names the file or the series.
    """
    if n_cells == n_rois:
        return
    found = f"{n_rois - n_cells} of {n_rois} regions of {where} are no cells"
    if cells_only:
        notes.assume("cells_only", f"{found}, and left out ({ALL_ROIS}, keeps them)")
        return
    notes.warn(
        "no_cells",
        f"{found}, and read as neurons: overlapping regions share light, so that "
        "predictions from other neurons at the same sample score too high",
    )


_PROBABLE = 0.5
"""Probability above which suite2p marks a region as a cell."""


def cell_marks(
    flag: np.ndarray, where: str, notes: Notes, *, of_others: bool = False
) -> np.ndarray:
    """Return which regions are cells, bool (n,), by their marks or by probabilities.

    Marks are numbers above 0, of cells or of other regions. `where` names their source for
    a warning about others.
    """
    read_as = "no cells" if of_others else "cells"
    finite = flag[np.isfinite(flag)]
    if flag.dtype.kind == "f" and (finite % 1 != 0).any():
        is_marked = np.asarray(flag > _PROBABLE)
        notes.warn(
            "probabilities",
            f"{where} holds numbers from {finite.min():.3g} to {finite.max():.3g}, probabilities "
            f"and not marks: the {is_marked.sum()} of {len(flag)} regions above {_PROBABLE} "
            f"are read as {read_as}, as suite2p marks cells",
        )
        return ~is_marked if of_others else is_marked
    if len(finite) and finite.max() > 1:
        notes.warn(
            "odd_marks",
            f"{where} holds numbers from {finite.min():g} to {finite.max():g}, and no marks 0 and "
            f"1: regions above 0 are read as {read_as} (write 1 for {read_as} and 0 for others)",
        )
    is_marked = np.asarray(flag > 0)
    return ~is_marked if of_others else is_marked


# -- masks: one image for each neuron
_MOST_SEEN = 2**34
"""Largest number of pixels in the mask images of a file: 16,000 images of 1024 × 1024."""


def image_masks(path: Path, field: str, images: Iterable[np.ndarray]) -> Roi:
    """Return masks from one image (height, width) for each region, read one by one."""
    masks = []
    n_pixels = n_seen = 0
    for image in images:
        # Images of zeros take no place in a file: their number alone says how long it takes.
        n_seen += image.size
        check_most(path, n_seen, _MOST_SEEN, f"pixels or more in images of {field}", "cut them")
        yx = np.argwhere(image)
        weight = image[tuple(yx.T)].astype(np.float32)
        is_known = np.isfinite(weight) & (weight != 0)
        n_pixels += int(is_known.sum())
        check_mask_size(path, field, image.shape, n_pixels)
        masks.append((yx[is_known].astype(np.int16), weight[is_known]))
    return Roi.of(masks)


def check_mask_size(path: Path, field: str, size: tuple[int, ...], n_pixels: int) -> None:
    """Raise `SessionFormatError` for masks of more pixels, or on a larger image, than are read."""
    if max(size) > np.iinfo(np.int16).max or n_pixels > MAX_PIXELS:
        found = f"has {n_pixels:,} pixels on an image {size}"
        problem = f"{found}; at most {MAX_PIXELS:,} are read"
        raise bad_file(path, "bad_field", problem, "cut the image", field)


MATRICES = ("readout_weights", "readout_locations")
"""Arrays of the release with one row for each row of the table beside them."""
_SCAN_KEYS = ("session", "scan_idx")
_POSITION, _AREA = ("unit_x", "unit_y", "unit_z"), "brain_area"
_TAKEN = frozenset({"id", "area", "probe", "plane", "depth", "x", "y", "state", "score"})
"""Names with a meaning of their own in the table of neurons."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SCAN = re.compile(r"(\d+)-(\d+)$")
_WHOLE = re.compile(r"(-?\d{1,18})(\.0*)?")
_UNKNOWN = ("", "na", "n/a", "nan", "-", "none", "null")
"""Cells without a value, in lower case."""
_MAX_BYTES, _LONGEST, _MAX_CELLS = 64 * 2**20, 80, 5_000_000
"""Limits: bytes of a file, characters of a cell, and cells of one recording."""
_MAX_VALUES = 4096
"""Values per neuron of an array beside a table."""


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Properties of the neurons of one recording: its rows of a table of neurons.

    Attributes
    ----------
    path
        File of the table.
    row, n_rows
        int64 (n,) rows of the file, and the number of its rows.
    unit_id
        int64 (n,) of these rows.
    texts
        Cells of these rows by lower-case name of the column.
    """

    path: Path
    row: np.ndarray
    n_rows: int
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
        with it. Links in a folder are skipped.

    Raises
    ------
    SessionFormatError
        A table is missing or damaged, or has no row of this recording; the message
        names the file and the column.
    """
    tables = [_read(file, session.id) for file in _files(Path(path))]
    units, notes = session.units, Notes()
    # Column -> the table from which it comes; "" for those that are left out.
    origin: dict[str, str] = {}
    # Trial trees have no ids: the neurons are the rows of a complete table in order.
    if session.format == "trial-tree":
        n = session.n_neurons
        complete = next((table for table in tables if len(table.row) == n), tables[0])
        hint = (
            "the recording has no unit ids, so that one table must have all neurons in their order"
        )
        check_length(complete.path, len(complete.row), "rows", n, "neurons", hint)
        units = replace(units, unit_id=complete.unit_id)
        message = "the recording has no unit ids: its neurons are the rows of a table in order"
        notes.assume("unit_order", message)
    for table in tables:
        units = _with_table(units, table, origin, notes)
    if left_out := [name for name, place in origin.items() if not place]:
        notes.assume("left_out_columns", f"not joined: {', '.join(left_out)}")
    if joined := [name for name, place in origin.items() if place]:
        notes.assume("joined_columns", f"properties of neurons: {', '.join(joined)}")
    return replace(session, units=units, assumptions=(*session.assumptions, *notes.assumptions))


def named_properties(
    columns: Iterable[tuple[str, np.ndarray]], n: int, where: str, notes: Notes
) -> dict[str, np.ndarray]:
    """Return the columns of n units by lower-case name, and note those that are no properties.

    `where` is the table from which they are not read.
    """
    found: dict[str, np.ndarray] = {}
    left_out = []
    for stored, values in columns:
        name = stored.lower()
        if values.shape != (n,):
            left_out.append(f"{stored} {values.shape}")
        elif not _is_property_name(name) or name in found:
            left_out.append(stored)
        else:
            found[name] = values
    if left_out:
        notes.assume("left_out_columns", f"not read from {where}: {', '.join(left_out[:8])}")
    return found


def _is_property_name(name: str) -> bool:
    """Return whether a column can have this name in the table of neurons."""
    return name not in _TAKEN and _NAME.fullmatch(name) is not None


def table_stamps(path: str | Path) -> tuple[FileStamp, ...]:
    """Return the files of tables at a path with their sizes and times."""
    return tuple(FileStamp.of(file) for file in _files(Path(path)))


def _files(path: Path) -> list[Path]:
    """Return the tables at a path."""
    if is_file(path):
        return [path]
    if not is_there(path):
        raise SessionFormatError(path, "missing_file", f"{path} does not exist", "check the path")
    found = paths_in(path)
    for folder in folders_in(path, follows=False):
        with suppress(SessionFormatError):  # one that may not be listed
            found += paths_in(folder)
    # Tables of other things, such as of scans, have no units in their name.
    found = [
        file
        for file in found
        if file.suffix == ".csv" and "unit" in file.stem and is_file(file) and not is_link(file)
    ]
    if not found:
        hint = "give a CSV file with the column unit_id, or a folder with units.csv files"
        raise bad_file(path, "no_tables", "holds no table of units", hint)
    return found


def _read(path: Path, session_id: str) -> _Table:
    """Return the rows of a session."""
    lines = csv_lines(path, _MAX_BYTES)
    header = [name.lower() for name in next(lines)]
    _check_header(path, header)
    places = [header.index(name) for name in _SCAN_KEYS if name in header]
    # Spreadsheets store rows of empty cells below a table.
    rows = [*enumerate((line for line in lines if any(map(str.strip, line))), 1)]
    own = _own_rows(path, rows, places, session_id)
    check_most(path, len(own) * len(header), _MAX_CELLS, "cells for one recording")
    for number, row in own:
        if len(row) != len(header) or any(len(c) > _LONGEST or "\n" in c for c in row):
            raise bad_file(
                path,
                "bad_table",
                f"row {number} has {len(row)} cells; {len(header)} cells of at most "
                f"{_LONGEST} characters in one line expected",
            )
    texts = {
        name: np.array([row[k].strip() for _, row in own], str)
        for k, name in enumerate(header)
        if name not in _SCAN_KEYS
    }
    ids = texts.pop("unit_id").tolist()
    # Tools also write them as 412.0.
    whole = [_WHOLE.fullmatch(text) for text in ids]
    for (number, _), text, match in zip(own, ids, whole, strict=True):
        if match is None:
            problem = f"row {number}: unit_id is {text!r}, no whole number"
            raise bad_file(path, "bad_table", problem)
    unit_id = np.array([int(match[1]) for match in whole if match], np.int64)
    if len(np.unique(unit_id)) != len(unit_id):
        raise bad_file(path, "bad_table", "has a unit_id of one session twice")
    chosen = np.array([number - 1 for number, _ in own])
    return _Table(path, chosen, len(rows), unit_id, texts)


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    found = ", ".join(header[:12])[:200]
    if "unit_id" not in header:
        hint = "separate columns by commas" if ";" in found or "\t" in found else ""
        problem = f"has no column unit_id; found: {found}"
        raise bad_file(path, "bad_table", problem, hint)
    if twice:
        raise bad_file(path, "bad_table", f"has column {twice[0]!r} twice")
    if len(set(header) & set(_SCAN_KEYS)) == 1:
        problem = "has only one of the columns session and scan_idx"
        raise bad_file(path, "bad_table", f"{problem}; found: {found}")


def _own_rows(
    path: Path, rows: list[tuple[int, list[str]]], places: Sequence[int], session_id: str
) -> list[tuple[int, list[str]]]:
    """Return the rows of a session, with their numbers from 1."""
    scans = {
        tuple(row[place].strip() for place in places)
        for _, row in rows
        if len(row) > max(places, default=0)
    }
    # The name of a recording can end with other numbers, such as a date.
    if len(scans) > 1:
        match = _SCAN.search(session_id)
        scan = match.groups() if match else ()
        rows = [
            (number, row)
            for number, row in rows
            if tuple(row[place].strip() for place in places if place < len(row)) == scan
        ]
    if not rows:
        names = ", ".join(sorted("-".join(scan) for scan in scans)[:4])
        raise bad_file(
            path,
            "no_rows",
            f"has no row of session {session_id}"
            + (f", whose name ends with none of {names}, …" if names else ""),
        )
    return rows


def _with_table(units: Units, table: _Table, origin: dict[str, str], notes: Notes) -> Units:
    """Add the columns of a table to units; a unit without a row has NaN or ""."""
    place = {int(unit): k for k, unit in enumerate(table.unit_id)}
    rows = np.array([place.get(int(unit), -1) for unit in units.unit_id])
    has_row = rows >= 0
    if not has_row.any():
        raise bad_file(
            table.path,
            "no_rows",
            f"has none of the recording's units ({_some(units.unit_id)}); found "
            f"{_some(table.unit_id)}",
        )
    label = f"{table.path.parent.name}/{table.path.name}"
    n_other = len(table.unit_id) - int(has_row.sum())
    if n_other or not has_row.all():
        notes.assume(
            "partial_table",
            f"{label} has {int(has_row.sum()):,} of {len(rows):,} neurons, and "
            f"{n_other:,} other units",
        )
    properties = dict(units.properties)
    positions = _positions(table)
    takes_area = _AREA in table.texts and units.area is None
    takes_positions = positions is not None and bool(np.isnan(units.xyz_um).all())
    for name, values in _columns(table):
        is_used = (name == _AREA and takes_area) or (name in _POSITION and takes_positions)
        if is_used:
            continue
        if name in (_AREA, *_POSITION) or not _is_property_name(name):
            origin[f"{name} of {label}"] = ""
            continue
        if name in properties:
            other = origin.get(name, "the recording")
            raise bad_file(table.path, "bad_table", f"has column {name!r}, and so has {other}")
        unknown: Any = "" if values.dtype.kind == "U" else np.nan
        joined = np.full((len(rows), *values.shape[1:]), unknown, values.dtype)
        joined[has_row] = values[rows[has_row]]
        properties[name] = joined
        origin[name] = label
    units = replace(units, properties=properties)
    if takes_area:
        area = np.where(has_row, table.texts[_AREA][rows], "")
        units = replace(units, area=area, area_source=table.path.name)
    if takes_positions:
        assert positions is not None
        placed = np.where(has_row[:, None], positions[rows], np.nan)
        units = replace(units, xyz_um=placed.astype(np.float32))
    return units


def _columns(table: _Table) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the columns of a table, and arrays beside it."""
    for name in table.texts:
        yield name, _values(table, name)
    folder = table.path.parent
    for stem in MATRICES:
        path = folder / f"{stem}.npy"
        file = unless_missing(npy_file, path, folder)
        if file is None:
            continue
        require(file, path, "(units, values)", (None, None), kinds="f")
        if file.shape[0] != table.n_rows or not 0 < file.shape[1] <= _MAX_VALUES:
            raise bad_file(
                path,
                "wrong_length",
                f"is {file.shape}; ({table.n_rows}, at most {_MAX_VALUES}) expected, "
                f"one row for each of {table.path.name}",
            )
        check_most(path, file.shape[0], MAX_COLUMNS, "rows")
        yield stem, np.asarray(file.part(table.row), np.float64)


def _positions(table: _Table) -> np.ndarray | None:
    """Return positions (n, 3), NaN where unknown; None if a column is missing."""
    if not all(name in table.texts for name in _POSITION):
        return None
    columns = [_values(table, name) for name in _POSITION]
    for name, values in zip(_POSITION, columns, strict=True):
        if values.dtype.kind != "f":
            problem = f"has a cell that is no number in column {name}"
            raise bad_file(table.path, "bad_table", problem)
    xyz = np.stack(columns, axis=1)
    is_position = np.isfinite(xyz) & (np.abs(xyz) < 1e30)
    return np.where(is_position, xyz, np.nan)


def _values(table: _Table, name: str) -> np.ndarray:
    """Return a column: numbers, NaN where unknown; texts if a cell is no number."""
    texts = table.texts[name]
    is_unknown = np.isin(np.char.lower(texts), _UNKNOWN)
    try:
        return np.where(is_unknown, "nan", texts).astype(np.float64)
    except ValueError:
        return np.where(is_unknown, "", texts)


def _some(values: np.ndarray) -> str:
    listed = ", ".join(str(value) for value in values[:4].tolist())
    return f"{listed}, …" if len(values) > 4 else listed
