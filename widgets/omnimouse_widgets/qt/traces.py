"""Stacked rows of true and predicted traces on one time axis.

The plot draws the rows passed to it and has no access to a controller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from typing import Final

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, QObject, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QTextDocument, QWheelEvent
from qtpy.QtWidgets import QScrollBar

from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.controls import describe
from omnimouse_widgets.qt.style.plot_style import SHARPNESS, Picture
from omnimouse_widgets.qt.style.theme import signs_html
from omnimouse_widgets.views.record import Legend, Switch, Traces, record
from omnimouse_widgets.views.rows.traces import (
    Scale,
    Trace,
    are_alike,
    has_overlay,
    row_ranges,
    time_extent,
)
from omnimouse_widgets.views.traces import LARGE, TracesView

FILL: Final = 0.78
"""Largest share of a row's height for the curves; the rest separates rows."""
LABEL_PIXELS: Final = 18
"""Height above the curves that a label needs, where it is not in the gutter."""
# Opacity of hidden, visible, target and mixed samples behind the curves.
SHADE_ALPHA: Final = (0, 46, 22, 0)
PRINTED_ALPHA: Final = (0, 70, 46, 0)
WIDTH: Final = 1.0
"""Line width in pixels; Qt draws wider lines with a slower algorithm."""
BAR_WIDTH: Final = 3.0
STALE_OPACITY: Final = 0.5
LOW_PIXELS: Final = 44
"""Row height in pixels below which labels move from above the curves to a gutter."""
GUTTER_STEP: Final = 26
"""Step in pixels of the gutter's width, so that a new score does not move the curves."""
GUTTER_SHARE: Final = 0.55
MIN_PIXELS: Final = 15
"""Minimum row height in pixels (height of a label); further rows need scrolling."""
MAX_POINTS: Final = 60_000
"""Maximum points of all drawn rows together; bounds the time per frame."""
SCROLL_PIXELS: Final = 10
BAR_AT: Final = 0.985
"""Horizontal position of the scale bars as a fraction of the time axis."""
PREDICTED_BAR_AT: Final = 0.975
"""Position of the scale bars of predictions, to the left of those of recordings."""
BAND_ALPHA: Final = 100
"""Opacity of the band that holds 95 % of recorded values."""
GAP: Final = 24
"""The gap below a row is 1 / GAP of its height."""


