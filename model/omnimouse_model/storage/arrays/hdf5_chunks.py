"""Stored bytes of HDF5 files of any origin: decoded to their declared size, and no further.

The filters of HDF5 make their output as long as the stored bytes say: 1 MB of gzip becomes
1 GB in a chunk of 4 KB. Gzip chunks are therefore decoded here, with a limit. For other
filters, the length is read from the stored bytes before HDF5 decodes them; filters whose
length cannot be known that way are refused.
"""

import bz2
import math
import struct
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5_heads import LAYOUT, ReadAt, messages
from omnimouse_model.storage.arrays.rows import pieces_of
from omnimouse_model.storage.byte_source import zstandard_length
from omnimouse_model.storage.files import bad_file, check_most

if TYPE_CHECKING:
    import h5py

WHOLE = "is the file whole? copy or fetch it again"
_MAX_CHUNK_BYTES = 512 * 2**20
_MOST_DECLARED = 1_000_000
_MOST_CHUNKS = 100_000
"""Chunks of one reading, which takes about 0.1 ms for each."""
_MOST_AT_ONCE = 10_000
"""Chunks that HDF5 reads at once: it needs 4 KB of memory for each."""
_SLACK = 1024
"""Bytes that checksums and heads of filters add to a chunk."""
_SMALL_BYTES, _CACHED_BYTES = 2**13, 2**20
"""Chunks without filters up to these sizes are read whole: here, and by HDF5 for its cache."""
_LISTED = 50
"""Number of chunks that HDF5 lists in the time in which one chunk is read here."""
_RECENT_BYTES = 16 * 2**20
"""Decoded chunks that are saved for the next reading."""
_MOST_LAYOUTS = 1000
_GZIP, _SHUFFLE, _CHECKSUM, _SZIP, _BITS, _SCALE, _LZF = 1, 2, 3, 4, 5, 6, 32000
_FILTERS = {307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32015: "Zstandard"}
"""Filters of the package hdf5plugin: number -> name."""
_LZF_RATIO = 90
"""Bytes that LZF can make of one stored byte."""
VALUE = np.dtype([("length", "<u4"), ("place", "<u8"), ("number", "<u4")])
"""What is stored for a value of any length: the value itself is in a heap."""
_Stored = bytes | memoryview


