"""Row orders of the raster and their axis labels; independent of the toolkit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.data.units import Units
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.neuron_order import SimilarityOrder
from omnimouse_model.masks import (
    HIDDEN,
    MIXED,
    PATTERN_NAMES,
    TARGET,
    TRANSITION,
    VISIBLE,
    Mask,
)
from omnimouse_widgets.drawn.raster.rows import Ordering, groups, row_order

ORDERINGS: Final[dict[Ordering, str]] = {
    "stored": "as stored",
    "state": "by state",
    "score": "by score",
    "similarity": "by similarity",
    "area": "by area",
    "depth": "by depth",
    "x": "left to right",
    "y": "top to bottom",
}
MEANINGS: Final[dict[Ordering, str]] = {
    "stored": "The order of the recording's own columns",
    "state": "Targets, visible, mixed, hidden",
    "score": "The best predicted on top",
    "similarity": "Alike in what they did in all of the recording (a sample of 160 s)",
    "area": "Brain area, and state within it",
    "depth": "Shallow neurons on top",
    "x": "Where they lie across the field",
    "y": "Where they lie along the field",
}
# `PATTERN_NAMES` has one block of patterns per mask code, in the order of the codes;
# the raster shows the blocks in another order.
_BY_RANK: Final = (TARGET, VISIBLE, MIXED, HIDDEN)
_N_ENDS: Final = len(PATTERN_NAMES) // len(_BY_RANK)
# `_ORDER` lists the patterns from top to bottom; `_RANK` is its inverse.
_ORDER: Final = np.concatenate([np.arange(_N_ENDS) + s * _N_ENDS for s in _BY_RANK])
_RANK: Final = np.argsort(_ORDER).astype(np.uint8)
"""Row rank of every pattern: targets, visible, mixed, hidden.

One byte holds a rank, and two bytes hold area and rank; NumPy sorts such keys in
linear time (radix sort).
"""
# Two lines: the labels stand in the narrow space beside the rows.
_PATTERN_LABELS: Final = [
    PATTERN_NAMES[at].replace(TRANSITION, f"\n{TRANSITION.lstrip()}") for at in _ORDER
]

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """Neurons from top to bottom, and (row, label) ticks."""

    order: np.ndarray
    ticks: tuple[Tick, ...]


def arrange(
    ordering: Ordering,
    units: Units,
    mask: Mask,
    span: tuple[int, int],
    scores: np.ndarray | None,
    similarity: np.ndarray | None = None,
) -> Arrangement:
    """Order the rows of a session.

    Parameters
    ----------
    ordering
        Quantity to order by; stored order if the session lacks it.
    units
        The session's neurons.
    mask, span
        Span of samples of the states; mixed states are ordered by their first and last
        state.
    scores
        float32 (P,), NaN where unknown, or None.
    similarity
        int (P,): the neuron of each row by similarity, or None.
    """
    n = mask.n_neurons
    patterns = np.asarray(_RANK[mask.patterns_in(span)])
    if ordering == "state":
        return _grouped(patterns, _PATTERN_LABELS)
    if ordering == "score" and scores is not None and len(scores) == n:
        # Best on top: `row_order` sorts ascending, with NaN last.
        return _ranked(-scores, lambda key: f"{-key:z.2f}")
    if ordering == "similarity" and similarity is not None and len(similarity) == n:
        return Arrangement(similarity, _numbered(np.arange(n)))
    if ordering in ("x", "y", "depth") and not missing(ordering, units):
        places, unit = _places(ordering, units)
        return _ranked(places, lambda key: f"{key:z.0f} {unit}")
    if ordering == "area" and units.area is not None:
        names, numbers = np.unique(units.area, return_inverse=True)
        # By state within an area, so that bins contain neurons of one state.
        return _grouped(numbers, [str(name) for name in names], within=patterns)
    # The fallback shows every neuron, in an order that the user can look up in the
    # file.
    return Arrangement(row_order(None, n), _numbered(units.names))


def missing(ordering: Ordering, units: Units) -> str:
    """Return what the session lacks for an ordering, or ""."""
    if ordering == "area" and units.area is None:
        return "no areas are known"
    if ordering in ("x", "y", "depth") and np.isnan(_places(ordering, units)[0]).all():
        return f"no {'depths' if ordering == 'depth' else 'positions'} are known"
    return ""


def order_text(controller: Controller, ordering: Ordering) -> str:
    """Return why the chosen order is not applied, or ""."""
    session = controller.state.session
    if session is None:
        return ""
    if ordering == "similarity":
        return _similarity_text(controller.neuron_order)
    problem = missing(ordering, session.units)
    if ordering == "score" and controller.results.shown_scores is None:
        problem = "no scores yet"
    return f"{problem}: as stored" if problem else ""


def _similarity_text(similarity: SimilarityOrder) -> str:
    if similarity.order is not None:
        return ""
    if similarity.error is not None:
        return f"⚠ not compared: {similarity.error}"
    if similarity.is_stopped:
        return "not compared: as stored"
    return f"◌ {similarity.message or 'Comparing neurons'}"


def similarity_button(controller: Controller, ordering: Ordering) -> str:
    """Return the label of the similarity button, or "" if it is not needed."""
    if ordering != "similarity":
        return ""
    if controller.neuron_order.is_busy:
        return "Stop"
    return "Compare" if order_text(controller, ordering) else ""


def press_similarity(controller: Controller) -> None:
    """Cancel the comparison of neurons, or restart it."""
    similarity = controller.neuron_order
    if similarity.is_busy:
        similarity.stop()
    else:
        similarity.retry()


def _places(ordering: Ordering, units: Units) -> tuple[np.ndarray, str]:
    """Return positions along an axis and their unit; pixels if µm are unknown."""
    axis = ("x", "y", "depth").index(ordering)
    places = units.xyz_um[:, axis]
    # Depth has no equivalent in pixels.
    if axis < 2 and np.isnan(places).all():
        return units.xy_px[:, axis], "px"
    return places, "µm"


def _grouped(
    numbers: np.ndarray, names: list[str], within: np.ndarray | None = None
) -> Arrangement:
    """Order by group, then by `within`; each group has a label at its middle."""
    keys = (
        numbers
        if within is None
        else (numbers.astype(np.uint16) * np.uint16(len(_PATTERN_LABELS)) + within)
    )
    order = row_order(keys, len(numbers))
    least = len(order) / 16  # smaller groups have no space for a label
    ticks = [
        ((first + last) / 2, names[number])
        for first, last, number in groups(numbers[order])
        if last - first >= least
    ]
    return Arrangement(order, tuple(ticks))


def _ranked(keys: np.ndarray, label: Callable[[float], str]) -> Arrangement:
    """Order by ascending key; up to five rows have a label."""
    order = row_order(keys, len(keys))
    ticks = []
    for row in _spread(len(order)):
        key = keys[order[row]]
        ticks.append((row + 0.5, "–" if np.isnan(key) else label(key)))
    return Arrangement(order, tuple(ticks))


def _numbered(numbers: np.ndarray) -> tuple[Tick, ...]:
    return tuple((row + 0.5, str(numbers[row])) for row in _spread(len(numbers)))


def _spread(n: int, count: int = 5) -> list[int]:
    """Return up to `count` evenly spaced rows from first to last."""
    rows = np.linspace(0, max(n - 1, 0), min(count, n)).astype(int)
    return [int(row) for row in np.unique(rows)]
