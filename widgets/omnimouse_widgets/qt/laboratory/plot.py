"""Plot of what an experiment found of one neuron: tuning, field or image."""

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor

from omnimouse_model.lab.experiments import Experiment, ExperimentResult
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style

TOOLTIP = (
    "What the experiment found of the neuron in focus.\n"
    "Direction: response to each direction of motion, 0° right, 90° up; yellow: the\n"
    "preferred direction; dotted: the true one, of a simulated neuron.\n"
    "Levels: response at the best direction. Receptive field: average of the dots,\n"
    "weighted by the responses, with the centre of a fitted Gaussian."
)

_RIM, _EDGE = 72, 1.1
"""Number of coloured points around a polar curve, and their distance from it."""


class LabPlot:
    """One plot that shows tuning, a receptive field or an exciting image."""

    def __init__(self) -> None:
        self.canvas = plot_style.canvas(TOOLTIP)
        self.box = pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.03)
        self.plot = pg.PlotItem(viewBox=self.box)
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot, left=False, bottom=False)
        self.image = plot_style.image()
        # The colours of directions on the field, around the curve.
        self.rim = pg.ScatterPlotItem(size=6, pen=None)
        self.curve = plot_style.curve(palette.PREDICTED, 1.5)
        self.points = pg.ScatterPlotItem(
            size=5, pen=None, brush=plot_style.brush(palette.PREDICTED)
        )
        self.preferred = plot_style.curve(palette.CURSOR, 1.5)
        self.true = plot_style.curve(palette.RECORDED, 1.5, dotted=True)
        self.centre = pg.ScatterPlotItem(
            size=11, symbol="+", pen=plot_style.pen(palette.CURSOR, 1.5)
        )
        self._items = (
            *(self.image, self.rim, self.curve, self.points),
            *(self.preferred, self.true, self.centre),
        )
        for item in self._items:
            self.plot.addItem(item)
        self.message = plot_style.Message(self.box)
        self.show_message("")

    def show_message(self, text: str) -> None:
        """Show a message in place of a result."""
        self._show_only()
        self._axes(is_shown=False)
        self.message.show(text)

    def show_result(
        self, result: ExperimentResult, at: int, true_deg: float | None
    ) -> None:
        """Draw one neuron of a result; `true_deg` is known in simulations."""
        self.message.show("")
        findings = result.findings
        if findings.average is not None:
            columns = findings.columns
            place = (float(columns["row_px"][at]), float(columns["column_px"][at]))
            self._show_field(findings.average[at], place)
        elif findings.levels is not None and findings.curves is not None:
            curve = findings.curves[at]
            if result.experiment.period is None:
                self._show_curve(findings.levels, curve, result.experiment)
            else:
                preferred = float(findings.columns["preferred_deg"][at])
                self._show_around(findings.levels, curve, preferred, true_deg)

    def show_image(self, frame: np.ndarray) -> None:
        """Draw a frame uint8 (height, width)."""
        self.message.show("")
        self._show_only(self.image)
        self.image.setLookupTable(None)
        self.image.setImage(frame, autoLevels=False, levels=(0, 255))
        self._frame(*frame.shape)

    def _show_field(self, average: np.ndarray, place: tuple[float, float]) -> None:
        self._show_only(self.image, self.centre)
        most = max(float(np.abs(average).max()), 1e-12)
        self.image.setLookupTable(palette.residual_table())
        self.image.setImage(average, autoLevels=False, levels=(-most, most))
        self.centre.setData([place[1]], [place[0]])
        self._frame(*average.shape)

    def _frame(self, height: int, width: int) -> None:
        self._axes(is_shown=False)
        self.box.setAspectLocked(True)
        self.box.invertY(True)
        self.image.setRect(QRectF(0, 0, width, height))
        self.box.setRange(QRectF(0, 0, width, height))

    def _show_curve(
        self, levels: np.ndarray, curve: np.ndarray, experiment: Experiment
    ) -> None:
        self._show_only(self.curve, self.points)
        self.box.setAspectLocked(False)
        self.box.invertY(False)
        self._axes(is_shown=True)
        # Levels double from one to the next: their places are equally far apart.
        places = np.arange(len(levels), dtype=float)
        self.curve.setData(places, curve)
        self.points.setData(places, curve)
        names = [f"{level:g}" for level in levels]
        unit = f" ({experiment.unit})" if experiment.unit else ""
        label = f"{experiment.label.lower()}{unit}"
        for side, text in (("bottom", label), ("left", "response (s.d.)")):
            self.plot.setLabel(side, text, color=plot_style.AXIS)
            self.plot.getAxis(side).label.setFont(plot_style.small_font())
        self.plot.getAxis("bottom").setTicks([list(zip(places, names, strict=True))])
        high = max(float(curve.max()), 1e-12)
        low = min(float(curve.min()), 0.0)
        self.plot.setRange(
            xRange=(-0.3, len(levels) - 0.5), yRange=(low, 1.08 * high), padding=0
        )

    def _show_around(
        self,
        degrees: np.ndarray,
        curve: np.ndarray,
        preferred_deg: float,
        true_deg: float | None,
    ) -> None:
        self._show_only(self.rim, self.curve, self.points, self.preferred)
        self.true.setVisible(true_deg is not None)
        self._axes(is_shown=False)
        self.box.setAspectLocked(True)
        self.box.invertY(False)
        angles = np.radians(np.append(degrees, degrees[:1]))
        radii = np.append(curve, curve[:1])
        x, y = radii * np.cos(angles), radii * np.sin(angles)
        self.curve.setData(x, y)
        self.points.setData(x, y)
        most = max(float(curve.max()), 1e-12)
        circle, edge = np.linspace(0, 2 * np.pi, _RIM, endpoint=False), _EDGE * most
        colours = palette.cycle_table()[np.arange(_RIM) * 256 // _RIM]
        brushes = [QColor(*map(int, colour)) for colour in colours]
        self.rim.setData(edge * np.cos(circle), edge * np.sin(circle), brush=brushes)
        for item, angle in ((self.preferred, preferred_deg), (self.true, true_deg)):
            if angle is not None:
                tip = np.radians(angle)
                item.setData([0.0, most * np.cos(tip)], [0.0, most * np.sin(tip)])
        self.box.setRange(QRectF(-edge, -edge, 2 * edge, 2 * edge))

    def _show_only(self, *shown: object) -> None:
        for item in self._items:
            item.setVisible(any(item is one for one in shown))

    def _axes(self, *, is_shown: bool) -> None:
        for name in ("left", "bottom"):
            self.plot.showAxis(name, is_shown)
            if is_shown:
                plot_style.style_axis(self.plot.getAxis(name))
