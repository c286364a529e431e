"""Outside `omnimouse_model.storage`, nothing turns a path or a URL into content."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model/omnimouse_model", "widgets/omnimouse_widgets", "omnimouse_app")
STORAGE = "model/omnimouse_model/storage/"
# Modules whose purpose is to read or write files, or to load from a URL.
MODULES = (
    *("pickle", "shelve", "mmap", "yaml", "zipfile", "tarfile", "gzip", "bz2", "lzma"),
    *("sqlite3", "scipy.io", "safetensors", "urllib.request", "http.client", "aiohttp"),
    *("fsspec", "requests", "httpx", "joblib", "tomllib", "imageio", "tifffile", "pynwb"),
)
CALLS = (
    *("io.open", "os.open", "codecs.open", "json.load", "json.loads"),
    *("numpy.load", "numpy.memmap", "numpy.fromfile", "numpy.save", "numpy.savez"),
    *("numpy.savez_compressed", "numpy.savetxt", "numpy.loadtxt", "numpy.genfromtxt"),
    *("numpy.lib.format.open_memmap", "h5py.File", "torch.load", "torch.save"),
    *("PIL.Image.open", "marshal.load", "cv2.imread", "cv2.VideoCapture"),
    *("pyarrow.memory_map", "pyarrow.OSFile", "pyarrow.input_stream"),
)
CALLS_THAT_BEGIN = ("zarr.open", "zarr.load", "zarr.save", "zarr.create", "pandas.read_")
CALLS_THAT_BEGIN += ("pyarrow.parquet.", "pyarrow.csv.", "pyarrow.feather.", "pyarrow.dataset.")
METHODS = ("read_text", "read_bytes", "write_text", "write_bytes", "open_memmap", "to_parquet")
# Of `Path`: they raise errors without a type, of links to themselves and of unknown homes.
METHODS += ("resolve", "expanduser")
MODES = frozenset("rwxabt+")
# Readers of recordings look at paths through the kit alone: what is opened is checked there.
DATA = "model/omnimouse_model/data/"
LOOKS = ("exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "iterdir", "readlink")
SEARCHES = ("glob", "rglob", "walk")
LOOKING_CALLS = ("os.scandir", "os.listdir", "os.walk", "os.stat", "os.lstat", "os.access")
LOOKING_CALLS += tuple(f"os.path.{name}" for name in ("exists", "lexists", "isfile", "isdir"))
LOOKING_CALLS += ("os.path.islink", "os.path.getsize", "glob.glob", "glob.iglob")


def looks(source: str) -> list[str]:
    """Return `line: name` of each place of a module that looks at a path beside the kit."""
    names, found = {}, []
    for node in _run(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(_imported(node))
        elif isinstance(node, ast.Call):
            name, is_plain = _full_name(node.func, names), not (node.args or node.keywords)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            is_look = (method in LOOKS and is_plain) or method in SEARCHES
            if is_look or name in LOOKING_CALLS:
                found.append((node.lineno, name or method))
    return [f"{line}: {name}" for line, name in sorted(found)]


def violations(source: str) -> list[str]:
    """Return `line: name` of each place of a module that opens, reads or writes a file."""
    tree = ast.parse(source)
    names, found = {}, []
    for node in _run(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for bound, full in _imported(node):
                names[bound] = full
                if _is_module(full) or full in CALLS:
                    found.append((node.lineno, full))
    for node in _run(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = _full_name(node, names)
            if name in CALLS or name.startswith(CALLS_THAT_BEGIN) or name == "open":
                found.append((node.lineno, name))
            elif isinstance(node, ast.Attribute) and node.attr in METHODS:
                found.append((node.lineno, f".{node.attr}"))
        elif isinstance(node, ast.Call) and _opens_path(node):
            found.append((node.lineno, ".open"))
    return [f"{line}: {name}" for line, name in sorted(set(found))]


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: not imports for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_typing:
            yield node
            yield from _run(node)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Yield the name that an import binds, and the full name of what it imports."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif alias.asname:
            yield alias.asname, alias.name
        else:
            # `import a.b` binds `a`; what is imported is `a.b`.
            first = alias.name.split(".")[0]
            yield first, first
            yield alias.name, alias.name


def _is_module(full: str) -> bool:
    # Errors of these modules are caught where content is used.
    if full.endswith(("Error", "Exception", "BadZipFile")):
        return False
    return any(full == name or full.startswith(f"{name}.") for name in MODULES)


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Return the dotted name of an expression with its import; "" if it has none."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _opens_path(call: ast.Call) -> bool:
    """Whether a call is `path.open(…)`, which its mode or its empty arguments show."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "open"):
        return False
    modes = [one.value for one in call.args[:1] if isinstance(one, ast.Constant)]
    modes += [k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)]
    has_mode = any(isinstance(one, str) and one and set(one) <= MODES for one in modes)
    return has_mode or any(keyword.arg in ("mode", "encoding") for keyword in call.keywords)


