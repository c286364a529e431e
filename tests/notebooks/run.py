"""Runs a notebook in a fresh kernel, as a reader does."""

import os
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
CELL_S = 600


def run(path: Path, inserted: str = "") -> tuple[Any, float]:
    """Run every cell; the notebook with its outputs, and the seconds it took.

    Parameters
    ----------
    path
        The notebook.
    inserted
        Code to run after its cell tagged "parameters": smaller values.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Naming the cell that failed.
    """
    book = nbformat.read(path, as_version=4)
    at = book.cells.index(parameters_cell(book)) + 1
    if inserted:
        book.cells.insert(at, nbformat.v4.new_code_cell(inserted))
    packages = [str(ROOT), str(ROOT / "model"), str(ROOT / "widgets")]
    inherited = os.environ.get("PYTHONPATH")
    found = os.pathsep.join([*packages, *([inherited] if inherited else [])])
    client = NotebookClient(
        book,
        timeout=CELL_S,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    begun = perf_counter()
    with mock.patch.dict(os.environ, {"PYTHONPATH": found}):
        client.execute()
    seconds = perf_counter() - begun
    if inserted:
        del book.cells[at]
    return book, seconds


def parameters_cell(book: Any) -> Any:
    """The one cell of a notebook's sizes, as papermill tags it."""
    (cell,) = (c for c in book.cells if "parameters" in c.metadata.get("tags", ()))
    return cell
