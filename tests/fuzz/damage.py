"""Ways to damage a recording: bytes, files, folders, arrays, metadata, archives.

Each function takes a seeded `Random` and the recording, and returns a description.
"""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from tokenize import TokenError
from typing import Any

import h5py
import numpy as np
import yaml

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.pickles import load_pickled
from omnimouse_model.storage.trees import read_json_mapping, read_yaml_mapping
from tests.hostile_pickles import CallingPickle, object_npy

SECRET = "outside.npy"
"""A valid array next to the recording, which readers must not access."""
RAN = "ran"
"""File that a hostile pickle creates next to the recording if it is executed."""

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**12, 10**30, 1e308, -0.5, float("nan"), float("inf")),
    *("", "abc", "../..", "/etc/passwd", "\x00", "..\\..\\x", [], [1, 2], [[]], {}),
    *({"a": 1}, "final_test_99", f"../{SECRET}", "a" * 5000, "é\u202e"),
)


# -- bytes ---------------------------------------------------------------------------
def damage_bytes(draw: Random, root: Path) -> str:
    """Cut, flip, grow, empty or replace the bytes of a file."""
    path = _any_file(draw, root)
    data = bytearray(path.read_bytes())
    kind = draw.choice(["cut", "flip", "header", "grow", "garbage", "empty", "zeros"])
    if kind == "cut":
        data = data[: draw.randrange(len(data) + 1)]
    elif kind == "grow":
        data += draw.randbytes(draw.randrange(300))
    elif kind == "garbage":
        data = bytearray(draw.randbytes(draw.randrange(400)))
    elif kind == "empty":
        data = bytearray()
    elif kind == "zeros":
        data = bytearray(len(data))
    elif kind == "header":
        for place in range(min(len(data), 128)):
            if draw.random() < 0.05:
                data[place] = draw.choice(b"0123456789(),'<>|fiuOVSb \n{}[]:")
    elif data:
        for _ in range(draw.choice([1, 8, 64])):
            data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)
    return f"{kind} {_label(path, root)}"


_TREE = ("gone", "gone", "other kind", "link out", "link to itself", "pipe")
_TREE += ("rename", "swap", "unreadable name")


# -- files and folders ---------------------------------------------------------------
def damage_tree(draw: Random, root: Path) -> str:
    """Remove, swap, rename or link files and folders."""
    path = draw.choice([p for p in _tree(root) if p != root] or [root])
    kind = draw.choice(_TREE)
    said = f"{kind} {_label(path, root)}"
    was_file = path.is_file()
    if kind == "swap":
        other = _any_file(draw, root)
        if was_file and other != path:
            first, second = path.read_bytes(), other.read_bytes()
            path.write_bytes(second)
            other.write_bytes(first)
        return f"{said} with {_label(other, root)}"
    if kind == "rename":
        path.rename(path.with_name(path.name + draw.choice([" ", ".bak", "é"])))
        return said
    if kind == "unreadable name":
        odd = os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.npy")
        Path(odd).write_bytes(b"?")
        return said
    _remove(path)
    # Through a link of an earlier damage, the folder itself was removed.
    if not path.parent.is_dir():
        return said
    if kind == "other kind":
        path.mkdir() if was_file else path.write_bytes(b"not a folder")
    elif kind == "link out":
        path.symlink_to(root.parent / SECRET if was_file else root.parent)
    elif kind == "link to itself":
        path.symlink_to(path.name if was_file else root)
    elif kind == "pipe":
        os.mkfifo(path)
    return said


UNREADABLE = (ValueError, OSError, MemoryError, OverflowError)
MAX_SIZE = 10**8
"""Elements of an array that is changed: after an earlier damage, an array of empty
texts can have 10^12, which numpy writes one by one."""


