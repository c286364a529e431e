"""Predictions of a window that is moved by less than its length.

What was predicted of the shared time is still shown, as older, until the prediction of
the new window replaces it: during playback the traces move and are never empty.
"""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.window import Window
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Prediction

_ON_SAMPLES = 1e-3
"""Largest distance from a whole number of samples, in samples."""


def samples_between(before: Window, after: Window) -> int | None:
    """Return by how many response samples a window moved, negative if backwards.

    None if the windows share no sample, or if the samples of one lie between those of
    the other, in any of their signals.
    """
    if after.session is not before.session or after.spec != before.spec:
        return None
    spec = after.spec
    moved_s = after.native_start - before.native_start
    rates = [spec.response_rate_hz]
    rates += [part.rate_hz for part in (spec.video, spec.behavior) if part]
    if any(abs(moved_s * r - round(moved_s * r)) > _ON_SAMPLES for r in rates):
        return None
    n = round(moved_s * spec.response_rate_hz)
    return n if abs(n) < spec.n_samples else None


def moved_prediction(
    prediction: Prediction, before: Window, after: Window, mask: Mask
) -> Prediction | None:
    """Return a prediction in a window that overlaps with its own, without behaviour.

    NaN where the other window ends and outside of the targets of the mask, which moves
    with the window. None if `samples_between` is, or if nothing is left to show.
    """
    n = samples_between(before, after)
    if n is None or len(prediction.responses) != after.spec.n_samples:
        return None
    targets = scored_cells(mask)[:, prediction.neurons]
    responses = np.where(targets, _moved(prediction.responses, n, np.nan), np.nan)
    if not np.isfinite(responses).any():
        return None
    band = prediction.band
    if band is not None:
        band = np.stack([_moved(limit, n, np.nan) for limit in band])
    return replace(
        prediction,
        responses=responses.astype(np.float32),
        valid=_moved(prediction.valid, n, True),
        band=band,
        times_s=after.sample_times_s,
        behavior=None,
    )


def _moved(values: np.ndarray, n: int, fill: float | bool) -> np.ndarray:
    """Return values (T, …) n samples earlier, with `fill` where nothing is known."""
    out = np.full_like(values, fill)
    if n >= 0:
        out[: len(values) - n] = values[n:]
    else:
        out[-n:] = values[:n]
    return out
