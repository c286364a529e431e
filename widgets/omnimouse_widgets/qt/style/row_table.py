"""Common table style: whole rows, sorted by header, without a grid."""

from qtpy.QtCore import QAbstractItemModel, QEvent, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView


class RowView(QTableView):
    """Table view that keeps PgUp and PgDown, which step trials in other widgets."""

    resized = Signal()

    fills_height = False
    """Whether the table takes the height that is left, instead of asking for its own."""

    def sizeHint(self) -> QSize:
        """Return the wanted size."""
        wanted = super().sizeHint()
        return QSize(wanted.width(), self.minimumHeight()) if self.fills_height else wanted

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Tell that another width is free for the columns."""
        super().resizeEvent(event)
        self.resized.emit()

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys before Qt looks for shortcuts."""
        claim = QEvent.Type.ShortcutOverride
        if isinstance(event, QKeyEvent) and event.type() == claim:
            paging = (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
            if event.key() in paging and not event.modifiers():
                # An accepted ShortcutOverride arrives as a normal key press of the
                # table.
                event.accept()
                return True
        return super().event(event)


def row_table(
    model: QAbstractItemModel, tooltip: str, row_height: int = 22
) -> tuple[RowView, QHeaderView]:
    """Return a view of a model and its horizontal header."""
    view = RowView()
    view.setModel(model)
    view.setToolTip(tooltip)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setSortingEnabled(True)
    rows, titles = view.verticalHeader(), view.horizontalHeader()
    assert rows is not None
    assert titles is not None
    # After the view's own handler: the first rows of the new order are in view.
    titles.sortIndicatorChanged.connect(lambda *_: view.scrollToTop())
    rows.hide()
    # A fixed height: measuring 10,000 rows would take longer than drawing them.
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setDefaultSectionSize(row_height)
    return view, titles
