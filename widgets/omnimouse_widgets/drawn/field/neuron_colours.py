"""Colours of the neurons, for every label of a field: by state, score or any number."""

import numpy as np

from omnimouse_model.live.neurons.colour_by import Scale
from omnimouse_model.masks import HIDDEN, MIXED, TARGET, VISIBLE
from omnimouse_widgets import palette


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
# In the score view sky blue would sit too near viridis' blues: visible neurons are
# dark disks in slate rings there, so that neither they nor the cells of the mean image
# under them outshine the scores; what has no score is a grey disk.
GIVEN_CORE = np.array(_rgba(palette.HIDDEN, 0.70), np.float32)
GIVEN_RIM = np.array(_rgba(palette.GIVEN, 0.55), np.float32)
UNSCORED_CORE = np.array(_rgba(palette.UNSCORED, 0.35), np.float32)
OLD_ALPHA = 0.45
"""Opacity of scores that answer an older question."""
SCORED_RIM = np.array([1, 1, 1, 0.30], np.float32)
"""Keeps the darkest scores apart from a dark image."""
UNSCORED_RIM = np.array(_rgba(palette.UNSCORED, 0.55), np.float32)


def state_colours(
    states: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Core and rim colours (P, 4) of neurons by their code, 3 being mixed.

    A mixed neuron's rim has the colour of the most it holds, `most`: target where any
    sample is asked, else visible.
    """
    rim = STATE_RIM[states]
    mixed = states == MIXED
    rim[mixed] = STATE_RIM[most[mixed]]
    return STATE_CORE[states], rim


def score_colours(
    scores: np.ndarray, states: np.ndarray, *, is_old: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Core and rim colours (P, 4) by score; viridis from 0 to 1, faint when old."""
    core = np.tile(UNSCORED_CORE, (len(scores), 1))
    rim = np.tile(UNSCORED_RIM, (len(scores), 1))
    given = states == VISIBLE
    core[given], rim[given] = GIVEN_CORE, GIVEN_RIM
    scored = np.isfinite(scores)
    steps = (np.clip(scores[scored], 0, 1) * 255).round().astype(np.intp)
    core[scored, :3] = _VIRIDIS[steps]
    core[scored, 3] = OLD_ALPHA if is_old else 1
    rim[scored] = SCORED_RIM
    return core, rim


def scale_colours(
    scale: Scale, states: np.ndarray, most: np.ndarray, *, has_rims: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Core and rim colours (P, 4) by any number of theirs; parameters as above.

    Of whom anything is asked, the rim tells the number as well: a rim of another
    colour hides small cores when the whole field is in view. Where there is no room
    for rims, what is hidden is faint instead.
    """
    core = np.tile(UNSCORED_CORE, (len(states), 1))
    known = np.isfinite(scale.values)
    if scale.words:
        table = palette.area_table(len(scale.words)).astype(np.float32) / 255
        core[known, :3] = table[scale.values[known].astype(np.intp)]
    else:
        steps = (scale.shares[known] * 255).round().astype(np.intp)
        core[known, :3] = _VIRIDIS[steps]
    core[known, 3] = 1
    if not has_rims:
        core[known & (states == HIDDEN), 3] = OLD_ALPHA
    return core, np.where(
        (most == TARGET)[:, None], core, state_colours(states, most)[1]
    )


def label_rows(
    core: np.ndarray, rim: np.ndarray, selected: np.ndarray, *, has_rims: bool
) -> np.ndarray:
    """Colour rows (n_labels, 4) of all labels from 1 up, selection on top."""
    if not has_rims:
        rows = core.copy()
        rows[selected] = SELECTED_RIM
        return rows
    rows = np.concatenate([core, rim])
    rows[len(core) + selected] = SELECTED_RIM
    return rows
