"""Texts of the window: none is cut off in any panel, at two sizes."""

import re
from collections.abc import Iterator

import pytest
from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QGraphicsItem,
    QGraphicsSimpleTextItem,
    QGraphicsTextItem,
    QGraphicsView,
    QHeaderView,
    QLabel,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QTabBar,
    QWidget,
)

from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_model.analysis.stimulus_edits import Mirror
from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.live.models.finetune import FinetuneRequest
from omnimouse_model.live.sweeps import WAITING
from omnimouse_model.masks import VISIBLE
from omnimouse_model.progress import STARTING
from omnimouse_widgets.qt.style.controls import MenuBox
from omnimouse_widgets.views.context.view import IN_WINDOW, OTHER, OTHER_RECORDING, ContextView
from omnimouse_widgets.views.repeats import RepeatsView
from tests.app.windows import SIZE, wait_for_rest

pytestmark = pytest.mark.gui
ICON_GAP = 4
"""Pixels between an icon and its text, and at the edges of a button."""
TEXT_MARGIN = 4
"""Pixels around the letters of a text in a plot."""
SMALL = (1280, 720)
NARROW = 240
"""Wanted width of a dock; it becomes as narrow as its panels allow."""


def plain(text: str) -> str:
    """A text without tags and without the marks of keys."""
    return re.sub(r"<[^>]+>", "", text).replace("&", "").strip()


def is_label_cut(label: QLabel) -> bool:
    text, width = plain(label.text()), label.contentsRect().width() + 1
    if plain(getattr(label, "full_text", text)) != text:
        return True
    if not label.wordWrap():
        hint = label.sizeHint()
        return hint.width() > label.width() + 1 or hint.height() > label.height() + 2
    # Qt goes on in the next line at spaces, and where `breakable` lets it.
    words = text.replace("\u200b", " ").split()
    longest = max(map(label.fontMetrics().horizontalAdvance, words), default=0)
    return longest > width or label.heightForWidth(label.width()) > label.height() + 1


def is_button_cut(button: QAbstractButton | QComboBox) -> bool:
    text = button.currentText() if isinstance(button, QComboBox) else plain(button.text())
    icon = 0
    if isinstance(button, QComboBox):
        icon = 16  # its arrow
        # A name may be without its explanation, and not with a part of it.
        text = text.partition(" · ")[0] if isinstance(button, MenuBox) else text
    elif not button.icon().isNull():
        icon = button.iconSize().width() + ICON_GAP
    width = max(map(button.fontMetrics().horizontalAdvance, text.split("\n")))
    return width + icon + ICON_GAP > button.width()


def cut_widgets(top: QWidget) -> Iterator[str]:
    """Text of each cut label, button, menu, tab and title of a column."""
    for label in top.findChildren(QLabel):
        if label.isVisible() and plain(label.text()) and is_label_cut(label):
            yield plain(getattr(label, "full_text", label.text()))
    for kind in (QAbstractButton, QComboBox):
        for button in top.findChildren(kind):
            text = button.currentText() if kind is QComboBox else plain(button.text())
            if button.isVisible() and text and is_button_cut(button):
                yield text
    for header in top.findChildren(QHeaderView):
        model = header.model()
        if not header.isVisible() or header.orientation() != Qt.Orientation.Horizontal:
            continue
        for column in range(header.count()):
            role = Qt.ItemDataRole.DisplayRole
            text = str(model.headerData(column, header.orientation(), role) or "")
            if header.fontMetrics().horizontalAdvance(text) > header.sectionSize(column):
                yield text


def cut_drawings(top: QWidget) -> Iterator[str]:
    """Each text in a plot that is not whole in its view."""
    for view in top.findChildren(QGraphicsView):
        if not view.isVisible() or view.scene() is None:
            continue
        room = view.viewport().rect()
        for item in view.scene().items():
            if not isinstance(item, (QGraphicsTextItem, QGraphicsSimpleTextItem)):
                continue
            text = plain(item.toPlainText() if isinstance(item, QGraphicsTextItem) else item.text())
            if text and item.isVisible() and is_drawn(item):
                place = view.mapFromScene(item.sceneBoundingRect()).boundingRect()
                # The empty margin of a text may be cut.
                place.adjust(TEXT_MARGIN, TEXT_MARGIN, -TEXT_MARGIN, -TEXT_MARGIN)
                if not (room & clip_of(view, item)).contains(place):
                    yield text


