"""Context curves that are computed live, with their names on screen."""

from functools import lru_cache
from typing import Final

from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.analysis.sweep.tier_sweep import TierCurves
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState

WINDOW_SWEEP: Final = "selected neurons, this window only"
"""Name on screen of the curves of the selected neurons in one window."""
SELECTED_SWEEP: Final = "selected neurons"
"""Name on screen of the curves of the selected neurons over a tier."""


def live_sweeps(state: LiveState, results: Results) -> dict[str, ContextSweep]:
    """Return name -> context curves that are computed live, at most two.

    Over a tier: all held-out neurons, and the selected ones of them. Before: the
    selected neurons in the window.
    """
    curves = results.tier_curves
    if curves is None or not curves.is_shown:
        return {} if results.sweep is None else {WINDOW_SWEEP: results.sweep}
    named = {f"{curves.tier} part": curves.sweep}
    selected = selected_sweep(curves, state.selection)
    return named if selected is None else {**named, SELECTED_SWEEP: selected}


@lru_cache(maxsize=4)
def selected_sweep(curves: TierCurves, selection: tuple[int, ...]) -> ContextSweep | None:
    """Return the curves of the selected neurons, the same object in each drawing."""
    return curves.of_neurons(selection)
