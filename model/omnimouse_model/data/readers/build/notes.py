"""Notes of a reader: warnings about files, and assumptions where information is missing.

The released models were trained on responses at 30 Hz, linearly upsampled from about
8 Hz and divided by max(std, 1). Other recordings have their own rates and units. The
assumptions state how windows of these models treat them.
"""

from dataclasses import dataclass, field

import numpy as np

from omnimouse_model.data.recording import Note
from omnimouse_model.data.signal import is_interpolated
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ


@dataclass(slots=True)
class Notes:
    """Warnings about the files, and assumptions where information is missing."""

    warnings: list[Note] = field(default_factory=list)
    assumptions: list[Note] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        """Record a warning about the files."""
        self.warnings.append(Note(code, message))

    def assume(self, code: str, message: str) -> None:
        """Record an assumption about information that the files lack."""
        self.assumptions.append(Note(code, message))

    def warn_once(self, code: str, messages: list[str]) -> None:
        """Record the first of many similar warnings, and the number of the others."""
        if messages:
            more = f"; and {len(messages) - 1:,} more" if messages[1:] else ""
            self.warn(code, messages[0] + more)


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
