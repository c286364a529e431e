"""Samples of a stream, read in runs of rows, and arrays in files, read in blocks.

Each format implements the protocol `Rows`: a file of one array (`ArrayFile`), an HDF5
dataset, one file per trial, a chunked store. Streams and windows depend only on it. No file
is mapped.
"""

import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.storage.byte_source import BlockFile, Source
from omnimouse_model.storage.files import FileStamp, bad_file, check_most


@runtime_checkable
class Rows(Protocol):
    """Samples (T, C) or (T,), read on demand; can be pickled."""

    @property
    def path(self) -> Path:
        """File or folder of the samples, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, C), or (T,) for one column."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` returns."""

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive); callers must not write to them."""

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns.

        The result is (len(rows), columns).
        """


class MemoryRows:
    """Rows of an array in memory; see `Rows`.

    Parameters
    ----------
    path
        File for messages.
    values
        The array.
    stamps
        Files from which it was made.
    """

    def __init__(
        self, path: Path, values: np.ndarray, stamps: Sequence[FileStamp | Source] = ()
    ) -> None:
        self.path = path
        self.shape: tuple[int, ...] = values.shape
        self.dtype: np.dtype[Any] = values.dtype
        self._values, self._stamps = values, stamps

    def check(self) -> None:
        """Raise `SessionFormatError` if a file of the values is missing or has changed."""
        for stamp in self._stamps:
            stamp.check()

    def open(self) -> np.ndarray:
        """Return the values."""
        return self._values

    def part(self, *keys: slice | np.ndarray) -> np.ndarray:
        """Return the values at keys of the first axes; see `ArrayFile`."""
        values = self._values
        for axis, key in enumerate(keys):
            values = values[(slice(None),) * axis + (key,)]
        return values

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`."""
        return self._values[first:stop]

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows of a slice of columns."""
        return self._values.reshape(len(self._values), -1)[rows, columns]


def runs_of(
    rows: np.ndarray, height: int, gap: int | None = None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield first and stop of runs of ascending rows, and the places of the rows in each.

    A run lies in one block of `height` rows. With `gap`, rows that are further apart are
    of two runs.
    """
    is_end = np.diff(rows // height) > 0
    if gap is not None:
        is_end |= np.diff(rows) > gap
    for run in np.split(rows, np.flatnonzero(is_end) + 1):
        first, stop = (int(run[0]), int(run[-1]) + 1) if len(run) else (0, 0)
        yield first, stop, run - first


def pieces_of(low: int, high: int, size: int) -> list[tuple[int, slice, slice]]:
    """Return the chunks of an axis that a span touches.

    Of each, these are its number, its part of the span, and the part of it that is in.
    """
    pieces = []
    for k in range(low // size, -(-high // size) if high > low else low // size):
        start = k * size
        begin, end = max(low, start), min(high, start + size)
        pieces.append((k, slice(begin - low, end - low), slice(begin - start, end - start)))
    return pieces


MAX_LENGTH = 2**48
"""Most values along an axis of a stored array."""
_MAX_DIMENSIONS, _MAX_BYTES = 32, 2**62
MAX_PART_BYTES = 8 * 2**30
"""Most bytes that are read at once."""
_CALL_BYTES = 8 * 2**10
"""Bytes that are read in the time of one more call of the system."""
_BLOCK_BYTES = 16 * 2**20
"""Most bytes of a block of which only a part is used."""
_LAST_CHARACTER = 0x10FFFF


class ArrayFile:
    """One array in one file, read when its values are needed.

    A map would be simpler, but access beyond the end of a mapped file that has become
    shorter kills the process (SIGBUS).

    Parameters
    ----------
    path
        The file.
    dtype, shape, offset, fortran
        Layout of the array, from the file's header or the session's metadata.
        `offset` is in bytes.
    inside
        Session folder in which the file must lie; see `open_binary`, also for `is_named`.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int = 0,
        fortran: bool = False,
        *,
        inside: Path | None = None,
        is_named: bool = False,
    ) -> None:
        self.path = path
        self.dtype = dtype
        self.shape = shape
        self.offset = offset
        self.fortran = fortran
        self._file = BlockFile(path, inside, is_named=is_named)

    @property
    def n_bytes(self) -> int:
        """Size of the array in bytes, without the header."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._file.check()

    def open(self) -> np.ndarray:
        """Return all values, read into memory."""
        return self.part()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop`; see `Rows`."""
        if self.fortran or self.dtype.kind in "bU":
            return self.part(slice(first, stop))
        # One run of bytes, the usual case.
        first, stop, _ = slice(first, stop).indices(self.shape[0])
        out = np.empty((max(0, stop - first), *self.shape[1:]), self.dtype)
        self._file.read(self.offset + first * (out.nbytes // max(1, len(out))), _memory(out))
        return out

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows of a slice of columns."""
        if len(self.shape) == 2:
            return self.part(rows, columns)
        return self.part(rows).reshape(len(rows), -1)[:, columns]

    def part(self, *keys: slice | np.ndarray) -> np.ndarray:
        """Return a part of the array; axes without a key are whole.

        Parameters
        ----------
        keys
            A slice or numbers for each axis. Each axis is taken on its own: numbers on
            two axes select their grid.

        Raises
        ------
        SessionFormatError
            The file has changed, or it ends before its values do.
        IndexError
            A number lies outside the array.
        """
        whole = (slice(None),) * (len(self.shape) - len(keys))
        pairs = zip((*keys, *whole), self.shape, strict=True)
        taken = [_taken(key, length) for key, length in pairs]
        # An array in Fortran order is the transposed array in C order.
        turn = slice(None, None, -1 if self.fortran else None)
        size = [len(one) for one in taken[turn]]
        n_bytes = math.prod(size) * self.dtype.itemsize
        check_most(self.path, n_bytes, MAX_PART_BYTES, "bytes of values in this part")
        out = np.empty(size, self.dtype)
        with self._file.opened() as file:
            if out.size:
                _fill(out, self.shape[turn], taken[turn], self, file)
        values = sound_values(out, self.path)
        return values.T if self.fortran else values


