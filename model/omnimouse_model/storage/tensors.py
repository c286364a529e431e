"""Named tensors of a file of PyTorch or safetensors, read without executing code.

Files are read, not mapped: access beyond the end of a mapped file that has become
shorter kills the process (SIGBUS).

Published weights are often pickled with classes of their program beside the tensors.
`omnimouse convert-weights` alone reads these. Nothing of them is imported or called: each
other name becomes an inert placeholder, and is listed. Tensors are read from the members
of PyTorch's archive, within their bytes.
"""

import math
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, SessionFormatError
from omnimouse_model.storage.byte_source import BlockFile
from omnimouse_model.storage.files import open_binary, plain_text
from omnimouse_model.storage.pickles import PlainReader, plain_value, scan_opcodes
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import atomic_path

_MAX_TENSORS = 10_000
_MAX_MEMBERS = 100_000
_MAX_PROGRAM = 256 * 2**20
"""Most bytes of the pickle in a file of PyTorch."""
_MAX_HEADER = 100 * 2**20
"""Most bytes of the header of a safetensors file, that of the format itself."""
_MAX_WEIGHT, _MAX_HASHED = 100_000, 50_000_000
"""Values in a nested tuple, each counted as often as it occurs in it; of all items, and of
all lists with which classes are called."""
_MOST_COPIED = 2**30
"""Bytes that the calls of a pickle may make of its longest text."""
_MAKERS = re.compile(r"\S+ (bytearray|set|Counter|\w*Tensor)")
"""Classes that make any number of bytes from one number, or copy what they are given; torch
allows them, and no file of tensors and plain containers needs them."""
_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


def load_pickle(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """Return the content of a file of `torch.save` on the CPU; execute none of it.

    Parameters
    ----------
    allowed
        Classes and functions that the restricted unpickler accepts in addition to
        tensors and plain containers; see `torch.serialization.safe_globals`.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or asks for something else.
    """
    try:
        with open_binary(path) as stream:
            _, program = checked_archive(stream)
            _check_program(program)
            stream.seek(0)
            with torch.serialization.safe_globals(list(allowed)):
                content = torch.load(stream, map_location="cpu", weights_only=True, mmap=False)
        _check_tensors(content)
        return content
    except SessionFormatError as error:
        is_missing = error.code == "missing_file"
        raise CheckpointError(f"{path} is missing." if is_missing else str(error)) from error
    except Exception as error:  # torch raises many kinds for hostile and torn files
        # The name of a class that is not allowed, if that was the reason.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"it asks for {named.group(1)!r}, which a checkpoint does not need."
            if named
            else (str(error).splitlines() or [type(error).__name__])[0][:200]
        )
        raise CheckpointError(f"{path} is damaged or unsafe: {reason}") from error


def write_pickle(path: Path, content: Any) -> None:
    """Write tensors and plain containers as `torch.save` does; see `atomic_path`."""
    # Not by its name: on a full drive, PyTorch would keep the error of the drive to itself.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write named tensors and notes as a .safetensors file; see `atomic_path`."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(plain, temporary, metadata=dict(notes))


