"""Tables as CSV and Parquet, by the ending of the name; a missing value is an empty cell.

Tables of any origin are read by the names of their columns, as numbers and short texts.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.errors import ExportError
from omnimouse_model.storage import files
from omnimouse_model.storage.byte_source import MAX_TEXT_BYTES, Budget
from omnimouse_model.storage.write import atomic_path, write_bytes

MISSING = (
    "A Parquet table needs the package pyarrow, which is not installed: "
    'pip install pyarrow (or "omnimouse-app[analysis]"), or choose another format.'
)
PARQUET = ".parquet"
_FORMULA = re.compile("[\\s\0\u200b\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n]")
"""Beginning of a text that a spreadsheet runs as a formula, also behind signs nobody sees."""
_MOST_COLUMNS = 1000
Column = np.ndarray | Sequence[Any]  # Any: a cell


def write_table(
    path: str | Path, columns: Mapping[str, Column], notes: Mapping[str, str] | None = None
) -> Path:
    """Write columns of one length, as Parquet if the name ends so, otherwise as CSV.

    Parameters
    ----------
    notes
        Metadata of a Parquet file.

    Raises
    ------
    ExportError
        pyarrow is not installed.
    """
    path = Path(path)
    is_parquet = path.suffix.lower() == PARQUET
    write_bytes(path, parquet_bytes(columns, notes or {}) if is_parquet else csv_bytes(columns))
    return path


def table_path(path: Path) -> Path:
    """Return the path of a table, which ends in .csv unless it is one of Parquet."""
    if path.suffix.lower() == PARQUET:
        return path
    return path.with_name(f"{path.name.removesuffix('.csv')}.csv")


def csv_lines(path: Path, limit: int, inside: Path | None = None) -> Iterator[list[str]]:
    """Yield the titles of a CSV table of any origin, then the cells of each row.

    A file without content has no titles. Parameters and errors are those of `csv_rows`.
    """
    # Spreadsheets of a Macintosh end lines with \r alone.
    text = io.StringIO(files.read_text(path, limit, inside), newline=None)
    rows = csv.reader(text, strict=True)
    try:
        titles = [title.strip() for title in next(rows, [])]
        files.check_most(path, len(titles), _MOST_COLUMNS, "columns")
        yield titles
        yield from rows
    except csv.Error as error:
        raise files.bad_file(path, "bad_table", f"is no CSV table: {error}") from error


def csv_rows(
    path: Path, names: Sequence[str], limit: int, inside: Path | None = None
) -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV table, in the columns of these names.

    Parameters
    ----------
    limit
        Most bytes of the file; see `read_text`.

    Raises
    ------
    SessionFormatError
        It is no table with these columns, or has more than 1,000 columns.
    """
    rows = csv_lines(path, limit, inside)
    titles = next(rows)
    places = [titles.index(name) if name in titles else -1 for name in names]
    if -1 in places:
        found = files.plain_text(", ".join(titles), 80) or "nothing"
        problem = f"needs the columns {', '.join(names)}; found {found}"
        raise files.bad_file(path, "bad_table", problem)
    for number, row in enumerate(rows, 1):
        if row and max(places) >= len(row):
            raise files.bad_file(path, "bad_table", f"row {number} has only {len(row)} cells")
        if row:
            yield [row[place] for place in places]


def columns_of(rows: Sequence[Mapping[str, Any]], names: Iterable[str] = ()) -> dict[str, Column]:
    """Return the columns of rows, in the order in which names first occur.

    Parameters
    ----------
    names
        Columns of a table without rows, which is then valid CSV.
    """
    found = dict.fromkeys(name for row in rows for name in row) or names
    return {name: [row.get(name) for row in rows] for name in found}


def csv_bytes(columns: Mapping[str, Column], comments: str = "") -> bytes:
    """Return a CSV table with the names of the columns in its first line.

    A text that a spreadsheet would run as a formula gets an apostrophe.

    Parameters
    ----------
    comments
        Lines above the table, each after a #.
    """
    text = io.StringIO()
    for line in comments.splitlines():
        # A spreadsheet splits it at commas; quotes would hide how a part begins.
        parts = line.replace('"', "'").split(",")
        text.write(f"# {','.join([parts[0], *map(_cell, parts[1:])])}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows(zip(*(map(_cell, values) for values in columns.values()), strict=True))
    return text.getvalue().encode("utf-8", "backslashreplace")  # names of files hold any byte


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    text = str(value)
    if isinstance(value, int | float | np.number):
        return text
    # csv does not quote a carriage return, which would begin another row.
    return ("'" * bool(_FORMULA.match(text)) + text).replace("\r", "\n")


def parquet_bytes(columns: Mapping[str, Column], notes: Mapping[str, str]) -> bytes:
    """Return a Parquet table, NaN as null; the notes are its metadata.

    Raises
    ------
    ExportError
        pyarrow is not installed.
    """
    arrow = arrow_module()
    arrays = {
        # pyarrow takes no arrays of texts.
        name: arrow.array(
            values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind in "UO"
            else values,
            from_pandas=True
        )
        for name, values in columns.items()
    }  # fmt: skip
    file = io.BytesIO()
    table = arrow.table(arrays).replace_schema_metadata(dict(notes))
    arrow_module("parquet").write_table(table, file)
    return file.getvalue()


def write_parquet_rows(
    path: str | Path, rows: Iterable[Mapping[str, Any]], types: Mapping[str, Any]
) -> Path:
    """Write rows as Parquet (brotli), one after the other.

    Parameters
    ----------
    types
        Name of the type of each column; [name] for lists of it.

    Raises
    ------
    ExportError
        pyarrow is not installed.
    """
    arrow, parquet = arrow_module(), arrow_module("parquet")

    def kind(name: Any) -> Any:
        return arrow.list_(kind(name[0])) if isinstance(name, list) else arrow.type_for_alias(name)

    path = Path(path)
    schema = arrow.schema([(column, kind(name)) for column, name in types.items()])
    with (
        atomic_path(path) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="brotli") as writer,
    ):
        for row in rows:
            cells = {name: [value] for name, value in row.items()}
            writer.write_table(arrow.table(cells, schema=schema))
    return path


