"""Colours of neurons and labels of a field by state, score or another quantity.

Also the levels of the mean image below them.
"""

from functools import lru_cache

import numpy as np

from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes
from omnimouse_model.live.neurons.quantities import Quantity, Scale
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.views.field.layout import Field


def _rgba(colour: str, alpha: float) -> tuple[float, float, float, float]:
    red, green, blue = (part / 255 for part in palette.rgb(colour))
    return red, green, blue, alpha


def _by_code(
    hidden: tuple[float, ...],
    visible: tuple[float, ...],
    target: tuple[float, ...],
    mixed: tuple[float, ...],
) -> np.ndarray:
    table = np.zeros((4, 4), np.float32)
    table[HIDDEN], table[VISIBLE], table[TARGET] = hidden, visible, target
    table[MIXED] = mixed
    return table


# Shape as well as colour: visible is a filled disk, target a ring, hidden a dark disk
# in a faint ring, mixed a disk of one colour in a ring of another.
STATE_CORE = _by_code(
    hidden=_rgba(palette.HIDDEN, 0.80),
    visible=_rgba(palette.VISIBLE, 0.95),
    target=_rgba(palette.TARGET, 0.40),
    mixed=_rgba(palette.MIXED, 0.80),
)
STATE_RIM = _by_code(
    hidden=_rgba("#9AA0A8", 0.45),
    visible=_rgba(palette.VISIBLE, 0.95),
    target=_rgba(palette.TARGET, 1.0),
    mixed=_rgba(palette.MIXED, 1.0),
)
_VIRIDIS = palette.viridis_table().astype(np.float32) / 255
SELECTED_RIM = np.array(_rgba(palette.SELECTED, 1), np.float32)
# In the score view, sky blue would be too similar to the blues of viridis. Visible
# neurons are therefore dark disks in slate rings, so that neither they nor the mean
# image below them are brighter than the scores. Neurons without a score are grey.
VISIBLE_CORE = np.array(_rgba(palette.HIDDEN, 0.70), np.float32)
VISIBLE_RIM = np.array(_rgba(palette.VISIBLE_RING, 0.55), np.float32)
UNSCORED_CORE = np.array(_rgba(palette.UNSCORED, 0.35), np.float32)
UNTUNED_CORE = np.array(_rgba(palette.UNSCORED, 0.9), np.float32)
UNKNOWN_CORE = np.zeros(4, np.float32)
"""Transparent, for unknown values: a grey disk would not be seen on the grey image."""
UNKNOWN_RIM = np.array(_rgba(palette.UNKNOWN_RING, 0.9), np.float32)
UNKNOWN_ALONE = np.array(_rgba(palette.UNKNOWN_RING, 0.45), np.float32)
"""Without rims, where the disk is all that is seen of a neuron."""
OLD_ALPHA = 0.45
"""Opacity of scores of an older request."""
SCORED_RIM = np.array([1, 1, 1, 0.30], np.float32)
"""Faint white, so that the darkest scores stand out from a dark image."""
UNSCORED_RIM = np.array(_rgba(palette.UNSCORED, 0.55), np.float32)


@lru_cache(maxsize=16)  # every stroke asks
def table_of(quantity: Quantity | None) -> np.ndarray:
    """Return uint8 (256, 3): the colours of a quantity: of numbers, angles or differences."""
    if quantity is not None and quantity.is_signed:
        return palette.difference_table()
    is_angle = quantity is not None and quantity.period is not None
    return palette.cycle_table() if is_angle else palette.viridis_table()


