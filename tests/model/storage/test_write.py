"""Temporary files of killed processes."""

import os
import time

import pytest

from omnimouse_model.storage.write import atomic_path, remove_abandoned, temporary_folder

LEFT = (".a.csv.0ab_cd9x.part", ".a.csv.01234567.part")
OTHERS = (".a.csv.original", ".b.csv.01234567.part", ".a.csv.0123456789.part")


@pytest.fixture
def folder(tmp_path):
    """Files and a folder that killed writers of `a.csv` have left, and others."""
    (tmp_path / LEFT[0]).touch()
    (tmp_path / LEFT[1]).mkdir()
    for name in OTHERS:
        (tmp_path / name).touch()
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_sole_writer_removes_what_a_killed_one_has_left(folder):
    with atomic_path(folder / "a.csv", is_sole=True) as path:
        path.write_text("1")
        assert names(folder) == {path.name, *OTHERS}
    with temporary_folder(folder / "b.csv") as path:
        assert names(folder) == {"a.csv", path.name, OTHERS[0], OTHERS[2]}
    assert names(folder) == {"a.csv", OTHERS[0], OTHERS[2]}


def test_other_writers_remove_it_an_hour_later(folder):
    with atomic_path(folder / "a.csv") as path:
        path.write_text("1")
    assert names(folder) == {"a.csv", *LEFT, *OTHERS}
    at = time.time() - 3700
    for name in (*LEFT, *OTHERS):
        os.utime(folder / name, (at, at))
    remove_abandoned(folder)  # of any target
    assert names(folder) == {"a.csv", OTHERS[0], OTHERS[2]}
