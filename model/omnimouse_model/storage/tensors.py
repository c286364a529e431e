"""Named tensors of a file of PyTorch or safetensors, read without executing code.

Files are read, not mapped: access beyond the end of a mapped file that has become
shorter kills the process (SIGBUS).
"""

import math
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from omnimouse_model.errors import CheckpointError, SessionFormatError
from omnimouse_model.storage.byte_source import BlockFile
from omnimouse_model.storage.files import open_binary
from omnimouse_model.storage.pickles import scan_opcodes
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
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


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
    """Raise ValueError unless all tensors are dense, and no larger than their values."""
    for tensor in _tensors(content):
        is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not is_dense or tensor.is_quantized:
            raise ValueError(f"a tensor is {tensor.layout} on {tensor.device}, not dense.")
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
