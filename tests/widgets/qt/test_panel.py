"""The panel of a record, with that of a ranking: real presses, and what is on screen."""

from pathlib import Path
from time import monotonic

import pytest
from psygnal import SignalInstance
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QToolButton

from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from omnimouse_model.masks import VISIBLE
from omnimouse_widgets.qt import panel as panel_module
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.context.sources import SourcesView
from omnimouse_widgets.views.laboratory import LaboratoryView
from omnimouse_widgets.views.ranking import NO_FILE, RankingView
from omnimouse_widgets.views.record import (
    NO_SESSION,
    Block,
    Choice,
    Message,
    Row,
    SavePicture,
    Text,
)
from omnimouse_widgets.views.traces import TracesView
from tests.widgets.pointer import pick, pixel, press


@pytest.fixture
def panel(controller, show):
    return show(RecordPanel.of(RankingView.of(controller), controller), 400, 470)


def cells(view):
    model = view.model()
    return [
        [model.item(row, column).text() for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def test_a_record_is_drawn_and_its_actions_are_pressed(panel, controller, redraw):
    widgets = panel.widgets
    assert panel.plots["content"].message.text == NO_FILE
    assert not widgets["refresh"].isEnabled()
    assert widgets["refresh"].toolTip() == NO_FILE
    press(widgets["example"])
    redraw()
    matrix = panel.content("content")
    assert cells(matrix)[0] == ["0.348 (1)"]
    assert "spikes-5 for unseen-spikes: rank 1" in matrix.model().item(0, 0).toolTip()
    assert matrix.model().verticalHeaderItem(1).text() == "spikes"
    assert not widgets["warnings"].isVisible()
    panel.resize(400, 240)
    redraw()
    # A panel that is too low scrolls, and no row of a small matrix is behind a second bar.
    last = matrix.visualRect(matrix.model().index(matrix.model().rowCount() - 1, 0))
    assert last.bottom() <= matrix.viewport().height()
    panel.resize(400, 470)
    redraw()
    # The best score is yellow, the worst one purple.
    for row, is_best in ((0, True), (5, False)):
        box = matrix.visualRect(matrix.model().index(row, 0))
        corner = QPointF(box.topLeft() + QPoint(4, 4))
        _, green, blue = pixel(matrix.viewport(), corner)
        assert (green > blue) == is_best
    press(widgets["view"].button("table"))
    redraw()
    assert cells(panel.content("content"))[0][:3] == ["1", "spikes-5", "0.348"]
    assert not matrix.isVisible()
    press(widgets["view"].button("gains"))
    redraw()
    assert cells(panel.content("content"))[2][0] == "ranked"
    assert panel.minimumSizeHint().width() <= 400


def test_the_laboratory_has_room_in_a_narrow_dock(controller, show, redraw):
    panel = show(RecordPanel.of(LaboratoryView.of(controller), controller), 400, 560)
    for at in range(panel.widgets["experiment"].count()):
        pick(panel.widgets["experiment"], panel.widgets["experiment"].itemData(at))
        redraw()
        assert panel.minimumSizeHint().width() <= 400


def test_the_picture_of_a_matrix_ends_at_its_cells_and_at_its_text(panel, redraw, tmp_path):
    press(panel.widgets["example"])
    redraw()
    matrix = panel.content("content")
    panel.save(SavePicture("matrix.png", "content", "One line"), tmp_path / "matrix.png")
    last = matrix.model().rowCount() - 1
    end = matrix.viewport().y() + matrix.visualRect(matrix.model().index(last, 0)).bottom()
    # A line of text is up to 20 px high, with a free line below it.
    assert end < QImage(str(tmp_path / "matrix.png")).height() / 2 < end + 45
    assert matrix.height() > end + 45


def test_curves_have_marks_with_tips_and_are_saved_as_pictures(panel, controller, redraw, tmp_path):
    press(panel.widgets["example"])
    redraw()
    press(panel.widgets["view"].button("curves"))
    redraw()
    plot = panel.plots["content"]
    assert panel.content("content") is plot.canvas
    ranked = next(item for item in plot.items if hasattr(item, "opts") and "tip" in item.opts)
    curve = controller.ranking.content.stored.curve
    means = [mean for mean in curve.means() if mean.order == "ranked"]
    assert list(ranked.data["y"]) == pytest.approx([mean.mean for mean in means])
    assert "ranked, 1 recording" in ranked.data["data"][0]
    pick(panel.widgets["axis"], "trials")
    redraw()
    assert "trials" in plot.plot.getAxis("bottom").labelText
    for name in ("plot.png", "plot.svg"):
        panel.save(SavePicture(name, "content", "Curves of sessions"), tmp_path / name)
        assert name in panel.notice.text()
    image = QImage(str(tmp_path / "plot.png"))
    assert image.width() == 2 * plot.canvas.width()
    assert image.text("Description") == "Curves of sessions"
    assert "<path" in (tmp_path / "plot.svg").read_text()


def test_a_chosen_file_is_read_its_error_is_told_and_text_is_copied(
    panel, controller, redraw, tmp_path, monkeypatch
):
    lines = DEMO_RANKING.read_bytes().splitlines(keepends=True)
    (short := tmp_path / "short.ranking.jsonl").write_bytes(b"".join(lines[:4]))
    (wrong := tmp_path / "wrong.ranking.jsonl").write_text("{}\n")
    asked = []

    def answer(_parent, _title, folder, _kinds):
        asked.append(Path(folder))
        return str(wrong if len(asked) > 1 else short), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer)
    press(panel.widgets["open"])
    redraw()
    assert "one seed" in panel.widgets["warnings"].text()
    press(panel.widgets["open"])
    redraw()
    assert asked[1] == tmp_path
    assert "not the results file of a ranking" in panel.widgets["error"].text()
    assert not panel.widgets["view"].isVisible()
    press(panel.widgets["command"])
    assert QApplication.clipboard().text() in panel.notice.text()
    press(panel.widgets["refresh"])
    redraw()
    assert panel.widgets["error"].isVisible()
    assert not panel.notice.isVisible()
    monkeypatch.setattr(panel_module, "NOTE_MS", 1)
    press(panel.widgets["command"])
    end_s = monotonic() + 60.0
    while panel.notice.isVisible() and monotonic() < end_s:
        QApplication.processEvents()
    assert not panel.notice.text()


def test_a_press_keeps_the_focus_and_a_refusal_is_shown(panel, controller, redraw, monkeypatch):
    panel.widgets["example"].setFocus()
    press(panel.widgets["example"])
    redraw()
    assert QApplication.focusWidget() is panel.widgets["example"]

    def refuse(self):
        raise OSError("The drive is full.")

    monkeypatch.setattr(type(controller.ranking), "read_again", refuse)
    press(panel.widgets["refresh"])
    assert panel.notice.text() == "The drive is full."


class Chosen:
    """A choice beside a text, as in *Repeats*."""

    name = "chosen"
    options = (("0", "clip 12 · 10 × 8.0 s · oracle", ""), ("1", "clip 2", ""))

    def blocks(self):
        return [Block(self._row, [])]

    def _row(self):
        choice = Choice("clip", "Clip", "A clip", self.options, "0", lambda value: None)
        return [Row("head", (choice, Text("about", "", is_line=True)), wide="about")]


@pytest.mark.parametrize(("width", "is_whole"), [(700, True), (140, False)])
def test_a_choice_shows_its_whole_text_where_there_is_room(controller, show, width, is_whole):
    panel = show(RecordPanel.of(Chosen(), controller), width, 240)
    box = panel.widgets["clip"]
    text = box.fontMetrics().horizontalAdvance(Chosen.options[0][1])
    assert (box.width() > text) == is_whole
    assert panel.minimumSizeHint().width() <= 140


class Growing:
    """One plot, then two beside each other, as in *Context*."""

    name = "growing"

    def __init__(self):
        self.changed, self.n_plots = SignalInstance(), 1

    def blocks(self):
        return [Block(self._plots, [self.changed])]

    def _plots(self):
        if self.n_plots == 1:
            return [Message("alone", "", "none")]
        return [Row("beside", tuple(Message(f"plot {k}", "", "none") for k in range(2)))]


def test_new_plots_have_their_height_before_the_next_frame(controller, show):
    view = Growing()
    panel = show(RecordPanel.of(view, controller), 400, 300)
    height, view.n_plots = panel.plots["alone"].canvas.height(), 2
    view.changed.emit()
    panel.redraw.flush()
    assert panel.widgets["beside"].height() == height


class Layouts(QObject):
    """Widgets that lay out their children."""

    def __init__(self):
        super().__init__()
        self.of = []

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.LayoutRequest:
            self.of.append(watched)
        return False


def test_a_record_that_is_drawn_again_as_it_was_lays_out_nothing(controller, show, redraw, qapp):
    view = Growing()
    panel, layouts = show(RecordPanel.of(view, controller), 400, 300), Layouts()
    qapp.installEventFilter(layouts)
    try:
        view.changed.emit()
        redraw()
    finally:
        qapp.removeEventFilter(layouts)
    assert not [one for one in layouts.of if panel.isAncestorOf(one)]


def test_an_action_is_enabled_once_its_reason_is_gone(controller, show, redraw):
    panel = show(RecordPanel.of(SourcesView.of(controller), controller), 400, 470)
    assert not panel.widgets["python"].isEnabled()
    controller.selection.select([1])
    redraw()
    assert panel.widgets["run"].isEnabled()
    assert panel.widgets["python"].isEnabled()


def test_a_typed_name_is_taken_and_a_refused_one_is_told(controller, show, redraw):
    panel = show(RecordPanel.of(SourcesView.of(controller), controller), 400, 470)
    controller.editor.paint([1, 2], VISIBLE)
    for name in ("video", "mine"):
        panel.press("name")
        dialog = panel.findChild(QInputDialog)
        dialog.setTextValue(name)
        dialog.accept()
        QApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete)
        redraw()
        assert ("another name" in panel.notice.text()) == (name == "video")
    assert [one.name for one in controller.state.groups] == ["mine"]


