"""Tables as Parquet, with their notes; needs pyarrow (the extra `analysis`)."""

import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from omnimouse_model.errors import ExportError

MISSING = (
    "A Parquet table needs the package pyarrow, which is not here: "
    'pip install pyarrow (or "omnimouse-app[analysis]"), or choose another format.'
)


def parquet_bytes(columns: Mapping[str, Any], notes: Mapping[str, str]) -> bytes:
    """A table of equally long columns; the notes are among its metadata.

    Raises
    ------
    ExportError
        pyarrow is missing.
    """
    arrow = arrow_module()
    table = arrow.table(dict(columns)).replace_schema_metadata(dict(notes))
    file = io.BytesIO()
    arrow_module("parquet").write_table(table, file)
    return file.getvalue()


def arrow_module(part: str = "") -> Any:
    """Pyarrow, or a part of it."""
    try:
        return import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError:
        raise ExportError(MISSING) from None