def is_possible(shape: tuple[int, ...], item_bytes: int) -> bool:
    """Return whether NumPy can count the bytes of an array of a shape that a file states."""
    is_sound = len(shape) <= _MAX_DIMENSIONS and all(0 <= n < MAX_LENGTH for n in shape)
    # max(1, n): numpy multiplies the other axes even if one of them is empty.
    return is_sound and math.prod(max(1, n) for n in shape) * item_bytes < _MAX_BYTES


def sound_values(values: np.ndarray, path: Path) -> np.ndarray:
    """Return values whose bytes come from a file, each of them valid for its type.

    Raises
    ------
    SessionFormatError
        A text holds a number that is no character.
    """
    if values.dtype.kind == "b":
        # Other bytes than 0 and 1 would count more than once in a sum.
        return np.asarray(values.view(np.uint8) != 0)
    if values.dtype.kind == "U":
        order = "<" if values.dtype.str[0] == "<" else ">"
        characters = np.ascontiguousarray(values).reshape(-1).view(f"{order}u4")
        if (characters > _LAST_CHARACTER).any():
            raise bad_file(path, "bad_text", "holds a text with numbers that are no characters")
    return values


def _memory(values: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array."""
    return values.reshape(-1).view(np.uint8).data


_Taken = range | np.ndarray
"""Places along an axis: a range of step 1, or int64 numbers."""


def _taken(key: slice | np.ndarray, length: int) -> _Taken:
    if isinstance(key, slice):
        places = range(length)[key]
        return places if places.step == 1 else np.asarray(places, np.int64)
    numbers = np.flatnonzero(key) if key.dtype == bool else key.astype(np.int64)
    if len(numbers) and not -length <= numbers.min() <= numbers.max() < length:
        raise IndexError(f"places {numbers.min()} to {numbers.max()} of an axis of {length}")
    return np.where(numbers < 0, numbers + length, numbers)


_Run = tuple[int, int, np.ndarray | None]
"""First and stop of places that are read at once, and those of them that are taken (None: all)."""


def _runs(taken: _Taken, step: int, *, is_whole: bool) -> list[_Run]:
    """Return the runs of places on an axis, of `step` bytes each.

    With `is_whole`, all values behind a place are taken: a run needs no memory of its own.
    """
    if isinstance(taken, range) and is_whole:
        return [(taken.start, taken.stop, None)]
    height = max(1, _BLOCK_BYTES // step)
    if isinstance(taken, range):
        starts = range(taken.start, taken.stop, height)
        return [(at, min(at + height, taken.stop), None) for at in starts]
    gap = np.diff(taken)
    is_end = (gap < 1) | (gap * step > _CALL_BYTES) | (np.diff(taken // height) != 0)
    runs: list[_Run] = []
    for run in np.split(taken, np.flatnonzero(is_end) + 1):
        first, stop = int(run[0]), int(run[-1]) + 1
        runs.append((first, stop, None if stop - first == len(run) else run - first))
    return runs


def _fill(
    out: np.ndarray, shape: tuple[int, ...], taken: list[_Taken], array: ArrayFile, file: int
) -> None:
    """Fill `out` with the taken places of an open file, whose array has a shape in C order.

    The array is read in runs on the axis on which that costs least.
    """
    memory, source = _memory(out), array._file
    if not shape:
        source.fill(file, array.offset, memory)
        return
    n_axes = len(shape)
    # Bytes of a place on each axis, and whether all values behind it are taken.
    steps = [math.prod(shape[k + 1 :]) * out.itemsize for k in range(n_axes)]
    is_all = [isinstance(t, range) and len(t) == n for t, n in zip(taken, shape, strict=True)]
    whole = [all(is_all[k + 1 :]) for k in range(n_axes)]
    options: list[tuple[int, int, list[_Run]]] = []
    for k, step in enumerate(steps):
        # A place that is larger than a block is not read to take parts of it.
        if step <= _BLOCK_BYTES or whole[k] or k == n_axes - 1:
            runs = _runs(taken[k], step, is_whole=whole[k])
            cost = sum(stop - first for first, stop, _ in runs) * step + _CALL_BYTES * len(runs)
            options.append((math.prod(map(len, taken[:k])) * cost, k, runs))
    _, axis, runs = min(options, key=itemgetter(0))
    step, is_whole = steps[axis], whole[axis]
    begins = np.array([array.offset], np.int64)
    for before in range(axis):
        on_axis = np.asarray(taken[before], np.int64) * steps[before]
        begins = np.add.outer(begins, on_axis).reshape(-1)
    # Of `out`: bytes of one place before the axis, and of one place on it.
    n_row = len(memory) // len(begins)
    n_place = n_row // len(taken[axis])
    for row, begin in enumerate(begins.tolist()):
        at = row * n_row
        for first, stop, inner in runs:
            into = memory[at : at + (stop - first if inner is None else len(inner)) * n_place]
            at += len(into)
            if is_whole and inner is None:
                source.fill(file, begin + first * step, into)
                continue
            block = np.empty((stop - first, *shape[axis + 1 :]), out.dtype)
            source.fill(file, begin + first * step, _memory(block))
            block = block if inner is None else block[inner]
            for k, behind in enumerate(taken[axis + 1 :], 1):
                key = slice(behind.start, behind.stop) if isinstance(behind, range) else behind
                block = block[(slice(None),) * k + (key,)]
            into[:] = _memory(np.ascontiguousarray(block))
