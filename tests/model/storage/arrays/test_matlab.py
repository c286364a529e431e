import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.matlab import open_mat
from omnimouse_model.storage.arrays.rows import ArrayFile
from tests.memory import check_memory

DOUBLE, SINGLE = 6, 7


def element(kind: int, data: bytes, claimed: int | None = None) -> bytes:
    """One element of a MATLAB file: type, length, data."""
    length = len(data) if claimed is None else claimed
    return struct.pack("<II", kind, length) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], content: bytes, name: str = "") -> bytes:
    """A variable, or an array inside another one."""
    flags = element(6, struct.pack("<II", kind, 0))
    sizes = element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, flags + sizes + element(1, name.encode()) + content)


def mat_file(path: Path, *variables: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(variables))
    return path


def refusal(path: Path, name: str) -> SessionFormatError:
    def read() -> None:
        mat = open_mat(path)
        if name not in mat.names:
            raise SessionFormatError(path, "no_name", "")
        mat.value(name)

    errors = []

    def caught() -> None:
        with pytest.raises(SessionFormatError) as error:
            read()
        errors.append(error.value)

    check_memory(caught, 200)
    return errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("is_packed", [False, True])
def test_what_scipy_writes_is_read(tmp_path, is_packed):
    scipy_io = pytest.importorskip("scipy.io")
    matrix = np.random.default_rng(0).random((3, 40)).astype(np.float32)
    nested = {"fs": 7.5, "name": "é", "flags": np.array([True, False]), "none": []}
    cells = np.array([{"a": np.arange(3), "b": k} for k in range(2)], object)
    records = np.rec.fromarrays([np.arange(2), np.arange(2)], names="a,b")
    written = {"m": matrix, "s": nested, "c": cells, "r": records, "one": matrix[:1]}
    path = tmp_path / "x.mat"
    scipy_io.savemat(path, written, do_compression=is_packed)
    mat = open_mat(path)
    assert list(mat.names) == list(written)
    found = mat.array("m")
    assert isinstance(found, ArrayFile) != is_packed
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.open(), matrix)
    assert mat.array("one").shape == (1, 40)
    value = mat.value("s")
    assert (value["fs"], value["name"], value["none"].size) == (7.5, "é", 0)
    assert value["flags"].tolist() == [True, False]
    assert [c["b"] for c in mat.value("c")] == [0, 1]
    assert mat.value("c", ("a",))[1]["a"].tolist() == [0, 1, 2]
    assert mat.value("r") == [{"a": 0, "b": 0}, {"a": 1, "b": 1}]
    with pytest.raises(SessionFormatError, match="is no matrix"):
        mat.array("s")
    scipy_io.savemat(path, {"m": matrix}, format="4")
    with pytest.raises(SessionFormatError, match="version 5 to 7"):
        open_mat(path)


def test_files_of_version_7_3_are_read(tmp_path):
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["F"] = np.arange(6.0).reshape(3, 2)  # columns first
        file["ops/fs"] = np.array([[7.5]])
        file["ops/name"] = np.array([[97], [98]], np.uint16)
        file["ops/name"].attrs["MATLAB_class"] = np.bytes_("char")
        references = []
        for k in range(2):
            file[f"#refs#/{k}/ypix"] = np.array([[0.0], [k]])
            references.append([file[f"#refs#/{k}"].ref])
        kind = h5py.special_dtype(ref=h5py.Reference)
        file.create_dataset("stat", data=np.array(references, kind), dtype=kind)
        file["stat"].attrs["MATLAB_class"] = np.bytes_("cell")
    mat = open_mat(path)
    assert set(mat.names) == {"F", "ops", "stat"}
    np.testing.assert_array_equal(mat.array("F").open(), np.arange(6).reshape(3, 2).T)
    assert mat.value("ops") == {"fs": 7.5, "name": "ab"}
    assert [region["ypix"].tolist() for region in mat.value("stat")] == [[0, 0], [0, 1]]


def references(path: Path, *targets: dict[str, Any], repeat: int = 1) -> Path:
    """A file of version 7.3 whose `stat` is a cell array of datasets."""
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = [
            file.create_dataset(f"#refs#/{k}", **target).ref for k, target in enumerate(targets)
        ]
        file.create_dataset("stat", data=np.array(cells * repeat, h5py.ref_dtype))
    return path


