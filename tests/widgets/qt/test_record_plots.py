"""Contents of a record in Qt that answer a press: a list of rows, and a plot with a frame."""

from itertools import combinations, pairwise

import numpy as np
import pyqtgraph as pg
import pytest
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, QPointF, QRect, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QRegion
from qtpy.QtTest import QTest

from omnimouse_widgets import palette
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.record import (
    Action,
    Block,
    CurrentRow,
    Curves,
    Image,
    Legend,
    Line,
    Message,
    Overlay,
    Polar,
    Raster,
    Row,
    SavePicture,
    Table,
    Text,
)
from tests.widgets.pointer import canvas_position, drag, pixel


class PressedView:
    """A list and a plot beside it, which note what is pressed; `moved` moves the marks."""

    name = "test"
    moved = Signal()

    def __init__(self):
        self.seen, self.row, self.more = [], 0, ()

    def blocks(self):
        return [
            Block(self._marks, [self.moved]),
            Block(self._list, []),
            Block(self._plot, [self.moved], column=1, follow=lambda on: self.seen.append(on)),
        ]

    def _marks(self):
        x = np.full(2, 1.0 + self.row)
        return [
            CurrentRow("current", "rows", self.row),
            Overlay("frame", "plot", "#FF0000", x, np.array([0.0, 4.0])),
        ]

    def _list(self):
        rows = tuple((str(n), "left") for n in range(3))
        return [Table("rows", "Rows", ("row", "side"), rows, self.seen.append)]

    def _plot(self):
        pixels = np.zeros((2, 4, 4), np.uint8)
        pixels[0] = (0, 0, 255, 255)  # the first row is at the top; the other transparent
        line = Line("", "#FFFFFF", np.arange(5.0), np.ones(5), "", error=np.full(5, 0.5))
        step = Action("step", "▸", "Next", lambda: self.seen.append("step"), key="Right")
        return [
            Legend("legend", (("━", "#FFFFFF", "recorded"),)),
            step,
            Curves(
                "plot", "Plot", (line,), "", "", (),
                up_ticks=(), limits=(0.0, 4.0, 0.0, 4.0),
                raster=Raster(pixels, (0.0, 4.0, 2.0, 4.0)),
                pick=lambda x, y: self.seen.append((x, y)),
            ),
            *self.more,
        ]  # fmt: skip


class PaintedRegion(QObject):
    """Notes what of a widget is painted."""

    def __init__(self):
        super().__init__()
        self.region = QRegion()

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            self.region |= event.region()
        return False


@pytest.fixture
def view():
    return PressedView()


@pytest.fixture
def panel(view, controller, show):
    return show(RecordPanel.of(view, controller), 500, 260)


