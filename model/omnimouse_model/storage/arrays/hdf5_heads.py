"""Heads of HDF5 objects: their messages, and the attributes that are kept beside them.

Of values of any length, HDF5 takes the memory that the file states. Here, that number is
found before HDF5 is asked: in the head of an object or, of many attributes in a file for
newer versions, in the fractal heap that a B-tree of their names leads to.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

ReadAt = Callable[[int, int], bytes]
"""Return some bytes of the file from an address on; addresses count from the superblock."""
ATTRIBUTE, LAYOUT, _CONTINUED, _ATTRIBUTES = 12, 8, 16, 21
"""Messages in the head of an object."""
_MOST_HEAD = 2**24
"""Bytes of the head of an object."""
_NOWHERE = 2**64 - 1
_BY_NAME, _RECORD, _NODE = 8, struct.Struct("<8sBII"), 10
"""Kind of the B-tree, a record of it, and what a node has besides: mark, kind, checksum."""
_MOST_NODES, _MOST_NODE, _MOST_LEVELS = 500, 2**16, 10
_MOST_MESSAGE = 2**16


class TooManyAttributes(ValueError):
    """A tree of names has more nodes than are read: about 14,000 attributes."""


def messages(item: Any, read_at: ReadAt) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of the messages in the head of a group or dataset."""
    import h5py

    start = item.file.userblock_size
    place = start + h5py.h5o.get_info(item.id).addr
    head = read_at(place, 64)
    is_new = head[:4] == b"OHDR"
    layout, begin = (struct.Struct("<BHB"), 6) if is_new else (struct.Struct("<HHB3x"), 8)
    size = 4
    if is_new:
        begin += 16 * bool(head[5] & 32) + 4 * bool(head[5] & 16)
        size = 1 << (head[5] & 3)
    # Of newer heads, each message may have the number of its creation.
    prefix = layout.size + 2 * bool(is_new and head[5] & 4)
    n_bytes = int.from_bytes(head[begin : begin + size], "little")
    parts, left = [(place + (begin + size if is_new else 16), n_bytes)], _MOST_HEAD
    while parts:
        place, n_bytes = parts.pop(0)
        left -= n_bytes + 64
        if n_bytes < 0 or left < 0:
            raise ValueError("the head of an object is damaged, or too long")
        data, at = read_at(place, n_bytes), 0
        while at + prefix <= len(data):
            kind, size, flags = layout.unpack_from(data, at)
            content = data[at + prefix : at + prefix + size]
            at += prefix + size
            if kind == _CONTINUED:
                address, length = struct.unpack_from("<QQ", content)
                # Newer parts have a signature and a checksum of four bytes each.
                skip = 4 * is_new
                parts.append((start + address + skip, length - 2 * skip))
            elif not flags & 2:  # a message that objects share is elsewhere
                yield kind, content


def attribute_values(item: Any, name: bytes, read_at: ReadAt) -> bytes | None:
    """Return the stored values of an attribute; None if they cannot be told for sure.

    Raises
    ------
    TooManyAttributes
        They would be looked for among too many.
    """
    found: list[bytes | None] = []
    start = item.file.userblock_size

    def read(place: int, n_bytes: int) -> bytes:
        return read_at(start + place, n_bytes)

    for kind, data in messages(item, read_at):
        if kind == ATTRIBUTE:
            found.append(data)
        elif kind == _ATTRIBUTES:
            heap, tree = struct.unpack_from("<QQ", data, 2 + 2 * (data[1] & 1))
            if heap != _NOWHERE:
                # HDF5 looks at none in the head then.
                found = list(_in_heap(name, _Heap.at(heap, read), _records(tree, read)))
                break
    named = [data for data in found if data is None or _parts(data)[0] == name]
    # Two of one name: HDF5 could take the other one.
    if len(named) != 1 or named[0] is None:
        return None
    return named[0][_parts(named[0])[1] :]


def _in_heap(name: bytes, heap: "_Heap", places: Iterator[bytes]) -> Iterator[bytes | None]:
    """Yield the attributes of a name in a heap, and None for each that lies elsewhere."""
    left = _MOST_HEAD
    for place in places:
        data = heap.message(place)
        # A file can name the same bytes of its heap any number of times.
        left -= 64 + len(data or b"")
        if left < 0:
            raise ValueError("attributes that are too long together")
        if data is None or _parts(data)[0] == name:
            yield data