class Offering:
    """A row of joined buttons whose last one comes and goes."""

    name = "offering"

    def __init__(self):
        self.changed, self.values, self.value = SignalInstance(), ("a", "b", "c"), "c"

    def blocks(self):
        return [Block(self._row, [self.changed])]

    def _row(self):
        options = tuple((value, value.upper(), f"Shows {value}") for value in self.values)
        return [Choice("kind", "Kind", "", options, self.value, self.choose, is_row=True)]

    def choose(self, value):
        self.value = value


def test_joined_buttons_are_those_that_are_offered(controller, show, redraw):
    view = Offering()
    panel = show(RecordPanel.of(view, controller), 300, 100)
    buttons = panel.widgets["kind"]
    assert buttons.value == "c"
    view.values, view.value = ("a", "d"), "d"
    view.changed.emit()
    redraw()
    assert buttons.value == "d"
    assert buttons.button("d").toolTip() == "Shows d"
    shown = [each.text() for each in buttons.findChildren(QToolButton) if each.isVisible()]
    assert shown == ["A", "D"]
    press(buttons.button("a"))
    assert view.value == "a"


def test_a_content_that_never_had_data_is_a_text(empty_controller, show):
    panel = show(RecordPanel.of(TracesView.of(empty_controller), empty_controller), 400, 300)
    empty = panel.content("traces")
    assert empty.accessibleName() == NO_SESSION
    assert not panel.stacks
