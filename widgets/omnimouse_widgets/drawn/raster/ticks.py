"""Spikes of the raster as ticks, where cells are large enough to tell them apart."""

from typing import Final

import numpy as np

from omnimouse_model.data.session import Window
from omnimouse_widgets.drawn.raster.rows import RasterRows

LEAST_BIN_PX: Final = 2.5
"""Narrowest bin, in pixels, in which spikes are ticks: their times can then differ."""
LEAST_ROW_PX: Final = 6.0
"""Lowest row, in pixels, on which spikes are ticks."""
MAX_TICKS: Final = 5_000
"""Most ticks of a picture; more of them take longer to draw than a frame."""
TICK_HEIGHT: Final = 0.8
"""Height of a tick, as a share of a row."""


def spike_ticks(window: Window, rows: RasterRows, low: float, high: float) -> np.ndarray | None:
    """Return the spikes between two samples as float32 (spike, 2): sample and row.

    None for recordings without spike times, where rows have several neurons, and for
    more than `MAX_TICKS`.

    Parameters
    ----------
    low, high
        Samples in view; fractions count.
    """
    signal = window.session.responses
    if not signal.has_events or rows.members.shape[0] != 1 or not len(rows):
        return None
    rate_hz, start = window.spec.response_rate_hz, window.native_start
    low, high = max(low, 0.0), min(high, float(window.spec.n_samples))
    unit, time = signal.events(start + low / rate_hz, start + high / rate_hz)
    place = np.full(window.session.n_neurons, -1)
    place[rows.order[rows.start : rows.stop]] = np.arange(rows.start, rows.stop)
    is_shown = place[unit] >= 0
    if int(is_shown.sum()) > MAX_TICKS:
        return None
    sample = (time[is_shown] - start) * rate_hz
    return np.stack([sample, place[unit[is_shown]]], axis=1).astype(np.float32)


def are_ticks(bin_px: float, row_px: float) -> bool:
    """Return whether cells of this size in pixels have room for ticks."""
    return bin_px >= LEAST_BIN_PX and row_px >= LEAST_ROW_PX