def read_parquet_rows(path: str | Path, types: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that `write_parquet_rows` has written.

    Raises
    ------
    ExportError
        pyarrow is not installed, or the columns have other names or types.
    """
    parquet = arrow_module("parquet")
    with parquet.ParquetFile(path) as file:
        found = {field.name: str(field.type) for field in file.schema_arrow}
        if found.keys() != types.keys():
            raise ExportError(f"{path} has the columns {', '.join(found)}, not {', '.join(types)}.")
        for number in range(file.num_row_groups):
            yield from file.read_row_group(number).to_pylist()


def arrow_module(part: str = "") -> Any:
    """Return pyarrow, or a module of it."""
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError:
        raise ExportError(MISSING) from None


# Limits that stop damaged or hostile files; tables of units and trials stay far below.
_MAX_BYTES, _MAX_ROWS, _MAX_COLUMNS = 64 * 2**20, 2**20, 1024
_MAX_VALUES, _MAX_TEXTS = 2**25, 2**21
_MAX_UNPACKED = 2**30
"""Most bytes of all pages without compression."""
_LONGEST = 80
"""Characters of a text."""


def read_parquet_columns(path: Path, inside: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the columns of a Parquet file inside the folder `inside`, by name.

    Integers are int64; other numbers, and integers with missing ones, are float64 with
    NaN; texts are str. Names of columns of other types, such as lists and dates, and of
    long texts follow as a list.

    Raises
    ------
    SessionFormatError
        The file is damaged or too large, or pyarrow is not installed.
    """
    data = files.read_bytes(path, _MAX_BYTES, inside)
    try:
        arrow, parquet = arrow_module(), arrow_module("parquet")
    except ExportError as error:
        raise files.missing_package(path, "a Parquet table", "pyarrow", "analysis") from error
    problem, hint = "is not a valid Parquet table", "was the download complete?"
    with files.damage_refused(path, "bad_parquet", problem, hint):
        return _columns(path, data, arrow, parquet)


def _columns(
    path: Path, data: bytes, arrow: Any, parquet: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    limits = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**20}
    file = parquet.ParquetFile(arrow.BufferReader(data), **limits)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    # The file and its groups may state other numbers.
    rows = max(file.metadata.num_rows, sum(group.num_rows for group in groups))
    width = file.metadata.num_columns
    files.check_most(path, rows, _MAX_ROWS, "rows")
    files.check_most(path, width, _MAX_COLUMNS, "columns")
    files.check_most(path, rows * width, _MAX_VALUES, "values")
    budget = Budget(path, most=_MAX_UNPACKED)
    for number, group in enumerate(groups):
        # Of the group, not of its columns: pyarrow ends the process where the statistics of
        # a column are damaged.
        budget.spend(f"group {number} of its rows", max(0, group.total_byte_size))
    schema = file.schema_arrow
    texts = [f.name for f in schema if _is_text(arrow, f.type)]
    numbers = [f.name for f in schema if _is_number(arrow, f.type)]
    files.check_most(path, rows * len(texts), _MAX_TEXTS, "texts")
    # Texts stay dictionaries: repeated long texts would otherwise fill the memory.
    file = parquet.ParquetFile(arrow.BufferReader(data), read_dictionary=texts, **limits)
    table = file.read(columns=[*numbers, *texts], use_threads=False)
    columns: dict[str, np.ndarray] = {}
    texts_budget = Budget(path, most=MAX_TEXT_BYTES)
    for name in schema.names:
        if name in numbers:
            columns[name] = _numbers(arrow, table.column(name))
        elif name in texts:
            values = _texts(table.column(name), texts_budget, name)
            if values is not None:
                columns[name] = values
    return columns, [name for name in schema.names if name not in columns]


def _is_text(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_dictionary(kind):  # a categorical column of pandas
        kind = kind.value_type
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _is_number(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
    )


def _numbers(arrow: Any, column: Any) -> np.ndarray:
    is_whole = arrow.types.is_integer(column.type) and not column.null_count
    if is_whole and column.type != arrow.uint64():
        return np.asarray(column.cast(arrow.int64()).to_numpy())
    if arrow.types.is_boolean(column.type):
        column = column.cast(arrow.int8())
    values = column.cast(arrow.float64(), safe=False)
    return np.asarray(values.to_numpy(), np.float64)


def _texts(column: Any, budget: Budget, name: str) -> np.ndarray | None:
    """Return a column of texts, "" where missing; None if a text is long."""
    parts = []
    for chunk in column.chunks:
        if any(len(buffer) > _MAX_BYTES for buffer in chunk.buffers() if buffer):
            return None
        words = [word or "" for word in chunk.dictionary.to_pylist()]
        if any(len(word) > _LONGEST for word in words):
            return None
        index = chunk.indices.to_numpy(zero_copy_only=False)
        known = np.array([*words, ""], np.str_)
        # Missing texts are NaN among the indices.
        place = np.where(np.isnan(index), len(words), index).astype(np.int64)
        budget.spend(name[:80], len(place) * known.itemsize)
        parts.append(known[place])
    return np.concatenate(parts) if parts else np.zeros(0, np.str_)