def clip_of(view: QGraphicsView, item: QGraphicsItem) -> QRect:
    """The part of a view in which an item is drawn."""
    clip, parent = view.viewport().rect(), item.parentItem()
    while parent is not None:
        if parent.flags() & QGraphicsItem.GraphicsItemFlag.ItemClipsChildrenToShape:
            clip &= view.mapFromScene(parent.sceneBoundingRect()).boundingRect()
        parent = parent.parentItem()
    return clip


def is_drawn(item: QGraphicsItem | None) -> bool:
    while item is not None:
        if item.opacity() == 0 or not item.isVisible():
            return False
        item = item.parentItem()
    return True


def cut_tabs(window: QMainWindow) -> Iterator[str]:
    """Texts of the tabs of docks that are narrower than they would be."""
    for bar in window.findChildren(QTabBar):
        if bar.isVisible() and bar.sizeHint().width() > bar.width():
            for tab in range(bar.count()):
                yield bar.tabText(tab)


def cut_texts(dock: OmniMouseDock, title: str) -> list[str]:
    """Texts of a panel that stay cut; a tooltip is no excuse."""
    panel, window = dock.docks[title], dock.main_window
    # A panel that was just built is laid out in several turns of the event loop.
    for _ in range(40):
        cut = [*cut_widgets(panel), *cut_drawings(panel), *cut_tabs(window)]
        if not cut:
            break
        settle(0.05)
    return cut


def test_no_text_of_any_panel_is_cut(dock):
    cut = {}
    for size in (SMALL, SIZE):
        dock.main_window.resize(*size)
        wait_for_rest(dock, size)
        for title, panel in dock.docks.items():
            dock.bring_up(title)
            wait_for(lambda panel=panel: not panel.widget().visibleRegion().isEmpty(), title)
            if found := cut_texts(dock, title):
                cut[*size, title] = found
    assert not cut


def bring_up_in_small_window(dock: OmniMouseDock, title: str) -> None:
    dock.main_window.resize(*SMALL)
    wait_for_rest(dock, SMALL)
    dock.bring_up(title)


BUSY = {
    "Neuron": ("neuron_info", "Receptive field: 50 %, about 12 min left"),
    "Laboratory": ("laboratory", "23 of 120 videos · about 12 min left"),
    "Sources": ("sources", "3 of 80 groups · about 12 min left"),
}
"""Panels with the part whose background task they show, and what it says while it runs."""


@pytest.mark.parametrize("title", BUSY)
def test_progress_is_whole_in_a_small_window(dock, title, monkeypatch):
    part, message = BUSY[title]
    task = getattr(dock.controller, part)._task
    bring_up_in_small_window(dock, title)
    with monkeypatch.context() as patch:
        patch.setattr(task, "message", message)
        patch.setattr(task, "share", 0.5)
        task.changed.emit()
        settle(0.5)
        cut = cut_texts(dock, title)
    task.changed.emit()
    assert not cut


def test_a_sweep_that_waits_cuts_no_text_in_a_small_window(dock, tmp_path, monkeypatch):
    sweeps = dock.controller.sweeps
    sweeps.folder = tmp_path
    bring_up_in_small_window(dock, "Context")
    sweeps.start(SweepPlan(neurons=(0, 16), video=(True, False), seeds=(0, 1)))
    sweeps.pause()
    wait_for(lambda: "points" in sweeps.message, "the sweep")
    settle(0.5)
    cut = cut_texts(dock, "Context")
    waits = f"3,948 of 3,948 predictions · {WAITING}"
    monkeypatch.setattr(type(sweeps), "message", property(lambda _: waits))
    sweeps.changed.emit()
    settle(0.5)
    cut += cut_texts(dock, "Context")
    sweeps.cancel()
    assert not cut


def test_the_form_of_a_sweep_of_a_large_mask_is_whole(dock):
    editor, panel = dock.controller.editor, dock.panels["Context"]
    dock.bring_up("Context")
    wait_for(lambda: "sweep" in panel.widgets, "the panel")
    editor.paint(range(20), VISIBLE)
    panel.widgets["sweep"].click()
    cut = {}
    for size in (SMALL, SIZE):
        dock.main_window.resize(*size)
        wait_for_rest(dock, size)
        for box in panel.findChildren(QComboBox):
            name, _, counted = box.currentText().partition(" (")
            if counted:  # as in a recording of 1,000 neurons
                box.setItemText(box.currentIndex(), f"{name} (1,000)")
        cut[size] = cut_texts(dock, "Context")
    panel.widgets["sweep"].click()
    editor.undo()
    assert cut == {SMALL: [], SIZE: []}


