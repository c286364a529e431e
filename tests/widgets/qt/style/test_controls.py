"""Keys in menus of panels: they stay in the menu, and act elsewhere afterwards."""

import pytest
from napari.qt import get_stylesheet
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QSpinBox, QToolTip, QVBoxLayout, QWidget

from omnimouse_widgets.qt.style.controls import combo_box, number_box, scroll_vertically, slider
from omnimouse_widgets.qt.style.shortcuts import bind
from tests.widgets.pointer import pick, press, wheel

LETTERS = ("c", "D", "1")


class Panel(QWidget):
    """A panel whose shortcuts are the letters, and the keys that leave it."""

    def __init__(self):
        super().__init__()
        self.shortcuts, self.left, self.chosen = [], [], []
        items = [(text, text) for text in ("one", "decode", "cut", "Detail")]
        self.box = combo_box(self.chosen.append, items)
        QVBoxLayout(self).addWidget(self.box)
        for key in ("C", "Shift+D", "1"):
            bind(self, key, lambda key=key: self.shortcuts.append(key))

    def keyPressEvent(self, event):
        self.left.append(event.text())


@pytest.fixture
def panel(show):
    return show(Panel())


@pytest.mark.parametrize("end", [Qt.Key.Key_Return, Qt.Key.Key_Escape])
def test_the_open_list_takes_every_key(panel, end, qtbot):
    press(panel.box)
    view = panel.box.view()
    for letter in LETTERS:
        QTest.keyClicks(view, letter)
    assert (panel.shortcuts, panel.left) == ([], [])
    assert view.currentIndex().data() == "cut"
    QTest.keyClick(view, end)
    assert panel.chosen == (["cut"] if end == Qt.Key.Key_Return else [])
    # After a click the panel has the focus: its keys act again.
    qtbot.waitUntil(panel.hasFocus)
    QTest.keyClicks(panel, "c")
    assert panel.shortcuts == ["C"]


def test_a_letter_in_the_closed_menu_opens_it_and_chooses_nothing(panel):
    panel.box.setFocus(Qt.FocusReason.TabFocusReason)
    for letter in LETTERS:
        QTest.keyClicks(panel.box, letter)
    assert (panel.shortcuts, panel.left) == ([], [])
    view = panel.box.view()
    assert view.isVisible()
    assert (panel.chosen, panel.box.currentText()) == ([], "one")
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert panel.box.hasFocus()  # as the Tab key has put it
    QTest.keyClick(panel.box, Qt.Key.Key_Down)
    assert panel.chosen == ["decode"]


def test_a_choice_of_the_last_recording_is_dropped(show):
    chosen, columns = [], ["area", "plane"]
    box = combo_box(chosen.append, [(name, name) for name in columns], offered=lambda: columns)
    show(box)
    pick(box, "plane")
    columns.remove("plane")  # another recording opens; the menu is not drawn again yet
    pick(box, "plane")
    pick(box, "area")
    assert chosen == ["plane", "area"]


def pictures_of(show, text, width, chosen=0):
    """Return pictures of two menus in napari's style: this project's and Qt's."""
    boxes = combo_box(print, [(text, "")]), QComboBox()
    boxes[1].addItem(text)
    for box in boxes:
        box.setStyleSheet(get_stylesheet("dark"))
        if chosen < 0:
            box.setPlaceholderText("by hand")
        box.setCurrentIndex(chosen)
        box.ensurePolished()
    width = width or boxes[1].sizeHint().width()
    return [show(box, width, 30).grab().toImage() for box in boxes]


def test_a_text_that_is_too_long_is_drawn_with_an_ellipsis(show):
    ours, of_qt = pictures_of(show, "long " * 30, 160)
    assert ours != of_qt  # Qt cuts the text at the edge


@pytest.mark.parametrize("text", ["best", "demo", "window", "responses of others"])
@pytest.mark.parametrize("chosen", [0, -1])
def test_other_texts_are_drawn_as_by_qt(show, text, chosen):
    ours, of_qt = pictures_of(show, text, None, chosen)
    assert ours == of_qt


def test_a_long_name_keeps_both_ends_and_is_whole_in_the_tooltip(show):
    name = "demo, fine-tuned to 90009-1-1-of-another-day"
    box = show(combo_box(lambda _: None, [(name, name)], tooltip="Model"), 160, 26)
    box.setStyleSheet("QToolTip { background-color: #010203; }")
    shown = box.shown_text
    assert shown.startswith("demo")
    assert shown.endswith("day")
    at = QPoint(5, 5)
    QApplication.sendEvent(box, QHelpEvent(QHelpEvent.Type.ToolTip, at, box.mapToGlobal(at)))
    assert QToolTip.text() == f"{name}\nModel"
    # Of the box, whose style it has.
    shown = [
        each for each in QApplication.topLevelWidgets() if each.objectName() == "qtooltip_label"
    ]
    assert [tip.property("_q_stylesheet_parent") for tip in shown] == [box]
    QToolTip.hideText()


# -- the wheel over controls: it scrolls the panel, and changes a control with focus -
MAKERS = {
    "menu": lambda: combo_box(lambda _: None, [(str(n), n) for n in range(9)]),
    "number": lambda: number_box(QSpinBox, lambda: None),
    "slider": lambda: slider(9),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_wheel_is_left_to_the_panel_and_changes_only_a_control_with_the_focus(show, kind):
    control, content = MAKERS[kind](), QWidget()
    QVBoxLayout(content).addWidget(control)
    area = show(scroll_vertically(content))
    value = control.currentIndex if kind == "menu" else control.value
    (control.setCurrentIndex if kind == "menu" else control.setValue)(5)
    area.setFocus()
    middle = QPointF(control.rect().center())
    # Qt passes an event that is not accepted to the parent, up to the scroll area.
    assert not wheel(control, middle, -1)
    assert value() == 5
    control.setFocus()
    assert wheel(control, middle, -1)
    assert value() != 5
