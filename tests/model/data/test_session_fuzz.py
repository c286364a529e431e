"""Damaged files: read, or refused with a typed error; never worse."""

import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from tests.fuzz.attempt import attempts
from tests.fuzz.damage import RAN
from tests.fuzz.kinds import KINDS
from tests.fuzz.outcome import outcome_of, prepare
from tests.fuzz.process import FaultError, case_servers, in_fork
from tests.model.experanto_folder import write_folder

SEEDS = range(6, 14)
"""Of each kind; `python -m tests.fuzz` takes thousands."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that are forked")


@pytest.fixture(scope="module")
def server():
    with case_servers(1) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damage_is_refused_with_the_typed_error_or_harmless(kind, server):
    outcomes, faults = server.submit(attempts, kind, SEEDS).result()
    assert not faults
    # Of an experanto folder, nearly every file can be left out: see the next test.
    assert set(outcomes) - {KINDS[kind].whole} or kind == "experanto"


SPOILED = {
    "gone": lambda path, data: None,
    "a folder": lambda path, data: path.mkdir(),
    "a link out": lambda path, data: path.symlink_to("/etc/hostname"),
    "a pipe": lambda path, data: os.mkfifo(path),
    "empty": lambda path, data: path.write_bytes(b""),
    "half": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "longer": lambda path, data: path.write_bytes(data + b"12345"),
    "another": lambda path, data: path.write_bytes(b"\x93NUMPY is here"),
}
"""How a file of a recording is damaged, from its bytes."""


@pytest.mark.slow
@pytest.mark.parametrize("damage", SPOILED)
def test_a_damaged_folder_is_refused_or_read_right_or_says_what_it_lacks(damage, tmp_path):
    root = write_folder(tmp_path / "s", n_neurons=3)
    whole, silent = _content(root), []
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for path in files:
        data = path.read_bytes()
        path.unlink()
        SPOILED[damage](path, data)
        try:
            found = _content(root)
        except SessionFormatError:
            found = whole
        is_noted = found["notes"] - whole["notes"]
        # Tables of the neurons can be missing, and statistics that are not there are computed.
        is_optional = damage == "gone" and path.parent.name == "meta" and path.suffix == ".npy"
        if not is_noted and not is_optional:
            silent += [f"{path.name}: {name}" for name in whole if not _same(found, whole, name)]
        if path.is_dir():
            path.rmdir()
        elif os.path.lexists(path):
            path.unlink()
        path.write_bytes(data)
    assert silent == []


def _content(root: Path) -> dict[str, Any]:
    session = open_session(root)
    content: dict[str, Any] = {"notes": {note.code for note in session.warnings}}
    for start_s in session.window_starts()[:2]:
        window = session.window(float(start_s))
        for name in ("responses", "video", "behavior"):
            content[f"{name} from {start_s}"] = getattr(window, name)
    units = session.units
    content |= {"ids": units.unit_id, "areas": units.area, "places": units.xyz_um}
    return content | {"scale": session.response_scale, "starts": session.window_starts("train")}


def _same(found: dict[str, Any], whole: dict[str, Any], name: str) -> bool:
    if name not in found or whole[name] is None or found[name] is None:
        return name in found and found[name] is whole[name]
    return np.array_equal(found[name], whole[name])


def _runs(root: Path) -> None:
    os.system(f"touch {root.parent / RAN}")


def _fails(root: Path) -> None:
    raise KeyError("units")


def _hides(root: Path) -> None:
    try:
        (root.parent / "new").touch()
    except Exception:
        raise ValueError("a file of the recording is damaged") from None


def _hangs(root: Path) -> None:
    time.sleep(30)


def _computes(root: Path) -> None:
    while True:
        pass


def _grows(root: Path) -> None:
    blocks = []
    while True:
        blocks.append(b"x" * 2**24)


def _prints(root: Path) -> None:
    try:
        _fails(root)
    except KeyError:
        traceback.print_exc()


def _dies(root: Path) -> None:
    os.abort()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("careless", "words"),
    [
        (_runs, "did os.system"),
        (_fails, "raised KeyError"),
        (_hides, "to write"),
        (_hangs, "(?s)still running.*in _hangs"),
        (_computes, "(?s)still running.*in _computes"),
        (_grows, "GiB of memory"),
        (_prints, "printed a traceback"),
        (_dies, "died by signal"),
    ],
)
def test_a_careless_reader_is_caught(careless, words, tmp_path, server):
    root = KINDS["experanto"].write(tmp_path)
    prepare(tmp_path)
    processor_s = 0.2 if careless is _computes else 20.0
    limits = (processor_s, 0.2 if careless is _hangs else 60.0, 2**30)
    case = server.submit(in_fork, partial(outcome_of, root, careless), *limits)
    with pytest.raises(FaultError, match=words):
        case.result()
