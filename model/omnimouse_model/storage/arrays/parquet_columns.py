"""Reading of untrusted Parquet files: columns of numbers and short texts."""

from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.errors import ExportError, SessionFormatError
from omnimouse_model.storage.budget import MAX_TEXT_BYTES, Budget
from omnimouse_model.storage.files import bad_file, read_bytes
from omnimouse_model.storage.tables import arrow_module

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
    data = read_bytes(path, _MAX_BYTES, inside)
    try:
        arrow, parquet = arrow_module(), arrow_module("parquet")
    except ExportError as error:
        raise bad_file(
            path,
            "missing_package",
            "is a Parquet table, and pyarrow is not installed",
            "pip install 'omnimouse-app[analysis]'",
        ) from error
    try:
        return _columns(path, data, arrow, parquet)
    except SessionFormatError:
        raise
    except Exception as error:  # damaged files fail in many ways
        raise bad_file(
            path,
            "bad_parquet",
            f"is not a valid Parquet table: {' '.join(str(error).split())[:200]}",
            "was the download complete?",
        ) from error


def _columns(
    path: Path, data: bytes, arrow: Any, parquet: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    limits = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**20}
    file = parquet.ParquetFile(arrow.BufferReader(data), **limits)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    # The file and its groups may state other numbers.
    rows = max(file.metadata.num_rows, sum(group.num_rows for group in groups))
    width = file.metadata.num_columns
    if rows > _MAX_ROWS or width > _MAX_COLUMNS or rows * width > _MAX_VALUES:
        problem = f"has {rows:,} rows and {width:,} columns, too many"
        raise bad_file(path, "too_large", problem)
    budget = Budget(path, most=_MAX_UNPACKED)
    for number, group in enumerate(groups):
        # Of the group, not of its columns: pyarrow ends the process where the statistics of
        # a column are damaged.
        budget.spend(f"group {number} of its rows", max(0, group.total_byte_size))
    schema = file.schema_arrow
    texts = [f.name for f in schema if _is_text(arrow, f.type)]
    numbers = [f.name for f in schema if _is_number(arrow, f.type)]
    if rows * len(texts) > _MAX_TEXTS:
        problem = f"has {rows:,} rows of {len(texts)} columns of texts, too many"
        raise bad_file(path, "too_large", problem)
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
