"""Files of a folder that gets its name when it is complete: see `temporary_folder`.

Unlike those of `write`, they are neither renamed nor put on the drive one by one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml


def fill(path: Path, content: Any) -> None:
    """Write a file by its ending: an array (.npy), named arrays (.npz), or values (.json, .yml)."""
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        written = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
        path.write_text(written, encoding="utf-8")


@contextmanager
def rows_to_fill(
    path: Path, shape: tuple[int, ...], dtype: Any
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends rows to an array; rows that are not written are zeros.

    The file is raw data unless its name ends with .npy. It takes no space for rows that
    are not written.
    """
    dtype = np.dtype(dtype)
    with path.open("wb") as file:
        if path.suffix == ".npy":
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + int(np.prod(shape)) * dtype.itemsize

        def append(rows: np.ndarray) -> None:
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append
        file.truncate(end)