EXPECTED = (
    "at least 12 min for a recording like the demo's: other work on this processor can make it "
    "ten times as long or more"
)


UNSAID = "where the recording 90009-1-1 of neurons_of is"


@pytest.mark.parametrize(
    ("runs", "left_s", "told"),
    [
        (True, 700.0, "about 12 min left"),
        (True, None, f"in all {EXPECTED}"),
        (False, None, "omnimouse finetune … --out my_mouse"),
        (False, None, "Weights in the folder "),
        (False, 1.0, "makes no further step, but first the context part is fitted"),
    ],
)
def test_what_a_fine_tuning_says_is_whole_in_a_small_window(
    dock, monkeypatch, tmp_path, runs, left_s, told
):
    finetuning, session = dock.controller.finetuning, dock.controller.state.session
    bring_up_in_small_window(dock, "Fine-tuning")
    is_unsaid = left_s is None
    more = {"expected": EXPECTED} if runs else {"unsaid": UNSAID if is_unsaid else ""}
    finetuning._start_from(FinetuneRequest("demo", session, tmp_path / "my_mouse", **more))
    with monkeypatch.context() as patch:
        if runs:
            for name, value in {"message": STARTING, "share": 0.5}.items():
                patch.setattr(finetuning._task, name, value)
            patch.setattr(finetuning, "stage", STARTING)
            patch.setattr(finetuning, "_left_s", left_s)
        else:
            finetuning.step, finetuning.validations = 90, [(0, 0.25)]
        finetuning.changed.emit()
        settle(0.5)
        cut = cut_texts(dock, "Fine-tuning")
        labels = dock.panels["Fine-tuning"].findChildren(QLabel)
        assert any(told in one.text() for one in labels)
    finetuning.clear()
    assert not cut


LONG_MARK = "r = 0.43 in this window, of all 1,000 targets"


@pytest.mark.parametrize(
    "problem",
    [OTHER, OTHER_RECORDING, IN_WINDOW, "no target has a score in this window", LONG_MARK],
)
def test_the_reason_for_no_mark_is_whole_in_a_small_window(dock, monkeypatch, problem):
    bring_up_in_small_window(dock, "Context")
    view = dock.panels["Context"].view
    with monkeypatch.context() as patch:
        patch.setattr(ContextView, "mark", f"This mask: {problem}")
        view.changed.emit()
        settle(0.5)
        cut, shown = cut_texts(dock, "Context"), dock.panels["Context"].findChildren(QLabel)
        assert any(problem in getattr(one, "full_text", one.text()) for one in shown)
    view.changed.emit()
    assert not cut


def test_which_neurons_live_curves_have_is_whole_in_a_small_window(dock, monkeypatch):
    bring_up_in_small_window(dock, "Context")
    view = dock.panels["Context"].view
    lines = (
        "Test part, 104 of 172 windows · no target is selected",
        "744 held-out neurons from all others",
    )
    with monkeypatch.context() as patch:
        patch.setattr(ContextView, "status", lines)
        view.changed.emit()
        settle(0.5)
        cut, shown = cut_texts(dock, "Context"), dock.panels["Context"].findChildren(QLabel)
        assert {*lines} <= {getattr(one, "full_text", one.text()) for one in shown}
    view.changed.emit()
    assert not cut


RELIABILITY = (
    "Reliability: one repeat 0.33 [0.15, 0.51], mean 0.70 · oracle 0.19 (3 neurons, median)"
)


def test_the_reliability_of_repeats_is_whole_in_a_small_window(dock, monkeypatch):
    bring_up_in_small_window(dock, "Repeats")
    repeats, panel = dock.controller.repeats, dock.panels["Repeats"]
    with monkeypatch.context() as patch:
        # The small recording repeats no clip.
        patch.setattr(RepeatsView, "_ceiling", lambda view: RELIABILITY)
        repeats.changed.emit()
        settle(0.5)
        cut = cut_texts(dock, "Repeats")
        assert panel.widgets["ceiling"].full_text == RELIABILITY
    repeats.changed.emit()
    assert not cut


def hidden_height(dock: OmniMouseDock, title: str) -> int:
    """Pixels of a panel that are and stay in view only after scrolling."""
    areas = dock.docks[title].findChildren(QScrollArea)
    for _ in range(40):
        hidden = max(area.verticalScrollBar().maximum() for area in areas)
        if not hidden:
            break
        settle(0.05)
    return hidden


