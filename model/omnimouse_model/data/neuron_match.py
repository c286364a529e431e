"""Neurons that two recordings share, by ids of their unit tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.display import HasSummary

UNIT_ID = "unit_id"
_SHARED_IDS = ("cell_specimen_id",)
"""Columns that exist to name a cell in several recordings."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NeuronMatch(HasSummary):
    """Neurons of two recordings that have the same id.

    Attributes
    ----------
    sessions
        Names of both recordings.
    first, second
        int64 (n,) indices of the same neurons in the first and the second recording, in
        the order of the first.
    ids
        int64 or str (n,) their ids.
    by
        Column with the ids: "unit_id", or a property of the neurons.
    n_left_out
        Neurons of both that have no id, or one that occurs twice in their recording.
    """

    sessions: tuple[str, str]
    first: np.ndarray
    second: np.ndarray
    ids: np.ndarray
    by: str
    n_left_out: int = 0

    def __len__(self) -> int:
        return len(self.first)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the match as a table: ids, and indices in both recordings."""
        return {self.by: self.ids, "neuron_first": self.first, "neuron_second": self.second}

    def _facts(self) -> Mapping[str, str]:
        left_out = {"left out": f"{self.n_left_out:,}"} if self.n_left_out else {}
        names = " and ".join(self.sessions)
        return {"neurons": f"{len(self):,}", "of": names, "by": self.by, **left_out}


def match_neurons(a: Session, b: Session, by: str | None = None) -> NeuronMatch:
    """Return the neurons that two recordings of one animal share.

    Examples
    --------
    >>> ids = {"unit_ids": np.array([11, 12, 15])}
    >>> first = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> ids = {"unit_ids": np.array([15, 20, 11])}
    >>> second = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> om.match_neurons(first, second).second
    array([2, 0])

    Parameters
    ----------
    by
        "unit_id", or a column of the unit tables (`session.units.properties`). By
        default `cell_specimen_id`, otherwise `unit_id`.

    Raises
    ------
    ValueError
        The recordings are of two animals, an id is missing, ids only number the rows, or
        no id is shared.
    """
    animals = {one.animal_id for one in (a, b) if one.animal_id is not None}
    if len(animals) > 1:
        raise ValueError(
            f"{a.id!r} and {b.id!r} are of two animals ({', '.join(sorted(animals))}): "
            "they share no neuron."
        )
    names = [*_SHARED_IDS, UNIT_ID] if by is None else [by]
    found = next((name for name in names if _has(a, name) and _has(b, name)), None)
    if found is None:
        columns = sorted(set(a.units.properties) & set(b.units.properties))
        common = ", ".join([UNIT_ID, *columns])
        raise ValueError(f"{a.id!r} and {b.id!r} have no column {by!r} in common; {common}.")
    first, second = _ids(a, found), _ids(b, found)
    if first.dtype.kind != second.dtype.kind:
        kinds = f"{first.dtype} and {second.dtype}"
        raise ValueError(f"{found} of {a.id!r} and {b.id!r} has two types: {kinds}.")
    if by is None and _is_numbering(first) and _is_numbering(second):
        raise ValueError(
            f"{found} of {a.id!r} and {b.id!r} numbers the rows, which names no neuron of another "
            'recording: name a column of ids, or by="unit_id" if rows are the same neurons.'
        )
    rows, others = _unique_rows(first), _unique_rows(second)
    ids, at, place = np.intersect1d(first[rows], second[others], return_indices=True)
    if not len(ids):
        raise ValueError(f"{a.id!r} and {b.id!r} share no {found}.")
    order = np.argsort(rows[at])
    n_left_out = len(first) - len(rows) + len(second) - len(others)
    indices = (rows[at][order], others[place][order])
    return NeuronMatch((a.id, b.id), *indices, ids[order], found, n_left_out)


def join_neurons(a: Session, b: Session, by: str | None = None) -> Session:
    """Return `a` with a column of the same neurons in `b`; see `match_neurons`.

    The table of neurons shows, filters and exports the column `in_B`: the id that a neuron
    has on screen in the recording B, NaN if it is not there.

    Examples
    --------
    >>> ids = {"unit_ids": np.array([11, 12, 15])}
    >>> first = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **ids})
    >>> cells = {"unit_ids": np.array([15, 20, 11]), "id": "day2"}
    >>> second = om.open_session({"responses": np.ones((600, 3)), "rate_hz": 30.0, **cells})
    >>> om.join_neurons(first, second).units.properties["in_day2"]
    array([11., nan, 15.])
    """
    match = match_neurons(a, b, by)
    names = np.full(a.n_neurons, np.nan)
    names[match.first] = b.units.names[match.second]
    # Filters are written in small letters, with spaces between their terms.
    column = "in_" + re.sub(r"[^\w.-]", "_", b.id).lower()
    return replace(a, units=replace(a.units, properties={**a.units.properties, column: names}))


def _has(session: Session, name: str) -> bool:
    values = session.units.properties.get(name)
    return name == UNIT_ID or (values is not None and values.ndim == 1)


def _ids(session: Session, name: str) -> np.ndarray:
    """Return ids as whole numbers, -1 where missing, or as texts."""
    values = np.asarray(
        session.units.unit_id if name == UNIT_ID else session.units.properties[name]
    )
    if values.dtype.kind == "f":
        known = values[np.isfinite(values)]
        if (known != np.round(known)).any():
            raise ValueError(f"{name} of {session.id!r} is no id: it holds {known[0]:g}.")
        values = np.where(np.isfinite(values), values, -1)
    return values.astype(np.int64) if values.dtype.kind in "iufb" else values.astype(np.str_)


def _is_numbering(ids: np.ndarray) -> bool:
    """Return whether ids are those of rows, from 0 or 1."""
    if ids.dtype.kind != "i" or not len(ids):
        return False
    return bool(np.array_equal(ids - ids[0], np.arange(len(ids))) and ids[0] in (0, 1))


def _unique_rows(ids: np.ndarray) -> np.ndarray:
    """Return the rows whose id no other row has, without those that have none."""
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    is_known = ids >= 0 if ids.dtype.kind == "i" else ids != ""
    return np.flatnonzero((counts[inverse.reshape(-1)] == 1) & is_known)