def checked_archive(stream: BinaryIO) -> tuple[str, bytes]:
    """Return the folder in an archive of `torch.save`, and the pickle in it.

    Raises
    ------
    ValueError
        PyTorch would not write such an archive.
    """
    # The form of old versions of PyTorch is a tar archive, which it would unpack.
    if not zipfile.is_zipfile(stream):
        raise ValueError("it is no file of PyTorch.")
    size = stream.seek(0, os.SEEK_END)
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or len({m.filename for m in members}) < len(members):
            raise ValueError("it has too many members, or two of one name.")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(f"{member.filename[:80]!r} is compressed, which no version does.")
        # Members that share bytes would give far more values than the file has.
        if sum(member.file_size for member in members) > size:
            raise ValueError("its members are longer than the file.")
        programs = [m for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
        if len(programs) != 1 or programs[0].file_size > _MAX_PROGRAM:
            raise ValueError("it has no pickle of tensors.")
        return programs[0].filename.removesuffix("data.pkl"), archive.read(programs[0])


def _check_program(data: bytes) -> None:
    """Raise ValueError for a pickle that takes long before it asks for anything.

    The hash of nested tuples, as keys, takes exponential time in which not even Ctrl-C is
    heard. So each tuple is weighed: the values in it, each as often as it occurs.
    """
    scan_opcodes(data)
    stack: list[_Weight | None] = []  # None is a mark
    memo: dict[int, _Weight] = {}
    hashed = longest = n_calls = copied = 0
    for op, argument, _ in pickletools.genops(data):
        if op.name == "GLOBAL" and _MAKERS.fullmatch(str(argument)):
            raise ValueError(f"GLOBAL {str(argument).replace(' ', '.')[:80]}")
        longest = max(longest, len(argument) if isinstance(argument, str) else 0)
        n_calls += op.name == "REDUCE"
        if longest * n_calls > _MOST_COPIED:
            raise ValueError(f"it copies a text of {longest:,} letters {n_calls:,} times.")
        taken: list[_Weight] = []
        if pickletools.markobject in op.stack_before:
            while (weight := stack.pop()) is not None:
                taken.append(weight)
            # What lies before the mark, such as the list to which items are added.
            n_more = op.stack_before.index(pickletools.markobject)
        else:
            n_more = len(op.stack_before)
        taken += [stack.pop() or _Weight() for _ in range(n_more)]
        if op.name == "MARK":
            stack.append(None)
        elif op.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            stack += taken
            place = len(memo) if argument is None else int(argument)
            memo[place] = (stack[-1] if stack else None) or _Weight()
        elif op.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif op.name == "DUP":
            stack += [taken[0], taken[0]]
        elif op.name in ("APPEND", "APPENDS"):
            taken[-1].n_items += len(taken) - 1
            stack.append(taken[-1])
        else:
            if op.name == "REDUCE":
                # A class such as OrderedDict copies the list that it is called with.
                copied += taken[0].n_items + sum(part.n_items for part in taken[0].parts)
            is_hashed = op.name.startswith("TUPLE") or op.name in ("REDUCE", "NEWOBJ", "FROZENSET")
            made = _Weight(1 + sum(one.hashed for one in taken) if is_hashed else 1)
            if op.name.startswith("TUPLE"):
                made.parts = taken
            elif op.name == "LIST":
                made.n_items = len(taken)
            if op.name in ("SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"):
                hashed += sum(one.hashed for one in taken)
            if made.hashed > _MAX_WEIGHT or hashed > _MAX_HASHED:
                raise ValueError(f"it nests more than {_MAX_WEIGHT:,} values.")
            if copied > _MAX_HASHED:
                raise ValueError(f"it copies lists of more than {_MAX_HASHED:,} values.")
            stack += [made] * len(op.stack_after)


@dataclass(slots=True)
class _Weight:
    """Values in a nested tuple, parts of a tuple, and number of items of a list."""

    hashed: int = 1
    n_items: int = 0
    parts: Sequence["_Weight"] = ()


def _check_tensors(content: Any) -> None:
    """Raise ValueError unless all tensors are dense real numbers that have as many values."""
    for tensor in _tensors(content):
        is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        # Neither lists of tensors nor views that are negated or conjugated when they are read.
        is_dense &= not tensor.is_nested and tensor.dtype in _DTYPES.values()
        if not is_dense or tensor.is_neg():
            found = f"{tensor.layout} {tensor.dtype} on {tensor.device}"
            raise ValueError(f"a tensor is {found}, not dense numbers.")
        # A stride of 0 repeats one value as often as the file claims.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"a tensor {tuple(tensor.shape)} claims more values than it has.")


def _tensors(content: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested containers."""
    waiting, seen = [content], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, Mapping | list | tuple | set) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.values() if isinstance(item, Mapping) else item


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file of `torch.save`; nothing in it is executed.

    Raises
    ------
    CheckpointError
        The file is missing, or holds anything but named tensors.
    """
    found = load_pickle(path)
    is_named = isinstance(found, Mapping) and len(found) <= _MAX_TENSORS
    if not is_named or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise CheckpointError(f"{path} has no named tensors.")
    return {name: tensor.detach() for name, tensor in found.items()}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the named tensors and the notes of a .safetensors file.

    Raises
    ------
    CheckpointError
        The file is missing or damaged.
    """
    try:
        source = BlockFile(path)
        with source.opened() as file:
            head = bytearray(8)
            source.fill(file, 0, memoryview(head))
            n_header = int.from_bytes(head, "little")
            if n_header > min(_MAX_HEADER, source.size - 8):
                raise ValueError(f"a header of {n_header:,} bytes")
            text = bytearray(n_header)
            source.fill(file, 8, memoryview(text))
            header = decode_json(bytes(text), path.name)
            notes = header.pop("__metadata__", {})
            if len(header) > _MAX_TENSORS or not all(
                isinstance(one, str) for pair in notes.items() for one in pair
            ):
                raise ValueError("too many tensors, or notes that are no texts")
            tensors, at = {}, 0
            for name, about in sorted(header.items(), key=lambda one: one[1]["data_offsets"][0]):
                dtype, shape = _DTYPES[about["dtype"]], about["shape"]
                first, stop = about["data_offsets"]
                if not all(type(n) is int and n >= 0 for n in (*shape, first, stop)):
                    raise ValueError(f"{name[:80]!r} of shape {str(shape)[:80]}")
                # One after the other, so that no two share bytes.
                if first != at or stop - first != math.prod(shape) * dtype.itemsize:
                    raise ValueError(f"{name[:80]!r} at {first} to {stop}, {shape} {dtype}")
                if 8 + n_header + stop > source.size:
                    raise ValueError(f"{name[:80]!r} at {first} to {stop}, behind its end")
                tensor, at = torch.empty(stop - first, dtype=torch.uint8), stop
                source.fill(file, 8 + n_header + first, tensor.numpy().data)
                values = tensor != 0 if dtype == torch.bool else tensor.view(dtype)
                tensors[name] = values.reshape(shape)
            return tensors, dict(notes)
    except SessionFormatError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error)[:200]}") from error


_MAX_VALUES = 1_000_000
"""Values that are visited in all containers, each as often as it is found."""
_MOST_LETTERS = 2**24
"""Letters of all texts and names of settings, each as often as it is found."""
_DEEPEST = 32
_LONGEST_TEXT, _LONGEST_NAME = 4096, 1024
_SMALL = 64
"""Values of an array that becomes a list among the settings."""
_STORAGES = {
    **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16},
    **{"BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32},
    **{"Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool},
}


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """What a file of another program contains.

    Attributes
    ----------
    part
        The mapping that has the tensors, such as "state_dict"; "" for the outermost.
    tensors
        Name in this mapping -> tensor.
    settings
        All else as JSON; tensors elsewhere, such as those of an optimiser, are left out.
    placeholders
        Names of classes and functions that were not imported, sorted.
    """

    part: str
    tensors: Mapping[str, Tensor]
    settings: Any
    placeholders: tuple[str, ...]


def read_published(path: Path, part: str | None = None) -> PublishedWeights:
    """Read a file that `torch.save` of another program has written; execute none of it.

    Parameters
    ----------
    part
        Mapping of which the tensors are read, such as "model.state"; by default the one
        that has the most.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, of a version of PyTorch before 1.6, or has no tensors.
    """
    try:
        with open_binary(path) as stream:
            folder, program = checked_archive(stream)
            scan_opcodes(program)
            reader = _WeightsReader(program, path, stream, folder)
            found = _Contents()
            settings = found.add(reader.load(), "", 0)
    except SessionFormatError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # a pickle is a program, and can fail in any way
        reason = plain_text(str(error) or type(error).__name__)
        raise CheckpointError(f"{path} cannot be converted: {reason}") from error
    names = sorted(found.tensors, key=lambda name: -len(found.tensors[name]))
    if not names:
        raise CheckpointError(f"{path} has no tensors in a mapping.")
    if part is not None and part not in found.tensors:
        some = ", ".join(repr(name) for name in names[:8])
        raise CheckpointError(f"{path} has no tensors in {part[:80]!r}; it has some in {some}.")
    chosen = names[0] if part is None else part
    return PublishedWeights(
        chosen, found.tensors[chosen], settings, tuple(sorted(reader.placeholders))
    )


class _Placeholder:
    """A class or function of another program, and each object that it would make."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: dict[str | int, Any] = {}
        self.values: list[Any] = []

    def __call__(self, *_: Any, **__: Any) -> "_Placeholder":
        return _Placeholder(self.name)

    # A class can be one of lists.
    def append(self, value: Any) -> None:
        self.values.append(value)

    def extend(self, values: list[Any]) -> None:
        self.values.extend(values)


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: torch.dtype
    key: str = ""
    n_values: int = 0


class _WeightsReader(PlainReader):
    """Makes tensors from the members of an archive, and placeholders of other names."""

    def __init__(self, data: bytes, path: Path, stream: BinaryIO, folder: str) -> None:
        super().__init__(data, path)
        self._archive, self._folder = zipfile.ZipFile(stream), folder
        self._values: dict[str, Tensor] = {}
        self.placeholders: set[str] = set()
        members = self._archive.namelist()
        order = f"{folder}byteorder"
        if order in members and self._archive.read(order) != b"little":
            raise ValueError("its values are big-endian, which this program does not read")
        # Tensors can share values, as those of tied layers do.
        self.budget += 4 * sum(member.file_size for member in self._archive.infolist())

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for: a tensor's maker, a plain kind or a placeholder."""
        # A pickle can ask for one remembered name any number of times.
        if len(module) + len(name) > _LONGEST_NAME:
            raise ValueError(f"a name of {len(module) + len(name):,} letters")
        dtype = _STORAGES.get(name.removesuffix("Storage")) if name.endswith("Storage") else None
        if module == "torch" and dtype is not None:
            return _Storage(dtype)
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return self._tensor
        if module == "torch._utils" and name in ("_rebuild_parameter", "_rebuild_parameter_v2"):
            return lambda value, *_: value
        if (module, name) == ("torch", "Size"):
            return partial(self._called, tuple)
        try:
            return super().find_class(module, name)
        except SessionFormatError:
            full = plain_text(f"{module}.{name}")[:200]
            self.placeholders.add(full)
            return _Placeholder(full)

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage to which a pickle refers."""
        is_storage = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"
        if not is_storage or not isinstance(pid[1], _Storage):
            raise ValueError("a reference to something that is no storage")
        _, kind, key, _, n_values = pid
        if not isinstance(key, str) or type(n_values) is not int or n_values < 0:
            raise ValueError("a storage without name or size")
        return _Storage(kind.dtype, key, n_values)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *about: Any) -> Tensor:
        """Return a dense copy of a part of a storage."""
        is_valid = len(shape) == len(strides) <= 16 and all(
            type(n) is int and 0 <= n < 2**48 for n in (offset, *shape, *strides)
        )
        if not isinstance(storage, _Storage) or not is_valid:
            raise ValueError("a tensor without storage, shape or strides")
        # After its gradient and hooks: views that are negated or conjugated when they are read.
        if any(about[2:]):
            raise ValueError("a tensor is no dense numbers, but a view of others")
        values = self._read(storage)
        n_values = math.prod(shape)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # A stride of 0 repeats one value as often as the file claims.
        if n_values > len(values) or (n_values and last >= len(values)):
            raise ValueError(f"a tensor {tuple(shape)} claims more values than it has")
        self.spend([n_values * storage.dtype.itemsize])
        if not n_values:
            return torch.empty(shape, dtype=storage.dtype)
        found = torch.as_strided(values, shape, strides, offset)
        return found != 0 if storage.dtype == torch.bool else found.clone()

    def _read(self, storage: _Storage) -> Tensor:
        """Return all values of a storage, read once; those of flags as bytes."""
        name = f"{self._folder}data/{storage.key}"
        size = storage.n_values * storage.dtype.itemsize
        if name not in self._values:
            if self._archive.getinfo(name).file_size != size:
                raise ValueError(f"{storage.key[:40]!r} has not {storage.n_values:,} values")
            self._values[name] = torch.frombuffer(
                bytearray(self._archive.read(name) or b"\0"), dtype=torch.uint8
            )[:size]
        values = self._values[name]
        if len(values) != size:
            raise ValueError(f"{storage.key[:40]!r} has values of two types")
        # Flags become such in a tensor: here, each tensor would make all of them anew.
        return values if storage.dtype == torch.bool else values.view(storage.dtype)

    # -- objects of other programs -----------------------------------------------------
    def load_newobj(self) -> None:
        """Make a placeholder for an object."""
        arguments = self.stack.pop()
        self.stack.append(self.stack.pop()(*arguments))

    def load_newobj_ex(self) -> None:
        """Make a placeholder for an object with named arguments."""
        self.stack.pop()
        self.load_newobj()

    def load_build(self) -> None:
        """Set the state of an array; that of other objects is kept as their items."""
        target = self.stack[-2]
        if isinstance(target, _Placeholder):
            state = self.stack.pop()
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                target.items.update(part if isinstance(part, dict) else {})
        elif isinstance(target, dict | Tensor):
            self.stack.pop()  # the versions of modules in a state dict
        else:
            super().load_build()

    def _add(self, keys: list[Any], values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, _Placeholder):
            return super()._add(keys, values)
        for key, value in zip(keys, values, strict=True):
            # Other keys, such as a tuple, could take long to compare.
            if type(key) in (str, int):
                target.items[key] = value
        return None

    dispatch: ClassVar[dict[int, Any]] = {
        **PlainReader.dispatch,
        0x81: load_newobj,
        0x92: load_newobj_ex,
        ord("b"): load_build,
    }


@dataclass(slots=True)
class _Contents:
    """Tensors and settings of nested containers.

    Attributes
    ----------
    tensors
        Place of a mapping -> name -> tensor.
    """

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    n_visited: int = 0
    n_letters: int = 0
    _converted: dict[int, Any] = field(default_factory=dict)

    def add(self, value: Any, place: str, depth: int) -> Any:
        """Collect the tensors of a value; return the rest as JSON."""
        self.n_visited += 1
        if self.n_visited > _MAX_VALUES or depth > _DEEPEST:
            raise ValueError("containers with too many values, or that hold themselves")
        if self.n_letters > _MOST_LETTERS:
            raise ValueError(f"texts of more than {_MOST_LETTERS:,} letters")
        if isinstance(value, _Placeholder):
            kept = self.add(value.items, place, depth + 1) if value.items else {}
            values = {"values": self.add(value.values, place, depth + 1)} if value.values else {}
            return {"class": value.name, **kept, **values}
        if isinstance(value, dict):
            return dict(self._mapping(value, place, depth))
        if isinstance(value, list | tuple):
            parts = (self.add(v, f"{place}.{n}", depth + 1) for n, v in enumerate(value))
            return [part for part in parts if part is not _TENSOR]
        if isinstance(value, Tensor):
            return _json(value.item()) if value.numel() == 1 else _TENSOR
        if callable(value) or isinstance(value, _Storage):
            return None
        kept = _json(plain_value(value, self._converted))
        self.n_letters += len(kept) if isinstance(kept, str) else 0
        return kept

    def _mapping(
        self, value: Mapping[str | int, Any], place: str, depth: int
    ) -> Iterator[tuple[str, Any]]:
        for key, part in value.items():
            name = str(key)
            # Each value below it has it in its place.
            if len(name) > _LONGEST_NAME:
                raise ValueError(f"a name of {len(name):,} letters")
            self.n_letters += len(name)
            if isinstance(part, Tensor):
                self.tensors.setdefault(place, {})[name] = part
                continue
            kept = self.add(part, f"{place}.{name}" if place else name, depth + 1)
            if kept is not _TENSOR:
                yield name, kept


_TENSOR = object()


def _json(value: Any) -> Any:
    """Return a plain value as JSON has it; larger arrays by their shape."""
    if isinstance(value, np.ndarray):
        if value.size > _SMALL or value.dtype.kind not in "biuf":
            return f"an array {value.shape} of {value.dtype}"
        return _finite(value.tolist())
    if isinstance(value, str):
        return plain_text(value)[:_LONGEST_TEXT]
    return _finite(value) if isinstance(value, bool | int | float | None) else type(value).__name__


def _finite(value: Any) -> Any:
    """Return numbers with texts for NaN and infinity, which JSON does not have."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
