"""Optional libraries: errors that name the extra which installs a missing one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXTRAS: Final = {
    **dict.fromkeys(("napari", "npe2", "magicgui", "vispy"), "napari,pyqt6"),
    **dict.fromkeys(("PyQt6", "PySide6"), "pyqt6"),
    **dict.fromkeys(("ipywidgets", "anywidget", "plotly", "IPython", "traitlets"), "jupyter"),
    **dict.fromkeys(("PIL", "skimage"), "jupyter"),
    **dict.fromkeys(("jupyterlab", "ipykernel"), "lab"),
    **dict.fromkeys(("scipy", "pandas", "pyarrow"), "analysis"),
    "h5py": "nwb",
    **dict.fromkeys(("roiextractors", "isx"), "roi"),
    "one": "ibl",
    "huggingface_hub": "hub",
    **dict.fromkeys(("dask", "distributed", "cryptography"), "dask"),
    **dict.fromkeys(("tensorboard", "psutil"), "train"),
    "av": "video",
    "oasis": "suite2p",
    "cebra": "cebra",
}
"""Name with which a library is imported -> the smallest extras that give its user all."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f'pip install "omnimouse-app[{extra}]"'


def missing_extra(error: BaseException) -> str | None:
    """Return one line that names a missing library and its extra.

    Returns None for an error that is about something else.
    """
    if type(error).__name__ == "QtBindingsNotFoundError":  # of qtpy
        return f"No Qt binding is installed: {install_command('pyqt6')}"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    library = error.name.partition(".")[0]
    if library not in EXTRAS:
        return None
    return f"{library} is not installed: {install_command(EXTRAS[library])}"


@contextmanager
def named_extras(needed_by: str = "") -> Iterator[None]:
    """Raise errors of missing libraries in the block with the line of `missing_extra`.

    Parameters
    ----------
    needed_by
        What needs other libraries, such as a model of another package: the line names it
        where the library is none of the extras here.
    """
    try:
        yield
    except ImportError as error:
        text = missing_extra(error)
        # Python's own words; a package that says more is not overruled.
        if text is None and needed_by and str(error).startswith("No module named"):
            text = f"{needed_by:.80} needs {error.name}, which is not installed."
        if text is None:
            raise
        # The same name: a second block around this one gives the same text.
        raise ModuleNotFoundError(text, name=error.name) from error
