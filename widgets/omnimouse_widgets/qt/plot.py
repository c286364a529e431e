"""Plot of a record: curves, polar curve, image or message."""

from collections.abc import Callable, Sequence
from functools import reduce
from html import escape
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPoint, QPointF, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QRegion
from qtpy.QtWidgets import QTableView, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.controls import describe
from omnimouse_widgets.qt.style.plot_style import Picture, PlotCanvas
from omnimouse_widgets.qt.style.theme import is_on_light, themed_colour
from omnimouse_widgets.views import record

_RIM, _EDGE = 72, 1.1
"""Number of coloured points around a polar curve, and their distance from it."""
_BAND_ALPHA: Final = 45
"""Opacity of the band around a line."""
_TICKS_WIDTH: Final = 58
"""Width in pixels of a vertical axis with given texts."""
_TEXT_GAP: Final = 4
"""Least distance in pixels between two texts of a horizontal axis."""
_NO_TICKS_WIDTH: Final = 6
_LEAST_NAMES: Final = 200
"""Width in pixels of a row of names, before the plot has its size."""
_MOST_NAMES: Final = 0.5
"""Largest share of a plot that names take."""
_DASHES: Final[dict[record.Dash, tuple[float, ...]]] = {
    "dashed": (3, 2),
    "dotted": (1, 2),
    "dash-dot": (6, 2.5, 1, 2.5),
    "long-dash": (12, 4),
    "long-dash-dot": (12, 3, 1, 3),
}
_PALE: Final = 0.45
"""Opacity of what is preliminary or of an older mask."""
_TEXT_LINE = 14
"""Height of a line of text below a saved picture; each may need two of them."""


