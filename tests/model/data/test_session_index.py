"""Folders of many sessions: a table, sorted, and nested collections."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import omnimouse_model as om
from omnimouse_app.cli import group
from omnimouse_model.data import session_index
from omnimouse_model.data.open import open_session
from tests import SESSIONS
from tests.model.experanto_folder import write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sessions of four formats at three levels, one of them broken."""
    root = tmp_path_factory.mktemp("lab") / "recordings"
    write_folder(root / "a", n_neurons=5)
    write_folder(root / "lab" / "b", n_neurons=9, seconds=30.0)
    shutil.copytree(SESSIONS / "suite2p_small", root / "lab" / "mouse" / "day1")
    shutil.copy(SESSIONS / "nwb_small.nwb", root / "c.nwb")
    shutil.copytree(root / "a", root / "broken")
    (root / "broken" / "responses" / "data.mem").write_bytes(b"x")
    (root / "notes.txt").write_text("no session")
    shutil.copytree(root / "a", root / ".hidden" / "x")
    return root


@pytest.fixture(scope="module")
def folder_catalogue(folder):
    return om.catalogue(folder)


def info_of(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(group, ["info", str(folder), *words])


def test_every_session_is_a_row(folder, folder_catalogue):
    names = [str(entry.path.relative_to(folder)) for entry in folder_catalogue]
    assert names == ["a", "broken", "c.nwb", "lab/b", "lab/mouse/day1"]
    for entry in folder_catalogue:
        if entry.path.name == "broken":
            assert not entry.is_read
            assert "data.mem" in entry.problems[0]
            continue
        session = open_session(entry.path)
        assert entry.neurons == session.n_neurons
        assert entry.minutes == session.tiers()
        assert entry.behavior == session.behavior_names
        assert entry.problems == tuple(note.message for note in session.warnings)
    shown = folder_catalogue[0].stimulus_minutes
    assert shown["video"] == pytest.approx((120 + 120 + 90 + 70) / 30 / 60, rel=0.02)


def test_it_sorts_by_any_column(folder_catalogue):
    neurons = [entry.neurons for entry in folder_catalogue.sorted_by("neurons")]
    assert neurons == sorted(neurons, reverse=True)
    formats = [entry.format for entry in folder_catalogue.sorted_by("format")]
    assert formats == sorted(formats)
    with pytest.raises(ValueError, match="'size'"):
        folder_catalogue.sorted_by("size")


def test_larger_collections_contain_smaller_ones(folder_catalogue):
    small, middle, large = folder_catalogue.nested([1, 2, 4], seed=3)
    assert middle[:1] == small
    assert large[:2] == middle
    assert all(entry.is_read for entry in large)
    assert folder_catalogue.nested([3], seed=3)[0] == large[:3]
    drawn = [folder_catalogue.nested([4], seed=seed)[0] for seed in range(8)]
    orders = {tuple(entry.id for entry in one) for one in drawn}
    assert len(orders) > 1
    with pytest.raises(ValueError, match="4 sessions"):
        folder_catalogue.nested([5], seed=0)


@pytest.mark.slow
def test_info_prints_the_table(folder):
    done = info_of(folder, "--sort", "neurons")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[2].startswith("lab/mouse/day1")
    rows = json.loads(info_of(folder, "--json").stdout)["rows"]
    assert [row["path"] for row in rows][:2] == ["a", "broken"]
    assert rows[1]["is_read"] is False


def test_a_folder_without_sessions_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("a note")
    done = info_of(tmp_path)
    assert done.exit_code == 1
    assert str(tmp_path) in str(done.exception)
    with pytest.raises(NotADirectoryError):
        om.catalogue(tmp_path / "none")


def test_one_that_breaks_its_reader_is_a_row(folder, monkeypatch):
    opened = session_index.open_session

    def breaks(path: Path, **reading: object) -> object:
        if path.name == "b":
            raise RecursionError("too deep")
        return opened(path, **reading)

    monkeypatch.setattr(session_index, "open_session", breaks)
    folder_catalogue = {entry.path.name: entry for entry in om.catalogue(folder)}
    assert sorted(folder_catalogue) == ["a", "b", "broken", "c.nwb", "day1"]
    assert "RecursionError: too deep" in folder_catalogue["b"].problems[0]
    assert not folder_catalogue["b"].is_read
    assert folder_catalogue["a"].neurons == 5


def test_reading_options_hold_for_all_sessions(folder):
    done = info_of(folder / "lab", "--series", "F-neu", "--all-rois", "--json")
    assert done.exit_code == 0, done.output
    neurons = {r["path"]: r["neurons"] for r in json.loads(done.stdout)["rows"]}
    assert neurons == {"b": 9, "mouse/day1": 23}
    assert om.catalogue(folder / "lab")[1].neurons < 23
    assert om.catalogue(folder / "lab", cells_only=False)[1].neurons == 23


def test_a_stop_prints_what_was_found(folder, monkeypatch):
    opened = session_index.open_session

    def stopped(path: Path, **reading: object) -> object:
        if path.name == "c.nwb":
            signal.raise_signal(signal.SIGINT)
        return opened(path, **reading)

    monkeypatch.setattr(session_index, "open_session", stopped)
    done = info_of(folder, "--sort", "id", "--json")
    assert done.exit_code == 130
    paths = [row["path"] for row in json.loads(done.stdout)["rows"]]
    assert paths == ["broken", "a"]


def test_what_cannot_be_read_or_is_unfinished_is_a_row(tmp_path):
    (tmp_path / "a.nwb").touch()
    (tmp_path / "b.omses.zarr.part").mkdir()
    folder_catalogue = om.catalogue(tmp_path)
    names = [entry.path.name for entry in folder_catalogue]
    assert names == ["a.nwb", "b.omses.zarr.part"]
    assert not any(entry.is_read for entry in folder_catalogue)
