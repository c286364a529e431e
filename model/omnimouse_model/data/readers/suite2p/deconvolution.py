"""Spikes out of calcium traces, by the OASIS of Friedrich et al. 2017."""

import numpy as np

from omnimouse_model.errors import SessionFormatError

_BASELINE_PERCENT = 8.0


def deconvolved(traces: np.ndarray, tau_s: float, rate_hz: float) -> np.ndarray:
    """Activity float32 (regions, frames) whose decay by `tau_s` gives the traces.

    Non-negative, no sparsity penalty, the baseline of each region taken off.

    Parameters
    ----------
    traces
        float32 (regions, frames) fluorescence less neuropil.

    Raises
    ------
    SessionFormatError
        The optional package is not installed.
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
    decay = float(np.exp(-1.0 / (tau_s * rate_hz)))
    found = np.empty(traces.shape, np.float32)
    for i, trace in enumerate(traces.astype(np.float64)):
        trace = trace - np.percentile(trace, _BASELINE_PERCENT)
        found[i] = oasisAR1(trace, decay, lam=0.0)[1]
    return found
