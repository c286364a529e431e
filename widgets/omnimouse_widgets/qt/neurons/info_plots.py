"""Plots of a neuron's receptive field, lag curve, direction tuning and repeats.

The plots draw the arrays passed to them, or show why there is no data.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF

from omnimouse_model.analysis.tuning.direction import DirectionTuning
from omnimouse_model.analysis.tuning.receptive_fields import ReceptiveField
from omnimouse_model.analysis.tuning.repeats import AlignedPrediction, ClipRepeats
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style

WAITING: Final = "◌"
NONE_FOUND: Final = "none found"
PLACE: Final = "circle: place that\nthe model reads"
FRAME: Final = (36, 64)
"""Height and width in pixels of the frames from which fields are computed."""
SPREAD_ALPHA: Final = 60
"""Opacity of the standard deviation over repeats."""


def _titled_plot(title: str, box: pg.ViewBox, *, bottom: bool = False) -> pg.PlotItem:
    plot = pg.PlotItem(viewBox=box)
    plot_style.style_plot(plot, left=False, bottom=bottom)
    plot.setTitle(title, color=plot_style.TEXT, size="8pt")
    return plot


class FieldPlot:
    """Receptive field map over the frame, with a cross at its centre.

    A circle is the place that a model reads.
    """

    def __init__(self) -> None:
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.02)
        self.plot = _titled_plot("receptive field", self.box)
        self.box.setAspectLocked(True)
        self.box.invertY(True)
        self.image = plot_style.image()
        self.frame = plot_style.curve(plot_style.AXIS)
        self.centre = pg.ScatterPlotItem(
            size=11, symbol="+", pen=plot_style.pen(palette.CURSOR, 1.5)
        )
        self.model_place = pg.ScatterPlotItem(
            size=11, symbol="o", pen=plot_style.pen(palette.PREDICTED, 1.5), brush=None
        )
        for item in (self.image, self.frame, self.centre, self.model_place):
            self.plot.addItem(item)
        self.model_place.hide()
        height, width = FRAME
        self.frame.setData([0, width, width, 0, 0], [0, 0, height, height, 0])
        self.message = plot_style.Message(self.box)
        self._missing = ""

    def show(self, field: ReceptiveField | None) -> None:
        """Draw the map; show a message if there is none."""
        is_known = field is not None and not field.problem
        for item in (self.image, self.centre):
            item.setVisible(is_known)
        self._missing = WAITING if field is None else NONE_FOUND if field.problem else ""
        self._tell()
        if field is None or field.problem:
            return
        # "plain" maps have both signs: a range symmetric about 0 keeps 0 at the middle
        # colour. Motion energy is not negative.
        strongest = max(float(np.abs(field.map).max()), 1e-12)
        is_signed = field.kind == "plain"
        table = palette.residual_table() if is_signed else palette.viridis_table()
        self.image.setLookupTable(table)
        low = -strongest if is_signed else 0.0
        self.image.setImage(field.map, autoLevels=False, levels=(low, strongest))
        # The frames from which the field was computed, whatever a model reads. The map
        # has larger cells, and its centre is in pixels of the frame.
        height, width = FRAME
        self.image.setRect(QRectF(0, 0, width, height))
        self.box.setRange(QRectF(0, 0, width, height))
        row, column = field.centre_yx
        # Pixel i covers [i, i + 1): its middle is i + 0.5.
        self.centre.setData([column + 0.5], [row + 0.5])

    def show_model_place(self, place: np.ndarray | None) -> None:
        """Mark the place that a model reads: row and column as shares of the frame."""
        self.model_place.setVisible(place is not None)
        if place is not None:
            height, width = FRAME
            self.model_place.setData([place[1] * width], [place[0] * height])
            self.box.setRange(QRectF(0, 0, width, height))
        self._tell()

    def _tell(self) -> None:
        """Tell why there is no map and what a circle is then; frame what is drawn."""
        has_place = self.model_place.isVisible()
        is_alone = has_place and self._missing == NONE_FOUND
        text = f"{NONE_FOUND};\n{PLACE}" if is_alone else self._missing
        self.message.show(text)
        self.frame.setVisible(has_place or not self._missing)


class LagPlot:
    """Strength at the map's peak against the time from frame to response."""

    def __init__(self) -> None:
        box = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.plot = _titled_plot("lag (ms)", box, bottom=True)
        self.zero = pg.InfiniteLine(0, angle=0, pen=plot_style.pen(plot_style.AXIS, dotted=True))
        self.curve = plot_style.curve(palette.VISIBLE)
        self.best = pg.InfiniteLine(angle=90, pen=plot_style.pen(palette.CURSOR))
        for item in (self.zero, self.curve, self.best):
            self.plot.addItem(item)

    def show(self, field: ReceptiveField | None) -> None:
        """Draw the curve; hide it if there is none."""
        is_known = field is not None and not field.problem
        for item in (self.zero, self.curve, self.best):
            item.setVisible(is_known)
        self.plot.showAxis("bottom", is_known)
        if field is None or field.problem:
            return
        lags_ms = 1000 * field.lags_s
        self.curve.setData(lags_ms, field.course)
        self.best.setValue(1000 * field.lag_s)
        # The range contains 0, the level of no influence, which has its own line.
        low, high = float(min(field.course.min(), 0)), float(max(field.course.max(), 0))
        margin = 0.08 * max(high - low, 1e-12)
        y_range = (low - margin, high + margin)
        self.plot.setRange(xRange=(0, float(lags_ms[-1])), yRange=y_range, padding=0)


