"""Plot of the repeats of one clip side by side: rasters, with means below them."""

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF

from omnimouse_model.analysis.tuning.repeats import ClipRepeats
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style

GAP = 0.06
"""Gap between repeats as a fraction of the clip."""
MEAN_HEIGHT = 0.45
"""Height of the means as a fraction of that of the rasters."""
MAX_ROWS = 64
MAX_TICKS = 10
CEILING_TIP = (
    "Correlation of a perfect prediction from the clip alone with the mean over\n"
    "repeats (CC_max, Schoppe et al. 2016), or with one repeat. A model that also\n"
    "sees behaviour or other neurons can exceed it.\n"
    "Oracle: correlation of each repeat with the mean of the others."
)
# Orange, so that it differs from the white means of single repeats.
_AVERAGE = "#E69F00"


class RepeatsSideBySide:
    """Plot in which repeat k starts at `k * pitch` on the horizontal axis.

    Parameters
    ----------
    pressed
        Called with the repeat and the time in the clip, in seconds, of a press.
    """

    def __init__(self, pressed: Callable[[int, float], None]) -> None:
        self._pressed = pressed
        self._repeats: ClipRepeats | None = None
        self.box = plot_style.PressBox(self._press)
        self.plot = pg.PlotItem(viewBox=self.box)
        plot_style.style_plot(self.plot)
        self.plot.getAxis("left").setWidth(58)
        self.plot.getAxis("bottom").setHeight(18)
        self.image = plot_style.image()
        self.image.setLookupTable(palette.viridis_table())
        self.means = plot_style.curve(palette.RECORDED)
        self.average = plot_style.curve(_AVERAGE)
        self.window = plot_style.curve(palette.CURSOR, 2)
        # Later items are on top.
        for item in (self.image, self.average, self.means, self.window):
            self.plot.addItem(item)
        self.message = plot_style.Message(self.box)

    @property
    def pitch(self) -> float:
        """Distance between the starts of two repeats on the axis, in seconds."""
        assert self._repeats is not None
        time_s = self._repeats.time_s
        step_s = float(time_s[-1] - time_s[0]) / max(len(time_s) - 1, 1)
        return len(time_s) * step_s * (1 + GAP)

    def show(self, repeats: ClipRepeats | None, missing: str, name: str) -> None:
        """Draw the repeats, or the message `missing`; `name` labels a single neuron."""
        self._repeats = repeats
        for item in (self.image, self.means, self.average):
            item.setVisible(repeats is not None)
        for axis in ("left", "bottom"):
            self.plot.showAxis(axis, repeats is not None)
        self.message.show(missing if repeats is None else "")
        self.window.setData([], [])
        if repeats is None:
            return
        self._draw_rasters(repeats)
        self._draw_means(repeats)
        count = len(repeats.onset_s)
        self.plot.setRange(
            xRange=(0, count * self.pitch - GAP), yRange=(-MEAN_HEIGHT, 1), padding=0
        )
        self._draw_ticks(repeats, name)

    def frame_window(self, start_s: float, stop_s: float, repeat: int | None) -> None:
        """Frame the part of a repeat that lies in the window, in session seconds."""
        repeats = self._repeats
        if repeats is None or repeat is None:
            self.window.setData([], [])
            return
        onset, length = float(repeats.onset_s[repeat]), repeats.clip.duration_s
        left, right = (
            # The window may extend beyond the clip: limit it to the repeat.
            repeat * self.pitch + min(max(at - onset, 0.0), length)
            for at in (start_s, stop_s)
        )
        low = -MEAN_HEIGHT
        self.window.setData([left, right, right, left, left], [low, low, 1, 1, low])

    def _draw_rasters(self, repeats: ClipRepeats) -> None:
        rows = binned_rows(repeats.responses)  # (row, repeat, time)
        # One image for all repeats, with columns of NaN as gaps.
        gap = max(round(rows.shape[2] * GAP), 1)
        padded = np.pad(rows, ((0, 0), (0, 0), (0, gap)), constant_values=np.nan)
        # (row, repeat * time); image rows run upwards, so reverse them.
        flat = padded.reshape(len(rows), -1)[::-1]
        levels = plot_style.response_levels(rows)
        self.image.setImage(flat, autoLevels=False, levels=levels)
        width = len(repeats.onset_s) * self.pitch
        self.image.setRect(QRectF(0, 0.03, width, 0.97))

    def _draw_means(self, repeats: ClipRepeats) -> None:
        with np.errstate(invalid="ignore"):
            each = _mean(repeats.responses)  # (repeat, time)
            average = _mean(repeats.average)
        finite = np.concatenate([each.ravel(), average])
        finite = finite[np.isfinite(finite)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
        # All repeats share one scale; the means lie below the rasters, from
        # -MEAN_HEIGHT to 0.
        scale = (MEAN_HEIGHT - 0.05) / max(float(high - low), 1e-9)

        def placed(values: np.ndarray) -> np.ndarray:
            heights = -MEAN_HEIGHT + 0.02 + (values - low) * scale
            return np.append(heights, np.nan)  # NaN breaks the line between repeats

        places = [np.append(repeats.time_s + k * self.pitch, np.nan) for k in range(len(each))]
        x = np.concatenate(places)
        self.means.setData(x, np.concatenate([placed(values) for values in each]))
        self.average.setData(x, np.concatenate([placed(average)] * len(each)))

    def _draw_ticks(self, repeats: ClipRepeats, name: str) -> None:
        count = len(repeats.onset_s)
        # Ceiling division.
        step = -(-count // MAX_TICKS)
        length = float(repeats.time_s[-1])
        ticks = [
            (k * self.pitch + length / 2, f"{repeats.onset_s[k]:z.0f} s")
            for k in range(0, count, step)
        ]
        self.plot.getAxis("bottom").setTicks([ticks])
        n = len(repeats.neurons)
        rows = f"{n}\nneurons" if n > 1 else f"neuron\n{name}"
        ticks = [(0.5, rows), (-MEAN_HEIGHT / 2, "mean")]
        self.plot.getAxis("left").setTicks([ticks])

    def _press(self, x: float, _y: float) -> None:
        if self._repeats is None:
            return
        repeat, time_s = divmod(x, self.pitch)
        if 0 <= repeat < len(self._repeats.onset_s):
            # A press in the gap counts as the end of the repeat before it.
            time_s = min(time_s, self._repeats.clip.duration_s)
            self._pressed(int(repeat), float(time_s))


def binned_rows(responses: np.ndarray) -> np.ndarray:
    """Average adjacent neurons of (neuron, repeat, time) to at most 64 rows."""
    size = -(-len(responses) // MAX_ROWS)
    if size <= 1:
        return responses
    groups = [_mean(responses[first : first + size]) for first in range(0, len(responses), size)]
    return np.stack(groups)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, ignoring NaN; NaN if all are unknown."""
    # np.nanmean would emit a warning for each time without a known value.
    finite = np.isfinite(values)
    total, count = np.where(finite, values, 0.0).sum(axis=0), finite.sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
