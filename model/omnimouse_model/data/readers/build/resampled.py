"""Treatment of rates and scales that differ from those of the released recordings.

The released models were trained on responses at 30 Hz, linearly upsampled from about
8 Hz and divided by max(std, 1). Other recordings have their own rates and units. The
session's assumptions state how windows of these models treat them.
"""

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.signal import SampleMode
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ

_LEAST_SHARE = 0.01
_SLOW = 0.9
"""Below this fraction of OmniMouse's rate, responses are interpolated."""


def sample_mode(rate_hz: float, notes: Notes) -> SampleMode:
    """Return how windows take responses of this rate between samples."""
    # Near or above 30 Hz, the last sample is taken, as the released models expect.
    if rate_hz >= _SLOW * RESPONSE_RATE_HZ:
        return "previous"
    notes.assume(
        "resampled",
        f"responses at {rate_hz:.4g} Hz are brought to the model's "
        f"{RESPONSE_RATE_HZ:g} Hz by linear interpolation, as the released recordings "
        "were",
    )
    return "linear"


def own_least_scale(std: np.ndarray, notes: Notes) -> float:
    """Return the least divisor of responses in other units: 1 % of the mean std.

    The limit of the released models, 1, depends on the unit of their responses. 1 % of
    the mean is the rule of the Sensorium competition.
    """
    notes.assume(
        "response_scale",
        "responses are divided by each neuron's standard deviation, at least 1 % of "
        "the mean one: their unit is not that of the released recordings",
    )
    typical = float(std.mean()) if len(std) else 1.0
    return _LEAST_SHARE * typical or 1.0  # 0 if no neuron varies
