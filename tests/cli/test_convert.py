import os

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from tests import SUITE2P
from tests.cli.runner import rows_of_command, run_command
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
    return tmp_path / "m.zarr"


def test_it_says_what_it_wrote(source, store):
    (row,) = rows_of_command("convert", source, store)
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    assert row["value"] == size / 2**20
    assert row["verified"] is True
    first, second = open_session(source), open_session(store)
    np.testing.assert_array_equal(second.responses.data, first.responses.data)


@pytest.mark.parametrize("name", ["m.zarr", "m"])
def test_a_finished_one_is_complete(source, tmp_path, name):
    store = tmp_path / name
    assert run_command("convert", source, store).exit_code == 0
    changed_ns = store.stat().st_mtime_ns
    assert run_command("convert", source, store).exit_code == 0
    assert store.stat().st_mtime_ns == changed_ns
    assert isinstance(run_command("convert", SUITE2P, store).exception, FileExistsError)


def test_a_target_inside_the_source_is_refused(source):
    done = run_command("convert", source, source / "m.zarr")
    assert isinstance(done.exception, ValueError)
    assert not list(source.glob("m.zarr*"))


def test_what_a_stop_left_says_how_it_was_begun_and_is_ended(source, store):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnimouse_model.data.convert._compare_videos", stop)
        assert run_command("convert", source, store).exit_code == 130
    assert not store.exists()
    told = str(run_command("convert", source, store, "--codec", "fast").exception)
    assert "codec default, not fast" in told
    assert str(source) in str(run_command("convert", SUITE2P, store).exception)
    done = run_command("convert", source, store)
    assert done.exit_code == 0, done.output
    assert list(store.parent.iterdir()) == [store]


def test_reading_options_are_kept_in_the_store(store):
    done = run_command("convert", SUITE2P, store, "--series", "F-neu", "--all-rois")
    assert done.exit_code == 0, done.output
    assert open_session(store).n_neurons == 23
