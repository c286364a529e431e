"""What readers of other formats share: rates and scales that must be brought over.

The released models know responses at 30 Hz, linearly upsampled from some 8 Hz, divided
by max(std, 1). Other recordings come at their own rates and in their own units; what is
done to them is told in the session's assumptions.
"""

import numpy as np

from omnimouse_model.data.clock import RESPONSE_RATE_HZ
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.signal import SampleMode

_LEAST_SHARE = 0.01
_SLOW = 0.9
"""Below this share of the model's rate, samples are interpolated."""


def sample_mode(rate_hz: float, notes: Notes) -> SampleMode:
    """How responses of this rate are brought to the model's 30 Hz."""
    if rate_hz >= _SLOW * RESPONSE_RATE_HZ:
        return "previous"
    notes.assume(
        "resampled",
        f"responses at {rate_hz:.4g} Hz are brought to the model's "
        f"{RESPONSE_RATE_HZ:g} Hz by linear interpolation, as the released recordings "
        "were",
    )
    return "linear"


def least_scale(std: np.ndarray, notes: Notes) -> float:
    """Least divisor of responses in units of their own; 1 % of the mean std."""
    notes.assume(
        "response_scale",
        "responses are divided by each neuron's standard deviation, at least 1 % of "
        "the mean one: their unit is not that of the released recordings",
    )
    typical = float(std.mean()) if len(std) else 1.0
    return _LEAST_SHARE * typical or 1.0