class RecordPlot:
    """One canvas that draws any plot of a record.

    Parameters
    ----------
    pressed
        Called with the place (x, y) of a press on curves.
    selected
        Called with the outline (point, 2) of a press or drag, and whether it adds.

    Attributes
    ----------
    shown
        The plot that is drawn.
    items
        What is drawn of it, as items of pyqtgraph.
    overlays
        Lines over it, by name.
    """

    def __init__(
        self,
        pressed: Callable[[float, float], object] = lambda x, y: None,
        selected: Callable[[np.ndarray, bool], object] = lambda outline, is_added: None,
    ) -> None:
        self._pressed, self._selected = pressed, selected
        self.overlays: dict[str, Any] = {}
        self._overlaid: dict[str, record.Overlay] = {}
        self.canvas: PlotCanvas = plot_style.canvas("")
        self.box = _OutlineBox(self._press, self._select)
        axes = {"bottom": _TextsAxis("bottom"), "left": _RoomyAxis("left")}
        self.plot = pg.PlotItem(viewBox=self.box, axisItems=axes)
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot, left=False, bottom=False)
        # An SI prefix would show 0.3 as 300 (x0.001).
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        self.message = plot_style.Message(self.box)
        self.items: list[pg.GraphicsObject] = []
        self._lines: dict[object, list[pg.GraphicsObject]] = {}
        self._names: list[Any] = []
        self.box.sigResized.connect(self._place_names)
        self._labels = ("", "")
        self.shown: record.Plot = record.Message("", "", "")

    def show(self, plot: record.Plot) -> None:
        """Draw a plot in place of the one before."""
        self.shown = plot
        describe(self.canvas, getattr(plot, "tip", "") or plot.label, plot.label)
        # Of a sweep, one line changes at a time: the others stay.
        lines = plot.lines if isinstance(plot, record.Curves) else ()
        keys = [_key(line, plot) for line in lines]
        self._lines = {key: self._lines[key] for key in keys if key in self._lines}
        kept = [item for items in self._lines.values() for item in items]
        for item in self.items:
            if not any(item is other for other in kept):
                self.plot.removeItem(item)
        self.items, self._names = kept, []
        self.plot.setTitle(plot.title or None, color=plot_style.TEXT, size="8pt")
        self.message.show(plot.text if isinstance(plot, record.Message) else "")
        # A message can stand in the place of another recording's plot.
        for item in self.overlays.values():
            item.setVisible(not isinstance(plot, record.Message))
        for side in ("left", "bottom"):
            self.plot.showAxis(side, isinstance(plot, record.Curves))
        self.box.setAspectLocked(isinstance(plot, (record.Polar, record.Image)))
        self.box.invertY(isinstance(plot, record.Image))
        # Outlines over a dark picture keep their colours in a light theme.
        ground = QColor(plot_style.BACKGROUND) if isinstance(plot, record.Image) else None
        self.box.setBackgroundColor(ground)
        self.box.outline = plot.outline if isinstance(plot, record.Curves) else ""
        if isinstance(plot, record.Curves):
            self._show_curves(plot)
        elif isinstance(plot, record.Polar):
            self._show_polar(plot)
        elif isinstance(plot, record.Image):
            self._show_image(plot)

    def show_overlay(self, overlay: record.Overlay) -> None:
        """Move a line, or marks with a tip, over the plot."""
        # It stays when the plot below it is drawn again.
        if self._overlaid.get(overlay.name) is overlay:
            return
        self._overlaid[overlay.name] = overlay
        if overlay.name not in self.overlays:
            made: Any = _curve(overlay.colour, overlay.dash, 2)
            if overlay.symbol:
                size = 14 if overlay.symbol == "star" else 7
                made = TipPoints(symbol=overlay.symbol, size=size, tip=lambda x, y, data: data)
            elif overlay.bar:
                made = _bars(overlay)
            made.setZValue(10)  # above what is drawn later
            self.overlays[overlay.name] = made
            # It does not change what is in view.
            self.plot.addItem(made, ignoreBounds=True)
        item = self.overlays[overlay.name]
        # Qt clears the place that an item had at the last painting. A painting between
        # a move and Qt's notice of it, as after a press, notes the new place: the old
        # marks would stay.
        self.canvas.scene().update(item.mapRectToScene(item.boundingRect()))
        if overlay.bar:
            item.setOpts(x=overlay.x, height=overlay.y, width=overlay.bar)
            return
        if not overlay.symbol:
            item.setData(overlay.x, overlay.y)
            return
        item.setOpacity(_PALE if overlay.is_pale else 1.0)
        item.setData(
            overlay.x, overlay.y, data=[overlay.tip] * len(overlay.x),
            brush=plot_style.brush(overlay.colour), pen=plot_style.pen(plot_style.BACKGROUND),
        )  # fmt: skip

    def _press(self, x: float, y: float) -> None:
        if isinstance(self.shown, record.Curves) and self.shown.pick is not None:
            self._pressed(x, y)

    def _select(self, outline: np.ndarray, is_added: bool) -> None:
        if isinstance(self.shown, record.Curves) and self.shown.select is not None:
            self._selected(outline, is_added)

    def _add(self, *items: pg.GraphicsObject) -> None:
        for item in items:
            # The ranges are set for each plot.
            self.plot.addItem(item, ignoreBounds=True)
            self.items.append(item)

    def _add_text(
        self, text: str, colour: str, at: tuple[float, float], anchor: tuple[float, float]
    ) -> None:
        item = plot_style.text_item(text, colour, anchor)
        item.setPos(*at)
        self._add(item)

    # -- curves -----------------------------------------------------------------------
    def _show_curves(self, plot: record.Curves) -> None:
        place = np.log10 if plot.is_log else np.asarray
        ticks = [(float(place(at)), text) for at, text in plot.ticks or ()]
        if self._labels != (labels := (plot.across, plot.up)):
            self._labels = labels
            for side, label in zip(("bottom", "left"), labels, strict=True):
                axis = self.plot.getAxis(side)
                plot_style.style_axis(axis)
                axis.setLabel(escape(label), color=plot_style.AXIS)
                axis.label.setFont(plot_style.small_font())
                axis.resizeEvent()  # only then, pyqtgraph puts the label in the middle
        self.plot.getAxis("bottom").setTicks(None if plot.ticks is None else [ticks])
        left, up = self.plot.getAxis("left"), plot.up_ticks
        left.setTicks(None if up is None else [up])
        # The width of given texts is not measured before the first painting.
        room = _TICKS_WIDTH if up or plot.up else _NO_TICKS_WIDTH
        left.setWidth(None if up is None else room)
        if plot.raster is not None:
            pixels, (first, last, low, high) = plot.raster.pixels, plot.raster.place
            image = plot_style.image()
            image.setImage(pixels[::-1], autoLevels=False, levels=(0, 255))
            image.setRect(QRectF(first, low, last - first, high - low))
            self._add(image)
        names = [(line.label, line.colour) for line in plot.lines if line.label]
        if plot.baseline is not None:
            height, label = plot.baseline
            pen = plot_style.pen(plot_style.TEXT, dashed=True)
            self._add(pg.InfiniteLine(height, angle=0, pen=pen))
            names.append((label, plot_style.TEXT))
        for line in plot.lines:
            if (key := _key(line, plot)) not in self._lines:
                n_before = len(self.items)
                self._add_line(line, place(line.x), place(line.fit_x))
                self._lines[key] = self.items[n_before:]
        if plot.limits is not None:
            first, last, low, high = plot.limits
            ends = float(place(first)), float(place(last))
            self.plot.setRange(xRange=ends, yRange=(low, high), padding=0)
        else:
            across = [place(line.x) for line in plot.lines]
            # A plot without points is empty, between 0 and 1.
            places = np.concatenate([*across, []])
            self._set_ranges(plot, places if len(places) else np.arange(2.0))
        self._add_names(names)

    def _add_names(self, names: Sequence[tuple[str, str]]) -> None:
        """Write the names of the lines at the top right."""
        (_, right), (_, high) = self.box.viewRange()
        for name, colour in reversed(names):
            self._add_text(name, colour, (right, high), (1.0, 0.0))
            self._names.append(self.items[-1])
        self._place_names()

    def _place_names(self) -> None:
        """Put the names of the lines side by side while there is room, above the limits."""
        room, row, beside = max(self.canvas.width() - _TICKS_WIDTH, _LEAST_NAMES), 0, 0.0
        for item in self._names:
            width = item.boundingRect().width()
            if beside and beside + width > room:
                row, beside = row + 1, 0.0
            # An anchor is in sizes of the text, and so the same at each size of the plot.
            item.setAnchor((1.0 + beside / width, -float(row)))
            beside += width
        if self._names and isinstance(self.shown, record.Curves) and self.shown.limits is not None:
            _, _, low, high = self.shown.limits
            # Rows of names have the same height in pixels in a low plot.
            rows = (row + 1) * self._names[0].boundingRect().height()
            share = min(rows / max(self.box.height(), 1.0), _MOST_NAMES)
            top = low + (high - low) / (1.0 - share)
            self.box.setYRange(low, top, padding=0)
            for item in self._names:
                item.setY(top)

    def _set_ranges(self, plot: record.Curves, places: np.ndarray) -> None:
        """Show all lines with their bars; the names of the lines stand above them."""
        n_names = sum(bool(line.label) for line in plot.lines) + (plot.baseline is not None)
        ends = [*plot.in_view, *([] if plot.baseline is None else [plot.baseline[0]])]
        for line in plot.lines:
            sd = np.nan_to_num(line.sd) if len(line.sd) else 0.0
            ends += [*(line.y - sd), *(line.y + sd), *line.fit_y]
        low, high = float(np.nanmin([*ends, np.inf])), float(np.nanmax([*ends, -np.inf]))
        low, high = (low, high) if low <= high else (0.0, 1.0)
        # Intervals are in view, too; much longer ones reach beyond the plot.
        bars = np.concatenate([*(line.ends.ravel() for line in plot.lines), [low, high]])
        beyond = high - low
        low = max(float(np.nanmin(bars)), low - beyond)
        high = min(float(np.nanmax(bars)), high + beyond)
        span = max(high - low, 1e-3 if n_names else 1e-12)
        left, right = float(places.min()), float(places.max())
        self.plot.setRange(xRange=(left, max(right, left + 0.01)), padding=0.05)
        # Four names or more may need two rows.
        top = high + (0.1 + 0.09 * (2 + (n_names > 3)) * bool(n_names)) * span
        self.plot.setRange(yRange=(low - 0.1 * span, top), padding=0)

    def _add_line(self, line: record.Line, at: np.ndarray, fit_at: np.ndarray) -> None:
        known, n_before = np.isfinite(line.y), len(self.items)
        if (has_band := known[: len(line.error)] & np.isfinite(line.error)).any():
            ends = [
                pg.PlotCurveItem(at[has_band], (line.y + sign * line.error)[has_band])
                for sign in (-1, 1)
            ]
            brush = plot_style.brush(line.colour, _BAND_ALPHA)
            self._add(pg.FillBetweenItem(*ends, brush=brush))
        curve = _bars(line) if line.bar else _curve(line.colour, line.dash, 1.5)
        if not line.bar:
            curve.setData(at, line.y)
        if len(line.fit_x):
            fitted = plot_style.curve(line.colour, dotted=True)
            fitted.setData(fit_at, line.fit_y)
            self._add(fitted)
        if len(line.sd):
            height, pen = 2 * np.nan_to_num(line.sd), plot_style.pen(line.colour)
            self._add(pg.ErrorBarItem(x=at, y=line.y, height=height, beam=0.012, pen=pen))
        self._add(curve)
        if len(line.ends):
            # One bar for each pair of points.
            bars = pg.PlotCurveItem(pen=plot_style.pen(line.colour, 1.5), connect="pairs")
            bars.setData(np.repeat(at, 2), line.ends.ravel())
            self._add(bars)
        if line.is_pale:
            for item in self.items[n_before:]:
                item.setOpacity(_PALE)
        if not line.symbol:
            return
        tips = np.array(line.tips or [""] * len(line.y), object)
        marks = TipPoints(
            at[known], line.y[known], data=tips[known],
            symbol=line.symbol, size=9 if line.tips and line.dash != "none" else 5,
            pen=plot_style.pen(line.colour, 1.5) if line.is_open else None,
            brush=plot_style.brush(plot_style.BACKGROUND if line.is_open else line.colour),
            tip=(lambda x, y, data: data) if line.tips else None,  # names of pyqtgraph
        )  # fmt: skip
        self._add(marks)

    # -- polar curve ------------------------------------------------------------------
    def _show_polar(self, plot: record.Polar) -> None:
        most = max(float(np.nanmax([0.0, *_reach(plot)])), 1e-12)
        edge = _EDGE * most
        # The colours of directions on the field, around the curve.
        circle = np.linspace(0, 2 * np.pi, _RIM, endpoint=False)
        colours = palette.cycle_table()[np.arange(_RIM) * 256 // _RIM]
        rim = pg.ScatterPlotItem(
            edge * np.cos(circle), edge * np.sin(circle), size=6, pen=None,
            brush=[QColor(*map(int, colour)) for colour in colours],
        )  # fmt: skip
        angles = np.radians(np.append(plot.degrees, plot.degrees[:1]))
        radii = np.append(plot.values, plot.values[:1])
        x, y = radii * np.cos(angles), radii * np.sin(angles)
        curve = plot_style.curve(plot.colour, 1.5)
        curve.setData(x, y)
        points = pg.ScatterPlotItem(x, y, size=5, pen=None, brush=plot_style.brush(plot.colour))
        self._add(curve, rim, points)
        if len(plot.error):
            # NaN after each bar separates it from the next one.
            ends = (plot.values + np.outer([-1, 1, np.nan], plot.error)).T.ravel()
            along, bars = np.radians(np.repeat(plot.degrees, 3)), plot_style.curve(plot.colour)
            bars.setData(ends * np.cos(along), ends * np.sin(along))
            self._add(bars)
        if plot.level is not None:
            around = plot_style.curve(plot_style.AXIS, dotted=True)
            turn = np.linspace(0, 2 * np.pi, _RIM + 1)
            around.setData(plot.level * np.cos(turn), plot.level * np.sin(turn))
            self._add(around)
        for degrees, colour, is_dotted in plot.spokes:
            spoke, turn = plot_style.curve(colour, 1.5, dotted=is_dotted), np.radians(degrees)
            spoke.setData([0.0, most * np.cos(turn)], [0.0, most * np.sin(turn)])
            self._add(spoke)
        self._add_text("0°", plot_style.AXIS, (1.06 * edge, 0.0), (0.0, 0.5))
        self._add_text("90°", plot_style.AXIS, (0.0, 1.06 * edge), (0.5, 1.0))
        wide = 1.4 * edge  # with room for the names of the directions in a low dock
        self.box.setRange(QRectF(-wide, -wide, 2 * wide, 2 * wide), padding=0.03)

    # -- image ------------------------------------------------------------------------
    def _show_image(self, plot: record.Image) -> None:
        height, width = plot.pixels.shape[:2]
        image = plot_style.image()
        image.setImage(plot.pixels, autoLevels=False, levels=(0, 255))
        image.setRect(QRectF(0, 0, width, height))
        outline = plot_style.curve(plot.colour, 1.5)
        outline.setData(*plot.outline.T)
        self._add(image, outline)
        if plot.place is not None:
            pen, (x, y) = plot_style.pen(plot.colour, 1.5), plot.place
            self._add(pg.ScatterPlotItem([x], [y], size=11, symbol="+", pen=pen))
        if plot.circle is not None:
            x, y, colour = plot.circle
            pen = plot_style.pen(colour, 1.5)
            self._add(pg.ScatterPlotItem([x], [y], size=11, symbol="o", pen=pen, brush=None))
        self.box.setRange(QRectF(0, 0, width, height), padding=0.03)


def _reach(plot: record.Polar) -> np.ndarray:
    """Return the outer end of each value with its bar."""
    return plot.values + plot.error if len(plot.error) else plot.values


def _curve(colour: str, dash: record.Dash, width: float) -> pg.PlotCurveItem:
    """Return an empty curve with gaps at NaN."""
    if dash == "none":
        return pg.PlotCurveItem(pen=None)
    pen = plot_style.pen(colour, width)
    if dash != "solid":
        pen.setDashPattern(list(_DASHES[dash]))
        # The square caps of Qt lengthen every dash and would close short gaps.
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    return pg.PlotCurveItem(pen=pen, connect="finite")


def _key(line: record.Line, plot: record.Plot) -> object:
    """Return what tells a line from others: its content, and the kind of its axis."""
    json, arrays = record.plain(line)
    return str(json), tuple(array.tobytes() for array in arrays), getattr(plot, "is_log", False)


def _bars(line: record.Line | record.Overlay) -> pg.BarGraphItem:
    """Return bars from 0 to the points of a line."""
    brush = plot_style.brush(line.colour)
    return pg.BarGraphItem(x=line.x, height=line.y, width=line.bar, brush=brush, pen=None)


class _OutlineBox(plot_style.PressBox):
    """View box of curves that draws the outline of a drag, and reports it at its end."""

    def __init__(
        self, pressed: Callable[[float, float], None], selected: Callable[[np.ndarray, bool], None]
    ) -> None:
        super().__init__(pressed)
        self.outline: record.Outline = ""
        self._selected = selected
        self._path: list[tuple[float, float]] = []
        self._shape = _curve(palette.CURSOR, "dashed", 1)
        self.addItem(self._shape, ignoreBounds=True)

    def mousePressEvent(self, event: Any) -> None:
        """Begin an outline."""
        super().mousePressEvent(event)
        if self.outline and event.button() == Qt.MouseButton.LeftButton:
            self._path = [self._place(event)]

    def mouseMoveEvent(self, event: Any) -> None:
        """Draw the outline."""
        super().mouseMoveEvent(event)
        if self._path:
            self._path.append(self._place(event))
            points = self._points()
            self._shape.setData(*np.vstack([points, points[:1]]).T)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Report the outline."""
        super().mouseReleaseEvent(event)
        if self._path:
            adding = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
            points, self._path = self._points(), []
            self._shape.setData([], [])
            self._selected(points, bool(event.modifiers() & adding))

    def _place(self, event: Any) -> tuple[float, float]:
        place = self.mapSceneToView(event.scenePos())
        return float(place.x()), float(place.y())

    def _points(self) -> np.ndarray:
        """Return the corners of the outline; one point for a press."""
        path = np.array(self._path)
        if len(path) == 1 or self.outline == "lasso":
            return path
        (x0, y0), (x1, y1) = path[0], path[-1]
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def picture_of(
    widgets: Sequence[QWidget], description: str, items: Sequence[object] = ()
) -> Picture:
    """Return contents as a picture of their place on screen, and a text below it.

    `items` are the items of plots.
    """
    widget = widgets[0]
    window = widget.window()
    assert window is not None
    places = [QRect(one.mapTo(window, QPoint()), _used_size(one)) for one in widgets]
    view = reduce(QRect.united, places)
    places = [place.translated(-view.topLeft()) for place in places]
    paper, ink = (
        themed_colour(colour, is_light=is_on_light(widget))
        for colour in (plot_style.BACKGROUND, plot_style.TEXT)
    )
    flags = int(Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap)
    below = 0
    if description:
        # A line more than the text takes on screen: a printer's font may wrap earlier.
        font = QFontMetrics(plot_style.small_font())
        wide = QRect(0, 0, view.width() - 12, _TEXT_LINE * 1000)
        below = font.boundingRect(wide, flags, description).height() + _TEXT_LINE

    def paint(painter: QPainter) -> None:
        # Vector drawing: symbols are not taken from a cache of pixels.
        symbols = [item for item in items if hasattr(item, "setExportMode")]
        for item in symbols:
            item.setExportMode(True, {"painter": painter, "resolutionScale": 1.0})
        for one, place in zip(widgets, places, strict=True):
            if isinstance(one, PlotCanvas):
                one.render(painter, QRectF(place), one.viewport().rect())
            else:
                one.render(painter, place.topLeft(), QRegion(QRect(QPoint(), place.size())))
        for item in symbols:
            item.setExportMode(False)
        painter.setFont(plot_style.small_font())
        painter.setPen(QColor(ink))
        text = QRectF(6, view.height(), view.width() - 12, below)
        painter.drawText(text, flags, description)

    size, title = QSize(view.width(), view.height() + below), "OmniMouse Studio"
    return Picture(size, widget.logicalDpiX(), paper, title, description, paint)


def _used_size(widget: QWidget) -> QSize:
    """Return the size of a content, of a table only as far as it has cells."""
    if not isinstance(widget, QTableView):
        return widget.size()
    across, down = widget.horizontalHeader(), widget.verticalHeader()
    assert across is not None
    assert down is not None
    frame = 2 * widget.frameWidth()
    beside = down.width() if down.isVisible() else 0
    above = across.height() if across.isVisible() else 0
    cells = QSize(beside + across.length() + frame, above + down.length() + frame)
    return cells.boundedTo(widget.size())


class _TextsAxis(plot_style.NumbersAxis):
    """Horizontal axis whose given texts keep a distance from one another.

    Names all stay: they take further rows. Numbers take a second one where that is enough
    for all of them, else those without room are left out.
    """

    _height = 0.0

    def generateDrawSpecs(self, painter: QPainter) -> Any:
        """Return line, ticks and texts: no two texts touch, and the last number stays."""
        specs = super().generateDrawSpecs(painter)
        further = 0  # height of the rows below the first one
        # pyqtgraph draws all given texts, whatever their distance.
        if specs is not None and self._tickLevels is not None:
            line, ticks, texts = specs
            rows = _rows([(place.left(), place.right()) for place, *_ in texts])
            # Nothing tells a name that is left out.
            if any(text[2][:1].isalpha() for text in texts) or max(rows, default=0) == 1:
                distance = QFontMetrics(painter.font()).lineSpacing()
                texts = [
                    (place.translated(0, row * distance), *text)
                    for row, (place, *text) in zip(rows, texts, strict=True)
                ]
                further = max(rows) * distance
            else:
                texts = _kept(texts)
            specs = line, ticks, texts
        super()._updateMaxTextSize(self._height + further)
        return specs

    def _updateMaxTextSize(self, size: float) -> None:
        """Note the height of the texts: further rows are known only after they have places."""
        self._height = size


class _RoomyAxis(plot_style.NumbersAxis):
    """Vertical axis whose automatic numbers do not touch: in a low plot, some are left out."""

    def generateDrawSpecs(self, painter: QPainter) -> Any:
        """Return line, ticks and texts: every number, or at even steps those with room."""
        specs = super().generateDrawSpecs(painter)
        if specs is None or self._tickLevels is not None:
            return specs
        line, ticks, texts = specs
        texts = sorted(texts, key=lambda text: -text[0].top())
        steps = (texts[::step] for step in range(1, len(texts) + 1))
        return line, ticks, next((kept for kept in steps if not _touch(kept)), texts)


def _touch(texts: Sequence[Any]) -> bool:
    return any(one[0].intersects(other[0]) for one, other in pairwise(texts))


def _kept(texts: Sequence[Any]) -> list[Any]:
    """Return the texts for which there is room: the last one, and those from the first on."""
    kept: list[Any] = []
    for text in (*texts[-1:], *texts):
        place = text[0].adjusted(-_TEXT_GAP, 0, _TEXT_GAP, 0)
        if not any(place.intersects(other[0]) for other in kept):
            kept.append(text)
    return kept


def _rows(places: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each place (left, right) the first row in which it touches none."""
    ends: list[float] = []
    rows = []
    for left, right in places:
        row = 0
        while row < len(ends) and ends[row] + _TEXT_GAP > left:
            row += 1
        if row == len(ends):
            ends.append(right)
        else:
            ends[row] = right
        rows.append(row)
    return rows


REACH_PX: Final = 4.0
"""Distance of the pointer from the edge of a mark that shows its text."""


class TipPoints(pg.ScatterPlotItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """Scatter plot with tooltips, which Python can delete after use.

    pyqtgraph stores an item of each point in the array of its points, and the item
    refers to the plot. Python's garbage collector does not look into arrays, so that
    plot and data would remain once the pointer has been over a point.

    Parameters
    ----------
    settings
        Settings of `pyqtgraph.ScatterPlotItem`; `tip` gives the text of a point.
    """

    def __init__(self, *points: Any, **settings: Any) -> None:
        super().__init__(*points, hoverable=True, **settings)

    def _maskAt(self, at: QPointF | QRectF) -> np.ndarray:
        # Marks are small: the pointer need not be on one.
        if isinstance(at, QPointF):
            x, y = (0.0 if one is None else REACH_PX * one.length() for one in self.pixelVectors())
            at = QRectF(at.x() - x, at.y() - y, 2 * x, 2 * y)
        return np.asarray(super()._maskAt(at))

    def points(self) -> np.ndarray:
        """Return an item of pyqtgraph for each point, object (point,)."""
        items: np.ndarray = super().points().copy()
        self.data["item"] = None
        return items
