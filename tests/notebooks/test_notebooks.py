"""Every notebook runs from top to bottom, and is kept with small outputs of a run."""

import getpass
import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.run import PATHS, run

MOST_BYTES = 300_000
MOST_S = 120
"""On two cores with nothing else to do; a busy machine takes longer, so no test."""
names = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert [path.stem[:2] for path in PATHS] == ["01", "02", "03", "04", "05"]


@names
def test_a_notebook_is_valid_short_and_small(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert len(code_cells(book)) <= 15
    assert path.stat().st_size < MOST_BYTES
    assert "widgets" not in book.metadata


@names
def test_outputs_are_of_one_run_in_order_and_without_an_error(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]


@names
def test_every_figure_has_a_picture_for_readers_without_plotly(path):
    book = nbformat.read(path, as_version=4)
    data = [o.get("data", {}) for cell in code_cells(book) for o in cell.outputs]
    figures = [found for found in data if "application/vnd.plotly.v1+json" in found]
    assert all("image/png" in found for found in figures)


@names
def test_no_place_or_name_of_a_machine_is_in_a_notebook(path):
    text = json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False)
    assert str(Path.home()) not in text.replace('"/root"', "")
    assert not re.search(r"(?<![\w:/.])/(home|Users|root|tmp|work|var)/", text)
    user = getpass.getuser()
    assert user == "root" or not re.search(rf"\b{re.escape(user)}\b", text)


@pytest.mark.notebook
@names
def test_a_notebook_runs_from_top_to_bottom(path):
    book, _ = run(path)
    counts = [cell.execution_count for cell in code_cells(book)]
    assert counts == list(range(1, len(counts) + 1))
    kept = code_cells(nbformat.read(path, as_version=4))
    for cell, before in zip(code_cells(book), kept, strict=True):
        assert kinds(cell) == kinds(before), cell.source


def kinds(cell):
    """What a cell puts out, whatever its numbers are, and pictures aside."""
    pictures = {"image/png", "text/html"}
    return [
        (output.output_type, sorted({*output.get("data", {})} - pictures))
        for output in cell.outputs
    ]
