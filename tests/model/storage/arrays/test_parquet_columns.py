from contextlib import suppress
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays import parquet_columns
from omnimouse_model.storage.arrays.parquet_columns import read_parquet_columns


def written(tmp_path, **columns):
    path = tmp_path / "table.pqt"
    pq.write_table(pa.table(columns), path)
    return read_parquet_columns(path, tmp_path)


def test_numbers_and_texts_keep_their_values(tmp_path):
    columns, unread = written(
        tmp_path,
        whole=pa.array([1, -2, 3], pa.int16()),
        part=pa.array([0.5, None, np.inf]),
        some=pa.array([1, None, 3]),
        truth=pa.array([True, False, None]),
        word=pa.array(["a", None, "é"]),
        large=pa.array(["a", "b", "a"], pa.large_string()),
        category=pa.array(["x", None, "x"]).dictionary_encode(),
        exact=pa.array([Decimal("1.50"), None, Decimal("2.25")]),
    )
    assert unread == []
    assert columns["category"].tolist() == ["x", "", "x"]
    np.testing.assert_array_equal(columns["exact"], [1.5, np.nan, 2.25])
    assert columns["whole"].tolist() == [1, -2, 3]
    assert columns["whole"].dtype == np.int64
    np.testing.assert_array_equal(columns["part"], [0.5, np.nan, np.inf])
    np.testing.assert_array_equal(columns["some"], [1, np.nan, 3])
    np.testing.assert_array_equal(columns["truth"], [1, 0, np.nan])
    assert columns["word"].tolist() == ["a", "", "é"]
    assert columns["large"].tolist() == ["a", "b", "a"]


def test_other_types_and_long_texts_are_named(tmp_path):
    columns, unread = written(
        tmp_path,
        number=[1.0],
        lists=[[1, 2]],
        records=[{"a": 1}],
        data=[b"\x80\x04."],
        long=["x" * 1000],
    )
    assert list(columns) == ["number"]
    assert unread == ["lists", "records", "data", "long"]


def test_texts_are_counted_at_the_width_that_they_have_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "MAX_TEXT_BYTES", 10_000)
    words = ["area" * 5, *["V1"] * 99]  # 100 times 20 letters of 4 bytes
    with pytest.raises(SessionFormatError, match="b and the parts read before it unpack to more"):
        written(tmp_path, a=words, b=words)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"\x80\x04."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "table.pqt"
    path.write_bytes(content)
    with pytest.raises(SessionFormatError) as caught:
        read_parquet_columns(path, tmp_path)
    assert caught.value.code == "bad_parquet"


def test_a_table_of_too_many_rows_or_outside_the_folder_is_refused(tmp_path):
    with pytest.raises(SessionFormatError) as caught:
        written(tmp_path, a=pa.array(np.zeros(2**20 + 1, np.int8)))
    assert caught.value.code == "too_large"
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(SessionFormatError) as caught:
        read_parquet_columns(tmp_path / "table.pqt", inside)
    assert caught.value.code == "outside"


def _table(path, n=300):
    columns = {"number": np.arange(n) / 7, "word": ["V1", "LM", "AL"] * (n // 3)}
    pq.write_table(pa.table(columns), path)
    content = path.read_bytes()
    return content, len(content) - 8 - int.from_bytes(content[-8:-4], "little")


@pytest.mark.slow
def test_no_damage_of_the_description_ends_the_process(tmp_path):
    path = tmp_path / "table.pqt"
    content, begin = _table(path)
    for at in range(begin, len(content), 2):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at // 2 % 8
        path.write_bytes(damaged)
        with suppress(SessionFormatError):
            read_parquet_columns(path, tmp_path)


def test_rows_are_counted_in_the_file_and_in_its_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "_MAX_ROWS", 200)
    path = tmp_path / "table.pqt"
    content, begin = _table(path)
    # The first 300 of the description is that of the file: now 5, in as many bytes.
    path.write_bytes(content[:begin] + content[begin:].replace(b"\xd8\x04", b"\x8a\x00", 1))
    assert pq.read_metadata(path).num_rows == 5
    with pytest.raises(SessionFormatError, match="300 rows"):
        read_parquet_columns(path, tmp_path)
