"""Tooltips and labels show texts of files as they are: Qt draws none of them as HTML.

Qt takes a text that looks like HTML for HTML, and reads its images from any file. One
filter of the application sees a label before its text is laid out. napari makes escaped
HTML of the tooltips of widgets, `<qt>…</qt>`, so that they wrap; those remain.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QLabel, QWidget

_waiting: list[bool] = []


def keep_texts_plain() -> None:
    """Install the filter, once per application."""
    application = QCoreApplication.instance()
    if application is None or _waiting or application.findChild(_PlainTexts) is not None:
        return
    _PlainTexts(application)


@contextmanager
def texts_without_files() -> Iterator[None]:
    """Install the filter at the end: no text of a file is shown until then.

    Its calls are a twentieth of the time in which a new window is made.
    """
    _waiting.append(True)
    try:
        yield
    finally:
        _waiting.pop()
        keep_texts_plain()
        for widget in QApplication.allWidgets():
            if isinstance(widget, QLabel):
                _PlainTexts.keep_plain(widget)


class _PlainTexts(QObject):
    def __init__(self, application: QObject) -> None:
        super().__init__(application)
        self._format = Qt.TextFormat.PlainText
        application.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Set the format of labels, and of the label that shows tooltips."""
        # Qt asks after each event of the application, and `type()` makes an enum: first
        # the classes of object and event.
        is_help = isinstance(event, QHelpEvent)
        if event is None or not (is_help or isinstance(watched, QLabel)):
            return False
        kind = event.type()
        if kind == QEvent.Type.Polish and isinstance(watched, QLabel):
            if _shows_tooltips(watched):
                watched.setTextFormat(self._format)
            else:
                self.keep_plain(watched)
        elif kind == QEvent.Type.ToolTip and isinstance(watched, QWidget):
            self._prepare_tooltip(watched)
        return False

    @staticmethod
    def keep_plain(label: QLabel) -> None:
        """Set the format of a label of this project that Qt would guess."""
        if label.textFormat() == Qt.TextFormat.AutoText and _is_of_panel(label):
            label.setTextFormat(Qt.TextFormat.PlainText)

    def _prepare_tooltip(self, widget: QWidget) -> None:
        tip = widget.toolTip()
        # Without a text of its own, the widget shows that of an item, action or tab.
        self._format = Qt.TextFormat.AutoText if tip else Qt.TextFormat.PlainText
        for window in QApplication.topLevelWidgets():
            if isinstance(window, QLabel) and _shows_tooltips(window):
                window.setTextFormat(self._format)
        if _is_of_panel(widget) and _is_markup(tip):
            lines = escape(tip).replace("\n", "<br>")
            # Not that of the class, which may store the text.
            QWidget.setToolTip(widget, f"<qt>{lines}</qt>")


def _shows_tooltips(label: QLabel) -> bool:
    return label.inherits("QTipLabel")


def _is_markup(tip: str) -> bool:
    """Whether Qt would draw a text as HTML that nobody has escaped."""
    if tip.startswith("<qt>") and tip.endswith("</qt>"):
        tip = tip[4:-5].replace("<br>", "").replace("&lt;", "")
    return "<" in tip or "&lt;" in tip


def _is_of_panel(widget: QWidget | None) -> bool:
    """Whether a widget is a part of this project, or a note of napari, which shows our errors."""
    while widget is not None:
        kind = type(widget)
        if kind.__module__.startswith("omnimouse_") or kind.__name__ == "NapariQtNotification":
            return True
        widget = widget.parentWidget()
    return False
