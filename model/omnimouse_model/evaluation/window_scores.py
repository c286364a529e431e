"""Scores of one prediction in one window, per neuron, and the null rates of counts."""

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import null_rates
from omnimouse_model.metrics import correlation, moments
from omnimouse_model.metrics.named import Metric, named_metric, poisson_gain
from omnimouse_model.predict.predictor import Prediction, in_window_units

_BLOCK_NEURONS = 1024
"""Neurons scored at once: their samples fit in the second cache of a core."""


def window_scores(
    prediction: Prediction, window: Window, metric: str = "correlation"
) -> np.ndarray:
    """Return float32 (P,) scores against the recording, NaN if not predicted.

    Parameters
    ----------
    window
        Its samples are those of the prediction.
    metric
        Name of a metric of `evaluate`. One that needs counts gives NaN for a session
        without spike times, and for predictions below 0.
    """
    named = named_metric(metric)
    scores = np.full(window.session.n_neurons, np.nan, np.float32)
    if not len(prediction.neurons):
        return scores
    truth = window.responses[:, prediction.neurons]
    # Samples that the predictor could not compute are left out, as missing ones are.
    truth = np.where(prediction.valid[:, None], truth, np.float32(np.nan))
    if named.name == "correlation":
        values = _correlations(prediction.responses, truth)
    else:
        values = _values(named, prediction, truth, window)
    scores[prediction.neurons] = values
    return scores


def _correlations(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the correlation (n,) over the samples of (sample, n) arrays."""
    # Samples without any prediction change no sum, and blocks stay in the cache: a
    # quarter of the time of one call, with the same values except for rounding.
    rows = np.isfinite(predicted).any(axis=1)
    starts = range(0, predicted.shape[1], _BLOCK_NEURONS)
    blocks = [slice(start, start + _BLOCK_NEURONS) for start in starts]
    return np.concatenate([correlation(predicted[rows, b], truth[rows, b], axis=0) for b in blocks])


def scored_counts(
    rates: np.ndarray, recorded: np.ndarray, window: Window, neurons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and recorded counts per bin, from the units of a window."""
    if window.spec.responses == "count":
        return rates, recorded
    # Windows of traces hold counts divided by the scale of the neuron.
    scale = window.session.response_scale[neurons].astype(np.float64)
    return rates * scale, recorded * scale


def decode_scores(decoded: np.ndarray, window: Window) -> np.ndarray:
    """Return (C,) correlations of decoded with valid recorded behaviour."""
    counted = window.valid["behavior"][:, None]
    return correlation(decoded, np.where(counted, window.behavior, np.nan), axis=0)


def _values(
    metric: Metric, prediction: Prediction, truth: np.ndarray, window: Window
) -> np.ndarray:
    """Return the values (n,) of a metric other than the correlation."""
    neurons = prediction.neurons
    rates = in_window_units(prediction, window)
    gain = np.zeros(len(neurons))
    if metric.needs == "counts":
        rates, truth = scored_counts(rates, truth, window, neurons)
    scored = np.isfinite(rates) & np.isfinite(truth)
    scored &= window.valid["responses"][:, None]
    if metric.needs == "counts":
        try:
            null = null_rates(window.session, window.spec)[neurons]
        except UnsupportedRequestError:
            return np.full(len(neurons), np.nan)
        # A negative rate has no Poisson likelihood.
        is_rate = ~(scored & (rates < 0)).any(axis=0)
        sample_gain = poisson_gain(np.maximum(rates, 0), truth, null)
        gain = np.where(is_rate, np.where(scored, sample_gain, 0.0).sum(axis=0), np.nan)
    # A metric of repeats has no value in one window.
    if metric.per_neuron is None:
        return np.full(len(neurons), np.nan)
    return metric.per_neuron(moments(rates, truth, valid=scored), gain)