def test_rows_and_places_are_pressed_and_a_key_acts(panel, view, redraw):
    assert view.seen[-1] is True  # in sight
    table = panel.content("rows")
    place = table.visualRect(table.model().index(2, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert view.seen[-1] == 2
    plot = panel.plots["plot"]
    drag(plot.canvas.viewport(), [canvas_position(plot.canvas, plot.box, 3.0, 2.0)])
    assert view.seen[-1] == pytest.approx((3.0, 2.0), abs=0.05)
    QTest.keyClick(plot.canvas, Qt.Key.Key_Right)
    assert view.seen[-1] == "step"
    panel.hide()
    assert view.seen[-1] is False


def test_curves_without_lines_are_an_empty_plot(view, panel, redraw):
    view.more = (Curves("empty", "Empty", (), "x", "y", None),)
    view.moved.emit()
    redraw()
    (left, right), (low, high) = panel.plots["empty"].box.viewRange()
    assert left < right
    assert low < high


def test_another_label_of_an_axis_is_in_the_middle_too(view, panel, redraw):
    line = Line("", "#FFFFFF", np.arange(3.0), np.ones(3), "")
    for label in ("neurons by area, most predictable first", "source"):
        view.more = (Curves("more", "More", (line,), label, "", None),)
        view.moved.emit()
        redraw()
    axis = panel.plots["more"].plot.getAxis("bottom")
    middle = axis.label.mapRectToParent(axis.label.boundingRect()).center().x()
    assert middle == pytest.approx(axis.size().width() / 2, abs=1)


def test_an_image_and_a_polar_curve_have_their_marks_and_one_picture(view, panel, redraw, tmp_path):
    degrees, values = np.array([0.0, 90.0, 180.0, 270.0]), np.array([1.0, 2.0, 1.0, 1.0])
    polar = Polar("tuning", "Tuning", degrees, values, "#FFFFFF", error=np.full(4, 0.5), level=1.25)
    pixels = np.zeros((9, 16, 3), np.uint8)
    image = Image("field", "Field", pixels, "#FFFFFF", (3.0, 2.0), circle=(8.0, 4.0, "#00FF00"))
    view.more = (polar, image)
    view.moved.emit()
    redraw()
    curves = [item.getData() for item in panel.plots["tuning"].items if hasattr(item, "getData")]
    reach = max(np.nanmax(y) for _, y in curves if y is not None)
    assert reach > 2.5  # the bar at 90°, and the rim beyond it
    circles = [c.points()[0].pos() for c in panel.plots["field"].items if hasattr(c, "points")]
    assert (8.0, 4.0) in [(at.x(), at.y()) for at in circles]
    panel.save(SavePicture("all.png", "", "Three plots"), tmp_path / "all.png")
    picture = QImage(str(tmp_path / "all.png"))
    heights = sum(panel.plots[name].canvas.height() for name in ("plot", "tuning", "field"))
    assert picture.height() > 2 * heights


def test_marks_on_a_picture_keep_their_colours_in_a_light_theme(view, panel, redraw):
    outline = np.array([[2.0, 2.0], [8.0, 6.0]], np.float32)
    pixels = np.zeros((9, 16, 3), np.uint8)
    image = Image("field", "Field", pixels, palette.CURSOR, outline=outline)
    line = Line("", palette.CURSOR, np.arange(3.0), np.ones(3), "")
    panel.setPalette(QPalette(QColor("#FFFFFF")))
    for plot, is_kept in ((image, True), (Curves("field", "", (line,), "x", "y", None), False)):
        view.more = (plot,)
        view.moved.emit()
        redraw()
        panel.grab()
        curves = [one for one in panel.plots["field"].items if isinstance(one, pg.PlotCurveItem)]
        kept = [pg.mkPen(one.opts["pen"]).color() == QColor(palette.CURSOR) for one in curves]
        assert kept == [is_kept]


def test_marks_leave_their_old_place_if_something_is_painted_in_between(panel, qapp):
    plot = panel.plots["plot"]
    viewport = plot.canvas.viewport()

    def mark(x):
        plot.show_overlay(
            Overlay("mark", "plot", "#00FF00", np.array([x]), np.array([x]), symbol="o")
        )

    mark(1.0)
    qapp.processEvents()
    painted = PaintedRegion()
    viewport.installEventFilter(painted)
    mark(3.0)
    corner = canvas_position(plot.canvas, plot.box, 3.5, 0.5).toPoint()
    viewport.repaint(QRect(corner, QSize(2, 2)))
    qapp.processEvents()
    for place in (1.0, 3.0):
        spot = canvas_position(plot.canvas, plot.box, place, place)
        assert painted.region.contains(spot.toPoint()), place


def test_a_message_in_the_place_of_a_plot_has_no_mark(panel):
    plot = panel.plots["plot"]
    shown, frame = plot.shown, plot.overlays["frame"]
    plot.show(Message("plot", "Plot", "No clip was shown twice"))
    assert not frame.isVisible()
    plot.show(shown)
    assert frame.isVisible()


def test_marks_move_and_what_is_under_them_is_not_drawn_again(panel, view, redraw):
    plot, table = panel.plots["plot"], panel.content("rows")
    items = list(plot.items)
    assert table.selectionModel().selectedRows()[0].row() == 0
    view.row = 1
    view.moved.emit()
    redraw()
    assert table.selectionModel().selectedRows()[0].row() == 1
    x, y = plot.overlays["frame"].getData()
    assert (x.tolist(), y.tolist()) == ([2.0, 2.0], [0.0, 4.0])
    assert plot.items == items
    blue = pixel(plot.canvas, canvas_position(plot.canvas, plot.box, 0.5, 3.5))
    assert blue.tolist() == [0, 0, 255]
    red = pixel(plot.canvas, canvas_position(plot.canvas, plot.box, 2.0, 3.0))
    assert red[0] > 200
    assert "recorded" in panel.widgets["legend"].text()


class EndedView:
    """A text with a plot below it, which is gone at the end."""

    name = "test"
    ended = Signal()

    def __init__(self):
        self.has_plot = True

    def blocks(self):
        return [Block(self._items, [self.ended])]

    def _items(self):
        text = Text("message", "Nothing runs", "quiet")
        plot = Curves("plot", "Plot", (), "", "", (), limits=(0.0, 4.0, 0.0, 4.0))
        return [text, Row("curves", (plot,))] if self.has_plot else [text]


def test_a_text_stays_at_the_top_when_the_plot_below_it_is_gone(controller, show, redraw):
    view = EndedView()
    panel = show(RecordPanel.of(view, controller), 400, 400)
    redraw()
    view.has_plot = False
    view.ended.emit()
    redraw()
    assert panel.widgets["message"].geometry().bottom() < 40


def test_names_of_the_horizontal_axis_all_stay_and_never_touch(panel, redraw):
    plot, picture = panel.plots["plot"], QImage(8, 8, QImage.Format.Format_ARGB32)
    ticks = tuple((float(at), f"source {at}") for at in range(14))
    # pyqtgraph leaves out texts that the edges would cut.
    plot.show(Curves("plot", "Plot", (), "", "", ticks, limits=(-2.0, 15.0, 0.0, 4.0)))
    axis = plot.plot.getAxis("bottom")
    panel.grab(), redraw(), panel.grab()  # the axis gets its height
    height = axis.height()
    painter = QPainter(picture)
    _, _, texts = axis.generateDrawSpecs(painter)
    painter.end()
    assert {text for *_, text in texts} == {text for _, text in ticks}
    places = [place.adjusted(-2, 0, 2, 0) for place, *_ in texts]
    assert not any(one.intersects(other) for one, other in combinations(places, 2))
    assert max(place.bottom() for place in places) <= axis.height()
    panel.grab(), redraw()
    assert axis.height() == height


def test_texts_of_the_horizontal_axis_never_overlap(panel, redraw):
    plot, picture = panel.plots["plot"], QImage(8, 8, QImage.Format.Format_ARGB32)
    ticks = tuple((at, f"{1000 * at:,.0f}") for at in np.linspace(0.0, 4.0, 80))
    plot.show(Curves("plot", "Plot", (), "", "", ticks, limits=(-1.0, 5.0, 0.0, 4.0)))
    panel.grab(), redraw(), panel.grab()  # the axis gets its height
    painter = QPainter(picture)
    axis = plot.plot.getAxis("bottom")
    _, marks, texts = axis.generateDrawSpecs(painter)
    painter.end()
    places = sorted((place.left(), place.right()) for place, _, _ in texts)
    assert len(places) > 5
    assert all(right + 4 <= left for (_, right), (left, _) in pairwise(places))
    assert "4,000" in [text for _, _, text in texts]  # the last one tells the range
    assert len(marks) == len(ticks)


def test_numbers_that_would_touch_take_a_second_row(panel, redraw):
    plot, picture = panel.plots["plot"], QImage(8, 8, QImage.Format.Format_ARGB32)
    ticks = ((0.0, "0"), (2.0, "16"), (4.0, "256"), (4.2, "343"))
    plot.show(Curves("plot", "Plot", (), "", "", ticks, limits=(-1.0, 5.0, 0.0, 4.0)))
    panel.grab(), redraw(), panel.grab()  # the axis gets its height
    painter = QPainter(picture)
    _, _, texts = plot.plot.getAxis("bottom").generateDrawSpecs(painter)
    painter.end()
    assert [text for *_, text in texts] == ["0", "16", "256", "343"]
    tops = [place.top() for place, *_ in texts]
    assert tops[0] == tops[1] == tops[2] < tops[3]


@pytest.mark.parametrize("height", [130, 150, 180, 300])
def test_numbers_of_the_vertical_axis_never_touch(controller, show, redraw, height):
    panel = show(RecordPanel.of(PressedView(), controller), 400, height)
    plot, picture = panel.plots["plot"], QImage(8, 8, QImage.Format.Format_ARGB32)
    plot.show(Curves("plot", "Plot", (), "step", "loss", (), limits=(0.0, 30.0, 0.69, 0.92)))
    panel.grab(), redraw(), panel.grab()  # the axis gets its height
    painter = QPainter(picture)
    _, _, texts = plot.plot.getAxis("left").generateDrawSpecs(painter)
    painter.end()
    numbers = [float(text) for *_, text in texts]
    assert numbers
    assert not any(one[0].intersects(other[0]) for one, other in combinations(texts, 2))
    assert np.allclose(np.diff(numbers, 2), 0.0)  # at even steps


@pytest.mark.parametrize("height", [130, 300])
def test_names_of_lines_are_above_the_limits_in_a_low_plot_too(controller, show, redraw, height):
    panel = show(RecordPanel.of(PressedView(), controller), 400, height)
    plot = panel.plots["plot"]
    lines = tuple(
        Line(f"source {n}", "#FFFFFF", np.arange(5.0), np.full(5, 4.0), "", bar=0.9)
        for n in range(5)
    )
    plot.show(Curves("plot", "Plot", lines, "", "", (), limits=(-1.0, 5.0, -4.0, 4.0)))
    for width in (400, 250):  # another width may have another number of rows
        panel.resize(width, height)
        panel.grab(), redraw(), panel.grab()
        names = [item for item in plot.items if isinstance(item, pg.TextItem)]
        top = plot.box.mapViewToScene(QPointF(0.0, 4.0)).y()
        assert len(names) == 5
        assert all(name.sceneBoundingRect().bottom() <= top + 1 for name in names)
        assert plot.box.viewRange()[1][0] == -4.0
