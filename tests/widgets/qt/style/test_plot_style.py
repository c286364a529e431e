import gc
from weakref import ref

import numpy as np
import pyqtgraph as pg
import pytest
from qtpy.QtCore import QPointF
from qtpy.QtGui import QColor, QPalette, QTextDocument
from qtpy.QtWidgets import QVBoxLayout, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt.plot import TipPoints
from omnimouse_widgets.qt.style import plot_style
from omnimouse_widgets.qt.style.theme import signs_html, small_font, themed_colour


def luminance(colour: str) -> float:
    parts = np.array(palette.rgb(colour)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("colour", [*palette.ON_PAPER, palette.CURSOR, "#B8A1D9"])
def test_curves_have_contrast_in_a_light_theme_and_come_back(colour):
    light = themed_colour(colour, is_light=True)
    paper = themed_colour(plot_style.BACKGROUND, is_light=True)
    assert (luminance(paper) + 0.05) / (luminance(light) + 0.05) >= 2.8
    assert themed_colour(light, is_light=True) == light
    assert themed_colour(light, is_light=False) == colour


@pytest.mark.parametrize("colour", palette.AREA_COLOURS)
def test_areas_and_sources_have_contrast_on_dark(colour):
    for dark in (plot_style.BACKGROUND, "#262930"):  # of a plot, and napari's own
        assert (luminance(colour) + 0.05) / (luminance(dark) + 0.05) >= 3.0


def test_plots_follow_the_theme_at_run_time(qtbot):
    panel, canvas = QWidget(), plot_style.canvas("")
    QVBoxLayout(panel).addWidget(canvas)
    qtbot.addWidget(panel)
    plot = canvas.addPlot()
    curve = plot_style.curve(palette.RECORDED)
    text = plot_style.text_item("<span style='color:#FFFFFF'>r</span>")
    edges = [plot_style.curve(palette.RECORDED) for _ in range(2)]
    band = pg.FillBetweenItem(*edges, brush=plot_style.brush(palette.RECORDED, 45))
    for item in (curve, text, band):
        plot.addItem(item)
    panel.show()
    for window, drawn in (("#FFFFFF", "#1D2127"), ("#000000", palette.RECORDED)):
        panel.setPalette(QPalette(QColor(window)))
        # As a panel does that draws anew: its colours are those on a dark background.
        curve.setPen(plot_style.pen(palette.RECORDED))
        text.setHtml("<span style='color:#FFFFFF'>r</span>")
        band.setBrush(plot_style.brush(palette.RECORDED, 45))
        image = panel.grab().toImage()
        assert curve.opts["pen"].color().name().upper() == drawn
        assert drawn.lower() in text.toHtml()
        filled = band.brush().color()
        assert (filled.name().upper(), filled.alpha()) == (drawn, 45)
        middle = image.pixelColor(image.width() // 2, image.height() // 2)
        assert (middle.lightness() > 128) == (window == "#FFFFFF")


class Datum:
    """Something that a point stands for."""


def test_points_that_were_under_the_pointer_are_deleted_with_their_plot(qtbot):
    canvas, datum = plot_style.canvas(""), Datum()
    points = TipPoints([1.0], [2.0], data=[datum], tip=lambda x, y, data: "text")
    canvas.addPlot().addItem(points)
    [found] = points.pointsAt(QPointF(1.0, 2.0))
    assert found.data() is datum
    canvas.deleteLater()
    left = ref(datum)
    del canvas, points, found, datum
    qtbot.wait(1)
    gc.collect()
    assert left() is None


def test_a_mark_tells_its_numbers_a_few_pixels_beside_it(qtbot):
    canvas = plot_style.canvas("")
    canvas.resize(300, 200)
    points = TipPoints([1.0, 2.0], [2.0, 3.0], data=["one", "two"], size=9)
    plot = canvas.addPlot()
    plot.addItem(points)
    plot.setRange(xRange=(0, 3), yRange=(0, 4))
    qtbot.addWidget(canvas)
    canvas.show()
    canvas.grab()
    across, up = (vector.length() for vector in points.pixelVectors())
    for pixels, found in ((7, ["one"]), (12, [])):
        for place in (QPointF(1.0 + pixels * across, 2.0), QPointF(1.0, 2.0 - pixels * up)):
            assert [point.data() for point in points.pointsAt(place)] == found


# -- legends of plots ----------------------------------------------------------------
@pytest.mark.parametrize("glyph", ["──", "– –", "···", "–·–", "— —", "—·—"])
def test_a_line_breaks_between_entries_only(qapp: object, glyph: str) -> None:
    """The sign of a line stays beside its name in a panel of any width."""
    document = QTextDocument()
    document.setDefaultFont(small_font())
    document.setHtml(signs_html([("──", "#fff", "first"), (glyph, "#fff", "LM")]))
    block = document.firstBlock()
    layout = block.layout()
    for width in range(64, 200, 4):
        document.setTextWidth(width)
        document.size()
        lines = [layout.lineAt(number) for number in range(layout.lineCount())]
        starts = [
            block.text()[line.textStart() :].strip("\N{NO-BREAK SPACE} \N{WORD JOINER}")
            for line in lines
        ]
        assert all(start[:1] in ("─", glyph[0]) for start in starts), (width, starts)