class TuningPlot:
    """Polar plot of response by direction; 0° is right, 90° is up."""

    def __init__(self) -> None:
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.plot = _titled_plot("direction", self.box)
        self.box.setAspectLocked(True)
        self.grid = plot_style.curve(plot_style.AXIS, dotted=True)
        self.errors = plot_style.curve(palette.VISIBLE)
        self.curve = plot_style.curve(palette.VISIBLE, 1.5)
        self.preferred = plot_style.curve(palette.CURSOR, 1.5)
        self._items = (self.grid, self.errors, self.curve, self.preferred)
        for item in self._items:
            self.plot.addItem(item)
        self.message = plot_style.Message(self.box)

    def show(self, tuning: DirectionTuning | None) -> None:
        """Draw the tuning; show a message if there is none."""
        for item in self._items:
            item.setVisible(tuning is not None and not tuning.problem)
        if tuning is None or tuning.problem:
            self.message.show(WAITING if tuning is None else "unknown")
            return
        self.message.show("")
        angles = np.radians(tuning.directions_deg)
        most = float((tuning.response + tuning.error).max())
        self.curve.setData(*_around(_closed(angles), _closed(tuning.response)))
        # NaN after each spoke, from -s.e. to +s.e., separates it from the next one.
        spokes = tuning.response + np.outer([-1, 1, np.nan], tuning.error)
        self.errors.setData(*_around(np.repeat(angles, 3), spokes.T.ravel()))
        circle = np.linspace(0, 2 * np.pi, 90)
        self.grid.setData(*_around(circle, np.full(90, float(tuning.response.mean()))))
        # The line is drawn only for selectivity beyond that of shuffled responses.
        is_sure = tuning.is_direction_selective
        is_sure |= not tuning.has_directions and tuning.is_orientation_selective
        self.preferred.setVisible(is_sure)
        tip = np.radians(tuning.preferred_deg)
        self.preferred.setData(*_around(np.array([tip, tip]), np.array([0.0, most])))
        self.box.setRange(QRectF(-most, -most, 2 * most, 2 * most), padding=0.03)


def _closed(values: np.ndarray) -> np.ndarray:
    # Repeat the first direction, so that the curve is closed.
    return np.append(values, values[:1])


