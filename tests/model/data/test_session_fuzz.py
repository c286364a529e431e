"""Damaged files: read, or refused with a typed error; never worse."""

import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import pytest

from tests.fuzz.attempt import attempts
from tests.fuzz.damage import RAN
from tests.fuzz.kinds import KINDS
from tests.fuzz.outcome import outcome_of, prepare
from tests.fuzz.process import FaultError, case_servers, in_fork

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
    # Something was refused; of an experanto folder, nearly every file can be left out.
    assert set(outcomes) - {KINDS[kind].whole} or kind == "experanto"


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
