"""One row of recorded and predicted values, independent of the toolkit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnimouse_widgets.drawn.traces.options import Scale


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One row: its label, both curves, and how its samples are shaded.

    Attributes
    ----------
    label, short_label
        What the row is, and its score; the short one for many rows.
    time, truth
        Seconds on the session clock, and what was recorded.
    predicted
        Of the same length, NaN where nothing was predicted; None without any.
    shade
        uint8 (n,) mask codes: visible spans are blue, target spans lightly orange.
    baseline
        Another predictor's, likewise.
    is_stale, is_baseline_stale
        The prediction, or the baseline's, belongs to an older question.
    """

    label: str
    short_label: str
    time: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray | None
    shade: np.ndarray
    is_stale: bool = False
    least: tuple[float, float] = (0.0, 0.0)
    """Values that the row spans at least, so that a quiet row looks quiet."""
    baseline: np.ndarray | None = None
    is_baseline_stale: bool = False
    overlays: tuple[np.ndarray | None, ...] = ()
    """Of pinned conditions, by slot."""
    shade_span: tuple[float, float] | None = None
    """Where on the time axis `shade` lies; all along it by default."""
    marks: tuple[tuple[str, str, str], ...] = ()
    """After the label, for each overlay: its letter, its score, and its colour."""
    axis_span: tuple[float, float] | None = None
    """What the time axis shows; from the first to the last sample by default."""
    bar: float = 1.0
    """Height of the scale bar, in the units of the curves."""

    @property
    def n_points(self) -> int:
        """Points of all its curves."""
        curves = (self.truth, self.predicted, self.baseline, *self.overlays)
        return len(self.time) * sum(curve is not None for curve in curves)

    @property
    def extent(self) -> tuple[float, float]:
        """What the time axis shows."""
        return self.axis_span or time_extent(self.time)


def has_overlay(trace: Trace, slot: int) -> bool:
    """Whether a pin's curve is there for a row."""
    return slot < len(trace.overlays) and trace.overlays[slot] is not None


def low_and_scale(trace: Trace) -> tuple[float, float]:
    """Lowest value and span of all curves together, so that they compare."""
    curves = [trace.truth, np.array(trace.least), trace.predicted, trace.baseline]
    curves += trace.overlays
    known = np.concatenate([curve for curve in curves if curve is not None])
    known = known[np.isfinite(known)]
    low, high = float(known.min()), float(known.max())
    return low, max(high - low, 1e-6)


def row_ranges(
    shown: Sequence[Trace], scale: Scale, rows: Sequence[Trace]
) -> list[tuple[float, float]]:
    """Lowest value and span of the rows shown; a common span is that of all `rows`."""
    ranges = [low_and_scale(trace) for trace in shown]
    if scale == "common" and ranges:
        widest = max(low_and_scale(trace)[1] for trace in rows)
        ranges = [(low, widest) for low, _ in ranges]
    return ranges


def time_extent(time: np.ndarray) -> tuple[float, float]:
    """From the start of the first sample's cell to the end of the last's."""
    half = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1) / 2
    return float(time[0]) - half, float(time[-1]) + half


def cursor_sample(time_s: float, time: np.ndarray) -> int:
    """The response sample nearest to a time, kept within the window."""
    step = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1)
    sample = round((time_s - float(time[0])) / step) if step else 0
    return int(min(max(sample, 0), len(time) - 1))
