import os
import re
from pathlib import Path
from shutil import copyfile, copytree

import h5py
import numpy as np
import pytest

from omnimouse_model.data import open as opening
from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from tests import SESSIONS
from tests.model.data.refusals import bar, check_refusal


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["responses"] = np.ones((4, 3))


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones((4, 3)))


def _text(path: Path) -> None:
    path.write_text("a note")


def _matlab(path: Path) -> None:
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM")


def _page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html>403 Forbidden</html>")


def _mac(path: Path) -> None:
    (path / "__MACOSX").mkdir(parents=True)
    (path / ".DS_Store").touch()


def _days(path: Path) -> None:
    for day in ("day1", "day2"):
        (path / day).mkdir(parents=True)
        np.savez(path / day / "a.npz", responses=np.ones((9, 2)), rate_hz=30.0)


def _day(path: Path) -> None:
    (path / "session" / "day1").mkdir(parents=True)
    arrays = {"responses": np.ones((300, 2)), "rate_hz": 30.0}
    np.savez(path / "session" / "day1" / "a.npz", **arrays)


def _kilosort(path: Path) -> None:
    path.mkdir()
    for name in ("spike_times", "spike_clusters"):
        np.save(path / f"{name}.npy", np.arange(9))


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.nwb", Path.touch, "a.nwb is empty"),
        ("a.h5", _hdf5, "a.h5 is HDF5, but not NWB"),
        ("a.npy", _array, "a.npy is one array (a matrix of traces can"),
        ("F.npy", _array, "F.npy is suite2p's F.npy"),
        ("a.mat", _matlab, "a.mat is a file of MATLAB, but not of suite2p"),
        ("a.csv", _text, "a.csv is not a recording"),
        ("empty", Path.mkdir, "empty is empty"),
        ("empty", _mac, "empty is empty"),
        ("b.nwb", _page, "b.nwb is a web page"),
        ("days", _days, "days holds 2 recordings: day1/a.npz, day2/a.npz"),
        ("day", _day, "day holds the recording session/day1/a.npz (open it)"),
        ("ks", _kilosort, "ks is the output of Kilosort or phy"),
    ],
)
def test_it_says_what_it_is(tmp_path, name, make, words):
    make(tmp_path / name)
    refused = check_refusal(tmp_path / name, re.escape(words))
    assert refused.code == "unknown_format"


def test_the_one_recording_of_a_folder_is_opened(tmp_path):
    _day(tmp_path)
    (tmp_path / "session" / "day1" / "notes.txt").touch()
    assert open_session(tmp_path / "session" / "day1").path.name == "a.npz"


def test_a_folder_that_may_not_be_listed_hides_no_recording(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", responses=np.ones((300, 2)), rate_hz=30.0)
    (tmp_path / "private").mkdir()
    bar(monkeypatch, "scandir", "private")
    assert open_session(tmp_path).path.name == "a.npz"


@pytest.mark.parametrize("name", ["a.nwb", "a.npz"])
def test_content_that_was_not_fetched_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"/annex/objects/SHA256E-s12--0a.{name}\n")
    assert f"git annex get {name}" in check_refusal(path).hint
    path.unlink()
    path.symlink_to("../.git/annex/objects/x/y")
    assert f"git annex get {name}" in check_refusal(path).hint
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    assert "gone, which is not there" in check_refusal(path).message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((9, 2), object), "a.npz/responses.npy contains pickled objects"),
        (
            np.zeros(9, [("f", "f4"), ("g", "f4")]),
            "responses.npy holds records .* f, g",
        ),
    ],
)
def test_the_array_that_is_no_numbers_is_named(tmp_path, values, words):
    np.savez(tmp_path / "a.npz", responses=values, rate_hz=30.0)
    check_refusal(tmp_path / "a.npz", words)


def test_the_files_of_a_large_folder_are_not_asked_one_by_one(tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number}.tif").touch()
    monkeypatch.setattr(opening, "readers", dict)
    asked, stat, look = [], os.stat, os.open
    monkeypatch.setattr(os, "stat", lambda *a, **k: asked.append(a) or stat(*a, **k))
    monkeypatch.setattr(os, "open", lambda *a, **k: asked.append(a) or look(*a, **k))
    assert opening.session_folder(tmp_path) == tmp_path
    assert 0 < len(asked) < 10


@pytest.mark.parametrize("rate_hz", [0.0, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["rate_hz", "recording_rate_hz"])
def test_a_rate_that_cannot_be_is_refused_by_name(name, rate_hz):
    arrays = {"responses": np.ones((600, 5)), "rate_hz": 30.0}
    with pytest.raises(SessionFormatError, match=f"{name} is .*; a rate above 0"):
        open_session(arrays, **{name: rate_hz})


def test_a_recording_that_is_too_short_for_tiers_says_so():
    short = open_session({"responses": np.ones((300, 5)), "rate_hz": 30.0})
    (warning,) = [n for n in short.warnings if n.code == "no_tiers"]
    assert "10 s" in warning.message
    assert "too short" in warning.message


def test_unit_tables_in_a_home_that_nobody_has_are_refused():
    with pytest.raises(SessionFormatError, match="does not exist"):
        open_session(
            {"responses": np.ones((300, 5)), "rate_hz": 30.0}, unit_tables="~nobody-of-this-name/x"
        )


@pytest.mark.parametrize(
    "name",
    ["x" * 5000, "~nobody-of-this-name/x", "https://[::1", "https://user:secret@[::1/x?key=secret"],
)
def test_a_name_that_nothing_can_have_is_refused(name):
    with pytest.raises(SessionFormatError) as refused:
        open_session(name)
    assert refused.value.code in ("missing_file", "unreadable")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["sensorium2022_small", "sensorium2023_small", "suite2p_small"])
def test_files_that_macos_leaves_beside_others_change_nothing(tmp_path, name):
    folder = copytree(SESSIONS / name, tmp_path / name, copy_function=copyfile)
    before = open_session(folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    after = open_session(folder)
    assert after.fingerprint == before.fingerprint
    assert after.units.unit_id.tolist() == before.units.unit_id.tolist()
    assert after.warnings == before.warnings
