"""List of saved sweeps: show, resume and delete."""

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.analysis.sweep.saved import SavedSweep
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.sweeps import MOST_COMPARED
from omnimouse_widgets.drawn.context.text import kept_words
from omnimouse_widgets.qt.context.legend import SAMPLE, line_sample
from omnimouse_widgets.qt.style.plot_style import small_font
from omnimouse_widgets.qt.style.redraw import Redraw

LEAST_ROWS = 3
CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked
TOOLTIP = (
    f"Tick a sweep to draw it, at most {MOST_COMPARED}; Space ticks the one chosen. "
    "The sample shows its line; its points are open."
)


class KeptSweeps(QWidget):
    """List of saved sweeps with check boxes, and buttons for the current one.

    Parameters
    ----------
    controller
        Source of `sweeps`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._sweeps = controller.sweeps
        self.list = QListWidget()
        self.list.setToolTip(TOOLTIP)
        self.list.setIconSize(SAMPLE)
        self.list.setFont(small_font())
        self.list.setWordWrap(True)
        self.list.setSpacing(1)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMinimumHeight(LEAST_ROWS * 2 * self.list.fontMetrics().height())
        self.list.setAccessibleName("Kept sweeps")
        self.empty = QLabel("None yet: start one under Sweep…")
        self.go_on = QPushButton("Go on")
        self.go_on.setToolTip("Compute what it lacks, with its own model and recording")
        self.delete = QPushButton("Delete")
        self.list.itemChanged.connect(self._tick)
        self.list.currentRowChanged.connect(lambda _: self._draw_buttons())
        self.go_on.clicked.connect(lambda: self._go_on())
        self.delete.clicked.connect(lambda: self._delete())
        # Sweep whose deletion waits for confirmation.
        self._sure: Path | None = None
        beside = QVBoxLayout()
        beside.setSpacing(3)
        beside.addWidget(self.go_on)
        beside.addWidget(self.delete)
        beside.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.empty, 1)
        row.addWidget(self.list, 1)
        row.addLayout(beside)
        for widget in (self.list, self.go_on, self.delete):
            widget.hide()  # an empty list would only take height
        self.redraw = Redraw(self, (self._draw, [controller.sweeps.changed]))

    @property
    def chosen(self) -> Path | None:
        """Path of the sweep in the current row, or None."""
        item = self.list.currentItem()
        return None if item is None else item.data(Qt.ItemDataRole.UserRole)

    # -- what the user does -----------------------------------------------------------
    def _tick(self, item: QListWidgetItem) -> None:
        # `itemChanged` is emitted for texts and icons, too: compare with the state.
        path = item.data(Qt.ItemDataRole.UserRole)
        is_drawn = item.checkState() == CHECKED
        if path is not None and is_drawn != (path in self._sweeps.compared):
            self._sweeps.compare(path, is_drawn)

    def _go_on(self) -> None:
        if self.chosen is not None:
            self._sweeps.go_on(self.chosen)

    def _delete(self) -> None:
        """Ask for confirmation on the first press; delete on the second."""
        path = self.chosen
        if path is None:
            return
        if self._sure != path:
            self._sure = path
            self._draw_buttons()
            return
        self._sure = None
        self._sweeps.remove(path)

    # -- from state to screen ---------------------------------------------------------
    def _draw(self) -> None:
        found = self._sweeps.found
        paths = [self._path_at(row) for row in range(self.list.count())]
        # Drawing the state must not act as a user action.
        self.list.blockSignals(True)
        # Refill only for other files, to keep the current row and the scroll position.
        if paths != [entry.path for entry in found]:
            self._fill(found)
        for row, entry in enumerate(found):
            item = self.list.item(row)
            if item is not None:
                self._draw_item(item, entry)
        self.list.blockSignals(False)
        self.empty.setVisible(not found)
        for widget in (self.list, self.go_on, self.delete):
            widget.setVisible(bool(found))
        self._draw_buttons()

    def _fill(self, found: tuple[SavedSweep, ...]) -> None:
        chosen = self.chosen
        self.list.clear()
        for entry in found:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, entry.path)
            self.list.addItem(item)
            if entry.path == chosen:
                self.list.setCurrentItem(item)

    def _draw_item(self, item: QListWidgetItem, entry: SavedSweep) -> None:
        compared = self._sweeps.compared
        is_drawn = entry.path in compared
        # Line style 0 is the live sweep.
        line = compared.index(entry.path) + 1 if is_drawn else 0
        item.setText(kept_words(entry, is_running=entry.path == self._sweeps.running))
        item.setToolTip(f"{item.text()}\n{entry.path}\n{entry.problem}".strip())
        flags = item.flags() | Qt.ItemFlag.ItemIsUserCheckable
        item.setFlags(flags)
        item.setCheckState(CHECKED if is_drawn else UNCHECKED)
        # Painting an icon is slow: keep the line number and paint only after a change.
        if item.data(Qt.ItemDataRole.UserRole + 1) != line or item.icon().isNull():
            item.setData(Qt.ItemDataRole.UserRole + 1, line)
            item.setIcon(QIcon(line_sample(line)) if line else _blank())

    def _draw_buttons(self) -> None:
        path = self.chosen
        entry = None if path is None else self._sweeps.kept(path)
        is_running = path is not None and path == self._sweeps.running
        # Choosing another row cancels the confirmation.
        self._sure = self._sure if self._sure == path else None
        is_part = (
            entry is not None and entry.sweep is not None and not entry.is_complete
        )
        can_go_on = is_part and not self._sweeps.is_busy
        self.go_on.setEnabled(can_go_on)
        self.delete.setEnabled(entry is not None and not is_running)
        self.delete.setText("Really?" if self._sure else "Delete")
        words = "Press again to delete its file" if self._sure else "Delete its file"
        self.delete.setToolTip(words)

    def _path_at(self, row: int) -> Path | None:
        item = self.list.item(row)
        return None if item is None else item.data(Qt.ItemDataRole.UserRole)


def _blank() -> QIcon:
    """Return an empty icon that keeps the texts aligned."""
    pixmap = QPixmap(SAMPLE)
    pixmap.fill(QColor(0, 0, 0, 0))
    return QIcon(pixmap)
