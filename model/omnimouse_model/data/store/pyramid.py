"""Minimum, maximum and mean of every neuron in bins: a session at a glance."""

import numpy as np


def summarised(rows: np.ndarray) -> np.ndarray:
    """Of the rows of one bin: float32 (1, neurons, 3), NaN of missing ones."""
    rows = rows.astype(np.float64)
    known = np.isfinite(rows)
    none = ~known.any(axis=0)
    low = np.where(known, rows, np.inf).min(axis=0)
    high = np.where(known, rows, -np.inf).max(axis=0)
    mean = np.where(known, rows, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found = np.stack([low, high, mean], axis=1)
    found[none] = np.nan
    return found[None].astype(np.float32)
