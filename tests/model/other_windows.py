"""Windows with other recorded values, which show what a predictor reads."""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.masks import Mask


def window_with(window: Window, **values: np.ndarray) -> Window:
    """The same window with other responses, behavior, video or raw frames."""
    changed = replace(window)
    for name, array in values.items():
        with_valid = (array, np.ones(len(array), bool))
        changed._cache[name] = array if name in ("video", "behavior") else with_valid
    return changed


def window_with_withheld(window: Window, mask: Mask, value: float) -> Window:
    """The same window with everything that a mask withholds set to one value."""
    number = np.float32(value)
    behavior = window.behavior
    if mask.behavior != "visible":
        behavior = np.full_like(behavior, number)
    return window_with(
        window,
        responses=np.where(mask.visible, window.responses, number),
        video=np.where(mask.frames[:, None, None], window.video, number),
        behavior=behavior,
    )
