"""Windows with other recorded values, which show what a predictor reads."""

from collections.abc import Hashable
from dataclasses import fields
from itertools import count
from typing import Any

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.masks import Mask

_NUMBERS = count()


class OtherWindow(Window):
    """A window with other values: predictors must not find what they keep of the first."""

    @property
    def key(self) -> Hashable:
        """Identity of these values."""
        return (super().key, self._cache["number"])


def window_with(window: Window, **values: Any) -> Window:
    """The same window with other responses, behavior, video, raw frames or warm-up."""
    changed = OtherWindow(**{f.name: getattr(window, f.name) for f in fields(window) if f.init})
    changed._cache["number"] = next(_NUMBERS)
    for name, array in values.items():
        is_alone = name in ("video", "behavior", "warmup")
        changed._cache[name] = array if is_alone else (array, np.ones(len(array), bool))
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
