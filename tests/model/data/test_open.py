"""What is no session: the message says what it is instead, and what to do."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["responses"] = np.ones((4, 3))
    return path


def _array(path: Path) -> Path:
    np.save(path, np.ones((4, 3)))
    return path


def _text(path: Path) -> Path:
    path.write_text("a note")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.nwb", _empty, "a.nwb is empty"),
        ("a.h5", _hdf5, "a.h5 is HDF5, but not NWB"),
        ("a.npy", _array, "a.npy is one array (save it with numpy.savez("),
        ("F.npy", _array, "F.npy is suite2p's F.npy (give the folder above"),
        ("a.csv", _text, "a.csv is no recording (what can be opened is an .nwb file"),
        ("empty", _folder, "empty is empty"),
    ],
)
def test_it_says_what_it_is(tmp_path, name, make, words):
    with pytest.raises(SessionFormatError) as refused:
        open_session(make(tmp_path / name))
    assert refused.value.code == "unknown_format"
    assert words in str(refused.value)
