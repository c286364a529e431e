"""Tables are CSV or Parquet by their names; missing cells are empty; no text is a formula."""

import csv
import io
from contextlib import suppress
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnimouse_model.errors import ExportError, SessionFormatError
from omnimouse_model.storage import tables
from omnimouse_model.storage.tables import (
    columns_of,
    csv_bytes,
    csv_rows,
    read_parquet_columns,
    write_parquet_rows,
    write_table,
)

COLUMNS = {
    "neuron": np.arange(3),
    "r": np.array([0.1, np.nan, -2.0], np.float32),
    "is_shown": np.array([True, False, True]),
    "area": np.array(["V1", "=1+1", "a,b"]),
    "of": [None, "-5", -5],
}


def cells(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_missing_values_are_empty_and_numbers_keep_their_digits_and_signs():
    header, *rows = cells(csv_bytes(COLUMNS))
    assert header == list(COLUMNS)
    assert rows == [
        ["0", "0.1", "1", "V1", ""],
        ["1", "", "0", "'=1+1", "'-5"],
        ["2", "-2.0", "1", "a,b", "-5"],
    ]


@pytest.mark.parametrize(
    "begin", [*"=+-@\t\r\n＝＋－＠", "\ufeff=", "\u200b=", "\xa0@", "\0+", " =", "\n\n-"]
)
def test_no_text_begins_like_a_formula_of_a_spreadsheet(begin):
    text = f"{begin}cmd|' /C calc'!A0"
    ((name,), (cell,)) = cells(csv_bytes({text: [text]}))
    assert name == cell == f"'{text}".replace("\r", "\n")


def test_other_objects_are_texts_and_numbers_are_none():
    columns = {"a": [PurePosixPath("=1"), -1.5, np.float32(-2), "\udcff"]}
    assert [cell for (cell,) in cells(csv_bytes(columns))[1:]] == ["'=1", "-1.5", "-2.0", "\\udcff"]


def test_comments_are_above_the_table_and_each_line_is_one():
    assert csv_bytes({"a": [1]}, "first\n=second").decode() == "# first\n# =second\na\n1\n"


@pytest.mark.parametrize("begin", ["=", " @", '"=', '"\t+'])
def test_no_part_of_a_comment_begins_like_a_formula(begin):
    (comment,) = cells(csv_bytes({}, f"of a,{begin}cmd(), and b"))[:1]
    assert comment == ["# of a", "'" + begin.strip('"') + "cmd()", " and b"]


def test_rows_of_different_names_become_columns_and_no_rows_a_header():
    assert columns_of([{"a": 1}, {"b": 2}]) == {"a": [1, None], "b": [None, 2]}
    assert csv_bytes(columns_of([], ["a"])) == b"a\n"


def test_the_ending_of_the_name_chooses_the_format(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = COLUMNS | {"of": [None, 1, 2]}
    assert write_table(tmp_path / "a.txt", columns).read_bytes() == csv_bytes(columns)
    table = parquet.read_table(write_table(tmp_path / "a.Parquet", columns, {"note": "n"}))
    assert table["r"].null_count == table["of"].null_count == 1
    assert table["area"].to_pylist() == ["V1", "=1+1", "a,b"]
    assert table["is_shown"].to_pylist() == [True, False, True]
    assert table.schema.metadata[b"note"] == b"n"


def test_rows_are_written_one_by_one(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"name": "a", "of": [[1.5]]}, {"name": "b", "of": []}]
    types = {"name": "string", "of": [["float"]]}
    assert parquet.read_table(
        write_parquet_rows(tmp_path / "a.parquet", iter(rows), types)
    ).to_pylist() == (rows)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(tables, "import_module", missing)
    with pytest.raises(ExportError, match="pip install pyarrow"):
        write_table(tmp_path / "a.parquet", COLUMNS)
    assert not list(tmp_path.iterdir())


def test_rows_of_a_csv_table_are_read_by_the_names_of_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('id, name ,other\n1,"a,b",x\n\n2,c,\n')
    assert list(csv_rows(path, ("name", "id"), 1000)) == [["a,b", "1"], ["c", "2"]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a," * 300_000 + "id\n", "has 300,001 columns; at most 1,000 are read"),
        ("other\n1\n", "needs the columns id, name; found other"),
        ("", "needs the columns id, name; found nothing"),
        ("id,name\n1,a\n2\n", "row 2 has only 1 cells"),
        ('id,name\n"1', "is no CSV table"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tmp_path, text, problem):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(SessionFormatError, match=problem):
        list(csv_rows(path, ("id", "name"), 2**20))


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
    monkeypatch.setattr(tables, "MAX_TEXT_BYTES", 10_000)
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
    monkeypatch.setattr(tables, "_MAX_ROWS", 200)
    path = tmp_path / "table.pqt"
    content, begin = _table(path)
    # The first 300 of the description is that of the file: now 5, in as many bytes.
    path.write_bytes(content[:begin] + content[begin:].replace(b"\xd8\x04", b"\x8a\x00", 1))
    assert pq.read_metadata(path).num_rows == 5
    with pytest.raises(SessionFormatError, match="300 rows"):
        read_parquet_columns(path, tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_table_end_as_on_any_system(tmp_path, end):
    (tmp_path / "a.csv").write_bytes(end.join(["b,a", "1,2", "3,4", ""]).encode())
    assert list(csv_rows(tmp_path / "a.csv", ["a"], 1000)) == [["2"], ["4"]]
