"""Status bar text of one neuron: `neuron 412 · hidden · depth 210 µm`."""

import numpy as np

from omnimouse_model.live.controller import Controller


def describe(controller: Controller, neuron: int, *, others: int = 0) -> str:
    """Return name, state in the active span, area, depth and score, as far as known.

    Parameters
    ----------
    controller
        Source of session, mask and scores.
    neuron
        Index of the neuron in the session.
    others
        Number of further neurons at the same pixel.
    """
    state, results = controller.state, controller.results
    if state.session is None or state.mask is None:
        return ""
    units = state.session.units
    parts = [
        f"neuron {units.names[neuron]}",
        state.mask.pattern_of(neuron, state.active_span),
    ]
    if units.area is not None:
        parts.append(str(units.area[neuron]))
    depth = float(units.xyz_um[neuron, 2])
    # Recordings without depths have NaN.
    if np.isfinite(depth):
        parts.append(f"depth {depth:z.0f} µm")
    scores = results.neuron_scores
    if scores is not None and np.isfinite(scores.values[neuron]):
        older = " (older)" if results.are_scores_old else ""
        score = state.metric.text(float(scores.values[neuron]))
        parts.append(f"{score} {scores.evidence}{older}")
    if others:
        parts.append(f"{others} more under it")
    return " · ".join(parts)
