"""The colours of a field on screen: every label's by the live state, and the mean's."""

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_widgets.drawn.field.layout import Field
from omnimouse_widgets.drawn.field.neuron_colours import (
    label_rows,
    scale_colours,
    score_colours,
    state_colours,
)


def core_and_rim(
    controller: Controller, field: Field
) -> tuple[np.ndarray, np.ndarray] | None:
    """Core and rim colours (P, 4) of all neurons; None where the mask is of others."""
    state, results = controller.state, controller.results
    if state.mask is None or state.mask.n_neurons != field.n_neurons:
        return None
    states = state.mask.state_in(state.active_span)
    if state.colour_by == "score":
        scores = _scores(results, field.n_neurons)
        return score_colours(scores, states, is_old=results.is_population_old)
    most = state.mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
    scale = controller.colouring.scale
    if scale is not None and scale.is_known:
        return scale_colours(scale, states, most, has_rims=field.has_rims)
    return state_colours(states, most)


def flat_rows(
    controller: Controller, field: Field, core: np.ndarray, rim: np.ndarray
) -> np.ndarray:
    """Colour rows (n_labels, 4) of the field: none for those of other planes.

    Writes into `core` and `rim`.
    """
    looked_at = controller.planes.looked_at
    if looked_at is not None:
        core[~looked_at, 3] = rim[~looked_at, 3] = 0
    selected = controller.planes.among(np.asarray(controller.state.selection, np.int64))
    return label_rows(core, rim, selected, has_rims=field.has_rims)


def mean_levels(mean: np.ndarray) -> tuple[float, float]:
    """Values of a mean image that are black and white.

    There is headroom, so that the neurons' colours are the brightest things there.
    """
    some = mean[:: max(1, mean.shape[0] // 512), :: max(1, mean.shape[1] // 512)]
    low, high = np.percentile(some, [1, 99.5])
    return float(low), float(high + 0.15 * (high - low) + 1e-6)


def _scores(results: Results, count: int) -> np.ndarray:
    """Scores of all neurons; NaN while none are known."""
    if results.scores is None or len(results.scores) != count:
        return np.full(count, np.nan, np.float32)
    return results.scores
