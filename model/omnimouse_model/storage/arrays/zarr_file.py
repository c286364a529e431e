"""A zarr folder with the interface of an HDF5 file, as hdmf-zarr writes NWB.

Names, references and links are those of hdmf-zarr: attributes hold references, and the
attribute `zarr_link` of a group its links. Links to other files are never followed.
Texts of any length (`vlen-utf8`) are decoded here. Other arrays of objects need codecs
that run code, such as pickle: they count as missing, and are listed.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from struct import unpack_from
from typing import Any

import numpy as np

from omnimouse_model.storage import files
from omnimouse_model.storage.arrays.zarr_arrays import ZarrArray, ZarrGroup
from omnimouse_model.storage.arrays.zarr_metadata import Node, read_node, unpack_v2
from omnimouse_model.storage.byte_source import MAX_TABLE_BYTES

_FORMATS: tuple[Any, ...] = (2, 3)
_LINKS, _OWN_FILE = "zarr_link", "."
_SCHEMAS = "specifications"
_MAX_OBJECTS, _MAX_LINKS, _MAX_VALUES = 200_000, 16, 1024
_OBJECTS = ("|O", "string", "variable_length_utf8", "bytes", "variable_length_bytes")
"""Types of values of any length."""
_TEXT_CODECS = ("vlen-utf8", "vlen-bytes")
_MAX_TEXTS, _MAX_TEXT_CHUNKS, _MAX_TEXT_BYTES = 1_000_000, 10_000, 64 * 2**20


class ZarrSource:
    """The folder of a file, with the arrays that were opened; see `Source`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: dict[str, ZarrArray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "opened": {}}

    def open(self) -> Any:
        """Return the name of the folder."""
        return str(self.path)

    def check(self, *, now: bool = False) -> None:
        """Raise `SessionFormatError` if a chunk that was read is missing or has changed."""
        for array in self.opened.values():
            array.check()


class ZarrMember:
    """A group or an array; an array has the attributes `shape` and `dtype` of its values."""

    def __init__(self, file: "ZarrFile", name: str, attributes: Mapping[str, Any]) -> None:
        self.file, self.name, self.attributes = file, name, attributes

    @property
    def parent(self) -> "ZarrMember":
        """The group around it."""
        found = self.file.find(self.name.rsplit("/", 1)[0] or "/")
        assert isinstance(found, ZarrMember)
        return found


class ZarrFolder(ZarrMember):
    """A group: its members by name, and those of links inside the file."""

    def keys(self) -> list[str]:
        """Return the names of the members."""
        arrays, groups = self.file.members(self.name)
        return sorted({*arrays, *groups, *self.links()})

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, reference: Any) -> ZarrMember:
        """Return what a reference, or a name, leads to."""
        name = reference
        if isinstance(reference, Mapping):
            name = self.file.inside(self.name, reference)
        found = self.file.find(str(name))
        if found is None:
            raise KeyError(f"it refers to {str(name)[:80]!r}, which is not there")
        return found

    def links(self) -> dict[str, Mapping[str, Any]]:
        """Return the links by name."""
        stored = self.attributes.get(_LINKS, ())
        listed = stored if isinstance(stored, list) else ()
        return {str(one.get("name")): one for one in listed if isinstance(one, Mapping)}