def test_a_field_without_values_is_an_empty_array(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file["made/nothing"] = h5py.Empty("f8")
    assert open_mat(path).value("made")["nothing"].shape == (0,)


def test_a_part_of_many_references_is_read_once(tmp_path):
    large = {"shape": (10**6,), "dtype": "f8", "chunks": (10**5,)}
    path = references(tmp_path / "x.mat", large, repeat=12)
    first, *others = open_mat(path).value("stat")
    assert first.shape == (10**6,)
    assert all(other is first for other in others)
    assert refusal(references(path, large, large, large), "stat").code == "too_large"


def test_no_part_is_looked_up_by_its_name(tmp_path, monkeypatch):
    # HDF5 searches the whole file for it.
    path = references(tmp_path / "x.mat", {"data": np.arange(3)})
    with h5py.File(path, "a") as file:
        file["ops/fs"] = 7.5
    mat = open_mat(path)
    monkeypatch.delattr(h5py.h5i, "get_name")
    assert mat.value("stat")[0].tolist() == [0, 1, 2]
    assert mat.value("ops") == {"fs": 7.5}


def test_references_and_links_lead_to_no_other_file(tmp_path):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (3,))
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        inner = file.create_virtual_dataset("#refs#/0", layout).ref
        file.create_dataset("stat", data=np.array([inner], h5py.ref_dtype))
        file["F"] = h5py.ExternalLink("other.h5", "x")
        file["ops"] = h5py.SoftLink("/nothing")
    codes = [refusal(path, name).code for name in ("stat", "F", "ops")]
    assert codes == ["outside", "outside", "not_mat"]


def test_small_numbers_count_as_what_they_are_read_as(tmp_path):
    part = array(DOUBLE, (2**20, 1), element(2, bytes(2**20)))
    packed = zlib.compress(array(1, (3, 1), part * 3, "x"), 1)
    path = mat_file(tmp_path / "x.mat", element(15, packed)[: 8 + len(packed)])
    assert refusal(path, "x").code == "too_large"


NUMBERS = element(9, np.arange(6.0).tobytes())
DAMAGES: dict[str, tuple[Any, ...]] = {
    "cut off": (array(DOUBLE, (2, 3), NUMBERS, "x")[:-20],),
    "claims more": (array(DOUBLE, (2, 3000), NUMBERS, "x"),),
    "negative": (array(DOUBLE, (-2, 3), NUMBERS, "x"),),
    "number of unknown type": (array(DOUBLE, (2, 3), element(99, b"12345678"), "x"),),
    "many cells": (array(1, (2**30, 1), b"", "x"),),
    "many structures": (array(2, (2**30, 1), element(5, b"\1\0\0\0") + element(1, b""), "x"),),
    "deep": (array(1, (1, 1), b"", "x"),),
    "nothing": (b"",),
    "letters": (b"x" * 100,),
}
for _ in range(40):
    DAMAGES["deep"] = (array(1, (1, 1), DAMAGES["deep"][0], "x"),)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_variables_end_in_the_typed_error(tmp_path, damage):
    path = mat_file(tmp_path / "x.mat", *DAMAGES[damage])
    assert refusal(path, "x").code in ("not_mat", "no_name")


@pytest.mark.slow
def test_nothing_unpacks_to_far_more_than_the_file_holds(tmp_path):
    shape = (1, 3 * 2**20)
    packed = zlib.compress(array(DOUBLE, shape, element(9, bytes(8 * shape[1])), "x"))
    path = mat_file(tmp_path / "x.mat", element(15, packed)[: 8 + len(packed)])
    assert refusal(path, "x").code == "too_large"
    with pytest.raises(SessionFormatError, match="unpacks to 25,165,824 bytes"):
        open_mat(path).array("x")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (array(2, (1, 1), element(5, b"\1\0\0\0") + element(1, b"a" * 2**20), "v"), "of fields"),
        (array(1, (1, 1), array(DOUBLE, (1,) * 33, b""), "v"), "33 axes"),
        (array(4, (1, 2**21), element(16, b"a" * 2**21), "v"), "a text of 2,097,152 bytes"),
    ],
    ids=["fields", "axes", "text"],
)
def test_a_part_becomes_few_objects_whatever_it_claims(tmp_path, content, problem):
    refused = refusal(mat_file(tmp_path / "x.mat", content), "v")
    assert problem in refused.message