def _parts(data: bytes) -> tuple[bytes, int]:
    """Return the name of an attribute, and where its values begin."""
    version, _, *sizes = struct.unpack_from("<BBHHH", data)
    at = 9 if version == 3 else 8
    # Name, type and shape are before the values.
    end = at + sum(-(-n // 8) * 8 if version == 1 else n for n in sizes)
    return data[at : at + sizes[0]].rstrip(b"\0"), end


def _records(tree: int, read: ReadAt) -> Iterator[bytes]:
    """Yield the places in the heap of all records of a B-tree of names."""
    mark, _, kind, n_node, size, depth, _, root, count = struct.unpack(
        "<4sBBIHHHQH", read(tree, 26)
    )
    is_sound = mark == b"BTHD" and kind == _BY_NAME and size == _RECORD.size
    if not is_sound or depth > _MOST_LEVELS or n_node > _MOST_NODE:
        raise ValueError("a tree of attributes that is damaged")
    # Bytes of the numbers of records below a node: they follow from what fits.
    most = (n_node - _NODE) // size
    n_count, below = _n_bytes(most), [(most, 0)]
    for _ in range(depth):
        pointer = 8 + n_count + below[-1][1]
        most = (n_node - _NODE - pointer) // (size + pointer)
        total = (most + 1) * below[-1][0] + most
        below.append((total, _n_bytes(total)))
    nodes, n_read = [(root, count, depth)], 0
    while nodes:
        place, count, level = nodes.pop()
        n_read += 1
        data = read(place, n_node)
        if n_read > _MOST_NODES:
            raise TooManyAttributes
        if data[:4] != (b"BTIN" if level else b"BTLF"):
            raise ValueError("a tree of attributes that is damaged")
        for k in range(count):
            yield _RECORD.unpack_from(data, 6 + k * size)[0]
        at = 6 + count * size
        for _ in range((count + 1) * bool(level)):
            child = int.from_bytes(data[at : at + 8], "little")
            n_inner = int.from_bytes(data[at + 8 : at + 8 + n_count], "little")
            nodes.append((child, n_inner, level - 1))
            at += 8 + n_count + (below[level - 1][1] if level > 1 else 0)


def _n_bytes(number: int) -> int:
    return (number.bit_length() + 7) // 8


class _Heap(NamedTuple):
    """A fractal heap: blocks in rows, of which each has twice the size of the one before."""

    read: ReadAt
    root: int
    n_rows: int
    width: int
    first: int
    largest: int
    n_offset: int
    n_length: int

    @classmethod
    def at(cls, place: int, read: ReadAt) -> "_Heap":
        data = read(place, 142)
        mark, _, n_id, n_filters, _, largest_object = struct.unpack_from("<4sBHHBI", data)
        width, first, largest, bits, _, root, n_rows = struct.unpack_from("<HQQHHQH", data, 110)
        is_sound = mark == b"FRHP" and n_id == 8 and not n_filters
        if not is_sound or not width or first.bit_count() != 1 or largest.bit_count() != 1:
            raise ValueError("a heap of attributes that is damaged, or packed")
        n_length = min((largest.bit_length() + 6) // 8, _n_bytes(largest_object))
        return cls(read, root, n_rows, width, first, largest, (bits + 7) // 8, n_length)

    def message(self, number: bytes) -> bytes | None:
        """Return an object; None for one that lies elsewhere, as very large ones do."""
        if number[0]:
            return None
        end = 1 + self.n_offset
        offset = int.from_bytes(number[1:end], "little")
        length = int.from_bytes(number[end : end + self.n_length], "little")
        if length > _MOST_MESSAGE:
            raise ValueError("an attribute that is too long")
        return self.read(self._place(offset), length)

    def _place(self, offset: int) -> int:
        if not self.n_rows:
            return self.root + offset
        block = self.root
        for _ in range(_MOST_LEVELS):
            row = (offset // (self.first * self.width)).bit_length()
            size = self.first << max(0, row - 1)
            before = self.width * size if row else 0
            column, inner = divmod(offset - before, size)
            entry = 13 + self.n_offset + 8 * (row * self.width + column)
            if self.read(block, 4) != b"FHIB":
                break
            block = int.from_bytes(self.read(block + entry, 8), "little")
            if size <= self.largest:
                return block + inner
            # Larger ones are divided into rows themselves.
            offset = inner
        raise ValueError("a heap of attributes that is damaged")
