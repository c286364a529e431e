"""Folders of many sessions: a table, sorted, and nested collections."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import omnimouse_model as om
from omnimouse_app.cli import group, info
from omnimouse_app.cli.output import fitted, table
from omnimouse_model.data import catalogue
from omnimouse_model.data.catalogue_words import row_words
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
    shown = folder_catalogue[0].shown
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
    orders = {
        tuple(e.id for e in folder_catalogue.nested([4], seed=s)[0]) for s in range(8)
    }
    assert len(orders) > 1
    with pytest.raises(ValueError, match="4 sessions"):
        folder_catalogue.nested([5], seed=0)


def test_info_prints_the_table(folder):
    done = info_of(folder, "--sort", "neurons")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split()[:5] == ["path", "animal", "format", "neurons", "areas"]
    assert lines[2].startswith("lab/mouse/day1")
    assert max(map(len, lines[:7])) <= 120
    (count,) = [line for line in lines if line.startswith("4 sessions")]
    assert "1 more" in count
    assert any(line.startswith("  - broken: ") for line in lines)
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
    known, opened = catalogue.is_session_itself, catalogue.open_session

    def breaks(path: Path, **reading: object) -> object:
        if path.name == "b":
            raise RecursionError("too deep")
        return opened(path, **reading)

    def breaks_early(path: Path) -> bool:
        return path.name != "c.nwb" and known(path) if path.name != "a" else 1 / 0

    monkeypatch.setattr(catalogue, "open_session", breaks)
    monkeypatch.setattr(catalogue, "is_session_itself", breaks_early)
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


def test_what_it_cannot_be_sorted_by_is_refused_before_anything_is_opened(
    folder, monkeypatch
):
    """Nor is a folder of sessions checked as one is."""
    assert tuple(catalogue.COLUMNS) == info.SORTED_BY
    monkeypatch.setattr(catalogue, "open_session", None)
    for words in (("--sort", "bogus"), ("--check",)):
        done = info_of(folder, *words)
        assert done.exit_code == 2
        assert words[-1] in done.output


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_stop_prints_what_was_found(words, folder, monkeypatch):
    opened = catalogue.open_session

    def stopped(path: Path, **reading: object) -> object:
        if path.name == "c.nwb":
            signal.raise_signal(signal.SIGINT)
        return opened(path, **reading)

    monkeypatch.setattr(catalogue, "open_session", stopped)
    done = info_of(folder, "--sort", "id", *words)
    assert done.exit_code == 130
    assert done.stderr
    if words:
        paths = [row["path"] for row in json.loads(done.stdout)["rows"]]
        assert paths == ["broken", "a"]
    else:
        assert done.stdout.count("1 session, 1 more") == 1


def test_what_cannot_be_read_or_is_unfinished_is_a_row(tmp_path):
    (tmp_path / "a.nwb").touch()
    (tmp_path / "b.omses.zarr.part").mkdir()
    folder_catalogue = om.catalogue(tmp_path)
    assert [entry.path.name for entry in folder_catalogue] == [
        "a.nwb",
        "b.omses.zarr.part",
    ]
    words = [row_words(entry, tmp_path)["problems"] for entry in folder_catalogue]
    assert "empty" in words[0]
    assert "unfinished" in words[1]
    assert not any(entry.is_read for entry in folder_catalogue)


def test_a_row_without_tiers_shows_the_inferred_ones(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, responses=np.ones((600, 5), np.float32), rate_hz=5.0)
    (entry,) = om.catalogue(tmp_path)
    assert entry.total_minutes == pytest.approx(2.0, rel=0.05)  # less a gap
    assert row_words(entry, tmp_path)["by tier"] == "train 1.6, test 0.4"


def test_a_table_is_fitted_to_the_terminal():
    row = {"path": "a" * 20, "areas": "b" * 90, "problems": "c" * 30}
    lines = table(fitted([row], 80)).splitlines()
    assert max(map(len, lines)) == 80
    assert row["path"] in lines[2]
    assert lines[2].endswith(row["problems"])
