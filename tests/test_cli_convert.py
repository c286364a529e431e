"""`omnimouse convert`, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from omnimouse_app.cli import group
from omnimouse_model.data.open import open_session
from tests import SUITE2P
from tests.model.experanto_folder import write_folder


@pytest.fixture(scope="module", autouse=True)
def no_fsync():
    """The disk is not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A recording that no test changes."""
    return write_folder(tmp_path_factory.mktemp("recording") / "s")


@pytest.fixture
def store(tmp_path):
    """Where a store is to be."""
    return tmp_path / "m.zarr"


def test_it_says_what_it_wrote(source, store):
    done = convert(source, store, "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    assert row["value"] == size / 2**20
    assert row["verified"] is True
    first, second = open_session(source), open_session(store)
    np.testing.assert_array_equal(second.responses.data, first.responses.data)


def test_what_is_there_is_not_written_over(source, store):
    store.mkdir()
    done = convert(source, store)
    assert done.exit_code == 1
    assert isinstance(done.exception, FileExistsError)
    assert not list(store.iterdir())


@pytest.mark.parametrize("into", ["there", "new/"])
def test_a_folder_is_what_the_store_is_put_into(source, tmp_path, into):
    (tmp_path / "there").mkdir()
    done = convert(source, f"{tmp_path}/{into}")
    assert done.exit_code == 0, done.output
    (store,) = (tmp_path / into).iterdir()
    assert store.name == f"{open_session(source).id}.omses.zarr"


def test_a_finished_one_is_complete(source, store):
    assert convert(source, store).exit_code == 0
    changed_ns = store.stat().st_mtime_ns
    assert convert(source, store).exit_code == 0
    assert store.stat().st_mtime_ns == changed_ns
    assert isinstance(convert(SUITE2P, store).exception, FileExistsError)


def test_a_target_inside_the_source_is_refused(source):
    done = convert(source, source / "m.zarr")
    assert isinstance(done.exception, ValueError)
    assert not list(source.glob("m.zarr*"))


def test_of_a_folder_of_recordings_one_is_to_be_named(source, tmp_path, store):
    for name in ("first", "second"):
        shutil.copytree(source, tmp_path / "all" / name)
    assert "first, second" in str(convert(tmp_path / "all", store).exception)


def test_what_a_stop_left_says_how_it_was_begun_and_is_ended(source, store):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnimouse_model.data.store.verify._compare_films", stop)
        assert convert(source, store).exit_code == 130
    assert not store.exists()
    told = str(convert(source, store, "--codec", "fast").exception)
    assert "codec default, not fast" in told
    assert str(source) in str(convert(SUITE2P, store).exception)
    done = convert(source, store)
    assert done.exit_code == 0, done.output
    assert list(store.parent.iterdir()) == [store]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_ctrl_c_ends_with_one_line_and_the_next_run_goes_on(source, store):
    words = [sys.executable, "-c", WAITING, "convert", str(source), str(store)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(words, text=True, **pipes) as process:
        assert "a piece is written\n" in process.stdout  # which waits for it
        process.send_signal(signal.SIGINT)
        try:
            told = process.communicate("go on\n", timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    (line,) = told.splitlines()
    assert f"{store}.part" in line
    done = convert(source, store)
    assert done.exit_code == 0, done.output
    assert "going on from " in done.stderr


WAITING = """
from omnimouse_app.cli import main
from omnimouse_model.data.store import write

class Waiting(write._Writing):
    def _note(self, name, digest):
        super()._note(name, digest)
        print("a piece is written", flush=True)
        input()

write._Writing = Waiting
main()
"""
"""The command line, which waits after each piece until it is told to go on."""


def convert(source: Path, store: Path | str, *options: str) -> Result:
    return CliRunner().invoke(group, ["convert", str(source), str(store), *options])


def test_reading_options_are_kept_in_the_store(store):
    done = convert(SUITE2P, store, "--series", "F-neu", "--all-rois")
    assert done.exit_code == 0, done.output
    assert open_session(store).n_neurons == 23
