"""Columns, sorting and cell texts of the neuron table."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons.quantities import score_quantity
from omnimouse_model.masks import MIXED, STATE_NAMES, TRANSITION
from omnimouse_model.masks.neuron_table import table_columns

COLUMNS: Final = ("id", "area", "plane", "depth", "state", "score")
TEXT_COLUMNS: Final = ("area", "probe", "state")
"""Columns that contain text; the others contain numbers."""
_TOOLTIPS: Final = {
    "id": "Id of the neuron in the recording, as everywhere on screen",
    "area": "Brain area, where the session says",
    "plane": "Imaging plane, where the session says",
    "probe": "Probe of the unit",
    "depth": "Depth in µm, where the session says",
    "state": "State in the samples of the brush; where it changes, its first and last",
}
FILTER_TIP: Final = (
    "Words and comparisons, all of which must hold:\n"
    "V1 · target · 412 · depth<250 · score>0.3 · plane=2 · probe=A\n"
    "V1 | LM keeps both, !V1 all but V1; also columns of joined tables (osi>0.3, or a\n"
    "word of a text column) and of experiments (directions_osi>0.3)"
)
OLDER: Final = "◐"
"""Sign beside the title while the scores belong to an older request."""


def titles_of(controller: Controller) -> tuple[str, ...]:
    """Return the title of each of `COLUMNS`: units have a probe in place of a plane.

    A title is also the key of the displayed values in `columns_of`.
    """
    session = controller.state.session
    plane = "plane" if session is None or session.units.probe is None else "probe"
    return tuple(plane if name == "plane" else name for name in COLUMNS)


def column_names(controller: Controller) -> tuple[str, ...]:
    """Return the keys of the displayed columns in `columns_of`, from left to right."""
    return (*titles_of(controller), *property_names(controller))


def property_names(controller: Controller) -> tuple[str, ...]:
    """Return the names of columns from tables of the user, and from experiments."""
    session = controller.state.session
    if session is None:
        return ()
    properties = session.units.properties.items()
    joined = (name for name, values in properties if values.ndim == 1)
    return (*joined, *controller.colouring.measured_columns())


def property_tooltip(controller: Controller, name: str) -> str:
    """Return where a column of `property_names` comes from."""
    definitions = controller.colouring.definitions()
    return definitions.get(name, "From the unit tables of the recording")


def tooltips_of(controller: Controller) -> tuple[str, ...]:
    """Return the tooltip of each of `column_names`."""
    quantity = score_quantity(controller.state.metric, controller.results.neuron_scores)
    score = quantity.explanation
    own = (_TOOLTIPS.get(name, score) for name in titles_of(controller))
    return (
        *own,
        *(property_tooltip(controller, n) for n in property_names(controller)),
    )


def columns_of(controller: Controller) -> Mapping[str, np.ndarray]:
    """Return (P,) arrays of all columns, and of the positions x and y."""
    state, results = controller.state, controller.results
    if state.session is None or state.mask is None:
        # Sorting and filtering distinguish text by dtype, also in an empty table.
        texts = dict.fromkeys(TEXT_COLUMNS, np.empty(0, str))
        return dict.fromkeys((*COLUMNS, "x", "y"), np.empty(0)) | texts
    columns = table_columns(state.session, state.mask, state.active_span, results.shown_scores)
    return {**columns, **controller.colouring.measured_columns()}


def sorted_rows(values: np.ndarray, *, descending: bool) -> np.ndarray:
    """Return a stable sort order; NaN is last in both directions."""
    if values.dtype.kind == "U":
        # Ranks of the texts: text cannot be negated for descending order.
        values = np.unique(values, return_inverse=True)[1]
    # Negate instead of reversing the order: NaN stays last and ties keep their order.
    keys = -values.astype(float) if descending else values.astype(float)
    return np.argsort(keys, kind="stable")


def state_code(word: str) -> int:
    """Return the mask code of a state text; `MIXED` if the state changes."""
    return MIXED if TRANSITION in word else STATE_NAMES.index(word)


def cell_text(name: str, value: Any) -> str:
    """Return the text of a cell; "–" if the value is not known."""
    if isinstance(value, str):
        return str(value) or "–"
    if np.isnan(value):
        return "–"
    if name not in COLUMNS:  # a property, of unknown size
        return f"{value:z.4g}"
    return f"{value:z.2f}" if name == "score" else f"{value:z.0f}"