# -- arrays --------------------------------------------------------------------------
def damage_array(draw: Random, root: Path) -> str:
    """Change dtype, shape, order or values of a `.npy`, or write a false header."""
    paths = [p for p in _files(root) if p.suffix == ".npy"]
    if not paths:
        return damage_bytes(draw, root)
    path = draw.choice(paths)
    try:
        values = np.load(path, allow_pickle=False)
    except (*UNREADABLE, SyntaxError, TokenError, EOFError):
        values = np.arange(6.0)  # an earlier damage made it unreadable
    if values.size > MAX_SIZE:
        values = np.arange(6.0)
    kind = draw.choice([*_ARRAYS, "hostile", "lies"])
    if kind == "hostile":
        path.write_bytes(_hostile_npy(draw, root.parent / RAN))
    elif kind == "lies":
        path.write_bytes(_lying_npy(draw, values))
    else:
        np.save(path, _changed(draw, values, kind))
    return f"{kind} of {_label(path, root)}"


def _changed(draw: Random, values: np.ndarray, kind: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return _ARRAYS[kind](draw, values)
    except (ValueError, TypeError, IndexError):  # for example text as numbers
        return values.reshape(-1)[:1]


def _cast(draw: Random, values: np.ndarray) -> np.ndarray:
    dtype = draw.choice(["f2", "f4", "f8", "i1", "i8", "u1", "U8", "S4", "c8", "?"])
    return values.astype(dtype)


def _reshape(draw: Random, values: np.ndarray) -> np.ndarray:
    ways: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda v: v.T,
        lambda v: v.reshape(-1),
        lambda v: v[None],
        lambda v: v[..., None],
        lambda v: v[:0],
        lambda v: v.reshape(-1)[:-1],
        lambda v: np.concatenate([v.reshape(-1)] * 2),
        lambda v: v.reshape(-1)[:1].reshape(()) if v.size else np.zeros(()),
        np.asfortranarray,
    ]
    return draw.choice(ways)(values)


def _spoil(draw: Random, values: np.ndarray) -> np.ndarray:
    odd = draw.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e300])
    values = values.copy()
    if values.dtype.kind != "f":
        odd = int(np.clip(np.nan_to_num(odd), 0, 100))
    if values.dtype.kind in "fiu" and values.size:
        chosen = np.random.default_rng(draw.randrange(2**31)).random(values.shape)
        values[chosen < draw.choice([0.01, 0.2, 1.1])] = odd
    return values


def _reorder(draw: Random, values: np.ndarray) -> np.ndarray:
    if not values.ndim:
        return values
    order = np.arange(len(values))
    if draw.random() < 0.5 and len(values) > 1:
        i = draw.randrange(len(values) - 1)
        order[[i, i + 1]] = order[[i + 1, i]]
    else:
        order = order[::-1]
    return values[order]


_ARRAYS: dict[str, Callable[[Random, np.ndarray], np.ndarray]] = {
    "dtype": _cast,
    "shape": _reshape,
    "values": _spoil,
    "order": _reorder,
}


def _lying_npy(draw: Random, values: np.ndarray) -> bytes:
    """Return an array with a header that declares more data than there is."""
    shapes = [(10**12,), (2**62, 2**62), (-1,), (0,), (1,) * 40, (0, 10**30)]
    shape = draw.choice(shapes)
    descr = draw.choice(["<f8", "<f8", "<U0", "|S0", "(2,)f8", "(1,", "<M8[s]"])
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}) + "\n"
    length = draw.choice([len(header), 2**31, 0])
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", length)
    return start + header.encode() + values.tobytes()[:512]


def _hostile_npy(draw: Random, made: Path) -> bytes:
    """Return an object array whose unpickling would create a file."""
    return object_npy(hostile_pickle(draw, made), (1,))


def hostile_pickle(draw: Random, made: Path) -> bytes:
    """Return a pickle that creates a file if a reader executes it."""
    ways: list[tuple[Callable[..., Any], *tuple[str, ...]]] = [
        (os.system, f"touch {made}"),
        (open, str(made), "w"),
        (os.mkdir, str(made)),
        (eval, f"open({str(made)!r}, 'w')"),
    ]
    hostile: Any = CallingPickle(*draw.choice(ways))
    wrapped = draw.choice([hostile, [hostile], {"a": hostile}, ({"x": [hostile]},)])
    return pickle.dumps(wrapped, protocol=draw.choice([0, 2, 4]))


