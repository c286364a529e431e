"""Tables are CSV or Parquet by their names; missing cells are empty; no text is a formula."""

import csv
import io
from pathlib import PurePosixPath

import numpy as np
import pytest

from omnimouse_model.errors import ExportError, SessionFormatError
from omnimouse_model.storage import tables
from omnimouse_model.storage.tables import (
    columns_of,
    csv_bytes,
    csv_rows,
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
        ("a," * 300_000 + "id\n", "has 300,001 columns, at most 1,000 are read"),
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