@pytest.mark.slow
def test_nothing_outside_storage_opens_a_file():
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    found = [
        f"{name}:{place}"
        for name, path in sorted(named.items())
        if not name.startswith(STORAGE)
        for place in violations(path.read_text(encoding="utf-8"))
    ]
    assert not found, "use omnimouse_model.storage:\n" + "\n".join(found)


def test_readers_look_at_paths_through_the_kit():
    found = [
        f"{path.name}:{place}"
        for path in sorted((ROOT / DATA).rglob("*.py"))
        for place in looks(path.read_text(encoding="utf-8"))
    ]
    assert not found, "use the looks of omnimouse_model.storage.files:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "places", "is_found"),
    [
        ("path.exists()", looks, True),
        ("(path / 'a').is_dir()", looks, True),
        ("path.stat().st_size", looks, True),
        ("sorted(path.glob('*'))", looks, True),
        ("import os; os.path.lexists(path)", looks, True),
        ("from os import scandir; scandir(path)", looks, True),
        ("links.exists(b'a')", looks, False),
        ("is_file(path)", looks, False),
        ("paths_in(folder)", looks, False),
        ("open('a')", violations, True),
        ("import os; os.open('a', 0)", violations, True),
        ("path.open('rb')", violations, True),
        ("path.open(encoding='utf-8')", violations, True),
        ("path.read_text()", violations, True),
        ("reader = path.write_bytes", violations, True),
        ("path.resolve()", violations, True),
        ("Path(path).expanduser()", violations, True),
        ("import numpy as np; np.load('a')", violations, True),
        ("from numpy.lib.format import open_memmap", violations, True),
        ("import numpy as np; loader = np.load", violations, True),
        ("import h5py; h5py.File('a')", violations, True),
        ("import zarr; zarr.open_group('a')", violations, True),
        ("from json import loads; loads('1')", violations, True),
        ("import json; json.load(file)", violations, True),
        ("def f():\n    import yaml", violations, True),
        ("from scipy import io", violations, True),
        ("from safetensors.torch import load_file", violations, True),
        ("import urllib.request", violations, True),
        ("from PIL import Image; Image.open('a')", violations, True),
        ("import pandas as pd; pd.read_csv('a')", violations, True),
        ("import pyarrow.parquet as pq; pq.read_table('a')", violations, True),
        ("import json; json.dumps({})", violations, False),
        ("from urllib.parse import urlsplit", violations, False),
        ("recordings.open(path)", violations, False),
        ("import webbrowser; webbrowser.open(address)", violations, False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import yaml", violations, False),
        ("from zipfile import BadZipFile", violations, False),
        ("import numpy as np; np.asarray([1])", violations, False),
    ],
)
def test_a_line_that_looks_at_a_path_or_opens_a_file_is_found(line, places, is_found):
    assert bool(places(line)) == is_found