def state_colours(states: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return core and rim colours (P, 4) of neurons by mask code (3 is mixed).

    `most` is the maximum code of each neuron. It colours the rim of a mixed neuron:
    target if any sample is a target, else visible.
    """
    # `take` copies rows ten times as fast as indexing with an array.
    rim = STATE_RIM.take(states, axis=0)
    mixed = states == MIXED
    rim[mixed] = STATE_RIM[most[mixed]]
    return STATE_CORE.take(states, axis=0), rim


def score_colours(
    scores: np.ndarray, states: np.ndarray, *, is_old: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return core and rim colours (P, 4) by score: viridis 0 to 1, faint when old."""
    core = np.tile(UNSCORED_CORE, (len(scores), 1))
    rim = np.tile(UNSCORED_RIM, (len(scores), 1))
    is_visible = states == VISIBLE
    core[is_visible], rim[is_visible] = VISIBLE_CORE, VISIBLE_RIM
    scored = np.isfinite(scores)
    steps = (np.clip(scores[scored], 0, 1) * 255).round().astype(np.intp)
    core[scored, :3] = _VIRIDIS[steps]
    core[scored, 3] = OLD_ALPHA if is_old else 1
    rim[scored] = SCORED_RIM
    return core, rim


def scale_colours(
    scale: Scale,
    states: np.ndarray,
    most: np.ndarray,
    untuned: np.ndarray | None = None,
    *,
    has_rims: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return core and rim colours (P, 4) by a quantity; see `state_colours`.

    The rims of neurons with a target sample have the colour of the core: a rim of
    another colour hides small cores when the whole field is in view. Without rims,
    hidden neurons are faint instead. A neuron of unknown value is an empty ring, in the colour
    of visible ones if it is one; one of those that fail the test of the quantity (`untuned`) is
    a grey disk.
    """
    is_known = np.isfinite(scale.values)
    is_untuned = np.zeros(len(states), bool) if untuned is None else untuned
    core = np.tile(UNKNOWN_CORE if has_rims else UNKNOWN_ALONE, (len(states), 1))
    core[is_untuned] = UNTUNED_CORE
    if scale.categories:
        table = palette.area_table(len(scale.categories)).astype(np.float32) / 255
        core[is_known, :3] = table[scale.values[is_known].astype(np.intp)]
    else:
        # `shares` is clipped to 0-1, so every step is a valid index.
        steps = (scale.shares[is_known] * 255).round().astype(np.intp)
        core[is_known, :3] = (table_of(scale.quantity).astype(np.float32) / 255)[steps]
    core[is_known, 3] = 1
    if not has_rims:
        core[is_known & (states == HIDDEN), 3] = OLD_ALPHA
    rim = np.where((most == TARGET)[:, None], core, state_colours(states, most)[1])
    # The rim of hidden neurons would not be seen on the grey image without a disk.
    has_own = (most == VISIBLE) | (is_untuned & (most != TARGET))
    rim[~is_known & ~has_own] = UNKNOWN_RIM
    return core, rim


def label_rows(
    core: np.ndarray, rim: np.ndarray, selected: np.ndarray, *, has_rims: bool
) -> np.ndarray:
    """Return colour rows (n_labels, 4) of all labels from 1, selection highlighted."""
    if not has_rims:
        rows = core.copy()
        rows[selected] = SELECTED_RIM
        return rows
    rows = np.concatenate([core, rim])
    # Rim labels follow the core labels; see `layout`.
    rows[len(core) + selected] = SELECTED_RIM
    return rows


def core_and_rim(
    state: LiveState, results: Results, colouring: Colouring, field: Field
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return core and rim colours (P, 4) of all neurons.

    None while mask and field belong to different sessions.
    """
    if state.mask is None or state.mask.n_neurons != field.n_neurons:
        return None
    states = state.mask.state_in(state.active_span)
    if state.colour_by == "score":
        scores = _scores(results, field.n_neurons)
        return score_colours(scores, states, is_old=results.are_scores_old)
    # Codes are ordered hidden < visible < target, so the maximum is target where any
    # sample is a target.
    most = state.mask.cells[slice(*state.active_span)].max(axis=0, initial=0)
    scale = colouring.scale
    if scale is not None and scale.is_known:
        untuned = colouring.is_untuned
        return scale_colours(scale, states, most, untuned, has_rims=field.has_rims)
    return state_colours(states, most)


def flat_rows(
    state: LiveState, planes: Planes, field: Field, core: np.ndarray, rim: np.ndarray
) -> np.ndarray:
    """Return colour rows (n_labels, 4); neurons of other planes are transparent.

    Changes `core` and `rim` in place.
    """
    is_visible = planes.is_visible
    if is_visible is not None:
        core[~is_visible, 3] = rim[~is_visible, 3] = 0
    selected = planes.visible_among(np.asarray(state.selection, np.int64))
    return label_rows(core, rim, selected, has_rims=field.has_rims)


def _scores(results: Results, count: int) -> np.ndarray:
    """Return the scores of all neurons; NaN if they are not known."""
    scores = results.neuron_scores
    if scores is None or len(scores.values) != count:
        return np.full(count, np.nan, np.float32)
    return scores.values
