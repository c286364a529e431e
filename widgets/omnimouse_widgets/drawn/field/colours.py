"""Colours of the labels of a field for the live state, and mean image levels."""

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


def core_and_rim(controller: Controller, field: Field) -> tuple[np.ndarray, np.ndarray] | None:
    """Return core and rim colours (P, 4) of all neurons.

    None while mask and field belong to different sessions.
    """
    state, results = controller.state, controller.results
    if state.mask is None or state.mask.n_neurons != field.n_neurons:
        return None
    states = state.mask.state_in(state.active_span)
    if state.colour_by == "score":
        scores = _scores(results, field.n_neurons)
        return score_colours(scores, states, is_old=results.are_scores_old)
    # Codes are ordered hidden < visible < target, so the maximum is target where any
    # sample is a target.
    most = state.mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
    scale = controller.colouring.scale
    if scale is not None and scale.is_known:
        return scale_colours(scale, states, most, has_rims=field.has_rims)
    return state_colours(states, most)


def flat_rows(
    controller: Controller, field: Field, core: np.ndarray, rim: np.ndarray
) -> np.ndarray:
    """Return colour rows (n_labels, 4); neurons of other planes are transparent.

    Changes `core` and `rim` in place.
    """
    is_visible = controller.planes.is_visible
    if is_visible is not None:
        core[~is_visible, 3] = rim[~is_visible, 3] = 0
    selected = controller.planes.visible_among(np.asarray(controller.state.selection, np.int64))
    return label_rows(core, rim, selected, has_rims=field.has_rims)


def mean_levels(mean: np.ndarray) -> tuple[float, float]:
    """Return the values of a mean image that are drawn black and white.

    The white level is above the 99.5th percentile, so that the image stays darker
    than the colours of the neurons.
    """
    # A subsample of at most about 1024 x 1024 pixels is sufficient for percentiles and
    # keeps large mosaics fast.
    some = mean[:: max(1, mean.shape[0] // 512), :: max(1, mean.shape[1] // 512)]
    low, high = np.percentile(some, [1, 99.5])
    # 1e-6: the levels of a constant image must differ.
    return float(low), float(high + 0.15 * (high - low) + 1e-6)


def _scores(results: Results, count: int) -> np.ndarray:
    """Return the scores of all neurons; NaN if they are not known."""
    scores = results.neuron_scores
    if scores is None or len(scores.values) != count:
        return np.full(count, np.nan, np.float32)
    return scores.values