def test_an_edit_and_its_three_traces_are_in_view(dock):
    edits = dock.controller.stimulus_edits
    dock.bring_up("What if")
    edits.put(Mirror("horizontal"))
    wait_for(lambda: dock.controller.results.what_if_freshness == "fresh", "the new prediction")
    settle(0.3)
    hidden = hidden_height(dock, "What if")
    edits.reset()
    assert not hidden


def test_averages_over_trials_and_curves_of_context_are_in_view_in_a_small_window(dock):
    dock.main_window.resize(*SMALL)
    wait_for_rest(dock, SMALL)
    dock.controller.selection.select([2])
    for title, name in (("Trials", "predicted"), ("Context", "mark")):
        dock.bring_up(title)
        wait_for(lambda name=name, title=title: name in dock.panels[title].widgets, title)
        settle(0.3)
        assert not hidden_height(dock, title), title


@pytest.mark.parametrize("by", ["state", "score", "area"])
def test_brush_colours_and_their_legend_are_in_view_in_a_small_window(dock, by):
    bring_up_in_small_window(dock, "Brush and view")
    dock.controller.colouring.choose(by)
    settle(0.3)
    area, view = dock.brush.scroll_area, dock.brush.view
    end = view.mapTo(area.widget(), view.rect().bottomLeft()).y()
    dock.controller.colouring.choose("state")
    assert end <= area.viewport().height()


def test_a_part_of_a_neuron_is_in_view_in_a_small_window(dock):
    dock.controller.selection.select([2])
    bring_up_in_small_window(dock, "Neuron")
    view = dock.panels["Neuron"].view
    facts = dock.controller.neuron_info
    wait_for(lambda: facts.current is not None and facts.current.is_complete, "the neuron")
    for name in ("field", "tuning", "repeats"):
        view.show_part(name)
        settle(0.3)
        assert not hidden_height(dock, "Neuron"), name
        assert not cut_texts(dock, "Neuron"), name


def test_a_matrix_of_four_areas_is_in_view_in_a_small_window(dock, tmp_path):
    sources = dock.controller.sources
    sources.folder = tmp_path
    bring_up_in_small_window(dock, "Sources")
    sources.set(windows=8, question="areas", targets="selected")
    sources.start()
    wait_for(lambda: not sources.is_busy and sources.result is not None, "the areas")
    settle(0.3)
    matrix = dock.panels["Sources"].content("content")
    sources.set(question="sources")
    assert matrix.model().rowCount() == 5  # four areas, and what is known without neurons
    assert not matrix.verticalScrollBar().maximum()


@pytest.mark.parametrize("name", ["linear-gaussian", "interpolation", "sensorium-factorised"])
def test_the_closed_menu_of_models_has_the_whole_name(dock, name):
    dock.main_window.resize(*SMALL)
    wait_for_rest(dock, SMALL)
    menu = dock.control.model.model
    before = menu.currentIndex()
    menu.setCurrentIndex(menu.findData(name))
    shown, listed = menu.shown_text, menu.currentText()
    menu.setCurrentIndex(before)
    assert shown == name
    assert listed.startswith(f"{name} · ")


def test_in_a_narrow_dock_axes_and_the_quantity_of_the_scatter_are_whole(dock, tmp_path):
    sources = dock.controller.sources
    sources.folder = tmp_path
    sources.set(windows=8)
    dock.bring_up("Sources")
    sources.start()
    dock.bring_up("Scores")
    wait_for(lambda: not sources.is_busy and sources.result is not None, "the shares")
    docks = [dock.docks[title] for title in ("Sources", "Scores")]
    dock.main_window.resizeDocks(docks, [NARROW] * 2, Qt.Orientation.Horizontal)
    settle(0.5)
    cut = {title: [*cut_drawings(dock.docks[title])] for title in ("Sources", "Scores")}
    assert cut == {"Sources": [], "Scores": []}
    against = dock.panels["Scores"].widgets["against"]
    assert (against.currentText(), is_button_cut(against)) == ("x: Mean response", False)


def test_the_measure_finds_texts_that_are_cut(qtbot):
    top = QWidget()
    qtbot.addWidget(top)
    narrow, wrapped, button = (
        QLabel("decoded behaviour", top),
        QLabel("a b c", top),
        QPushButton("Export", top),
    )
    wrapped.setWordWrap(True)
    narrow.setGeometry(0, 0, 30, 20)
    wrapped.setGeometry(0, 30, 10, 20)
    button.setGeometry(0, 60, 20, 20)
    top.show()
    assert list(cut_widgets(top)) == ["decoded behaviour", "a b c", "Export"]
    for widget in (narrow, wrapped, button):
        widget.resize(200, 100)
    assert not list(cut_widgets(top))