class ZarrDataset(ZarrMember):
    """An array, opened at the first read."""

    @property
    def array(self) -> ZarrArray:
        """The array of the kit; raises if it is of a kind that is not read."""
        opened = self.file.source.opened
        if self.name not in opened:
            opened[self.name] = self.file.group.array(self.name.strip("/"))
        return opened[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


class ZarrTexts(ZarrDataset):
    """An array (n,) of texts of any length, of format 2."""

    def __init__(self, file: "ZarrFile", name: str, node: Node) -> None:
        super().__init__(file, name, node.attributes)
        self._node = node

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of texts."""
        return (self._sizes()[0],)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the texts: objects."""
        return np.dtype(object)

    def _sizes(self) -> tuple[int, int]:
        """Return the number of texts, and that in a chunk."""
        shape, chunks = (self._node.fields.get(name) for name in ("shape", "chunks"))
        sizes = [n for axes in (shape, chunks) if isinstance(axes, list) for n in axes]
        if len(sizes) != 2 or any(type(n) is not int for n in sizes) or sizes[1] < 1:
            found = f"holds {self.name}, {str(shape)[:40]} in chunks of {str(chunks)[:40]}"
            raise files.bad_file(self.file.path, "bad_store", f"{found}; (n,) texts expected")
        n, n_chunk = sizes
        if not 0 <= n <= _MAX_TEXTS or n_chunk > _MAX_TEXTS or -(-n // n_chunk) > _MAX_TEXT_CHUNKS:
            found = f"holds {self.name} of {n:,} texts in chunks of {n_chunk:,}"
            raise files.bad_file(self.file.path, "too_large", found)
        return n, n_chunk

    def texts(self) -> np.ndarray:
        """Return all texts, object (n,); "" where no chunk is stored."""
        n, n_chunk = self._sizes()
        found: list[str] = []
        left = _MAX_TEXT_BYTES
        folder = self.file.path.joinpath(*self.name.strip("/").split("/"))
        packed = self._node.fields.get("compressor")
        with self.file.typed_errors(self.name):
            unpack = None if packed is None else unpack_v2(packed, np.dtype("u1"))
            for number in range(-(-n // n_chunk)):
                path, texts = folder / str(number), [""] * n_chunk
                if path.is_file():
                    content = files.read_bytes(path, left)
                    if unpack is not None:
                        content = unpack(np.frombuffer(content, np.uint8), left).tobytes()
                    left -= len(content)
                    texts = _decoded(content, n_chunk)
                found += texts[: n - len(found)]
        return np.array(found, object)


def _decoded(content: bytes, most: int) -> list[str]:
    """Return the texts of a chunk: their number, then length and letters of each."""
    (count,) = unpack_from("<I", content)
    if count > most:
        raise ValueError(f"a chunk holds {count:,} texts, not {most:,}")
    at, texts = 4, []
    for _ in range(count):
        (length,) = unpack_from("<I", content, at)
        if at + 4 + length > len(content):
            raise ValueError("a text is cut off")
        texts.append(content[at + 4 : at + 4 + length].decode("utf-8"))
        at += 4 + length
    return texts + [""] * (most - count)


class ZarrFile:
    """One zarr folder; only its path is pickled. See `Hdf5`.

    Attributes
    ----------
    outside
        Full name of each link to another file -> that file, after `objects`.
    objects_left_out
        Names of arrays of objects that were asked for or walked over.
    """

    def __init__(self, path: Path) -> None:
        self.source = ZarrSource(path)
        self.outside: dict[str, str] = {}
        self.objects_left_out: dict[str, None] = {}
        self._group: ZarrGroup | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_group": None}

    @property
    def path(self) -> Path:
        """Path of the folder, for messages."""
        return self.source.path

    @property
    def group(self) -> ZarrGroup:
        """The folder, whose files have been checked."""
        if self._group is None:
            self._group = ZarrGroup(self.path, formats=_FORMATS)
        return self._group

    @property
    def root(self) -> ZarrFolder:
        """The group at the top."""
        return ZarrFolder(self, "/", self.group.attributes)

    def members(self, name: str) -> tuple[list[str], list[str]]:
        """Return the names of the arrays and of the groups of a group."""
        return self.group.names(name.strip("/"))

    def objects(self) -> Iterator[ZarrMember]:
        """Yield every group and array once, except cached schemas."""
        waiting: deque[str] = deque(["/"])
        count = 0
        while waiting:
            name = waiting.popleft()
            folder = self.find(name)
            assert isinstance(folder, ZarrFolder)
            for link, about in folder.links().items():
                if about.get("source", _OWN_FILE) != _OWN_FILE:
                    place = str(about.get("source"))[:200]
                    self.outside[f"{name.rstrip('/')}/{link}"] = place
            arrays, groups = self.members(name)
            for inner in sorted([*arrays, *groups]):
                count += 1
                files.check_most(self.path, count, _MAX_OBJECTS, "objects", is_all=False)
                if name == "/" and inner == _SCHEMAS:
                    continue
                member = self.find(f"{name.rstrip('/')}/{inner}")
                if member is not None:
                    yield member
                if isinstance(member, ZarrFolder):
                    waiting.append(member.name)

    def find(self, name: str, within: Any = None) -> ZarrMember | None:
        """Return the object of a name, from the root or a group; None if missing.

        Raises
        ------
        SessionFormatError
            A link on the way leads to another file, or in circles.
        """
        start = "/" if within is None or name.startswith("/") else within.name
        parts = [*start.split("/"), *name.split("/")][::-1]
        place, n_links = "/", 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            below = f"{place.rstrip('/')}/{part}"
            if part != ".." and self.group.has(below.strip("/")):
                place = below
                continue
            folder = self._member(place)
            links = folder.links() if isinstance(folder, ZarrFolder) else {}
            if part not in links:
                return None
            n_links += 1
            if n_links > _MAX_LINKS:
                raise files.bad_file(self.path, "unreadable", f"{below[:80]} has too many links")
            parts += self.inside(below, links[part]).split("/")[::-1]
            place = "/"
        return self._member(place)

    def _member(self, place: str) -> ZarrMember | None:
        if place == "/":
            return self.root
        node = read_node(self.path.joinpath(*place.strip("/").split("/")))
        if node is None:
            return None
        if not node.is_array:
            return ZarrFolder(self, place, node.attributes)
        kind = node.fields.get("dtype", node.fields.get("data_type"))
        kind = kind.get("name") if isinstance(kind, Mapping) else kind
        if isinstance(kind, str) and kind in _OBJECTS:
            filters = node.fields.get("filters")
            names = [f.get("id") for f in filters or () if isinstance(f, Mapping)]
            if kind == "|O" and len(names) == 1 and names[0] in _TEXT_CODECS:
                return ZarrTexts(self, place, node)
            self.objects_left_out[place] = None
            return None
        return ZarrDataset(self, place, node.attributes)

    def inside(self, name: str, reference: Mapping[str, Any]) -> str:
        """Return the full name that a link or reference leads to, in this file only."""
        source, path = reference.get("source", _OWN_FILE), reference.get("path")
        if source != _OWN_FILE or not isinstance(path, str):
            problem = f"lies in {str(source)[:80]}, outside the file; refused"
            raise files.bad_file(self.path, "outside", problem, files.OWN_FILE, name[:80])
        return f"/{path.strip('/')}"

    def dataset(self, name: str) -> ZarrDataset:
        """Return an array by its full name; raise if there is none."""
        item = self.find(name)
        if not isinstance(item, ZarrDataset):
            is_object = name in self.objects_left_out
            problem, hint = "is missing", files.WRITTEN
            if is_object:
                problem = "is an array of objects, which can run code"
                again = "NWB: open it with NWBZarrIO, export with NWBHDF5IO"
                hint = f"write it again as numbers ({again})"
            problem += "; an array of numbers expected"
            raise files.bad_file(self.path, "missing_data", problem, hint, name)
        return item

    def table(self, name: str, most_bytes: int = MAX_TABLE_BYTES) -> np.ndarray:
        """Return all values of a small array."""
        dataset = self.dataset(name)
        if isinstance(dataset, ZarrTexts):
            return dataset.texts()
        n_bytes = prod(dataset.shape) * max(8, dataset.dtype.itemsize)
        files.check_most(self.path, n_bytes, most_bytes, f"bytes in {name}")
        return self.read(dataset, ())

    def read(self, dataset: ZarrDataset, part: Any) -> np.ndarray:
        """Return a part of an array: everything for (), otherwise by ints and slices."""
        parts = part if isinstance(part, tuple) else (part,)
        slices = tuple(p if isinstance(p, slice) else slice(int(p), int(p) + 1) for p in parts)
        values = dataset.array.part(slices)
        numbers = tuple(k for k, p in enumerate(parts) if not isinstance(p, slice))
        return values.squeeze(axis=numbers) if numbers else values

    def attribute(self, item: Any, name: str, otherwise: Any = None) -> Any:
        """Return an attribute, or `otherwise` if missing; a reference as its mapping."""
        value = item.attributes.get(name, otherwise)
        if isinstance(value, Mapping):
            return value.get("value")
        if isinstance(value, list):
            files.check_most(self.path, len(value), _MAX_VALUES, f"values in {item.name} ({name})")
            return np.asarray(value)
        return value

    def typed_errors(self, name: str) -> AbstractContextManager[None]:
        """Turn all errors of reading a part of the file into `SessionFormatError`."""
        problem, hint = f"holds {name}, which cannot be read", "is the folder whole? copy it again"
        return files.damage_refused(self.path, "unreadable", problem, hint)