def _around(angles: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return radii * np.cos(angles), radii * np.sin(angles)


class RepeatsPlot:
    """One row per repeat; below, their mean and its s.d. with the prediction.

    Parameters
    ----------
    pressed
        Called with the repeat and its time in seconds when a row is pressed.
    """

    def __init__(self, pressed: Callable[[int, float], None]) -> None:
        self.rows_box = plot_style.PressBox(self._press)
        self.rows = pg.PlotItem(viewBox=self.rows_box)
        plot_style.style_plot(self.rows, left=False, bottom=False)
        self.rows_box.invertY(True)
        self.image = plot_style.image()
        self.image.setLookupTable(palette.viridis_table())
        self.rows.addItem(self.image)
        self.window = plot_style.curve(palette.PREDICTED)
        self.rows.addItem(self.window)
        self.means = pg.PlotItem(viewBox=pg.ViewBox(enableMenu=False, enableMouse=False))
        plot_style.style_plot(self.means, left=False)
        self.means.setLabel("bottom", "time in the clip (s)", color=plot_style.AXIS)
        self.means.getAxis("bottom").label.setFont(plot_style.small_font())
        self.mean = plot_style.curve(palette.RECORDED)
        self.predicted = plot_style.curve(palette.PREDICTED, dashed=True)
        limits = [pg.PlotCurveItem(connect="finite") for _ in range(2)]
        self.spread = pg.FillBetweenItem(
            *limits, brush=plot_style.brush(palette.RECORDED, SPREAD_ALPHA)
        )
        self.means.addItem(self.spread)
        self.means.addItem(self.mean)
        self.means.addItem(self.predicted)
        self.message = plot_style.Message(self.rows_box)
        self._pressed = pressed
        self._n_rows, self._length, self._drawn = 0, 1.0, np.empty(0)

    def show(self, repeats: ClipRepeats | None, missing: str) -> None:
        """Draw one neuron's repeats, or the message `missing`."""
        for item in (self.image, self.mean, self.spread):
            item.setVisible(repeats is not None)
        self.means.showAxis("bottom", repeats is not None)
        self.message.show(missing if repeats is None else "")
        self._n_rows = 0 if repeats is None else len(repeats.onset_s)
        if repeats is None:
            return
        # These repeats are of one neuron, so the first axis has length 1.
        values = repeats.responses[0]
        levels = plot_style.response_levels(values)
        # Unknown samples are drawn as 0, the darkest colour.
        self.image.setImage(np.nan_to_num(values), autoLevels=False, levels=levels)
        length = max(repeats.clip.duration_s, 1e-3)
        self.image.setRect(QRectF(0, 0, length, self._n_rows))
        self.rows.setRange(xRange=(0, length), yRange=(0, self._n_rows), padding=0)
        average = repeats.average[0]
        self.mean.setData(repeats.time_s, average)
        spread = repeats.spread[0]
        limits = np.stack([average - spread, average + spread])
        for curve, limit in zip(self.spread.curves, limits, strict=True):
            curve.setData(repeats.time_s, limit)
        drawn = np.concatenate([average, *limits])
        self._drawn = drawn[np.isfinite(drawn)]
        self._length = length

    def show_prediction(self, over: AlignedPrediction | None) -> None:
        """Draw a prediction over the mean, and frame its window in the rows."""
        self.predicted.setVisible(over is not None)
        self.window.setVisible(over is not None)
        values = np.empty(0)
        if over is not None:
            self.predicted.setData(over.time_s, over.values)
            values = over.values[np.isfinite(over.values)]
            left, right = float(over.time_s[0]), float(over.time_s[-1])
            top, bottom = over.repeat, over.repeat + 1
            corners = [top, top, bottom, bottom, top]
            self.window.setData([left, right, right, left, left], corners)
        # Include 0, so that the height of a response can be read off.
        if self._n_rows:
            both = np.concatenate([self._drawn, values, [0.0]])
            margin = 0.05 * max(float(np.ptp(both)), 1e-6)
            low, high = float(both.min()) - margin, float(both.max()) + margin
            self.means.setRange(xRange=(0, self._length), yRange=(low, high), padding=0)

    def _press(self, x: float, y: float) -> None:
        if 0 <= y < self._n_rows:
            self._pressed(int(y), x)
