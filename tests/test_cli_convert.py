"""`omnimouse convert`, as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import group
from omnimouse_model.data.open import open_session
from tests.model.experanto_folder import write_folder

SUITE2P = Path(__file__).parent / "fixtures" / "sessions" / "suite2p_small"


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.omses.zarr"
    done = CliRunner().invoke(group, ["convert", str(source), str(store), "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    assert row["value"] == size / 2**20
    assert row["verified"] is True
    first, second = open_session(source), open_session(store)
    np.testing.assert_array_equal(second.responses.data, first.responses.data)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "s")
    (tmp_path / "m").mkdir()
    done = CliRunner().invoke(group, ["convert", str(source), str(tmp_path / "m")])
    assert done.exit_code == 1
    assert isinstance(done.exception, FileExistsError)
    assert not list((tmp_path / "m").iterdir())


def test_after_a_stop_while_comparing_the_same_command_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = write_folder(tmp_path / "s"), tmp_path / "m.zarr"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("omnimouse_model.data.store.verify._compare_films", interrupted)
        done = CliRunner().invoke(group, ["convert", str(source), str(store)])
        assert done.exit_code != 0
    assert not store.exists()
    done = CliRunner().invoke(group, ["convert", str(source), str(store)])
    assert done.exit_code == 0, done.output
    assert "compared with its source" in done.output
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["m.zarr", "s"]


def test_reading_options_are_kept_in_the_store(tmp_path: Path) -> None:
    store = tmp_path / "m.zarr"
    words = ["convert", str(SUITE2P), str(store), "--series", "F-neu", "--all-rois"]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 0, done.output
    assert "compared with its source" in done.output
    assert open_session(store).n_neurons == 23
