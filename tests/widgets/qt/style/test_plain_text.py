"""Tooltips and labels of panels are plain, whatever a file has written into them."""

import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QHelpEvent, QTextDocument
from qtpy.QtWidgets import (
    QApplication,
    QGraphicsScene,
    QGraphicsView,
    QLabel,
    QMenu,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from omnimouse_widgets.qt.style.plain_text import keep_texts_plain, texts_without_files

HOSTILE = "mouse <img src='file:///etc/passwd'> &lt;b> 7\nsecond line"


class Panel(QWidget):
    """A panel of this project, as its module says."""

    __module__ = "omnimouse_widgets.panel"

    def __init__(self) -> None:
        super().__init__()
        keep_texts_plain()
        self.column = QVBoxLayout(self)


@pytest.fixture
def panel(qtbot):
    made = Panel()
    qtbot.addWidget(made)
    yield made
    QToolTip.hideText()


def tip_over(widget):
    """Return the label of the tooltip that the pointer gets over a place of a widget."""
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, QPoint(5, 5), QPoint(50, 50)))
    labels = [w for w in QApplication.topLevelWidgets() if w.inherits("QTipLabel")]
    assert len(labels) == 1
    return labels[0]


def shown_text(label):
    """Return the text that a label draws."""
    is_plain = label.textFormat() == Qt.TextFormat.PlainText
    if is_plain or not Qt.mightBeRichText(label.text()):
        return label.text()
    document = QTextDocument()
    document.setHtml(label.text())
    return document.toPlainText()


def table_in(panel):
    table = QTableWidget(1, 1)
    item = QTableWidgetItem("neuron")
    item.setToolTip(HOSTILE)
    table.setItem(0, 0, item)
    return table, table.viewport()


def menu_in(panel):
    menu = QMenu(panel)
    menu.addAction("session").setToolTip(HOSTILE)
    menu.setToolTipsVisible(True)
    menu.popup(QPoint(0, 0))
    return menu, menu


def picture_in(panel):
    scene = QGraphicsScene(panel)
    scene.addRect(-500, -500, 1000, 1000).setToolTip(HOSTILE)
    view = QGraphicsView(scene)
    return view, view.viewport()


def button_in(panel):
    label = QLabel("name")
    label.setToolTip(HOSTILE)
    return label, label


@pytest.mark.parametrize("make", [button_in, table_in, menu_in, picture_in])
def test_a_tooltip_shows_html_of_a_file_as_it_is(qtbot, panel, make):
    before = QLabel("before", toolTip="<qt>its own tooltip</qt>")
    panel.column.addWidget(before)
    widget, under_the_pointer = make(panel)
    if not isinstance(widget, QMenu):
        panel.column.addWidget(widget)
    panel.show()
    # The label of one tooltip is used again for the next.
    assert shown_text(tip_over(before)) == "its own tooltip"
    assert shown_text(tip_over(under_the_pointer)) == HOSTILE
    widget.close()


def test_a_label_of_a_panel_and_of_its_dialogs_shows_html_as_it_is(qtbot, panel):
    label, box = QLabel(HOSTILE), QMessageBox(panel)
    panel.column.addWidget(label)
    box.setText(HOSTILE)
    panel.show()
    box.show()
    for shown in (label, box.findChild(QLabel, "qt_msgbox_label")):
        assert shown_text(shown) == HOSTILE
    box.close()


def test_a_note_of_napari_shows_html_of_our_errors_as_it_is(qtbot, panel):
    note = NapariQtNotification(HOSTILE, "warning")
    qtbot.addWidget(note)
    note.show()
    assert note.message.textFormat() == Qt.TextFormat.PlainText


def test_labels_of_others_keep_their_html(qtbot, panel):
    other = QLabel("<b>About</b>", toolTip="<b>About</b>")
    qtbot.addWidget(other)
    other.show()
    assert other.textFormat() == Qt.TextFormat.AutoText
    assert shown_text(tip_over(other)) == "About"


def test_labels_of_a_window_that_is_being_made_are_plain_once_it_is(qtbot):
    application = QApplication.instance()
    for own_filter in application.findChildren(QObject):
        if type(own_filter).__name__ == "_PlainTexts":
            application.removeEventFilter(own_filter)
            own_filter.setParent(None)
    with texts_without_files():
        panel = Panel()
        qtbot.addWidget(panel)
        early = QLabel(HOSTILE, panel)
        panel.show()
    late = QLabel(HOSTILE, panel)
    late.show()

    assert shown_text(early) == shown_text(late) == HOSTILE
