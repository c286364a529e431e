"""Tables as CSV and Parquet."""

import csv
import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from omnimouse_model.errors import ExportError

MISSING = (
    "A Parquet table needs the package pyarrow, which is not installed: "
    'pip install pyarrow (or "omnimouse-app[analysis]"), or choose another format.'
)


def parquet_bytes(columns: Mapping[str, Any], notes: Mapping[str, str]) -> bytes:
    """Return a table of columns of one length; the notes are its metadata.

    Raises
    ------
    ExportError
        pyarrow is not installed.
    """
    arrow = arrow_module()
    table = arrow.table(dict(columns)).replace_schema_metadata(dict(notes))
    file = io.BytesIO()
    arrow_module("parquet").write_table(table, file)
    return file.getvalue()


def arrow_module(part: str = "") -> Any:
    """Return pyarrow, or a module of it."""
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError:
        raise ExportError(MISSING) from None


def csv_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """Return a table of columns of one length, with their names in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()
