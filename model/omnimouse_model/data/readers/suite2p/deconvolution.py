"""Deconvolution of calcium traces by OASIS (Friedrich, Zhou & Paninski 2017)."""

import numpy as np

from omnimouse_model.errors import SessionFormatError

_BASELINE_PERCENT = 8.0


def deconvolve(traces: np.ndarray, tau_s: float, rate_hz: float) -> np.ndarray:
    """Return the deconvolved activity of calcium traces, float32 (regions, frames).

    The model is AR(1): activity >= 0 that decays with time constant `tau_s`. There is
    no sparsity penalty. The 8th percentile of each trace is subtracted first.

    Parameters
    ----------
    traces
        float32 (regions, frames) fluorescence minus neuropil. NaN stays NaN; calcium is
        interpolated linearly there.

    Raises
    ------
    SessionFormatError
        If the optional package oasis-deconv is not installed.
    """
    try:
        from oasis.oasis_methods import oasisAR1
    except ImportError as error:
        raise SessionFormatError(
            "spks.npy",
            "missing_package",
            "spks.npy is missing, and deconvolution needs the package oasis-deconv",
            "pip install oasis-deconv, or choose series='F-neu'",
        ) from error
    # AR(1) coefficient: the factor by which calcium decays from frame to frame.
    decay = float(np.exp(-1.0 / (tau_s * rate_hz)))
    activity = np.empty(traces.shape, np.float32)
    # OASIS takes float64.
    for i, trace in enumerate(traces.astype(np.float64)):
        is_known = np.isfinite(trace)
        if not is_known.any():
            activity[i] = np.nan
            continue
        at = np.arange(len(trace))
        trace = np.interp(at, at[is_known], trace[is_known])
        trace = trace - np.percentile(trace, _BASELINE_PERCENT)
        activity[i] = oasisAR1(trace, decay, lam=0.0)[1]
        activity[i, ~is_known] = np.nan
    return activity
