"""Notice in a panel that has an error: the error, and its details to copy."""

import logging

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication, QFrame, QHBoxLayout, QToolButton, QWidget

from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.text.controls import COPY, COPY_TIP, error_details, error_text

MARGIN = 4
_log = logging.getLogger(__name__)


class FaultNotice(QFrame):
    """Frame over the top of a panel; the user closes it."""

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._details = ""
        self.setFrameShape(QFrame.Shape.Panel)
        self.setAutoFillBackground(True)
        self.label = wrapped_label("problem", is_selectable=True)
        self.copy = QToolButton()
        self.copy.setText(COPY)
        self.copy.setToolTip(COPY_TIP)
        self.copy.clicked.connect(self._copy)
        close = QToolButton()
        close.setText("×")
        close.setAccessibleName("Close this notice")
        close.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        row.addWidget(self.label, 1)
        for button in (self.copy, close):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        panel.installEventFilter(self)
        self.hide()

    def show_error(self, error: BaseException) -> None:
        """Show an error; one that is shown already changes nothing."""
        details = error_details(error)
        if details == self._details:
            return
        self._details = details
        _log.error("A panel has an error.", exc_info=error)
        self.label.setText(error_text(error))
        self._fit()
        self.show()
        self.raise_()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the width of the panel."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._fit()
        return False

    def _fit(self) -> None:
        panel = self.parentWidget()
        if panel is not None:
            width = panel.width()
            self.setGeometry(0, 0, width, self.heightForWidth(width))

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self._details)
