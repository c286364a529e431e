"""Headers of `.npy` files are parsed by the kit: as numpy does, and nothing more."""

from io import BytesIO
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from numpy.lib import format as npy_format

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays import npy
from omnimouse_model.storage.arrays.npy import Npz, npy_file, read_npy_header


def header(text: str, version: int = 1) -> BytesIO:
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return BytesIO(b"\x93NUMPY" + bytes([version, 0]) + length + text.encode())


@pytest.mark.parametrize(
    "dtype", ["f4", ">f8", "i1", "u8", "bool", "U7", "S3", "c16", "f2", "M8[s]"]
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("shape", [(), (3,), (3, 4, 0)])
def test_headers_of_numpy_are_read(dtype, version, shape):
    stream = BytesIO()
    values = np.zeros(shape, dtype, order="F")
    npy_format.write_array(stream, values, version)
    n_bytes = stream.tell() - values.nbytes
    stream.seek(0)
    found = read_npy_header(stream, Path("a.npy"))
    assert found == (shape, values.flags.fnc, values.dtype, n_bytes)


def test_a_header_of_python_2_is_read():
    stream = header("{'descr': '<f4', 'fortran_order': False, 'shape': (10L, 3L), }   \n")
    assert read_npy_header(stream, Path("a.npy"))[0] == (10, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{" * 60_000,
        "(" * 60_000 + ")" * 60_000,
        "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2**60,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '(1000,1000,1000)f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'f4,O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '(1,', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (%s)}" % ("0," * 40),
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, %s)}" % (f"{2**48 - 1}," * 3),
        "{'descr': '<f8', 'fortran_order': False, 'shape': (%s1,)}" % ("-" * 30_000),
        "{[1]: '<f4', 'fortran_order': False, 'shape': (1,)}",
        "__import__('os').system('true')",
        "{'descr': [()], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [{}], 'fortran_order': False, 'shape': (1,)}",
        "1" * 30 + "!",
        "'" * 60_001,
        "1" * 60_000 + "!",
    ],
)
def test_other_headers_are_refused_at_once(text):
    before = process_time()
    with pytest.raises(SessionFormatError, match="header") as caught:
        read_npy_header(header(text, 2), Path("a.npy"))
    assert process_time() - before < 5
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "pickled objects"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "the fields a;"),
    ],
)
def test_objects_and_records_are_named(text, words):
    with pytest.raises(SessionFormatError, match=words):
        read_npy_header(header(text), Path("a.npy"))


def test_a_header_that_declares_gigabytes_is_not_read():
    stream = BytesIO(b"\x93NUMPY\x02\x00\xff\xff\xff\xff")
    with pytest.raises(SessionFormatError, match="a header of 4294967295 bytes"):
        read_npy_header(stream, Path("a.npy"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_all_texts_of_an_archive_share_one_budget(tmp_path, monkeypatch, save, kind):
    monkeypatch.setattr(npy, "MAX_TEXT_BYTES", 10_000)
    words = np.array(["area"] * 250, f"{kind}4")  # 4,000 bytes when decoded
    save(tmp_path / "a.npz", a=words, b=words, c=words, large=np.tile(words, 3), n=np.ones(9999))
    archive = Npz(tmp_path / "a.npz")
    for name in "aabbn":  # charged once each
        assert len(archive[name])
    with pytest.raises(SessionFormatError, match="c and the parts read before it unpack to more"):
        archive["c"]
    with pytest.raises(SessionFormatError, match=r"holds texts, \(750,\)"):
        archive["large"]


def test_a_text_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npy, "LONGEST_TEXT", 1000)
    np.save(tmp_path / "a.npy", np.array(["a" * 1001]))
    with pytest.raises(SessionFormatError, match="one of more than 1,000 letters"):
        npy_file(tmp_path / "a.npy")
