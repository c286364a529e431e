"""Cost of the decoding of a label; does not load torch, which takes seconds."""

from functools import lru_cache
from time import perf_counter
from typing import Final

import numpy as np

PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidate weights of the mean squared coefficient, beside the mean log loss."""
_EVALUATIONS: Final = 120
"""Evaluations of the loss and its gradient in a fit, with the barcodes of the demo twin
and of the demo OmniMouse."""
_OVERHEAD_S: Final = 4e-4
"""Seconds of an evaluation besides its two products."""
_TIMINGS: Final = 3


def count_fits(n_outer: int, n_inner: int) -> int:
    """Return the number of fits of a nested cross-validation."""
    return n_outer * (n_inner * len(PENALTIES) + 1)


@lru_cache(maxsize=16)
def fit_seconds(n_neurons: int, n_features: int, n_classes: int) -> float:
    """Return about how long one fit takes on this machine, from a short measurement.

    Examples
    --------
    >>> from omnimouse_model.lab.decoding_cost import count_fits, fit_seconds
    >>> count_fits(5, 5)
    130
    >>> 0 < fit_seconds(200, 16, 3) < 60
    True
    """
    features = np.ones((n_neurons, n_features))
    weights = np.ones((n_features, n_classes))
    seconds = []
    for _ in range(_TIMINGS):
        since = perf_counter()
        features.T @ (features @ weights)
        seconds.append(perf_counter() - since)
    return _EVALUATIONS * (min(seconds) + _OVERHEAD_S)
