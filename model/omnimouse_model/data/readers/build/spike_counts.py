"""Spike times as a stream of responses."""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.placed_rows import stretches
from omnimouse_model.data.readers.build.size_limits import check_extent
from omnimouse_model.data.signal import Signal, rounding_of
from omnimouse_model.data.spike_trains import Observed, SpikeTrains, TimesFile
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ

ROW_RATE_HZ = RESPONSE_RATE_HZ
"""Rate at which spikes are counted for code that reads responses as samples.

Windows of specs with another rate count the spikes in their own bins.
"""


def spike_signal(
    file: TimesFile,
    offsets: np.ndarray,
    start: float,
    stop: float,
    notes: Notes,
    observed: Observed | None = None,
) -> Signal:
    """Return the responses of spike times between two native times.

    Time in which no unit was observed is a pause.

    Parameters
    ----------
    file, offsets, observed
        See `SpikeTrains`.
    """
    # Bins begin at `start`; an incomplete last bin is dropped.
    n_rows = int((stop - start) * ROW_RATE_HZ)
    check_extent(file.path, "spike times", n_rows, ROW_RATE_HZ)
    notes.assume(
        "spike_counts",
        "models that read traces get spikes counted in bins of "
        f"1/{ROW_RATE_HZ:g} s; models of counts get them in their own bins",
    )
    trains = SpikeTrains(file, offsets, start, ROW_RATE_HZ, n_rows, observed)
    end = start + n_rows / ROW_RATE_HZ
    rounding_s = rounding_of(start, end, ROW_RATE_HZ)
    signal = Signal("responses", trains, ROW_RATE_HZ, start, end, rounding_s=rounding_s)
    if observed is None:
        return signal
    common = Observed(observed.of_population())
    place = np.flatnonzero(common.in_bins(start, ROW_RATE_HZ, n_rows)[:, 0])
    if not len(place):
        return signal
    spans, n_missing = stretches(place, n_rows, start, ROW_RATE_HZ)
    return replace(signal, recorded_spans=spans, n_missing=n_missing)
