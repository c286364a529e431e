"""Damage of Parquet tables: columns of other types, lengths and values."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.damage import damage_bytes


def damage_parquet(draw: Random, root: Path) -> str:
    """Change, add or remove a column or the rows of a table."""
    paths = sorted(path for path in root.rglob("*.pqt") if path.is_file())
    if not paths:
        return damage_bytes(draw, root)
    path = draw.choice(paths)
    try:
        table = pq.read_table(path)
        name = draw.choice(table.column_names)
        kind = draw.choice(sorted(_COLUMNS))
        table = _COLUMNS[kind](draw, table, name)
    except (pa.ArrowException, OSError, IndexError, ValueError, TypeError):
        return damage_bytes(draw, root)  # an earlier damage made it unreadable
    pq.write_table(table, path)
    return f"{kind} {name} of {path.name}"


def _replaced(table: Any, name: str, values: Any) -> Any:
    place = table.column_names.index(name)
    return table.set_column(place, name, values)


def _odd(draw: Random, n: int) -> Any:
    numbers = [np.nan, np.inf, -1.0, 1e300, 1e12, 0.0]
    return draw.choice(
        [
            pa.array([draw.choice(numbers) for _ in range(n)]),
            pa.array([draw.choice(["", "x" * 500, "\0", "é"]) for _ in range(n)]),
            pa.array([[1, 2]] * n),
            pa.array([None] * n),
            pa.array([2**63] * n, pa.uint64()),
            pa.array([b"\x80\x04."] * n),
            pa.array([True] * n),
            pa.array([{"a": 1}] * n),
            pa.array([-(2**62)] * n),
            pa.array(["a", *["b"] * max(0, n - 1)][:n]).dictionary_encode(),
        ]
    )


_COLUMNS: dict[str, Any] = {
    "values": lambda draw, table, name: _replaced(table, name, _odd(draw, table.num_rows)),
    "gone": lambda draw, table, name: table.drop_columns([name]),
    "twice": lambda draw, table, name: table.append_column(name, table.column(name)),
    "fewer rows": lambda draw, table, name: table.slice(draw.randrange(table.num_rows + 1)),
    "more rows": lambda draw, table, name: pa.concat_tables([table, table]),
    "other name": lambda draw, table, name: table.rename_columns(
        [
            draw.choice(["", "x" * 300, "depth", "__x", "é\0"]) if n == name else n
            for n in table.column_names
        ]
    ),
}
