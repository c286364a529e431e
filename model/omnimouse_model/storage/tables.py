"""Tables as CSV and Parquet, by the ending of the name; a missing value is an empty cell.

CSV tables of any origin are read by the names of their columns.
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
from omnimouse_model.storage.files import bad_file, plain_text, read_text
from omnimouse_model.storage.write import atomic_path, write_bytes

MISSING = (
    "A Parquet table needs the package pyarrow, which is not installed: "
    'pip install pyarrow (or "omnimouse-app[analysis]"), or choose another format.'
)
PARQUET = ".parquet"
_FORMULA = re.compile("[\\s\0\u200b\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n]")
"""Beginning of a text that a spreadsheet runs as a formula, also behind signs nobody sees."""
MOST_COLUMNS = 1000
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
    rows = csv.reader(io.StringIO(read_text(path, limit, inside)), strict=True)
    try:
        titles = [title.strip() for title in next(rows, [])]
        if len(titles) > MOST_COLUMNS:
            found = f"has {len(titles):,} columns, at most {MOST_COLUMNS:,} are read"
            raise bad_file(path, "too_large", found)
        places = [titles.index(name) if name in titles else -1 for name in names]
        if -1 in places:
            found = plain_text(", ".join(titles), 80) or "nothing"
            problem = f"needs the columns {', '.join(names)}; found {found}"
            raise bad_file(path, "bad_table", problem)
        for number, row in enumerate(rows, 1):
            if row and max(places) >= len(row):
                raise bad_file(path, "bad_table", f"row {number} has only {len(row)} cells")
            if row:
                yield [row[place] for place in places]
    except csv.Error as error:
        raise bad_file(path, "bad_table", f"is no CSV table: {error}") from error


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
    text.writelines(f"# {line}\n" for line in comments.splitlines())
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
            from_pandas=True,
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


def arrow_module(part: str = "") -> Any:
    """Return pyarrow, or a module of it."""
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError:
        raise ExportError(MISSING) from None
