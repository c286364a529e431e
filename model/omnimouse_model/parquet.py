"""Tables as Parquet with metadata; needs pyarrow (the extra `analysis`)."""

import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any

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
