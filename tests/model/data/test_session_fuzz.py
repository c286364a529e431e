"""Damaged files: read, or refused with a typed error; never worse."""

import os
import sys
import time
from pathlib import Path

import pytest

from omnimouse_model.data import open as opening
from tests.fuzz import outcome
from tests.fuzz.attempt import attempt
from tests.fuzz.damage import RAN
from tests.fuzz.kinds import KINDS
from tests.fuzz.outcome import FaultError, outcome_of, prepare

SEEDS = range(11)
"""Of each kind; `python -m tests.fuzz` takes thousands."""
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs POSIX alarms and pipes"
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damage_is_refused_with_the_typed_error_or_harmless(kind, tmp_path):
    outcomes = set()
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcomes.add(attempt(kind, seed, folder)[1])
    whole = "session" if KINDS[kind].read is None else "read"
    assert outcomes - {whole}  # something was refused
    prepare(tmp_path)
    # Undamaged, it is read.
    assert outcome_of(KINDS[kind].write(tmp_path), KINDS[kind].read) == whole


def _runs(root: Path) -> None:
    os.system(f"touch {root.parent / RAN}")


def _fails(root: Path) -> None:
    raise KeyError("units")


def _hangs(root: Path) -> None:
    time.sleep(30)


@pytest.mark.parametrize(
    ("careless", "words"),
    [(_runs, "did os.system"), (_fails, "raised KeyError"), (_hangs, "still reading")],
)
def test_a_careless_reader_is_caught(careless, words, tmp_path, monkeypatch):
    root = KINDS["experanto"].write(tmp_path)
    prepare(tmp_path)

    def read(path: Path) -> object:
        careless(path)
        return opening.open_session(path)

    monkeypatch.setattr(outcome, "open_session", read)
    if careless is _hangs:
        monkeypatch.setattr(outcome, "PATIENCE_S", 0.1)
    with pytest.raises(FaultError, match=words):
        outcome_of(root)
