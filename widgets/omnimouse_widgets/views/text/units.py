"""Units in which responses are drawn, and names of behaviour channels."""

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.predict.predictor import Prediction, recorded_as


def drawn_units(spec: WindowSpec) -> str:
    """Return the units in which responses of a spec are drawn."""
    # A rate does not depend on the bin width, so that predictors of different specs
    # share one axis.
    return "spikes/s" if spec.responses == "count" else "normalised"


def unit_text(units: str) -> str:
    """Return the unit of responses as on screen: normalised ones are in s.d. of the neuron."""
    return "s.d." if units == "normalised" else units


def recorded(window: Window) -> np.ndarray:
    """Return the recorded responses (n_samples, P) as they are drawn."""
    return recorded_as(window, drawn_units(window.spec))


def predicted(prediction: Prediction, window: Window) -> np.ndarray:
    """Return predicted responses (n_samples, n) as they are drawn beside a window.

    A prediction of another spec may have other units than the window.
    """
    values, unit = prediction.responses, drawn_units(window.spec)
    if prediction.units == unit:
        return values
    scale = window.session.response_scale[prediction.neurons]
    # Traces of spike trains are counts in bins of their own rate.
    if unit == "normalised":
        per_bin = prediction.units == "spikes/s"
        rate_hz = window.spec.response_rate_hz if per_bin else 1.0
        return np.asarray(values / np.float32(rate_hz) / scale)
    counts = values * scale if prediction.units == "normalised" else values
    times, rate_hz = prediction.times_s, window.spec.response_rate_hz
    if times is not None and len(times) > 1:
        rate_hz = (len(times) - 1) / float(times[-1] - times[0])
    return np.asarray(counts * np.float32(rate_hz))


def bar_height(spec: WindowSpec) -> float:
    """Return the height of the scale bar beside traces, in drawn units."""
    # One spike per bin is the smallest response that can be counted.
    return spec.response_rate_hz if spec.responses == "count" else 1.0


def bar_text(spec: WindowSpec, share: float = 1.0) -> str:
    """Return the label of the scale bar beside traces, or of a share of it."""
    return f"{share * bar_height(spec):g} {unit_text(drawn_units(spec))}"
