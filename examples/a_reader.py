"""For authors: a reader of your own format, in two functions.

Here a recording is a folder with `traces.npy`, float (frame, neuron), and `about.json`,
such as {"id": "m1-2", "rate_hz": 15.5}. To make it a part of the program, put the file
into `model/omnimouse_model/data/readers/` and name it in `readers` of `data/open.py`.
"""

from dataclasses import replace
from pathlib import Path

from omnimouse_model.data.readers.arrays import read_mapping
from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import npy_file
from omnimouse_model.storage.files import is_file
from omnimouse_model.storage.trees import read_json_mapping

LOOKED_FOR = ("traces.npy and about.json",)
"""Named in the message about a path that no reader recognises."""


def recognises(path: Path) -> bool:
    """Return whether a path is of this format; called for every path, so it is quick."""
    return is_file(path / "traces.npy") and is_file(path / "about.json")


def read(path: Path, options: ReadOptions) -> Session:
    """Return the recording. A reader opens files by the storage room alone."""
    about = read_json_mapping(path / "about.json")
    if "rate_hz" not in about and options.rate_hz is None:
        # Place, code, problem, remedy: every message to a user has these parts.
        raise SessionFormatError(path, "missing_rate", "about.json states no rate_hz", "add it")
    # Names, shapes and units of the arrays: docs/sessions.md. Video, behaviour and trials
    # are further names of the same mapping.
    arrays = {"id": path.name, **about, "responses": npy_file(path / "traces.npy", path).open()}
    return replace(read_mapping(arrays, options), path=path, format="my-format")
