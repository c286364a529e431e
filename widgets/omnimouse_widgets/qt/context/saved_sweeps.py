"""List of saved sweeps: show, resume and delete."""

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.analysis.sweep.saved import SavedSweep
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.sweep.sweeps import MAX_COMPARED
from omnimouse_widgets.drawn.context.text import entry_text
from omnimouse_widgets.qt.context.legend import SAMPLE, line_sample
from omnimouse_widgets.qt.style.controls import (
    describe,
    push_button,
)
from omnimouse_widgets.qt.style.plot_style import small_font
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import drawn_pixmap

MIN_ROWS = 3
CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked
PATH_ROLE = Qt.ItemDataRole.UserRole
LINE_ROLE = PATH_ROLE + 1
"""Role of the line number that the icon of an item shows."""
TOOLTIP = (
    f"Tick a sweep to draw it, at most {MAX_COMPARED}; Space ticks the current one.\n"
    "The sample shows its line; its points are open."
)


class SavedSweeps(QWidget):
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
        describe(self.list, TOOLTIP, "Saved sweeps")
        self.list.setIconSize(SAMPLE)
        self.list.setFont(small_font())
        self.list.setWordWrap(True)
        self.list.setSpacing(1)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMinimumHeight(MIN_ROWS * 2 * self.list.fontMetrics().height())
        self.list.itemChanged.connect(self._tick)
        self.list.currentRowChanged.connect(lambda _: self._draw_buttons())
        self.empty = QLabel("No saved sweeps. Start one under Sweep…")
        tooltip = "Compute the missing points, with the sweep's own model and recording"
        self.resume = push_button("Resume", tooltip, self._resume)
        self.delete = push_button("Delete", "", self._delete)
        # Sweep whose deletion waits for confirmation.
        self._unconfirmed: Path | None = None
        buttons = QVBoxLayout()
        buttons.setSpacing(3)
        buttons.addWidget(self.resume)
        buttons.addWidget(self.delete)
        buttons.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.empty, 1)
        row.addWidget(self.list, 1)
        row.addLayout(buttons)
        for widget in (self.list, self.resume, self.delete):
            widget.hide()  # an empty list would only take height
        self.redraw = Redraw(self, (self._draw, [controller.sweeps.changed]))

    @property
    def current(self) -> Path | None:
        """Path of the sweep in the current row, or None."""
        return self._path_at(self.list.currentRow())

    def _path_at(self, row: int) -> Path | None:
        item = self.list.item(row)
        return None if item is None else item.data(PATH_ROLE)

    # -- what the user does -----------------------------------------------------------
    def _tick(self, item: QListWidgetItem) -> None:
        # `itemChanged` is emitted for texts and icons, too: compare with the state.
        path = item.data(PATH_ROLE)
        is_drawn = item.checkState() == CHECKED
        if path is not None and is_drawn != (path in self._sweeps.compared):
            self._sweeps.compare(path, is_drawn)

    def _resume(self) -> None:
        if self.current is not None:
            self._sweeps.continue_saved(self.current)

    def _delete(self) -> None:
        """Ask for confirmation on the first press; delete on the second."""
        path = self.current
        if path is not None and self._unconfirmed == path:
            self._unconfirmed = None
            self._sweeps.remove(path)
        else:
            self._unconfirmed = path
            self._draw_buttons()

    # -- from state to screen ---------------------------------------------------------
    def _draw(self) -> None:
        entries = self._sweeps.entries
        paths = [self._path_at(row) for row in range(self.list.count())]
        # Drawing the state must not act as a user action.
        with QSignalBlocker(self.list):
            # Refill only for other files, to keep the current row and the scroll
            # position.
            if paths != [entry.path for entry in entries]:
                self._fill(entries)
            for row, entry in enumerate(entries):
                item = self.list.item(row)
                if item is not None:
                    self._draw_item(item, entry)
        self.empty.setVisible(not entries)
        for widget in (self.list, self.resume, self.delete):
            widget.setVisible(bool(entries))
        self._draw_buttons()

    def _fill(self, entries: tuple[SavedSweep, ...]) -> None:
        current = self.current
        self.list.clear()
        for entry in entries:
            item = QListWidgetItem()
            item.setData(PATH_ROLE, entry.path)
            self.list.addItem(item)
            if entry.path == current:
                self.list.setCurrentItem(item)

    def _draw_item(self, item: QListWidgetItem, entry: SavedSweep) -> None:
        compared = self._sweeps.compared
        is_drawn = entry.path in compared
        # Line style 0 is the live sweep.
        line = compared.index(entry.path) + 1 if is_drawn else 0
        item.setText(entry_text(entry, is_running=entry.path == self._sweeps.running))
        tip = f"{item.text()}\n{entry.path}\n{entry.problem}"
        item.setToolTip(tip.strip())
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(CHECKED if is_drawn else UNCHECKED)
        # Painting an icon is slow: paint only after a change.
        if item.data(LINE_ROLE) != line or item.icon().isNull():
            item.setData(LINE_ROLE, line)
            # An empty icon keeps the texts aligned.
            pixmap = line_sample(line) if line else drawn_pixmap(SAMPLE, lambda _: None)
            item.setIcon(QIcon(pixmap))

    def _draw_buttons(self) -> None:
        sweeps, path = self._sweeps, self.current
        entry = None if path is None else sweeps.entry_of(path)
        is_partial = entry is not None and entry.sweep is not None and not entry.is_complete
        self.resume.setEnabled(is_partial and not sweeps.is_busy)
        self.delete.setEnabled(entry is not None and path != sweeps.running)
        # Choosing another row cancels the confirmation.
        self._unconfirmed = path if path == self._unconfirmed else None
        is_asking = self._unconfirmed is not None
        self.delete.setText("Really?" if is_asking else "Delete")
        self.delete.setToolTip("Press again to delete" if is_asking else "Delete the file")
