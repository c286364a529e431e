"""The table of neurons: its columns, their order and their words."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import MIXED, STATE_WORDS, THEN
from omnimouse_model.masks.neuron_table import table_columns

COLUMNS: Final = ("id", "area", "plane", "depth", "state", "score")
WORDS: Final = ("area", "state")
"""Those of the columns that hold words; the others hold numbers."""
TITLES: Final = ("id", "area", "plane", "depth", "state", "score")
TOOLTIPS: Final = (
    "Id of the neuron in the recording, as everywhere on screen",
    "Brain area, where the session says",
    "Imaging plane, where the session says",
    "Depth in µm, where the session says",
    "State in the samples of the brush; where it changes, its first and last",
    "Single-trial correlation over the target samples of this window",
)
FILTER_TIP: Final = (
    "Words and comparisons, all of which must hold:\n"
    "V1 · target · 412 · depth<250 · score>0.3 · plane=2\n"
    "V1 | LM keeps both, !V1 all but V1"
)
OLDER: Final = "◐"
"""Beside the title while the scores answer an older question."""


def columns_of(controller: Controller) -> Mapping[str, np.ndarray]:
    """(P,) arrays of everything the table shows."""
    state, results = controller.state, controller.results
    if state.session is None or state.mask is None:
        words = dict.fromkeys(WORDS, np.empty(0, str))
        return dict.fromkeys((*COLUMNS, "x", "y"), np.empty(0)) | words
    return table_columns(state.session, state.mask, state.active_span, results.scores)


def sorted_rows(values: np.ndarray, *, descending: bool) -> np.ndarray:
    """Stable order of values, NaN last either way."""
    if values.dtype.kind == "U":
        values = np.unique(values, return_inverse=True)[1]
    keys = -values.astype(float) if descending else values.astype(float)
    return np.argsort(keys, kind="stable")


def state_code(word: str) -> int:
    """Code of a state's colour by its word, that of `mixed` where the state changes."""
    return MIXED if THEN in word else STATE_WORDS.index(word)


def words_of(name: str, value: Any) -> str:
    """A cell's words; "–" where nothing is known."""
    if name in WORDS:
        return str(value) or "–"
    if np.isnan(value):
        return "–"
    return f"{value:.2f}" if name == "score" else f"{value:.0f}"
