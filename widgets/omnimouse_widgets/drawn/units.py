"""Units in which responses are drawn: normalised, or spikes/s for counts."""

from typing import Final

import numpy as np

from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.predictor import Prediction, recorded_as

BAR_RATE: Final = 10.0
"""Height of the scale bar beside traces in spikes/s."""


def drawn_units(spec: WindowSpec) -> str:
    """Return the units in which responses of a spec are drawn."""
    return "spikes/s" if spec.responses == "count" else "normalised"


def recorded(window: Window) -> np.ndarray:
    """Return the recorded responses (n_samples, P) as they are drawn."""
    return recorded_as(window, drawn_units(window.spec))


def predicted(prediction: Prediction) -> np.ndarray:
    """Return the predicted responses (n_samples, n) as they are drawn."""
    if prediction.units == "session" and prediction.scale is not None:
        return np.asarray(prediction.responses / prediction.scale, np.float32)
    return prediction.responses


def bar_height(spec: WindowSpec) -> float:
    """Return the height of the scale bar beside traces, in drawn units."""
    return BAR_RATE if spec.responses == "count" else 1.0


def bar_text(spec: WindowSpec) -> str:
    """Return the label of the scale bar beside traces."""
    return f"{BAR_RATE:g} spikes/s" if spec.responses == "count" else "1 s.d."