def damage_pickle(draw: Random, root: Path) -> str:
    """Change the content of a pickled `.npy` of suite2p, or make it hostile."""
    paths = [p for p in _files(root) if p.name in ("stat.npy", "ops.npy")]
    if not paths:
        return damage_bytes(draw, root)
    path = draw.choice(paths)
    if draw.random() < 0.3:
        path.write_bytes(_hostile_npy(draw, root.parent / RAN))
        return f"hostile {_label(path, root)}"
    try:
        stored = load_pickled(path)
    except SessionFormatError:  # an earlier damage made it unreadable
        return damage_bytes(draw, root)
    chosen = draw.choice(stored) if isinstance(stored, list) and stored else stored
    said = "as it was"
    if isinstance(chosen, dict) and chosen:
        key = draw.choice(sorted(chosen))
        value = chosen[key]
        if isinstance(value, np.ndarray) and draw.random() < 0.7:
            chosen[key] = _changed(draw, value, draw.choice(sorted(_ARRAYS)))
        else:
            chosen[key] = draw.choice(ODD_VALUES)
        said = f"{key} changed"
    packed = np.empty(len(stored) if isinstance(stored, list) else (), object)
    packed[...] = stored
    np.save(path, packed, allow_pickle=True)
    return f"{said} in {_label(path, root)}"


# -- archives ------------------------------------------------------------------------
def damage_npz(draw: Random, root: Path) -> str:
    """Change, remove or rename one array of an `.npz`, or make it hostile."""
    path = _any_file(draw, root, (".npz",))
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        name = draw.choice(sorted(arrays))
    except Exception:  # an earlier damage made it unreadable
        return damage_bytes(draw, root)
    if max(values.size for values in arrays.values()) > MAX_SIZE:
        return damage_bytes(draw, root)
    kind = draw.choice(["gone", "renamed", "changed", "hostile", "lies", "packed"])
    values = arrays.pop(name)
    if kind == "renamed":
        arrays[draw.choice(["../x", "Responses", "video", "area"])] = values
    elif kind == "changed":
        arrays[name] = _changed(draw, values, draw.choice(sorted(_ARRAYS)))
    draw.choice([np.savez, np.savez_compressed])(path, **arrays)
    if kind == "packed":
        _repack(draw, path, name, values)
    if kind in ("hostile", "lies"):
        made = root.parent / RAN
        data = _lying_npy(draw, values)
        with zipfile.ZipFile(path, "a") as archive:
            bad = _hostile_npy(draw, made) if kind == "hostile" else data
            archive.writestr(f"{name}.npy", bad)
    return f"{kind} {name}"


