"""HDF5 files: compression that is not installed, names that lead through links."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.hdf5 import Hdf5
from omnimouse_model.storage.byte_source import LocalFile

ZSTANDARD = 32015


@pytest.fixture
def path(tmp_path):
    return tmp_path / "values.h5"


@pytest.mark.slow
def test_filters_of_hdf5plugin_are_used(path):
    import hdf5plugin

    values = np.arange(3000).reshape(300, 10)
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, **hdf5plugin.Zstd())
    dataset = Hdf5(LocalFile(path)).dataset("/values")
    np.testing.assert_array_equal(dataset[()], values)


def test_a_missing_filter_is_named_with_its_package(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.zeros((9, 2)), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    file = Hdf5(LocalFile(path))
    with pytest.raises(SessionFormatError, match=r"/values .* filter .*\(1\)") as caught:
        file.dataset("/values")
    assert caught.value.code == "missing_filter"
    assert "pip install hdf5plugin" in caught.value.hint


def test_names_lead_through_links_of_the_file_alone(path):
    with h5py.File(path, "w") as file:
        file["group/values"] = np.arange(3)
        file["group/up"] = h5py.SoftLink("/near/values")
        file["near"] = h5py.SoftLink("group")
        file["away"] = h5py.ExternalLink("other.h5", "/values")
        file["behind"] = h5py.SoftLink("/away")
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["values"] = np.arange(5)
    file = Hdf5(LocalFile(Path(path)))
    assert [item.name for item in file.objects()] == ["/group", "/group/values"]
    assert file.outside == {"/away": "other.h5"}
    assert file.find("/group/up").name == "/group/values"
    assert file.find("up", file.find("near")).name == "/group/values"
    assert file.find("/group/values/nothing") is None
    for name in ("away", "behind", "/behind/values"):
        with pytest.raises(SessionFormatError, match=r"/away lies in other\.h5"):
            file.find(name)
