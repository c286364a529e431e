"""Parts of arrays in files equal those of the array, and damaged files are one line."""

import os
import pickle

import numpy as np
import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage import byte_source
from omnimouse_model.storage.arrays import rows
from omnimouse_model.storage.arrays.npy import npy_file
from omnimouse_model.storage.arrays.rows import ArrayFile

VALUES = np.arange(23 * 7 * 11, dtype=np.int32).reshape(23, 7, 11)
KEYS = {
    "whole": (),
    "rows": (slice(3, 9),),
    "last": (slice(None), slice(None), slice(2, 5)),
    "box": (slice(3, 9), slice(1, 4), slice(-5, None)),
    "scattered": (np.array([0, 1, 2, 9, 22]), slice(2, 3)),
    "any order": (np.array([5, 2, 2, -1]), slice(None), np.array([10, 0])),
    "steps": (slice(0, None, 4), slice(None), slice(None, None, 3)),
    "truth": (np.arange(23) % 5 == 0,),
    "nothing": (slice(4, 4), np.zeros(0, np.int64)),
    "backwards": (slice(None, None, -1), slice(1, 3)),
}


def taken(values: np.ndarray, keys: tuple[slice | np.ndarray, ...]) -> np.ndarray:
    for axis, key in enumerate(keys):
        values = values[(slice(None),) * axis + (key,)]
    return values


@pytest.mark.parametrize("is_fortran", [False, True])
@pytest.mark.parametrize("call_bytes", [1, 100, 10**6])
@pytest.mark.parametrize("name", KEYS)
def test_every_part_of_an_array_is_read(tmp_path, monkeypatch, name, call_bytes, is_fortran):
    monkeypatch.setattr(rows, "_CALL_BYTES", call_bytes)
    monkeypatch.setattr(rows, "_BLOCK_BYTES", max(call_bytes, 4 * 11))
    np.save(tmp_path / "a.npy", np.asfortranarray(VALUES) if is_fortran else VALUES)
    file = npy_file(tmp_path / "a.npy")
    assert file.fortran == is_fortran
    np.testing.assert_array_equal(file.part(*KEYS[name]), taken(VALUES, KEYS[name]))


@pytest.mark.parametrize("shape", [(), (0, 5), (4, 0), (6,)])
def test_arrays_of_few_axes_or_values_are_read(tmp_path, shape):
    values = np.ones(shape, np.float32)
    np.save(tmp_path / "a.npy", values)
    found = npy_file(tmp_path / "a.npy").open()
    np.testing.assert_array_equal(found, values)
    assert found.shape == shape


def test_rows_and_columns_are_picked(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    file, rows = npy_file(tmp_path / "a.npy"), np.array([1, 2, 20])
    expected = VALUES.reshape(23, -1)[rows, 3:40]
    np.testing.assert_array_equal(file.pick(rows, slice(3, 40)), expected)
    np.testing.assert_array_equal(file.read(21, 40), VALUES[21:40])


def test_a_place_outside_the_array_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(IndexError, match="23 to 23 of an axis of 23"):
        npy_file(tmp_path / "a.npy").part(np.array([23]))


def test_a_file_that_shrinks_is_one_line(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((1000, 1000)))
    file = pickle.loads(pickle.dumps(npy_file(path)))
    assert file.read(990, 1000).all()
    with path.open("r+b") as stream:
        stream.truncate(5000)
    with pytest.raises(SessionFormatError, match="changed while") as caught:
        file.read(990, 1000)
    assert "\n" not in str(caught.value)


def test_a_file_that_shrinks_while_it_is_read_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((1000, 10)))
    file = npy_file(path)
    # As if the file had shrunk after it was opened.
    monkeypatch.setattr("os.preadv", lambda *_: 0, raising=False)
    monkeypatch.setattr("os.read", lambda *_: b"")
    with pytest.raises(SessionFormatError, match="ends 80,000 bytes before its values do"):
        file.open()


@pytest.mark.skipif(
    not hasattr(os, "preadv"), reason="without preadv, files are opened for each reading"
)
def test_few_files_stay_open_and_one_that_is_exchanged_is_not_read(tmp_path, monkeypatch):
    opened, open_file = [], os.open
    monkeypatch.setattr(byte_source, "_most_open", lambda: 8)
    for number in range(12):
        np.save(tmp_path / f"{number}.npy", np.full(5, number))
    files = [npy_file(tmp_path / f"{number}.npy") for number in range(12)]
    monkeypatch.setattr("os.open", lambda *a, **k: opened.append(a) or open_file(*a, **k))
    for number, file in [*enumerate(files), (11, files[11]), *enumerate(files[8:], 8)]:
        assert file.read(0, 5).tolist() == [number] * 5
        assert sum(len(file._file._idle) for file in files) <= 8
    assert len(opened) <= 12
    np.save(tmp_path / "other.npy", np.zeros(5, int))
    (tmp_path / "other.npy").replace(tmp_path / "11.npy")
    with pytest.raises(SessionFormatError, match="changed while"):
        files[11].read(0, 5)


@pytest.mark.skipif(
    not hasattr(os, "preadv"), reason="without preadv, files are opened for each reading"
)
def test_all_numbers_of_a_file_are_closed_with_it(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    file = npy_file(tmp_path / "a.npy")
    # Two threads that finish at once leave one each.
    numbers = [*file._file._idle, os.dup(file._file._idle[0])]
    file._file._idle.append(numbers[1])
    del file
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_system_without_reading_at_a_position_reads_the_same(tmp_path, monkeypatch):
    # Windows has no `preadv`.
    np.save(tmp_path / "a.npy", VALUES)
    monkeypatch.delattr("os.preadv", raising=False)
    monkeypatch.setattr(byte_source, "_KEEPS_OPEN", False)
    file = npy_file(tmp_path / "a.npy")
    assert np.array_equal(file.read(3, 9), VALUES[3:9])
    assert np.array_equal(file.open(), VALUES)


def test_more_than_fits_into_memory_is_not_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", VALUES)
    file = npy_file(tmp_path / "a.npy")
    monkeypatch.setattr(rows, "MAX_PART_BYTES", 1000)
    with pytest.raises(SessionFormatError, match=r"has 7,084 bytes of values.*; at most 1,000"):
        file.open()


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_with_numbers_that_are_no_characters_are_refused(tmp_path, order):
    path = tmp_path / "texts"
    path.write_bytes(b"\x00\x11\x00\x11" * 6)
    with pytest.raises(SessionFormatError, match="no characters"):
        ArrayFile(path, np.dtype(f"{order}U3"), (2,)).open()


def test_truth_values_are_0_or_1(tmp_path):
    (tmp_path / "truth").write_bytes(b"\x00\x01\x02\xff")
    values = ArrayFile(tmp_path / "truth", np.dtype(bool), (4,)).open()
    assert values.sum() == 3


def test_a_file_that_is_exchanged_for_a_link_out_of_its_folder_is_not_read(tmp_path):
    folder, secret = tmp_path / "session", tmp_path / "secret.npy"
    folder.mkdir()
    np.save(secret, np.arange(9))
    np.save(folder / "a.npy", np.zeros(9, int))
    info = secret.stat()
    # The same size and time: only the file itself differs.
    os.utime(folder / "a.npy", ns=(info.st_atime_ns, info.st_mtime_ns))
    file = npy_file(folder / "a.npy", folder)
    assert not file.open().any()
    (folder / "a.npy").unlink()
    (folder / "inner").symlink_to("..")
    (folder / "a.npy").symlink_to("inner/secret.npy")
    with pytest.raises(SessionFormatError, match="outside"):
        file.open()
