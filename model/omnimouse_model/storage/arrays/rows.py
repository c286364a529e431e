"""Samples of a stream, read in runs of rows, and arrays in files, read in blocks.

Each format implements the protocol `Rows`: a file of one array (`ArrayFile`), an HDF5
dataset, one file per trial, a chunked store. Streams and windows depend only on it. No file
is mapped.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.storage.byte_source import BlockFile, Source
from omnimouse_model.storage.files import FileStamp, bad_file


@runtime_checkable
class Rows(Protocol):
    """Samples (T, C) or (T,), read on demand; can be pickled."""

    @property
    def path(self) -> Path:
        """File or folder of the samples, for messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, C), or (T,) for one column."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples that `read` returns."""
        ...

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        ...

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive); callers must not write to them."""
        ...

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns.

        The result is (len(rows), columns).
        """
        ...


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
        if math.prod(size) * self.dtype.itemsize > MAX_PART_BYTES:
            n_bytes = math.prod(size) * self.dtype.itemsize
            problem = f"holds {n_bytes:,} bytes of values; at most {MAX_PART_BYTES:,} are read"
            raise bad_file(self.path, "too_large", f"{problem} at once")
        out = np.empty(size, self.dtype)
        with self._file.opened() as file:
            if out.size:
                _fill(out, _Places(self.shape[turn], taken[turn], self.dtype.itemsize), self, file)
        values = sound_values(out, self.path)
        return values.T if self.fortran else values


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


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Neighbouring places on an axis, of which some are taken; all of them if None."""

    first: int
    stop: int
    taken: np.ndarray | None

    @property
    def count(self) -> int:
        return self.stop - self.first if self.taken is None else len(self.taken)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """The places to read in an array in C order.

    One axis is split: for each place on the axes before it, runs of places on it are
    read with all of the axes behind it, of which the places are taken in memory.
    """

    shape: tuple[int, ...]
    taken: Sequence[_Taken]
    itemsize: int

    def step(self, axis: int) -> int:
        """Return the bytes from one place on an axis to the next."""
        return math.prod(self.shape[axis + 1 :]) * self.itemsize

    def is_whole_behind(self, axis: int) -> bool:
        """Return whether all places of the axes behind an axis are taken."""
        pairs = zip(self.taken[axis + 1 :], self.shape[axis + 1 :], strict=True)
        return all(isinstance(one, range) and len(one) == length for one, length in pairs)

    def split(self) -> tuple[int, list[_Run]]:
        """Return the axis to split and its runs: those that are read in the least time."""
        options = [(axis, self._runs(axis)) for axis in range(len(self.shape))]
        return min(options, key=lambda option: self._cost(*option))

    def _cost(self, axis: int, runs: list[_Run]) -> int | float:
        step = self.step(axis)
        is_last = axis == len(self.shape) - 1
        if step > _BLOCK_BYTES and not is_last and not self.is_whole_behind(axis):
            return math.inf
        n_bytes = sum(run.stop - run.first for run in runs) * step
        return math.prod(map(len, self.taken[:axis])) * (n_bytes + _CALL_BYTES * len(runs))

    def _runs(self, axis: int) -> list[_Run]:
        taken, step = self.taken[axis], self.step(axis)
        if isinstance(taken, range) and self.is_whole_behind(axis):
            return [_Run(taken.start, taken.stop, None)]
        height = max(1, _BLOCK_BYTES // step)
        if isinstance(taken, range):
            starts = range(taken.start, taken.stop, height)
            return [_Run(at, min(at + height, taken.stop), None) for at in starts]
        gap = np.diff(taken)
        is_end = (gap < 1) | (gap * step > _CALL_BYTES) | (np.diff(taken // height) != 0)
        runs = []
        for run in np.split(taken, np.flatnonzero(is_end) + 1):
            first, stop = int(run[0]), int(run[-1]) + 1
            is_all = stop - first == len(run)
            runs.append(_Run(first, stop, None if is_all else run - first))
        return runs


def _fill(out: np.ndarray, places: _Places, array: ArrayFile, file: int) -> None:
    """Fill an array, which is not empty, with the values of the places."""
    memory, source = _memory(out), array._file
    if not places.shape:
        source.fill(file, array.offset, memory)
        return
    axis, runs = places.split()
    step, is_whole = places.step(axis), places.is_whole_behind(axis)
    begins = np.array([array.offset], np.int64)
    for before in range(axis):
        on_axis = np.asarray(places.taken[before], np.int64) * places.step(before)
        begins = np.add.outer(begins, on_axis).reshape(-1)
    # Of `out`: bytes of one place before the axis, and of one place on it.
    n_row, n_place = len(memory) // len(begins), len(memory) // len(begins)
    n_place //= len(places.taken[axis])
    for row, begin in enumerate(begins.tolist()):
        at = row * n_row
        for run in runs:
            into = memory[at : at + run.count * n_place]
            at += len(into)
            if is_whole and run.taken is None:
                source.fill(file, begin + run.first * step, into)
                continue
            block = np.empty((run.stop - run.first, *places.shape[axis + 1 :]), out.dtype)
            source.fill(file, begin + run.first * step, _memory(block))
            block = block if run.taken is None else block[run.taken]
            for k, taken in enumerate(places.taken[axis + 1 :], 1):
                key = slice(taken.start, taken.stop) if isinstance(taken, range) else taken
                block = block[(slice(None),) * k + (key,)]
            into[:] = _memory(np.ascontiguousarray(block))