def _repack(draw: Random, root: Path, name: str, values: np.ndarray) -> None:
    """Add an array with another compression method, or a false name of the method."""
    method = draw.choice([zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
    stream = io.BytesIO()
    np.save(stream, values)
    with zipfile.ZipFile(root, "a", method) as archive:
        archive.writestr(f"{name}.npy", stream.getvalue())
    data = bytearray(root.read_bytes())
    at = data.rfind(b"PK\x01\x02")  # its entry in the directory
    field = draw.choice([None, 8, 10, 20, 24, 42])
    if field is not None:
        data[at + field] ^= draw.choice([1, 8, 99, 255])
    root.write_bytes(data)


# -- HDF5 ----------------------------------------------------------------------------
def damage_hdf5(draw: Random, root: Path) -> str:
    """Change, remove, replace or link a part of an HDF5 file."""
    path = _any_file(draw, root, (".nwb", ".hdf5", ".mat"))
    try:
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            names = [n for n in names if not n.startswith("specifications")]
            return _damage_part(draw, file, draw.choice(names), root)
    except Exception:  # an earlier damage made it unreadable
        return damage_bytes(draw, root)


def _damage_part(draw: Random, file: h5py.File, name: str, root: Path) -> str:
    part = file[name]
    kind = draw.choice(["gone", "attribute", "values", "link", "outside", "other"])
    kind = draw.choice([kind, kind, "pipe", "sparse", "circle", *_SWAPS])
    about = dict(part.attrs)
    if kind == "attribute" and about:
        key = draw.choice(sorted(about))
        if draw.random() < 0.4:
            del part.attrs[key]
        else:
            part.attrs[key] = draw.choice([-1, 0, np.nan, "abc", "", 1e300, [1, 2]])
        return f"attribute {key} of {name}"
    # An earlier damage may have made it larger than the memory.
    is_small = isinstance(part, h5py.Dataset) and part.nbytes < 2**26
    values = part[()] if is_small else np.zeros(3)
    del file[name]
    if kind == "values":
        changed = _changed(draw, np.asarray(values), draw.choice(sorted(_ARRAYS)))
        file[name] = changed.astype("S8") if changed.dtype.kind == "U" else changed
        file[name].attrs.update(about)
    elif kind == "link":
        file[name] = h5py.SoftLink(draw.choice(["/", name, "/nowhere", "/general"]))
    elif kind == "outside":
        file[name] = h5py.ExternalLink(str(root.parent / SECRET), "/")
    elif kind == "pipe":
        pipe = root.parent / "pipe"
        if not pipe.exists():
            os.mkfifo(pipe)
        beyond = draw.choice(["specifications/x", "/".join("d" * 40)])
        file[beyond] = h5py.ExternalLink(str(pipe), "/x")
        file[name] = h5py.SoftLink(f"/{beyond}{draw.choice(['', '/y'])}")
    elif kind == "sparse":
        shapes = [(10**11,), (10**8, 5), (2**31, 3, 3), (5, 10**9), (10**7,)]
        shape = draw.choice(shapes)
        chunks = tuple(min(n, 64) for n in shape)
        dtype = draw.choice(["f4", "i1", "f8", "S8"])
        made = file.create_dataset(name, shape, dtype, chunks=chunks)
        made.attrs.update(about)
    elif kind == "circle":
        file[name] = h5py.SoftLink(f"/{name}")
    elif kind == "other":
        file.create_group(name).attrs.update(about)
    elif kind in _SWAPS:
        _SWAPS[kind](file, name)
        file[name].attrs.update(about)
    return f"{kind} {name}"


_SWAPS: dict[str, Callable[[h5py.File, str], Any]] = {
    "numbers": lambda file, name: file.create_dataset(name, data=np.arange(3.0)),
    "filled group": lambda file, name: file.create_dataset(f"{name}/data", data=1.0),
    "text": lambda file, name: file.create_dataset(name, data="abc"),
    "scalar": lambda file, name: file.create_dataset(name, data=-3),
    "empty": lambda file, name: file.create_dataset(name, data=h5py.Empty("f8")),
    "records": lambda file, name: file.create_dataset(name, data=np.zeros(3, "f8,i4")),
    "reference": lambda file, name: file.create_dataset(
        name, data=file["/"].ref, dtype=h5py.ref_dtype
    ),
    "complex": lambda file, name: file.create_dataset(name, data=np.ones(4, complex)),
}
"""Kind -> what takes the place of a group or dataset, under its name and attributes."""


WORDS = (".yml", ".yaml", ".json", ".jsonl")


# -- metadata ------------------------------------------------------------------------
def damage_words(draw: Random, root: Path) -> str:
    """Change, remove or add a value in a YAML or JSON file, or add hostile text."""
    paths = [p for p in _files(root) if p.suffix in WORDS]
    if not paths:
        return damage_bytes(draw, root)
    path = draw.choice(paths)
    if draw.random() < 0.1:
        path.write_text(_poison(draw, root.parent / RAN))
        return f"poison {_label(path, root)}"
    if path.suffix == ".jsonl":
        return _damage_line(draw, path)
    # With limits: an earlier damage may have written aliases without end.
    read = read_json_mapping if path.suffix == ".json" else read_yaml_mapping
    try:
        stored = read(path)
    except SessionFormatError:
        return damage_bytes(draw, root)
    if not stored:
        return damage_bytes(draw, root)
    where = _change(draw, stored)
    text = json.dumps(stored) if path.suffix == ".json" else yaml.safe_dump(stored)
    path.write_text(text)
    return f"{where} in {_label(path, root)}"


def _damage_line(draw: Random, path: Path) -> str:
    """Change a value in a line of a journal, or repeat, remove or move a line."""
    lines = path.read_bytes().splitlines(keepends=True)
    place = draw.randrange(len(lines)) if lines else 0
    kind = draw.choice(["value", "value", "value", "twice", "gone", "first"])
    try:
        stored = json.loads(lines[place])
        where = _change(draw, stored)
    except (ValueError, IndexError, TypeError, RecursionError):  # an earlier damage
        return f"no line of {path.name}"
    line = lines.pop(place)
    if kind == "value":
        lines.insert(place, json.dumps(stored).encode() + b"\n")
    elif kind != "gone":
        lines[place if kind == "twice" else 0 : 0] = [line] * (2 if kind == "twice" else 1)
    path.write_bytes(b"".join(lines))
    return f"{where if kind == 'value' else kind} in line {place} of {path.name}"


def _change(draw: Random, stored: Any) -> str:
    """Change one value of a nested container in place; return its position."""
    trail = ""
    while True:
        keys = list(stored) if isinstance(stored, dict) else list(range(len(stored)))
        key = draw.choice(keys)
        inner = stored[key]
        trail += f"/{key}"
        if isinstance(inner, dict | list) and inner and draw.random() < 0.8:
            stored = inner
            continue
        if draw.random() < 0.25:
            del stored[key]
            return f"no {trail}"
        # A copy: later damages change values in place.
        stored[key] = deepcopy(draw.choice(ODD_VALUES))
        return f"{trail} = {str(stored[key])[:40]!r}"


def _poison(draw: Random, made: Path) -> str:
    levels = "\n".join(f"l{k}: &l{k} [{f'*l{k - 1}, ' * 9}]" for k in range(1, 12))
    merged = "\n".join(f"l{k}: &l{k} {{<<: [*l{k - 1}, *l{k - 1}]}}" for k in range(1, 40))
    return draw.choice(
        [
            f"!!python/object/apply:os.system ['touch {made}']",
            f"x: !!python/object/apply:builtins.open ['{made}', 'w']",
            f"l0: &l0 [a]\n{levels}",
            f"l0: &l0 {{a: b}}\n{merged}",
            "&a [*a]",
            "[" * 20000,
            '{"a":' * 5000,
            "{" + '"a": 1, ' * 10 + '"a": NaN}',
            "1" * 5000,
        ]
    )


# -- helpers -------------------------------------------------------------------------
def _tree(root: Path) -> list[Path]:
    return [root, *sorted(root.rglob("*"))] if root.is_dir() else [root]


def _files(root: Path) -> list[Path]:
    return [p for p in _tree(root) if p.is_file() and not p.is_symlink()]


def _any_file(draw: Random, root: Path, endings: tuple[str, ...] = ()) -> Path:
    """Return a file, one of these endings if there is one."""
    files = _files(root)
    files = [path for path in files if path.suffix in endings] or files
    if not files:
        left = root / "left" if root.is_dir() else root
        if left.is_symlink() or left.exists():
            _remove(left)
        left.write_bytes(b"nothing")
        return left
    return draw.choice(files)


def _label(path: Path, root: Path) -> str:
    return str(path.relative_to(root.parent))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
