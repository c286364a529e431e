"""Common table style: whole rows, sorted by header, without a grid."""

from qtpy.QtCore import QAbstractItemModel, QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView


class _RowView(QTableView):
    """Table view that keeps PgUp and PgDown, which step trials in other widgets."""

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
) -> tuple[QTableView, QHeaderView]:
    """Return a view of a model and its horizontal header."""
    view = _RowView()
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
