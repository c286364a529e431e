"""Names of brain regions for the ids of the Allen atlas.

ALF files hold only ids. Their names come from a table beside the recording, or from the
package iblatlas if it is installed; otherwise the ids are the names.
"""

from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import read_side_stream
from omnimouse_model.data.readers.build.typed_fields import as_float
from omnimouse_model.storage.files import bad_file
from omnimouse_model.storage.tables import csv_rows

TABLES = ("regions.csv", "allen_structure_tree.csv")
"""Tables with the columns `id` and `acronym`, in the session or its ALF folder."""
_MAX_BYTES, _LONGEST = 4 * 2**20, 40


def region_names(ids: np.ndarray, root: Path, notes: Notes) -> tuple[np.ndarray, str]:
    """Return the name of the region of each id, and where the names come from.

    Ids of the left hemisphere can be negative; both hemispheres have the same names.
    """
    ids = np.abs(ids.astype(np.int64))
    known, source = _known(np.unique(ids), root, notes)
    # Id 0 is outside the brain.
    names = [known.get(i, "void" if i == 0 else str(i)) for i in ids.tolist()]
    unknown = {str(i) for i in ids.tolist() if i and i not in known}
    if unknown:
        notes.assume(
            "region_ids",
            f"{len(unknown)} regions are shown as ids of the Allen atlas: a table "
            f"{TABLES[0]} (id, acronym) in the session, or the package iblatlas, gives "
            "their names",
        )
    if source:
        notes.assume("region_names", f"names of regions are those of {source}")
    return np.array(names, np.str_), source or "channels.brainLocationIds_ccf_2017"


def _known(ids: np.ndarray, root: Path, notes: Notes) -> tuple[dict[int, str], str]:
    for folder in (root, root / "alf"):
        for name in TABLES:
            path = folder / name
            if not path.is_file():
                continue
            names = read_side_stream(
                f"names of regions ({name})", partial(_of_table, path, root), notes
            )
            if names is not None:
                return names, name
    try:
        atlas = import_module("iblatlas.regions")
    except ImportError:
        return {}, ""
    # The merged regions of the Beryl mapping are those of the published analyses.
    names = atlas.BrainRegions().id2acronym(ids, mapping="Beryl")
    return dict(zip(ids.tolist(), map(str, names), strict=True)), "iblatlas (Beryl)"


def _of_table(path: Path, root: Path, _: Notes) -> dict[int, str]:
    names: dict[int, str] = {}
    rows = csv_rows(path, ("id", "acronym"), _MAX_BYTES, root)
    for number, (code, acronym) in enumerate(rows, 1):
        region = as_float(code)
        is_whole = region is not None and abs(region) < 2**62 and region % 1 == 0
        if region is None or not is_whole or not acronym or len(acronym) > _LONGEST:
            raise bad_file(
                path,
                "bad_table",
                f"row {number}: no id and acronym",
                "the columns are id, a whole number, and acronym, a short text",
            )
        names[int(region)] = acronym.strip()
    return names
