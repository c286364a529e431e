"""One neuron in one line, for the status bar: `neuron 412 · hidden · depth 210 µm`."""

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_widgets import palette


def describe(controller: Controller, neuron: int, *, others: int = 0) -> str:
    """Name, state in the active span, area, depth and score, as far as known.

    Parameters
    ----------
    controller
        Whose session, mask and scores are told.
    neuron
        Its index in the session.
    others
        How many more neurons own the same pixel.
    """
    state, results = controller.state, controller.results
    if state.session is None or state.mask is None:
        return ""
    units = state.session.units
    code = int(_state_of(controller, neuron))
    parts = [f"neuron {neuron}", palette.STATE_WORDS[code]]
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    depth = float(units.xyz_um[neuron, 2])
    if np.isfinite(depth):
        parts.append(f"depth {depth:.0f} µm")
    if results.scores is not None and np.isfinite(results.scores[neuron]):
        older = " (older)" if results.is_population_old else ""
        parts.append(f"r = {results.scores[neuron]:.2f}{older}")
    if others:
        parts.append(f"{others} more under it")
    return " · ".join(parts)


def _state_of(controller: Controller, neuron: int) -> int:
    mask, span = controller.state.mask, controller.state.active_span
    assert mask is not None
    part = mask.cells[slice(*span), neuron]
    if not len(part):
        return 0
    return int(part[0]) if (part == part[0]).all() else 3
