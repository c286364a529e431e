"""One row of recorded and predicted values, and the scales of several rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import numpy as np

Scale = Literal["own", "common"]
"""Each row has its own scale, or all rows have the largest one."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One row: labels, curves and shading of the samples.

    Attributes
    ----------
    label, short_label
        Name and score of the row; the short label is for many rows.
    time, truth
        float (n,): seconds on the session clock, and recorded values.
    predicted
        float (n,), NaN where nothing was predicted; None without a prediction.
    shade
        uint8 mask codes: visible spans are blue, target spans light orange.
    band
        float (2, n): limits of the interval that holds 95 % of recorded values; None
        without one.
    baseline
        Prediction of the baseline, in the form of `predicted`.
    is_stale, is_baseline_stale
        Whether the prediction, or that of the baseline, is of an older request.
    """

    label: str
    short_label: str
    time: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray | None
    shade: np.ndarray
    is_stale: bool = False
    least: tuple[float, float] = (0.0, 0.0)
    """Minimum range of the row; without it, noise of a silent neuron looks large."""
    baseline: np.ndarray | None = None
    is_baseline_stale: bool = False
    overlays: tuple[np.ndarray | None, ...] = ()
    """Predictions under pinned conditions, by slot."""
    shade_span: tuple[float, float] | None = None
    """Start and stop of `shade` in seconds; the whole time axis by default."""
    marks: tuple[tuple[str, str, str], ...] = ()
    """Letter, score and colour of each overlay, shown after the label.

    A first mark may say what the scores are of; a short label omits the letters."""
    axis_span: tuple[float, float] | None = None
    """What the time axis shows; from the first to the last sample by default."""
    bar: float = 1.0
    """Height of the scale bar, in the units of the curves."""
    predicted_bar: float = 0.0
    """Height of the prediction's scale bar; 0 if it has the scale of the recording."""
    predicted_bar_text: str = ""
    """Its size, which follows the label in its colour; a short label omits it."""
    band: np.ndarray | None = None

    @property
    def n_points(self) -> int:
        """Number of points of all curves."""
        curves = (self.truth, self.predicted, self.baseline, *self.overlays)
        return len(self.time) * sum(curve is not None for curve in curves)

    @property
    def extent(self) -> tuple[float, float]:
        """Start and stop of the time axis in seconds."""
        return self.axis_span or time_extent(self.time)


_NAMES: Final = tuple(field.name for field in fields(Trace))


def are_alike(some: Sequence[Trace], others: Sequence[Trace]) -> bool:
    """Return whether rows look the same."""
    return len(some) == len(others) and all(
        _is_equal(getattr(one, name), getattr(other, name))
        for one, other in zip(some, others, strict=True)
        for name in _NAMES
    )


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        # By bytes: NaN, where nothing was predicted, equals itself.
        is_alike = one.shape == other.shape and one.dtype == other.dtype
        return is_alike and one.tobytes() == other.tobytes()
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return type(one) is type(other) and bool(one == other)


def has_overlay(trace: Trace, slot: int) -> bool:
    """Return whether a row has the curve of a pin."""
    return slot < len(trace.overlays) and trace.overlays[slot] is not None


def low_and_scale(trace: Trace) -> tuple[float, float]:
    """Return the minimum and the range of all curves, which share one scale."""
    curves = [trace.truth, np.array(trace.least), trace.predicted, trace.baseline]
    curves += trace.overlays
    values = np.concatenate([curve for curve in curves if curve is not None])
    # Never empty, because `least` is finite.
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    return low, max(high - low, 1e-6)


def row_ranges(
    visible: Sequence[Trace], scale: Scale, rows: Sequence[Trace]
) -> list[tuple[float, float]]:
    """Return minimum and range of each visible row.

    A common range is the largest range of all `rows`, so that scrolling does not
    change the scale.
    """
    ranges = [low_and_scale(trace) for trace in visible]
    if scale == "common" and ranges:
        widest = max(low_and_scale(trace)[1] for trace in rows)
        # Rows keep their own minimum; only the units per pixel become equal.
        ranges = [(low, widest) for low, _ in ranges]
    return ranges


def time_extent(time: np.ndarray) -> tuple[float, float]:
    """Return the time from the start of the first cell to the end of the last one."""
    # Each sample is drawn as a cell around its time, half a sample to each side.
    half = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1) / 2
    return float(time[0]) - half, float(time[-1]) + half


def cursor_sample(time_s: float, time: np.ndarray) -> int:
    """Return the response sample nearest to a time, limited to the window."""
    # The mean step: time stamps of recordings are not exactly regular.
    step = (float(time[-1]) - float(time[0])) / max(len(time) - 1, 1)
    sample = round((time_s - float(time[0])) / step) if step else 0
    return int(min(max(sample, 0), len(time) - 1))
