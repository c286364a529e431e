import gc
from weakref import ref

from qtpy.QtCore import QPointF

from omnimouse_widgets.qt.plot import TipPoints
from omnimouse_widgets.qt.style import plot_style


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
