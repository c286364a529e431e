"""Notes about rates and scales that differ from those of the released recordings.

The released models were trained on responses at 30 Hz, linearly upsampled from about
8 Hz and divided by max(std, 1). Other recordings have their own rates and units. The
session's assumptions state how windows of these models treat them.
"""

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.signal import is_interpolated
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ

_MIN_SHARE = 0.01


def note_interpolation(rate_hz: float, notes: Notes) -> None:
    """Note responses with too low a rate for OmniMouse, whatever model reads them."""
    if is_interpolated(rate_hz, RESPONSE_RATE_HZ):
        notes.assume(
            "resampled",
            f"responses at {rate_hz:.4g} Hz are interpolated linearly for models with "
            f"more samples per second, such as OmniMouse ({RESPONSE_RATE_HZ:g}), as "
            "the released recordings were",
        )


def minimum_scale(std: np.ndarray, notes: Notes) -> float:
    """Return the minimum divisor of responses in other units, and note it.

    It is 1 % of the mean standard deviation, the rule of the Sensorium competition. The
    minimum of the released models, 1, depends on the unit of their responses.
    """
    notes.assume(
        "response_scale",
        "responses are divided by each neuron's standard deviation, at least 1 % of "
        "the mean one: their unit is not that of the released recordings",
    )
    typical = float(std.mean()) if len(std) else 1.0
    return _MIN_SHARE * typical or 1.0  # 0 if no neuron varies