class SpanAxis(plot_style.SecondsAxis):
    """Time axis in seconds, without tick labels in the label gutter."""

    start = -np.inf

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Return labels such as `100 s`; empty before the first sample."""
        labels = super().tickStrings(values, scale, spacing)
        pairs = zip(values, labels, strict=True)
        return [label if value >= self.start else "" for value, label in pairs]


class TraceStack(QObject):
    """Plot of stacked rows with the shared cursor; press or drag to move the cursor.

    All rows share a few plot items instead of having their own, which cuts the time of
    a redraw to a third. Only the rows that fit are drawn; the wheel and the scroll bar
    show the others.
    """

    def __init__(self, moved: Callable[[float], None], tooltip: str = "") -> None:
        super().__init__()
        self.canvas = plot_style.canvas(tooltip)
        self.box = plot_style.PressBox(lambda x, _: moved(x), follows_drag=True)
        self.axis = SpanAxis("bottom")
        self.plot = pg.PlotItem(viewBox=self.box, axisItems={"bottom": self.axis})
        self.canvas.addItem(self.plot)
        plot_style.style_plot(self.plot, left=False)
        self.shade = plot_style.lut_image(palette.state_table(SHADE_ALPHA))
        self.truth = plot_style.curve(palette.RECORDED, WIDTH)
        self.predicted = plot_style.curve(palette.PREDICTED, WIDTH, dashed=True)
        self.baseline = plot_style.curve(palette.BASELINE, WIDTH, dotted=True)
        self.overlays = [plot_style.curve(colour, WIDTH) for colour in palette.PINS]
        self._limits = [pg.PlotCurveItem(connect="finite") for _ in range(2)]
        self.band = pg.FillBetweenItem(
            *self._limits, brush=plot_style.brush(palette.BAND, BAND_ALPHA)
        )
        self.bars = plot_style.curve(plot_style.AXIS, BAR_WIDTH)
        self.predicted_bars = plot_style.curve(palette.PREDICTED, BAR_WIDTH)
        self.cursor = plot_style.cursor_line()
        # The order of `_PlacedRow.curves`.
        self._curves = (self.truth, self.predicted, self.baseline, *self.overlays)
        # Later items are above earlier ones: the prediction is on top.
        items = (self.shade, self.band, self.bars, self.predicted_bars, self.truth,
                 *self.overlays, self.baseline, self.predicted)  # fmt: skip
        for depth, item in enumerate(items):
            item.setZValue(depth)
            self.plot.addItem(item, ignoreBounds=True)
        self.plot.addItem(self.cursor)
        self._rows: list[_PlacedRow] = []
        self._labels: list[pg.TextItem] = []
        self._label_html: list[str] = []
        self._traces: tuple[Trace, ...] = ()
        self._scale: Scale = "own"
        self._n_rows, self._fill = 0, FILL
        self._message = plot_style.Message(self.box)
        self.scroll = QScrollBar(Qt.Orientation.Vertical, self.canvas)
        describe(self.scroll, "Scroll to the other neurons", "Rows")
        self.scroll.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.scroll.hide()
        self.scroll.valueChanged.connect(self._draw)
        self.canvas.viewport().installEventFilter(self)
        self.box.sigResized.connect(lambda *_: self._resized())

    def set_rows(self, traces: Sequence[Trace], scale: Scale = "own") -> None:
        """Show the rows from top to bottom, on own or common scales."""
        # Signals come several times for one change, and a drawing costs more.
        if self._rows and scale == self._scale and are_alike(traces, self._traces):
            return
        self._traces, self._scale = tuple(traces), scale
        self._fit_scroll()
        self._draw()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Scroll the rows with the mouse wheel."""
        if isinstance(event, QWheelEvent) and not self.scroll.isHidden():
            # Qt reports eighths of a degree; one wheel notch is 120.
            steps = event.angleDelta().y() / 120
            self.scroll.setValue(self.scroll.value() - round(3 * steps))
            return True
        return super().eventFilter(watched, event)

    @property
    def first(self) -> int:
        """Index of the top row."""
        return 0 if self.scroll.isHidden() else int(self.scroll.value())

    def _resized(self) -> None:
        # A full redraw only if another number of rows fits, or their labels need
        # another share of the height.
        if self._fit_scroll() != self._n_rows or self._room_of_curves() != self._fill:
            self._draw()
        else:
            self._fit()

    def _fit_scroll(self) -> int:
        """Update the scroll bar and return the number of rows that fit."""
        room = self._room()
        n_over = len(self._traces) - room
        # Changing the range emits valueChanged, which would redraw too early.
        self.scroll.blockSignals(True)
        self.scroll.setRange(0, max(n_over, 0))
        self.scroll.setPageStep(room)
        self.scroll.blockSignals(False)
        self.scroll.setVisible(n_over > 0)
        margin = 8 + (SCROLL_PIXELS if n_over > 0 else 0)
        self.canvas.ci.layout.setContentsMargins(4, 4, margin, 2)
        width, height = self.canvas.width(), int(self.box.height())
        self.scroll.setGeometry(width - SCROLL_PIXELS - 2, 4, SCROLL_PIXELS, height)
        return min(room, len(self._traces))

    def _room(self) -> int:
        """Return how many rows fit in height and within `MAX_POINTS`."""
        # The row with the most points, so that the limit holds at every scroll
        # position.
        points = max((trace.n_points for trace in self._traces), default=1)
        by_height = int(self.box.height() // MIN_PIXELS)
        return max(min(by_height, MAX_POINTS // points), 1)

    @property
    def _row_pixels(self) -> float:
        """Height of a row in pixels."""
        return float(self.box.height()) / max(self._n_rows, 1)

    @property
    def _is_low(self) -> bool:
        """Whether labels would hide the curves of so low rows, and need the gutter."""
        return self._row_pixels < LOW_PIXELS

    def _room_of_curves(self) -> float:
        """Return the share of a row's height for its curves, below its label."""
        return FILL if self._is_low else min(FILL, 1 - LABEL_PIXELS / self._row_pixels)

    def _draw(self) -> None:
        self._n_rows = min(self._room(), len(self._traces))
        self._fill = self._room_of_curves()
        traces = self._traces[self.first :][: self._n_rows]
        ranges = row_ranges(traces, self._scale, self._traces)
        # The vertical axis runs upwards: the first trace gets the highest position.
        tops = range(len(traces) - 1, -1, -1)
        self._rows = [
            _placed_row(trace, at, self._fill, *span)
            for at, trace, span in zip(tops, traces, ranges, strict=True)
        ]
        for number, curve in enumerate(self._curves):
            # Curves without data are hidden: Qt would still measure and paint them.
            has_data = number < 2 or any(_has_curve(trace, number) for trace in traces)
            curve.setVisible(has_data)
            if has_data:
                curve.setData(*_joined(self._rows, number))
        self._draw_band(traces)
        heights = [trace.bar for trace in traces]
        self.bars.setData(*_scale_bars(self._rows, traces, heights, BAR_AT))
        heights = [trace.predicted_bar for trace in traces]
        self.predicted_bars.setVisible(any(heights))
        self.predicted_bars.setData(*_scale_bars(self._rows, traces, heights, PREDICTED_BAR_AT))
        # All rows share one item and thus one opacity; they are of the same request.
        is_stale = any(trace.is_stale for trace in traces)
        self.predicted.setOpacity(STALE_OPACITY if is_stale else 1.0)
        is_stale = any(trace.is_baseline_stale for trace in traces)
        self.baseline.setOpacity(STALE_OPACITY if is_stale else 1.0)
        self._label(traces)
        self._shade(traces)

    def _draw_band(self, traces: Sequence[Trace]) -> None:
        has_band = any(trace.band is not None for trace in traces)
        self.band.setVisible(has_band)
        if has_band:
            for limit, item in enumerate(self._limits):
                x, y = zip(
                    *(_limit(row, trace, limit)
                      for row, trace in zip(self._rows, traces, strict=True)),
                    strict=True,
                )  # fmt: skip
                item.setData(np.concatenate(x), np.concatenate(y))

    def set_message(self, text: str) -> None:
        """Show a message in place of the rows; "" removes it."""
        self._message.show(text)
        self.cursor.setVisible(not text)
        self.plot.showAxis("bottom", not text)

    def set_cursor(self, time_s: float | None) -> None:
        """Move the cursor to a time in seconds; `None` without a window."""
        if time_s is not None:
            self.cursor.setValue(time_s)

    def draw_for_print(self, scale: float) -> None:
        """Switch to a white background with line widths of `scale` pixels."""
        for curve in (*self._curves, self.bars, self.predicted_bars):
            pen = curve.opts["pen"]
            pen.setWidthF(scale * (BAR_WIDTH if curve is self.bars else WIDTH))
            pen.setColor(QColor(plot_style.on_paper(pen.color().name())))
            curve.setPen(pen)
        self.shade.setLookupTable(palette.state_table(PRINTED_ALPHA))
        self.canvas.setBackground(plot_style.PAPER)
        plot_style.style_axis(self.axis, plot_style.on_paper(plot_style.AXIS))
        for label in self._labels:
            label.fill = plot_style.brush(plot_style.PAPER, 0)
            label.setColor(plot_style.on_paper(plot_style.TEXT))
            # Colours inside the HTML are not changed by `setColor`.
            label.setHtml(plot_style.on_paper(label.toHtml()))

    def drawn_values(self, row: int) -> list[np.ndarray]:
        """Return the curves of a row in data units: truth, prediction, baseline, pins.

        `row` is an index into all rows; it must be a row that is drawn. A hidden curve is NaN.
        """
        nothing = np.full(len(self._rows[row - self.first].time), np.nan)
        return [self._read(c, row) if c.isVisible() else nothing for c in self._curves]

    def _read(self, curve: pg.PlotCurveItem, row: int) -> np.ndarray:
        at, values = row - self.first, curve.getData()[1]
        # `_joined` appends one NaN to every row, hence length + 1.
        ends = np.cumsum([len(r.time) + 1 for r in self._rows])
        part = values[ends[at] - len(self._rows[at].time) - 1 : ends[at] - 1]
        return self._rows[at].read(part)

    @property
    def message(self) -> str:
        """The message shown in place of the rows, or ""."""
        return self._message.text

    @property
    def labels(self) -> list[str]:
        """Labels of the drawn rows, from top to bottom."""
        return [label.toPlainText() for label in self._labels]

    def _label(self, traces: Sequence[Trace]) -> None:
        # From the longest form of a label to those for low rows.
        self._html = [
            (
                _html(trace.label, trace, has_bar=True),
                _html(trace.short_label, trace),
                _html(trace.short_label, trace, is_short=True),
                f"<span>{escape(trace.short_label)}</span>",
            )
            for trace in traces
        ]
        while len(self._labels) > len(traces):
            self.plot.removeItem(self._labels.pop())
            self._label_html.pop()
        while len(self._labels) < len(traces):
            label = plot_style.text_item("", plot_style.TEXT, anchor=(0, 0))
            label.fill = plot_style.brush(plot_style.BACKGROUND, 170)
            # Above the cursor, whose line would cross the letters.
            label.setZValue(60)
            self.plot.addItem(label, ignoreBounds=True)
            self._labels.append(label)
            self._label_html.append("")
        self._fit()

    def _fit(self) -> None:
        """Place labels above the curves, or in a left gutter if the rows are low."""
        if not self._rows:
            return
        start, stop = self._traces[0].extent
        left, n, shortest = start, len(self._rows), 2
        is_low = self._is_low
        if is_low:
            width = float(self.box.width())
            # Beyond the gutter, labels would hide curves: scores of pins are left out first.
            for shortest in (2, 3):
                self._set_labels(shortest, is_cut=True)
                widest = max(label.textItem.boundingRect().width() for label in self._labels)
                if widest <= GUTTER_SHARE * width:
                    break
            gutter = min(GUTTER_STEP * ceil(widest / GUTTER_STEP), GUTTER_SHARE * width)
            # Extends the range to the left such that [start, stop] fills the rest of
            # the width.
            left = start - (stop - start) * gutter / max(width - gutter, 1.0)
        self.axis.start = start
        self.plot.setRange(xRange=(left, stop), yRange=(-0.08, n), padding=0)
        for number, label in enumerate(self._labels):
            label.setPos(left, n - number)
        # All rows have the same form: the longest that fits in each of them.
        if is_low or not any(self._set_labels(form) for form in (0, 1)):
            self._set_labels(shortest, is_cut=True)

    def _set_labels(self, form: int, *, is_cut: bool = False) -> bool:
        """Set labels to a form until one is too wide; return whether all fit.

        With `is_cut`, all are set.
        """
        for number, label in enumerate(self._labels):
            html = self._html[number][form]
            # Setting HTML lays out the text again, so skip unchanged labels.
            if self._label_html[number] != html:
                label.setHtml(html)
                self._label_html[number] = html
            if not is_cut and label.textItem.boundingRect().width() > self.box.width():
                return False
        return True

    def _shade(self, traces: Sequence[Trace]) -> None:
        """Draw the mask states of all rows as one image, with gaps between rows."""
        if not traces:
            self.shade.clear()
            return
        # Image rows run upwards, and the first trace is on top: reverse. Then repeat
        # each row GAP times and clear the lowest line as the gap.
        codes = np.stack([trace.shade for trace in reversed(traces)])
        codes = np.repeat(codes, GAP, axis=0)
        codes[::GAP] = 0
        start, stop = traces[0].shade_span or time_extent(traces[0].time)
        rect = QRectF(start, 0, stop - start, len(traces))
        plot_style.set_codes(self.shade, codes, rect, 4)


@dataclass(frozen=True, slots=True, eq=False)
class _PlacedRow:
    """A trace scaled into the vertical range `at` to `at + 1`."""

    at: int
    fill: float
    """Share of the height for the curves."""
    low: float
    scale: float
    time: np.ndarray
    curves: tuple[np.ndarray, ...]
    """Truth, prediction, baseline and one overlay per pin slot; NaN if missing."""

    def read(self, heights: np.ndarray) -> np.ndarray:
        """Undo the scale and offset."""
        return np.asarray((heights - self.at) / self.fill * self.scale + self.low)


def _placed_row(trace: Trace, at: int, fill: float, low: float, scale: float) -> _PlacedRow:
    nothing = np.full(len(trace.time), np.nan)

    def placed(values: np.ndarray | None) -> np.ndarray:
        return nothing if values is None else at + (values - low) * (fill / scale)

    # Pad to the number of slots, so that every row has the same curves.
    overlays = (*trace.overlays, *[None] * (len(palette.PINS) - len(trace.overlays)))
    values = (trace.truth, trace.predicted, trace.baseline, *overlays)
    return _PlacedRow(at, fill, low, scale, trace.time, tuple(map(placed, values)))


def _has_curve(trace: Trace, number: int) -> bool:
    """Return whether a row has the baseline (2), or the overlay of a slot (from 3)."""
    return trace.baseline is not None if number == 2 else has_overlay(trace, number - 3)


def _html(label: str, trace: Trace, *, is_short: bool = False, has_bar: bool = False) -> str:
    """Return a label with its scores; a short one omits the pin letters.

    With `has_bar`, the size of the prediction's scale bar follows the label.
    """
    bar = ""
    if has_bar and trace.predicted_bar_text:
        text = f" {trace.predicted_bar_text}"
        bar = f"<span style='color:{palette.PREDICTED}'>{escape(text)}</span>"
    marks = [
        f"<span style='color:{colour}'>{'' if is_short else f'{letter} '}{score}</span>"
        for letter, score, colour in trace.marks
    ]
    between = " " if is_short else " · "
    return between.join([f"<span>{escape(label)}</span>{bar}", *marks])


def _joined(rows: list[_PlacedRow], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate one curve of all rows, with a NaN after each row."""
    if not rows:
        return np.empty(0), np.empty(0)
    # `connect="finite"` breaks the line at NaN, so one item can hold all rows.
    x = [np.append(row.time, np.nan) for row in rows]
    y = [np.append(row.curves[number], np.nan) for row in rows]
    return np.concatenate(x), np.concatenate(y)


def _limit(row: _PlacedRow, trace: Trace, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a limit of a row's band, clipped to the row, with a NaN at its end."""
    values = np.full(len(trace.time), np.nan)
    if trace.band is not None:
        values = row.at + (trace.band[limit] - row.low) * (row.fill / row.scale)
        values = np.clip(values, row.at, row.at + 1 - 1 / GAP)
    return np.append(trace.time, np.nan), np.append(values, np.nan)


def _scale_bars(
    rows: list[_PlacedRow], traces: Sequence[Trace], heights: Sequence[float], place: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a centred vertical bar of some height for every row.

    `place` is its horizontal position as a fraction of the time axis.
    """
    if not rows:
        return np.empty(0), np.empty(0)
    start, stop = traces[0].extent
    x = start + place * (stop - start)
    shares = [high * row.fill / row.scale for row, high in zip(rows, heights, strict=True)]
    ends = [
        (row.at + (row.fill - share) / 2, row.at + (row.fill + share) / 2, np.nan)
        for row, share in zip(rows, shares, strict=True)
    ]
    return np.tile([x, x, np.nan], len(rows)), np.array(ends).ravel()


# -- export of the displayed traces as a PNG or SVG figure with its condition ---------
FIGURE_WIDTH: Final = 820
ROW_HEIGHT: Final = 84
AXIS_HEIGHT: Final = 44
FIGURE_MARGIN: Final = 10


def traces_figure(view: TracesView, condition: str, *, is_svg: bool) -> bytes:
    """Return a figure of the traces on white, independent of the panel's size.

    Parameters
    ----------
    view
        The traces as they are shown now.
    condition
        Text below the figure and in the description field of the file.
    is_svg
        Return an SVG; otherwise a PNG.
    """
    found = record(view)
    items, as_large = found.values(), found["as_large"]
    (traces,) = (item for item in items if isinstance(item, Traces))
    if isinstance(as_large, Switch) and as_large.is_on:
        condition = f"{condition}\n{LARGE}"
    legends = [item.signs for item in items if isinstance(item, Legend) and item.signs]
    stack = _drawn_stack(traces)
    canvas = stack.canvas
    texts = [_document("<br>".join(map(signs_html, legends)), plot_style.TEXT)]
    # The caption is set as HTML. Names of files and neurons may contain & or <.
    caption = "<br>".join(map(escape, condition.splitlines()))
    texts.append(_document(caption, plot_style.AXIS))

    def paint(painter: QPainter) -> None:
        painter.translate(FIGURE_MARGIN, FIGURE_MARGIN)
        texts[0].drawContents(painter)
        painter.translate(-FIGURE_MARGIN, texts[0].size().height())
        place = QRectF(0, 0, FIGURE_WIDTH, canvas.height())
        canvas.render(painter, place, canvas.viewport().rect())
        painter.translate(FIGURE_MARGIN, canvas.height())
        texts[1].drawContents(painter)

    height = canvas.height() + sum(text.size().height() for text in texts)
    picture = Picture(
        QSize(FIGURE_WIDTH, round(height + 2 * FIGURE_MARGIN)),
        canvas.logicalDpiX(),
        plot_style.PAPER,
        "Traces, OmniMouse Studio",
        condition,
        paint,
    )
    stack.draw_for_print(1.0 if is_svg else SHARPNESS)
    content = picture.svg() if is_svg else picture.png()
    canvas.close()
    canvas.deleteLater()
    return content


def _drawn_stack(traces: Traces) -> TraceStack:
    """Return a canvas with the traces, laid out but not on screen."""
    stack = TraceStack(lambda _: None)
    stack.canvas.resize(FIGURE_WIDTH, ROW_HEIGHT * max(len(traces.rows), 2) + AXIS_HEIGHT)
    # Qt lays out visible widgets only; this attribute keeps the canvas off screen.
    stack.canvas.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    stack.canvas.show()
    stack.set_rows(traces.rows, traces.scale)
    # The cursor is a state of the application and has no meaning in a figure.
    stack.cursor.hide()
    for curve in (stack.predicted, stack.baseline):
        # An empty path is invalid in SVG: hide curves without a finite value.
        _, values = curve.getData()
        curve.setVisible(bool(np.isfinite(values).any()))
    stack.canvas.scene().prepareForPaint()
    return stack


def _document(text: str, colour: str) -> QTextDocument:
    document = QTextDocument()
    document.setDocumentMargin(0)
    document.setDefaultFont(plot_style.small_font())
    document.setTextWidth(FIGURE_WIDTH - 2 * FIGURE_MARGIN)
    html = f"<div style='color:{colour}'>{text}</div>"
    document.setHtml(plot_style.on_paper(html))
    return document
