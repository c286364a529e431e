"""Plot of what the laboratory found: tuning, field, image or confusion matrix."""

from html import escape

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter

from omnimouse_widgets import palette
from omnimouse_widgets.drawn.laboratory_plots import (
    Confusion,
    Curve,
    Image,
    LabPlot,
    Message,
    Polar,
)
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.picture import Picture
from omnimouse_widgets.qt.style.plot_theme import themed_colour

TOOLTIP = (
    "What the experiment found of the neuron in focus.\n"
    "Direction: response to each direction of motion, 0° right, 90° up; yellow: the\n"
    "preferred direction; dotted: the true one, of a simulated neuron.\n"
    "Levels: response at the best direction. Receptive field: average of the dots,\n"
    "weighted by the responses, over the frame at the cursor; cross, ellipse: centre\n"
    "and standard deviation of a fitted Gaussian, which includes the width of a dot.\n"
    "Barcodes: share of the neurons of each true class (row) per predicted class."
)

_RIM, _EDGE = 72, 1.1
"""Number of coloured points around a polar curve, and their distance from it."""
_LINE = 14
"""Height of a line of text below a saved plot; each may need two of them."""


class LabCanvas:
    """One plot that shows any result of the laboratory.

    Attributes
    ----------
    shown
        The plot that is drawn.
    """

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
        self._texts: list[pg.TextItem] = []
        self.message = plot_style.Message(self.box)
        self.shown: LabPlot = Message("")
        self.show(self.shown)

    def show(self, plot: LabPlot) -> None:
        """Draw a plot in place of the one before."""
        self.shown = plot
        for text in self._texts:
            self.plot.removeItem(text)
        self._texts = []
        self.message.show(plot.text if isinstance(plot, Message) else "")
        if isinstance(plot, Polar):
            self._show_polar(plot)
        elif isinstance(plot, Curve):
            self._show_curve(plot)
        elif isinstance(plot, Image):
            self._show_image(plot)
        elif isinstance(plot, Confusion):
            self._show_confusion(plot)
        else:
            self._show_only()
            self._axes(is_shown=False)

    def picture(self, description: str) -> Picture:
        """Return the plot as a picture of its size on screen, and a text below it."""
        view = self.canvas.viewport().rect()
        background = plot_style.BACKGROUND, plot_style.TEXT
        paper, ink = (themed_colour(colour, is_light=self.canvas.is_light) for colour in background)
        lines = description.splitlines()

        def paint(painter: QPainter) -> None:
            # Vector drawing: symbols are not taken from a cache of pixels.
            symbols = [item for item in self._items if hasattr(item, "setExportMode")]
            for item in symbols:
                item.setExportMode(True, {"painter": painter, "resolutionScale": 1.0})
            self.canvas.render(painter, QRectF(view), view)
            for item in symbols:
                item.setExportMode(False)
            painter.setFont(plot_style.small_font())
            painter.setPen(QColor(ink))
            flags = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap
            below = QRectF(6, view.height(), view.width() - 12, _LINE * 2 * len(lines))
            painter.drawText(below, int(flags), description)

        height = view.height() + _LINE * 2 * len(lines)
        return Picture(
            QSize(view.width(), height),
            self.canvas.logicalDpiX(),
            paper,
            "Laboratory, OmniMouse Studio",
            description,
            paint,
        )

    def _show_image(self, plot: Image) -> None:
        shown: list[object] = [self.image]
        self.image.setLookupTable(None)
        self.image.setImage(plot.pixels, autoLevels=False, levels=(0, 255))
        if plot.place is not None:
            shown.append(self.centre)
            self.centre.setData([plot.place[0]], [plot.place[1]])
        if plot.outline is not None:
            shown.append(self.preferred)
            self.preferred.setData(*plot.outline.T)
        self._show_only(*shown)
        self._axes(is_shown=False)
        height, width = plot.pixels.shape[:2]
        self._frame(height, width)

    def _show_confusion(self, plot: Confusion) -> None:
        self._show_only(self.image)
        self._axes(is_shown=True)
        self.image.setLookupTable(palette.viridis_table())
        self.image.setImage(plot.shares, autoLevels=False, levels=(0, 1))
        n = len(plot.classes)
        names = [(k + 0.5, name) for k, name in enumerate(plot.classes)]
        for side, label in (("left", "true"), ("bottom", "predicted")):
            self.plot.setLabel(side, escape(f"{label} {plot.label}"), color=plot_style.AXIS)
            self.plot.getAxis(side).setTicks([names])
        for row, column in np.ndindex(n, n):
            share = float(plot.shares[row, column])
            # Viridis is bright where it is high.
            tint = "#101010" if share > 0.55 else "#f0f0f0"
            at = (column + 0.5, row + 0.5)
            self._add_text(f"{100 * share:z.0f} %", at, (0.5, 0.5), tint)
        self._frame(n, n)

    def _add_text(
        self,
        content: str,
        at: tuple[float, float],
        anchor: tuple[float, float],
        colour: str,
    ) -> None:
        text = pg.TextItem(content, color=colour, anchor=anchor)
        text.setPos(*at)
        self.plot.addItem(text)
        self._texts.append(text)

    def _frame(self, height: int, width: int) -> None:
        self.box.setAspectLocked(True)
        self.box.invertY(True)
        self.image.setRect(QRectF(0, 0, width, height))
        self.box.setRange(QRectF(0, 0, width, height))

    def _show_curve(self, plot: Curve) -> None:
        self._show_only(self.curve, self.points)
        self.box.setAspectLocked(False)
        self.box.invertY(False)
        self._axes(is_shown=True)
        # Levels double from one to the next: their places are equally far apart.
        places = np.arange(len(plot.levels), dtype=float)
        self.curve.setData(places, plot.values)
        self.points.setData(places, plot.values)
        names = [f"{level:g}" for level in plot.levels]
        for side, text in (("bottom", plot.label), ("left", "response (s.d.)")):
            self.plot.setLabel(side, escape(text), color=plot_style.AXIS)
            self.plot.getAxis(side).label.setFont(plot_style.small_font())
        self.plot.getAxis("left").setTicks(None)
        self.plot.getAxis("bottom").setTicks([list(zip(places, names, strict=True))])
        # A level without a sample has no response.
        known = plot.values[np.isfinite(plot.values)]
        high = max(float(known.max(initial=0.0)), 1e-12)
        low = float(known.min(initial=0.0))
        self.plot.setRange(xRange=(-0.3, len(places) - 0.5), yRange=(low, 1.08 * high), padding=0)

    def _show_polar(self, plot: Polar) -> None:
        shown = [self.rim, self.curve, self.points, self.preferred]
        if plot.true_deg is not None:
            shown.append(self.true)
        self._show_only(*shown)
        self._axes(is_shown=False)
        self.box.setAspectLocked(True)
        self.box.invertY(False)
        angles = np.radians(np.append(plot.degrees, plot.degrees[:1]))
        radii = np.append(plot.values, plot.values[:1])
        x, y = radii * np.cos(angles), radii * np.sin(angles)
        self.curve.setData(x, y)
        self.points.setData(x, y)
        most = max(float(np.nanmax([0.0, *plot.values])), 1e-12)
        circle, edge = np.linspace(0, 2 * np.pi, _RIM, endpoint=False), _EDGE * most
        colours = palette.cycle_table()[np.arange(_RIM) * 256 // _RIM]
        brushes = [QColor(*map(int, colour)) for colour in colours]
        self.rim.setData(edge * np.cos(circle), edge * np.sin(circle), brush=brushes)
        for item, angle in (
            (self.preferred, plot.preferred_deg),
            (self.true, plot.true_deg),
        ):
            if angle is not None:
                tip = np.radians(angle)
                item.setData([0.0, most * np.cos(tip)], [0.0, most * np.sin(tip)])
        for degrees, anchor in ((0, (0.0, 0.5)), (90, (0.5, 1.0))):
            turn = np.radians(degrees)
            at = (1.06 * edge * np.cos(turn), 1.06 * edge * np.sin(turn))
            self._add_text(f"{degrees}°", at, anchor, plot_style.AXIS)
        wide = 1.2 * edge
        self.box.setRange(QRectF(-wide, -wide, 2 * wide, 2 * wide))

    def _show_only(self, *shown: object) -> None:
        for item in self._items:
            item.setVisible(any(item is one for one in shown))

    def _axes(self, *, is_shown: bool) -> None:
        for name in ("left", "bottom"):
            self.plot.showAxis(name, is_shown)
            if is_shown:
                plot_style.style_axis(self.plot.getAxis(name))
