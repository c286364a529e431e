"""Run a notebook in a new kernel, as a reader does."""

import os
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
CELL_S = 600
RESET = """
if "explorer" in globals():  # it would go on scoring
    explorer.close()
get_ipython().reset(new_session=False)
"""


def read(path: Path) -> Any:
    """Return a notebook, as nbformat reads it."""
    # nbformat takes seconds to import, which every collection of tests would pay.
    import nbformat

    return nbformat.read(path, as_version=4)


def run(
    path: Path, inserted: str = "", kernel: "AsyncKernelManager | None" = None
) -> tuple[Any, float]:
    """Run all cells; return the notebook with its outputs, and the seconds.

    Parameters
    ----------
    path
        The notebook.
    inserted
        Code that is run after the cell tagged "parameters", with smaller values.
    kernel
        Kernel for several notebooks, which loses its variables before each and goes on
        after it. None starts a kernel for this notebook alone.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed; the error names it.
    """
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    book = read(path)
    position = book.cells.index(parameters_cell(book)) + 1
    own_cells = list(book.cells)
    if inserted:
        book.cells.insert(position, new_code_cell(inserted))
    if kernel is not None:
        book.cells.insert(0, new_code_cell(RESET))
    packages = [str(ROOT), str(ROOT / "model"), str(ROOT / "widgets")]
    inherited = os.environ.get("PYTHONPATH")
    search_path = os.pathsep.join([*packages, *([inherited] if inherited else [])])
    client = NotebookClient(
        book,
        km=kernel,
        timeout=CELL_S,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    start = perf_counter()
    with mock.patch.dict(os.environ, {"PYTHONPATH": search_path}):
        client.execute()
    seconds = perf_counter() - start
    book.cells = own_cells
    return book, seconds


def parameters_cell(book: Any) -> Any:
    """Return the cell of a notebook that has papermill's tag "parameters"."""
    (cell,) = (c for c in book.cells if "parameters" in c.metadata.get("tags", ()))
    return cell
