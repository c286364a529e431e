"""Texts of the field: the neuron under the pointer, and neurons counted by state."""

from typing import Final, NamedTuple

import numpy as np

from omnimouse_model import masks
from omnimouse_model.display import number_text
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_widgets.views.record import Action


def describe(state: LiveState, results: Results, neuron: int, *, others: int = 0) -> str:
    """Return name, state in the active span, area, depth and score, as far as known.

    Parameters
    ----------
    state, results
        Session and mask; scores.
    neuron
        Index of the neuron in the session.
    others
        Number of further neurons at the same pixel.
    """
    if state.session is None or state.mask is None:
        return ""
    units = state.session.units
    parts = [
        f"unit {units.names[neuron]}",
        state.mask.pattern_of(neuron, state.active_span),
    ]
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    depth = float(units.xyz_um[neuron, 2])
    # Recordings without depths have NaN.
    if np.isfinite(depth):
        parts.append(f"depth {number_text(depth, 0)} µm")
    scores = results.neuron_scores
    if scores is not None and np.isfinite(scores.values[neuron]):
        older = " (older)" if results.are_scores_old else ""
        score = state.metric.text(float(scores.values[neuron]))
        parts.append(f"{score} {scores.evidence}{older}")
    if others:
        parts.append(f"{others} more under it")
    return " · ".join(parts)


def compute_action(colouring: Colouring) -> Action | None:
    """Return the button beside a quantity that is known of some neurons only, or None."""
    if colouring.is_computing_all:
        help_text = "Stop the computation; what is known stays"
        return Action("stop_computing", "Stop", help_text, colouring.stop_computing)
    if not colouring.can_compute_all:
        return None
    help_text = (
        "Compute receptive field, orientation and direction selectivity of every neuron "
        "from the recording: colours, columns of the table, and filter. A thousand neurons take "
        "minutes"
    )
    return Action("compute_all", "Compute all", help_text, colouring.compute_all)


UNIFORM: Final = (masks.VISIBLE, masks.TARGET, masks.HIDDEN)
"""States of neurons that do not change, in the order of the legends."""
ORDER: Final = (*UNIFORM, masks.MIXED)
_MAX_LISTED: Final = 2
_VISIBLE: Final = masks.STATE_NAMES[masks.VISIBLE]


class Counted(NamedTuple):
    """Neurons by state in the active span."""

    by_code: np.ndarray
    """Number of neurons by mask code (0-3)."""
    changes: str
    """How those change that are visible in a part, e.g. "985 visible, then target"."""
    hidden_targets: str
    """Number of targets that are hidden, and when: "targets hidden: 792 at the start"."""


def counted(state: LiveState) -> Counted:
    """Return the number of neurons by state, and how states change in the active span."""
    patterns = np.zeros(len(masks.PATTERN_NAMES), int)
    if state.mask is not None:
        indices = state.mask.patterns_in(state.active_span)
        patterns = np.bincount(indices, minlength=len(masks.PATTERN_NAMES))
    # Patterns are stored by state first, so a row of the reshaped array is one state
    # with all pairs of first and last states.
    by_state = patterns.reshape(len(ORDER), -1)
    return Counted(
        by_state.sum(axis=1), _changes(by_state[masks.MIXED]), _hidden(by_state[masks.TARGET])
    )


def _changes(counts: np.ndarray) -> str:
    """Return the most frequent changes, from the counts by first and last state."""
    order = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]]
    parts = []
    for at in order[:_MAX_LISTED]:
        first, last = (masks.STATE_NAMES[code] for code in divmod(at, masks.MIXED))
        # Visible in between, else the state would not be mixed.
        between = "" if _VISIBLE in (first, last) else f"{_VISIBLE}, then "
        words = f"{first}, {between or 'then '}{last}"
        if first == last == _VISIBLE:
            words = f"{first} at both ends"
        parts.append(f"{counts[at]:,} {words}")
    if n_others := int(counts[order[_MAX_LISTED:]].sum()):
        parts.append("1 other" if n_others == 1 else f"{n_others:,} others")
    return "; ".join(parts)


def _hidden(counts: np.ndarray) -> str:
    """Return at which ends targets are hidden, from their counts by first and last state."""
    by_ends = counts.reshape(masks.MIXED, masks.MIXED)
    places = {
        "at the start": by_ends[masks.HIDDEN, masks.TARGET],
        "at the end": by_ends[masks.TARGET, masks.HIDDEN],
        "at both ends": by_ends[masks.HIDDEN, masks.HIDDEN],
    }
    texts = [f"{count:,} {place}" for place, count in places.items() if count]
    return f"targets hidden: {', '.join(texts)}" if texts else ""