class _Layout:
    """Storage of a dataset in chunks: sizes and filters."""

    def __init__(self, dataset: "h5py.Dataset") -> None:
        import h5py

        storage, kind = dataset.id.get_create_plist(), dataset.id.get_type()
        self.dataset = dataset
        self.coders = [storage.get_filter(number)[:3] for number in range(storage.get_nfilters())]
        self.shape, self.chunk = dataset.shape, dataset.chunks
        size = _item_bytes(dataset)
        is_long = has_lengths(dataset.dtype)
        self.dtype = VALUE if is_long else dataset.dtype
        self.fill = np.zeros((), VALUE) if is_long else dataset.fillvalue
        self.n_bytes = math.prod(self.chunk) * size
        # Without filters, HDF5 believes that a chunk is whole, and leaves out what it lacks.
        self.most = self.n_bytes + bool(self.coders) * (self.n_bytes // 8 + 2**16)
        self.filters = tuple(code for code, *_ in self.coders)
        self.is_packed = not {_BITS, _SCALE}.isdisjoint(self.filters)
        # Stored values are those of NumPy, so that gzip can be decoded here.
        self.is_gzip = self.filters in ((), (_GZIP,), (_SHUFFLE, _GZIP)) and (
            self.filters[:1] != (_SHUFFLE,) or self.coders[0][2][:1] in ((size,), ())
        )
        is_stored = self.dtype.kind in "iuf" and kind.equal(h5py.h5t.py_create(self.dtype))
        self._is_plain, self._n_read = self.is_gzip and is_stored, 0
        self._counts = [-(-n // size) for n, size in zip(self.shape, self.chunk, strict=True)]
        self.steps = [math.prod(self._counts[axis + 1 :]) for axis in range(len(self._counts))]
        # HDF5 tells no size for the chunks of a dataset that has none.
        has_any = dataset.id.chunk_iter(lambda _: True)
        self._written = None if has_any else np.empty(0, np.int64)
        self._is_whole = False
        self.checked: set[int] = set()

    def is_decoded_here(self, n_chunks: int) -> bool:
        """Whether so many chunks are decoded here, and not by HDF5."""
        if not self._is_plain or self.filters or self.n_bytes <= _SMALL_BYTES:
            return self._is_plain
        # HDF5 reads a part of a large chunk, and others sooner; but it needs the check of all.
        self._n_read += n_chunks
        is_sooner = not self._is_whole and self._n_read * _LISTED < math.prod(self._counts)
        return is_sooner and self.n_bytes <= _CACHED_BYTES

    def place(self, number: int) -> tuple[int, ...]:
        """Return the first entry of a chunk."""
        axes = zip(self.steps, self._counts, self.chunk, strict=True)
        return tuple(number // step % count * size for step, count, size in axes)

    def stored(self, number: int) -> tuple[int, memoryview] | None:
        """Return the filters that a chunk leaves out, and its bytes; None if never written.

        Raises
        ------
        ValueError
            There are more bytes than any coder makes of the chunk.
        """
        if self._written is not None and not self._is_written(number):
            return None
        chunks = self.dataset.id
        into = (np.empty if self.filters else np.zeros)(self.most, np.uint8)
        try:
            mask, data = chunks.read_direct_chunk(self.place(number), out=into)
        except RuntimeError:
            # HDF5 has the same error for all reasons, and looks a chunk up in a list of all.
            if self._written is None:
                facts = array("q")
                chunks.chunk_iter(lambda of: facts.extend(of.chunk_offset))
                table = np.array(facts, np.int64).reshape(-1, len(self.chunk)) // self.chunk
                self._written = np.sort(table @ np.array(self.steps, np.int64))
            if self._is_written(number):
                raise
            return None
        return mask, data

    def _is_written(self, number: int) -> bool:
        assert self._written is not None
        row = int(np.searchsorted(self._written, number))
        return row < len(self._written) and bool(self._written[row] == number)

    def check_whole(self) -> None:
        """Raise ValueError if a chunk without filters is shorter than HDF5 believes."""
        if self._is_whole:
            return
        if self.dataset.id.chunk_iter(lambda of: of.size < self.n_bytes or None):
            raise ValueError("a piece that is shorter than it must be")
        self._is_whole = True


class Chunks:
    """The chunks, and the lengths of the values of any length, of one HDF5 file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._layouts: dict[Any, _Layout | None] = {}
        # The values of the chunk of a number.
        self._recent: OrderedDict[tuple[_Layout, int], np.ndarray] = OrderedDict()
        self._recent_bytes = 0
        # One that is larger than all of these together: each of its rows would decode it.
        self._large: tuple[tuple[_Layout, int], np.ndarray] | None = None
        self._lock = Lock()

    def check(self, name: str, dataset: "h5py.Dataset") -> None:
        """Raise if the chunks of a dataset are too large, or have filters that are not read."""
        chunk = dataset.chunks
        # HDF5 decompresses a whole chunk even if one value is read. Contiguous datasets
        # have no chunks and are read in parts of any size.
        n_bytes = math.prod(chunk) * _item_bytes(dataset) if chunk else 0
        what = f"bytes in each piece of {name}"
        check_most(self._path, n_bytes, _MAX_CHUNK_BYTES, what, "write it again in smaller chunks")
        counts = (
            [-(-n // size) for n, size in zip(dataset.shape, chunk, strict=True)] if chunk else []
        )
        what, larger = f"pieces of {name}", "write it again in larger chunks"
        check_most(self._path, math.prod(counts), _MOST_DECLARED, what, larger)
        storage, coders = dataset.id.get_create_plist(), 0
        for number in range(storage.get_nfilters()):
            code, _, values, label = storage.get_filter(number)
            self._check_filter(name, code, label)
            # A coder behind another one multiplies what the chunk can become.
            if code == _SHUFFLE and coders:
                coders += 1
            coders += code in _LENGTHS
            # Both give as many bytes as their parameters say.
            is_wrong = code in (_BITS, _SCALE) and values[2] * values[4] > n_bytes
            # HDF5 tells its filters nothing of texts.
            sizes = ((n_bytes,), ()) if has_lengths(dataset.dtype) else ((n_bytes,),)
            is_wrong = is_wrong or (code == _LZF and values[2:3] not in sizes)
            if coders > 1 or is_wrong:
                problem = f"is compressed in a way that is not read (HDF5 filter {code})"
                raise bad_file(self._path, "missing_filter", problem, part=name)

    def _check_filter(self, name: str, code: int, label: bytes) -> None:
        import h5py

        # HDF5 would look for other filters among the programs of this machine.
        is_own = code in _LENGTHS and code not in _FILTERS
        is_known = is_own or code in _FILTERS or code in (_SHUFFLE, _CHECKSUM, _BITS, _SCALE)
        if is_known and h5py.h5z.filter_avail(code):
            return
        remedy = ""
        if is_known:
            try:
                import hdf5plugin  # noqa: F401  # registers its filters
            except ImportError:
                remedy = "pip install hdf5plugin"
            else:
                remedy = "hdf5plugin lacks it: write the file again with gzip"
        if is_known and h5py.h5z.filter_avail(code):
            return
        known = _FILTERS.get(code) or label.decode("utf-8", "replace")[:40]
        lacks = "installed" if is_known else "read"
        found = f"is compressed with the HDF5 filter {known or 'of number'} ({code})"
        problem = f"{found}, which is not {lacks}"
        raise bad_file(self._path, "missing_filter", problem, remedy, name)

    def read(self, dataset: "h5py.Dataset", part: Any) -> np.ndarray:
        """Return a part of a dataset, after checks of the chunks that hold it.

        Raises
        ------
        SessionFormatError, ValueError
            A chunk does not decode to its declared length, or there are too many chunks.
        """
        layout = self._layout(dataset)
        if layout is None:
            return np.asarray(dataset[part])
        ranges, is_simple, without = _block(part, layout.shape)
        touched = _touched(ranges, layout.chunk)
        n_chunks = math.prod(map(len, touched))
        most = _MOST_CHUNKS if is_simple else _MOST_AT_ONCE
        # A file can declare any number of chunks that it does not have.
        if n_chunks > _MOST_AT_ONCE and is_simple:
            most = min(most, max(_MOST_AT_ONCE, 4 * dataset.id.get_num_chunks()))
        what, larger = f"pieces of {dataset.name} in this part", "write it again in larger chunks"
        check_most(self._path, n_chunks, most, what, larger)
        if is_simple and layout.is_decoded_here(n_chunks):
            values = self._decoded(layout, ranges)
            if values is not None:
                return np.asarray(values[without])
        if layout.filters:
            self._check_chunks(layout, touched)
        else:
            layout.check_whole()
        if n_chunks <= _MOST_AT_ONCE:
            return np.asarray(dataset[part])
        values = np.empty([high - low for low, high in ranges], dataset.dtype)
        for block in _blocks(ranges, layout.chunk):
            starts = [
                slice(a - low, b - low) for (a, b), (low, _) in zip(block, ranges, strict=True)
            ]
            values[tuple(starts)] = dataset[tuple(slice(*ends) for ends in block)]
        return np.asarray(values[without])

    def longest_piece(self, dataset: "h5py.Dataset", part: Any) -> int:
        """Return the most stored bytes that HDF5 takes at once to read a part of a dataset."""
        layout = self._layout(dataset)
        if layout is not None:
            return layout.most
        ranges, *_ = _block(part, dataset.shape)
        return math.prod(high - low for low, high in ranges) * _item_bytes(dataset)

    def lengths(self, dataset: "h5py.Dataset", read_at: ReadAt) -> np.ndarray:
        """Return the stored length of each value of any length of a dataset."""
        import h5py

        layout = self._layout(dataset)
        if layout is not None:
            ranges = [(0, n) for n in layout.shape]
            values = self._decoded(layout, ranges)
            if values is None:
                raise ValueError("texts whose lengths are damaged")
            return np.asarray(values["length"])
        n_bytes = math.prod(dataset.shape) * VALUE.itemsize
        if (offset := dataset.id.get_offset()) is not None:
            stored = read_at(offset, n_bytes)
        elif dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT:
            found = messages(dataset, read_at)
            stored = next(data[4:] for kind, data in found if kind == LAYOUT and data[0] > 2)
        else:
            stored = bytes(n_bytes)  # never written
        return np.frombuffer(stored[:n_bytes], VALUE)["length"].reshape(dataset.shape)

    def _layout(self, dataset: "h5py.Dataset") -> _Layout | None:
        """Return how a dataset is stored; None without chunks."""
        number = dataset.id
        layout = self._layouts.get(number)
        if layout is None and number not in self._layouts:
            if len(self._layouts) > _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[number] = _Layout(dataset) if dataset.chunks else None
        return layout

    def _decoded(self, layout: _Layout, ranges: list[tuple[int, int]]) -> np.ndarray | None:
        """Return a block that is decoded here; None if HDF5 must read it."""
        # Of each chunk on an axis: its part of the number, of the block, and of the chunk.
        spans = zip(ranges, layout.chunk, layout.steps, strict=True)
        axes = [[(k * step, *p) for k, *p in pieces_of(*span, n)] for span, n, step in spans]
        if all(len(pieces) == 1 for pieces in axes):
            chunk = self._chunk(layout, sum(pieces[0][0] for pieces in axes))
            return None if chunk is None else chunk[tuple(pieces[0][2] for pieces in axes)].copy()
        values = np.empty([high - low for low, high in ranges], layout.dtype)
        for parts in product(*axes):
            steps, into, out = zip(*parts, strict=True)
            chunk = self._chunk(layout, sum(steps))
            if chunk is None:
                return None
            values[into] = chunk[out]
        return values

    def _chunk(self, layout: _Layout, number: int) -> np.ndarray | None:
        """Return the values of a chunk that is decoded here; None if HDF5 must read it."""
        key = layout, number
        with self._lock:
            if (known := self._recent.get(key)) is not None:
                self._recent.move_to_end(key)
                return known
            if self._large is not None and self._large[0] == key:
                return self._large[1]
        stored = self._stored(layout, number)
        if stored is None:
            return np.broadcast_to(np.asarray(layout.fill, layout.dtype), layout.chunk)
        mask, data = stored
        # HDF5 leaves out the shuffle of texts.
        filters = [code for place, code in enumerate(layout.filters) if not mask >> place & 1]
        decoded: bytes | memoryview = data
        if not layout.is_gzip:
            self._check_chunk(layout, number, stored)
            decoded = _by_hdf5(layout, mask, data)
        elif _GZIP in filters:
            try:
                decoded = zlib.decompressobj().decompress(data, layout.n_bytes + 1)
            except zlib.error:
                # The message of HDF5 is known to users; it stops where this did.
                return None
        self._check_length(layout, number, len(decoded))
        read = np.frombuffer(decoded, np.uint8)
        if layout.is_gzip and _SHUFFLE in filters:
            planes = read.reshape(layout.dtype.itemsize, -1)
            read = np.empty(planes.shape[::-1], np.uint8)
            # One after the other: NumPy copies a transposed array in steps of one value.
            for k, plane in enumerate(planes):
                read[:, k] = plane
        elif decoded is data:
            read = read.copy()  # the memory of which it is a part is longer
        values: np.ndarray = read.reshape(-1).view(layout.dtype).reshape(layout.chunk)
        with self._lock:
            if values.nbytes > _RECENT_BYTES:
                self._large = key, values
            elif key not in self._recent:
                self._recent[key] = values
                self._recent_bytes += values.nbytes
                while self._recent_bytes > _RECENT_BYTES:
                    self._recent_bytes -= self._recent.popitem(last=False)[1].nbytes
        return values

    def _check_chunks(self, layout: _Layout, touched: list[range]) -> None:
        """Raise if a chunk does not decode to its declared length: HDF5 reads beyond its end."""
        axes = zip(touched, layout.steps, strict=True)
        numbers = map(sum, product(*([k * step for k in places] for places, step in axes)))
        for number in set(numbers) - layout.checked:
            if (stored := self._stored(layout, number)) is not None:
                self._check_chunk(layout, number, stored)
            layout.checked.add(number)

    def _check_chunk(self, layout: _Layout, number: int, stored: tuple[int, memoryview]) -> None:
        mask, data = stored
        length = len(data)
        for place, code in enumerate(layout.filters):
            if code not in _LENGTHS or mask >> place & 1:
                continue
            if code == _LZF and layout.coders[place][2] and len(data) * _LZF_RATIO <= 2**26:
                length = layout.n_bytes  # HDF5 takes as much memory, or not much more
            else:
                length = _LENGTHS[code](data, layout.n_bytes + _SLACK)
        if layout.is_packed:
            length = max(length, layout.n_bytes)
        self._check_length(layout, number, length, _SLACK)

    def _stored(self, layout: _Layout, number: int) -> tuple[int, memoryview] | None:
        try:
            return layout.stored(number)
        except ValueError as error:
            raise self._wrong_length(layout, number, "more") from error

    def _check_length(self, layout: _Layout, number: int, found: int, slack: int = 0) -> None:
        if not layout.n_bytes <= found <= layout.n_bytes + slack:
            more = "more" if found > layout.n_bytes else "less"
            raise self._wrong_length(layout, number, more)

    def _wrong_length(self, layout: _Layout, number: int, more: str) -> SessionFormatError:
        code = "too_large" if more == "more" else "unreadable"
        problem = f"holds {more} than the {layout.n_bytes:,} bytes that it declares"
        piece = f"the piece of {layout.dataset.name} at {layout.place(number)}"
        return bad_file(self._path, code, problem, WHOLE, piece)


def has_lengths(dtype: np.dtype[Any]) -> bool:
    """Return whether each value is a text or list of any length, which is in a heap."""
    import h5py

    return dtype.kind == "O" and h5py.check_ref_dtype(dtype) is None


def _item_bytes(dataset: "h5py.Dataset") -> int:
    """Return the stored bytes of a value of a dataset."""
    is_long = has_lengths(dataset.dtype)
    return VALUE.itemsize if is_long else int(dataset.id.get_type().get_size())


def _by_hdf5(layout: _Layout, mask: int, data: memoryview) -> bytes:
    """Return the bytes of a chunk, decoded in a file in memory: as values without a meaning.

    HDF5 itself would follow the texts of a chunk into their heap.
    """
    import h5py

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk(layout.chunk)
    for place, coder in enumerate(layout.coders):
        if not mask >> place & 1:
            made.set_filter(*coder)
    kind = h5py.h5t.create(h5py.h5t.OPAQUE, layout.dtype.itemsize)
    space = h5py.h5s.create_simple(layout.chunk)
    with h5py.File("chunk", "w", driver="core", backing_store=False) as file:
        chunk = h5py.h5d.create(file.id, b"chunk", kind, space, made)
        chunk.write_direct_chunk((0,) * len(layout.chunk), bytes(data))
        return np.asarray(h5py.Dataset(chunk)[()]).tobytes()


def _block(
    part: Any, shape: tuple[int, ...]
) -> tuple[list[tuple[int, int]], bool, tuple[int | slice, ...]]:
    """Return begin and end of each axis, whether a part is that block, and its part of it.

    Lists of places make it the whole dataset; they and steps are no such block, but lie in it.
    """
    keys = part if isinstance(part, tuple) else (part,)
    ranges: list[tuple[int, int]] = []
    without: list[int | slice] = []
    is_block = len(keys) <= len(shape)
    for n, key in zip(shape, keys, strict=False):
        if isinstance(key, slice):
            low, high, _ = slice(key.start, key.stop).indices(n)
            ranges.append((low, max(low, high)))
            without.append(slice(None))
            is_block = is_block and key.step in (None, 1)
        elif isinstance(key, int | np.integer) and not isinstance(key, bool):
            place = int(key) + n if key < 0 else int(key)
            if not 0 <= place < n:
                raise ValueError(f"there is no entry {int(key)}, only {n}")
            ranges.append((place, place + 1))
            without.append(0)
        else:
            return [(0, n) for n in shape], False, ()
    ranges += [(0, n) for n in shape[len(ranges) :]]
    return ranges, is_block, tuple(without)


def _touched(ranges: list[tuple[int, int]], chunk: tuple[int, ...]) -> list[range]:
    """Return the numbers of the chunks that a block touches, on each axis."""
    pairs = zip(ranges, chunk, strict=True)
    return [range(low // n, -(-high // n) if high > low else low // n) for (low, high), n in pairs]


def _blocks(
    ranges: list[tuple[int, int]], chunk: tuple[int, ...]
) -> Iterator[list[tuple[int, int]]]:
    """Yield the parts of a block that HDF5 can read at once."""
    counts = list(map(len, _touched(ranges, chunk)))
    if math.prod(counts) <= _MOST_AT_ONCE:
        yield ranges
        return
    axis = int(np.argmax(counts))
    low, high = ranges[axis]
    middle = (low // chunk[axis] + counts[axis] // 2) * chunk[axis]
    for ends in ((low, middle), (middle, high)):
        yield from _blocks([*ranges[:axis], ends, *ranges[axis + 1 :]], chunk)


# -- the length to which stored bytes decode -------------------------------------------
def _by_decoding(new: Callable[[], Any], data: _Stored, most: int) -> int:
    """Return the decoded length, counted up to a limit."""
    return sum(map(len, _pieces(new(), data, most)))


def _pieces(coder: Any, data: _Stored, most: int) -> Iterator[bytes]:
    left = most + 1
    while left > 0 and not coder.eof:
        piece = coder.decompress(data, min(left, 2**20))
        data = getattr(coder, "unconsumed_tail", b"")
        if not piece and not data:
            return
        left -= len(piece)
        yield piece


def _lzf(data: _Stored, most: int) -> int:
    """Return the length that LZF codes: runs of bytes, and copies of earlier ones."""
    place = total = 0
    end = len(data)
    while place < end and total <= most:
        control = data[place]
        if control < 32:
            place += control + 2
            total += control + 1
            continue
        is_long = control >> 5 == 7 and place + 1 < end
        total += (data[place + 1] if is_long else 0) + (control >> 5) + 2
        place += 3 if is_long else 2
    return total


def _in_head(layout: str, at: int, data: _Stored, most: int) -> int:
    """Return the length that is written in the head of the stored bytes."""
    return int(struct.unpack_from(layout, data, at)[0])


def _blosc(data: _Stored, most: int) -> int:
    length, _, n_stored = struct.unpack_from("<III", data, 4)
    if n_stored > len(data):
        raise ValueError(f"a piece of {n_stored:,} bytes, of which {len(data):,} are there")
    return int(length)


def _bitshuffle(data: _Stored, most: int) -> int:
    # Without a coder behind it, it is as long as the stored bytes, and has no head.
    length = _in_head(">Q", 0, data, most)
    return len(data) if len(data) in range(most - _SLACK, most + 1) else length


def _zstandard(data: _Stored, most: int) -> int:
    length = zstandard_length(data)
    if length is None:
        raise ValueError("a piece of Zstandard without its length")
    return length


_LENGTHS: dict[int, Callable[[_Stored, int], int]] = {
    _GZIP: partial(_by_decoding, zlib.decompressobj),
    _SZIP: partial(_in_head, "<I", 0),
    _LZF: _lzf,
    307: partial(_by_decoding, bz2.BZ2Decompressor),
    32001: _blosc,
    32004: partial(_in_head, ">Q", 0),
    32008: _bitshuffle,
    32015: _zstandard,
}
"""Filter that changes the length of a chunk -> function of its stored bytes and a limit."""
