"""`omnimouse convert`, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from omnimouse_app.cli import group
from omnimouse_model.data.open import open_session
from tests import SUITE2P
from tests.model.experanto_folder import write_folder


def test_it_says_what_it_wrote(tmp_path):
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.omses.zarr"
    done = CliRunner().invoke(group, ["convert", str(source), str(store), "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    assert row["value"] == size / 2**20
    assert row["verified"] is True
    first, second = open_session(source), open_session(store)
    np.testing.assert_array_equal(second.responses.data, first.responses.data)


def test_what_is_there_is_not_written_over(tmp_path):
    source = write_folder(tmp_path / "s")
    (tmp_path / "m.zarr").mkdir()
    done = _converted(source, tmp_path / "m.zarr")
    assert done.exit_code == 1
    assert isinstance(done.exception, FileExistsError)
    assert not list((tmp_path / "m.zarr").iterdir())


@pytest.mark.parametrize("into", ["there", "new/"])
def test_a_folder_is_what_the_store_is_put_into(tmp_path, into):
    source = write_folder(tmp_path / "s")
    (tmp_path / "there").mkdir()
    done = _converted(source, f"{tmp_path}/{into}")
    assert done.exit_code == 0, done.output
    (store,) = (tmp_path / into).iterdir()
    assert store.name == f"{open_session(source).id}.omses.zarr"


def test_a_finished_one_is_complete(tmp_path):
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.zarr"
    assert _converted(source, store).exit_code == 0
    again = _converted(source, store)
    assert again.exit_code == 0
    assert "is complete already" in again.stderr
    assert isinstance(_converted(SUITE2P, store).exception, FileExistsError)


def test_a_target_inside_the_source_is_refused(tmp_path):
    source = write_folder(tmp_path / "s")
    done = _converted(source, source / "m.zarr")
    assert "is inside the session" in str(done.exception)
    assert not list(source.glob("m.zarr*"))


def test_of_a_folder_of_recordings_one_is_to_be_named(tmp_path):
    write_folder(tmp_path / "all" / "first")
    write_folder(tmp_path / "all" / "second")
    done = _converted(tmp_path / "all", tmp_path / "m.zarr")
    assert "name one of them: first, second" in str(done.exception)


def test_what_was_begun_otherwise_says_how(tmp_path, monkeypatch):
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.zarr"
    _stopped(source, store, monkeypatch)
    assert "with codec default, not fast" in str(
        _converted(source, store, "--codec", "fast").exception
    )
    assert f"from another session, {source}" in str(
        _converted(SUITE2P, store).exception
    )


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_ctrl_c_ends_with_one_line_and_the_next_run_goes_on(tmp_path):
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.zarr"
    words = [sys.executable, "-c", _SLOW, "convert", str(source), str(store)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        journal = tmp_path / "m.zarr.part" / "journal.jsonl"
        _wait_until(lambda: journal.exists() and len(journal.open().readlines()) > 1)
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert told.splitlines() == [
        f"stopped; what is written is kept in {store}.part; the same command goes on "
        "from there"
    ]
    done = _converted(source, store)
    assert done.exit_code == 0, done.output
    assert "going on from " in done.stderr


_SLOW = """
import time
from omnimouse_app.cli import main
from omnimouse_model.data.store import write

class Slow(write._Writing):
    def _note(self, name, digest):
        super()._note(name, digest)
        time.sleep(1.0)

write._Writing = Slow
main()
"""
"""The command line, waiting a second after each piece."""


def _wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def _converted(source: Path, store: Path | str, *options: str) -> Result:
    return CliRunner().invoke(group, ["convert", str(source), str(store), *options])


def _stopped(source: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert, and stop while it is compared."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("omnimouse_model.data.store.verify._compare_films", interrupted)
        assert _converted(source, store).exit_code == 130
    assert not store.exists()


def test_after_a_stop_while_comparing_the_same_command_ends_it(tmp_path, monkeypatch):
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.zarr"
    _stopped(source, store, monkeypatch)
    done = _converted(source, store)
    assert done.exit_code == 0, done.output
    assert "compared with its source" in done.output
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["m.zarr", "s"]


def test_reading_options_are_kept_in_the_store(tmp_path):
    store = tmp_path / "m.zarr"
    words = ["convert", str(SUITE2P), str(store), "--series", "F-neu", "--all-rois"]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 0, done.output
    assert "compared with its source" in done.output
    assert open_session(store).n_neurons == 23
