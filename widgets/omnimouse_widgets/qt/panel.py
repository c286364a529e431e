"""Panel that draws the record of a view; it computes no content and holds no text.

Widgets are kept by the names of their items, so that the focus stays, and only items
that changed are drawn.

The module is longer than usual because it draws every kind of item of a record.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import numpy as np
from qtpy.QtCore import QRectF, QSignalBlocker, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QBoxLayout,
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.storage.write import write_bytes
from omnimouse_widgets import palette
from omnimouse_widgets.palette import Tone
from omnimouse_widgets.qt.form import SettingsDialog, SettingsForm
from omnimouse_widgets.qt.long_table import LongTableView, RowView, row_table
from omnimouse_widgets.qt.style import controls, shortcuts, theme
from omnimouse_widgets.qt.style.file_dialog import choose_file, choose_folder, choose_new_file
from omnimouse_widgets.qt.style.form import ElidedLabel, QuietLine
from omnimouse_widgets.qt.style.redraw import Redraw, VisibilityMonitor
from omnimouse_widgets.qt.style.segmented_button import Choice as Segment
from omnimouse_widgets.qt.style.segmented_button import SegmentedButton
from omnimouse_widgets.qt.style.shortcuts import KeyActions, key_actions
from omnimouse_widgets.views import record

# Imported with the first data, which a window has later: pyqtgraph and its plots take
# 60 ms of a start.
if TYPE_CHECKING:
    from omnimouse_widgets.qt.plot import RecordPlot
    from omnimouse_widgets.qt.style.plot_style import PlotCanvas
    from omnimouse_widgets.qt.timeline import Lanes
    from omnimouse_widgets.qt.traces import TraceStack

TONES: Final[dict[record.Tone, Tone]] = {
    "quiet": "quiet",
    "warning": "alert",
    "problem": "alert",
}
"""Tones of the theme; plain text has the colour of the window."""
DARK, BRIGHT = "#101010", "#F0F0F0"
"""Colours of texts on bright and on dark cells."""
NOTE_MS: Final = 10_000
"""Time for which a note about the clipboard stands: its content may be another one soon."""
REFUSALS: Final = (ValueError, OSError, ImportError)
"""Errors whose message answers a user action; the panel shows it."""
Taking = TypeVar("Taking", "PlotCanvas", RowView)
SWITCH_STYLE: Final = f"{controls.TOGGLE_STYLE} QToolButton {{ padding: 3px 2px; }}"
"""Style with less padding: a row of seven switches fits in a dock of 400 pixels."""
MENU_STYLE: Final = f"{SWITCH_STYLE} QToolButton {{ padding-right: 16px; }}"
"""Style of a switch with an arrow, which would be drawn over its label."""
SIGN_STYLE: Final = f"{SWITCH_STYLE} QToolButton {{ font-size: 8pt; }}"
"""Style of a switch that is an entry of a legend."""
OVER_STYLE: Final = (
    f"QToolButton {{ color: {theme.TEXT}; background: #2B2E36; "
    "border-radius: 3px; padding: 1px 5px; border: 1px solid #565C66; }"
)
"""Style of a button that stands over a plot."""
LONG_NAME: Final = 8
"""Letters of a choice that are always shown."""
WIDE_NAME: Final = 13
"""The same of the wide choice of a row."""
EMPTY: Final = ":empty"
"""End of the key of a content without data."""
MIN_HEIGHT: Final = 120
"""Least height of a content in pixels."""
LOW_HEIGHT: Final = 76
"""Least height of a timeline in pixels."""
IN_ROW_HEIGHT: Final = 100
"""Minimum height of a row of plots, pixels."""
FRAME_HEIGHT: Final = 86
"""The same where all plots are frames of video, which are wider than high."""
MATRIX_ROW_HEIGHT: Final = 22
WHOLE_MATRIX_HEIGHT: Final = 240
"""Height up to which a matrix is shown whole, in a panel that scrolls if it is lower."""


def make_panel(path: str, controller: Controller) -> "RecordPanel":
    """Return the panel of a view "module:class" below `omnimouse_widgets`."""
    view = resolve_name(f"omnimouse_widgets.{path}")
    return RecordPanel.of(view.of(controller), controller)


class RecordPanel(QWidget):
    """Items of a view, one below the other.

    Parameters
    ----------
    view
        Content and actions.
    editor
        Receiver of strokes.
    keys
        What the keys do that all panels share.

    Attributes
    ----------
    widgets
        Widget of each item by its name; a content has its kind, too: "content:table".
    panel_wanted
        Emitted with the title of a panel that an action brings to the front.
    """

    panel_wanted = Signal(str)

    def __init__(self, view: record.View, editor: MaskEditor, keys: KeyActions) -> None:
        super().__init__()
        self.setObjectName(f"omnimouse-{view.name}")
        self.view, self._editor = view, editor
        self.widgets: dict[str, Any] = {}
        self.plots: dict[str, RecordPlot] = {}
        self.stacks: dict[str, TraceStack] = {}
        self.tables: dict[str, LongTableView] = {}
        self.timelines: dict[str, Lanes] = {}
        self.notice = theme.wrapped_label("alert", is_selectable=True)
        self._note_end = QTimer(self)
        self._note_end.setSingleShot(True)
        self._note_end.timeout.connect(lambda: controls.show_text(self.notice, ""))
        self._drawn: dict[str, Any] = {}
        self._contents: dict[str, record.Content] = {}
        self._marks: dict[str, record.Mark] = {}
        self._shown: dict[QBoxLayout, list[str]] = {}
        # Scrolled, so that long messages and small screens do not make the window taller.
        # The margin around the area belongs to the panel: Qt calls a panel covered that
        # its children fill.
        content, area = QWidget(), QVBoxLayout(self)
        area.setContentsMargins(4, 4, 4, 4)
        area.addWidget(controls.scroll_vertically(content))
        below, self._beside = QVBoxLayout(content), QHBoxLayout()
        below.setContentsMargins(0, 0, 0, 0)
        below.addLayout(self._beside, 1)
        blocks = view.blocks()
        columns = [QVBoxLayout() for _ in range(1 + max(block.column for block in blocks))]
        for each in columns:
            each.setSpacing(4)
            self._beside.addLayout(each)
        parts: list[tuple[Callable[[], None], Sequence[Any]]] = []
        resting: list[int] = []
        for block in blocks:
            if block.follow is not None:
                monitor = VisibilityMonitor(self, block.follow)
                parts.append((monitor.update, block.signals))
            layout = QVBoxLayout()
            layout.setSpacing(4)
            columns[block.column].addLayout(layout)
            draw = partial(self._draw, columns[block.column], layout, block.read)
            if block.grows:
                resting.append(len(parts))
            parts.append((draw, block.signals))
        below.addWidget(self.notice)
        self.notice.hide()
        shortcuts.bind_keys(self, keys)
        # A press beside the widgets gives the focus that the keys need.
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.redraw = Redraw(self, *parts, resting=resting)

    @classmethod
    def of(cls, view: record.View, controller: Controller) -> Self:
        """Return the panel of a view, with the parts of a controller."""
        return cls(view, controller.editor, key_actions(controller))

    # -- what the user does -----------------------------------------------------------
    def press(self, name: str) -> None:
        """Run an action, and do what its result asks for."""
        # A typed number counts although its box has not lost the focus.
        for box in self.findChildren(QSpinBox):
            box.interpretText()
        self._try(lambda: self._take(record.press(self.view, name)))

    def _choose(self, name: str, value: Any) -> None:
        self._try(lambda: record.choose(self.view, name, value))

    def _pick(self, name: str, *place: float) -> None:
        self._try(lambda: record.pick(self._contents.get(name), *place))

    def _go(self, name: str, time_s: float) -> None:
        # A press on the plot gives the focus to the panel, so that its arrow keys work.
        self.setFocus()
        self._pick(name, time_s)

    def _select(self, name: str, outline: np.ndarray, is_added: bool) -> None:
        self._try(lambda: record.select(self._contents.get(name), outline, is_added))

    def _try(self, act: Callable[[], object]) -> None:
        controls.show_text(self.notice, "")
        try:
            act()
        except REFUSALS as error:
            self._tell(str(error), "alert")

    def _tell(self, text: str, tone: Tone | None = None) -> None:
        self._note_end.stop()
        self.notice.set_tone(tone)
        controls.show_text(self.notice, text)

    def _take(self, result: record.Result) -> None:
        match result:
            case record.Clipboard(text, note):
                clipboard = QApplication.clipboard()
                assert clipboard is not None
                clipboard.setText(text)
                self._tell(note)
                self._note_end.start(NOTE_MS)
            case record.ShowPanel(title):
                self.panel_wanted.emit(title)
            case record.AskText(label, value, take):
                # `open` does not block: results and drawings continue meanwhile.
                dialog = QInputDialog(self)
                dialog.setLabelText(label)
                dialog.setTextValue(value)
                dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
                dialog.textValueSelected.connect(lambda text: self._try(lambda: take(text)))
                dialog.open()
            case record.AskSettings(label, help_text, form):
                opened = SettingsDialog(label, (label, help_text), form, self)
                opened.accepted.connect(lambda: self._try(lambda: self._take(record.take(result))))
                opened.open()
            case record.OpenFile(label, suffix, near, read):
                kinds = f"*{suffix} (*{suffix});;* (*)"
                if path := choose_file(self, suffix, label, kinds, str(near or "")):
                    read(Path(path))
            case record.SaveFile(name) | record.SavePicture(name):
                if path := self._ask_for_path(name):
                    self.save(result, Path(path))
            case record.WriteFile(name, begin):
                if path := self._ask_for_path(name):
                    begin(Path(path))
            case None:
                pass

    def _ask_for_path(self, name: str) -> str:
        suffix = Path(name).suffix
        if not suffix:
            return choose_folder(self, "export", "Save in a folder")
        endings = f"*{suffix} (*{suffix})"
        path = choose_new_file(self, "export", "Save", name, endings)[0]
        return path + suffix if path and not Path(path).suffix else path

    def save(self, result: record.SaveFile | record.SavePicture, path: Path) -> None:
        """Write the files of a result, or the picture of a content or of all plots."""
        if isinstance(result, record.SaveFile):
            written = result.write(path)
        else:
            shown = [plot for plot in self.plots.values() if plot.canvas.isVisible()]
            widgets = [plot.canvas for plot in shown]
            if result.content:
                widgets = [self.content(result.content)]
                shown = [plot for plot in shown if plot.canvas is widgets[0]]
            from omnimouse_widgets.qt.plot import picture_of

            items = [item for plot in shown for item in plot.items]
            picture = picture_of(widgets, result.description, items)
            is_svg = path.suffix.lower() == ".svg"
            write_bytes(path, picture.svg() if is_svg else picture.png())
            written = [path]
        self._tell(record.saved_text(written))

    def content(self, name: str) -> Any:
        """Return the widget of a content that is shown now."""
        (shown,) = [
            self.widgets[key] for keys in self._shown.values() for key in keys
            if key.startswith(f"{name}:")
        ]  # fmt: skip
        return shown

    # -- from record to screen --------------------------------------------------------
    def _draw(
        self,
        column: QBoxLayout,
        layout: QBoxLayout,
        read: Callable[[], Sequence[record.Item | record.Row]],
    ) -> None:
        entries, before = read(), self._shown.get(layout)
        self._draw_entries(layout, entries)
        column.setStretchFactor(layout, int(any(map(_takes_free_height, entries))))
        # A column of controls is as wide as they are; plots are wider than their list.
        has_content = any(column.stretch(number) for number in range(column.count()))
        share = 2 + self._beside.indexOf(column) if has_content else 0
        self._beside.setStretchFactor(column, share)
        place = Qt.AlignmentFlag(0) if has_content else Qt.AlignmentFlag.AlignTop
        # Qt would lay out the whole panel again, also if nothing changes.
        if column.alignment() != place:
            self._beside.setAlignment(column, place)
        # Otherwise one frame would show new plots with the height that they get beside
        # those that are gone.
        if before is not None and before != self._shown[layout]:
            self._beside.activate()

    def _draw_entries(
        self, layout: QBoxLayout, entries: Sequence[record.Item | record.Row], wide: str = ""
    ) -> None:
        """Draw the entries of a column or row; hide those that are gone.

        The entry `wide` of a row takes the free width, also if it is empty.
        """
        marks = [entry for entry in entries if isinstance(entry, record.Mark)]
        entries = [entry for entry in entries if not isinstance(entry, record.Mark)]
        keys = [self._key(entry) for entry in entries]
        before: Any = None
        for key, entry in zip(keys, entries, strict=True):
            if key not in self.widgets:
                self.widgets[key] = theme.EmptyPlot() if key.endswith(EMPTY) else self._make(entry)
            widget = self.widgets[key]
            if isinstance(entry, record.Action) and entry.over:
                widget.setParent(self.content(entry.over))
                self._show(widget, entry)
                widget.show()
                continue
            # Again for an item that was made before the one above it.
            above = -1 if before is None else layout.indexOf(before)
            if layout.indexOf(widget) <= above or layout.indexOf(widget) < 0:
                layout.removeWidget(widget)
                layout.insertWidget(above + 1, widget)
            stretch = int(_takes_free_height(entry) or entry.name == wide)
            # Qt would lay out the whole panel again, also if nothing changes.
            if layout.stretch(layout.indexOf(widget)) != stretch:
                layout.setStretchFactor(widget, stretch)
            before = widget
            if isinstance(entry, record.Row):
                inner = widget.layout()
                self._draw_entries(inner, entry.items, entry.wide)
                contents = [item for item in entry.items if isinstance(item, record.Content)]
                plots = [item for item in contents if isinstance(item, record.Plot)]
                if plots:
                    are_frames = all(isinstance(plot, record.Image) for plot in plots)
                    for item in contents:
                        shown = self.widgets[self._key(item)]
                        shown.setMinimumHeight(FRAME_HEIGHT if are_frames else IN_ROW_HEIGHT)
                if entry.wide and entry.items:
                    wide_one = self.widgets[entry.wide]
                    if isinstance(wide_one, QComboBox) and wide_one.minimumContentsLength():
                        wide_one.setMinimumContentsLength(WIDE_NAME)
            elif self._is_new(key, entry):
                self._show(widget, entry)
                for mark in self._marks.values():
                    if mark.content == entry.name:
                        self._show_mark(mark)
            widget.setVisible(_takes_place(entry) or entry.name == wide)
        for key in self._shown.get(layout, []):
            if key not in keys:
                self.widgets[key].hide()
                # Its stretch would still give the column the whole height.
                layout.setStretchFactor(self.widgets[key], 0)
        self._shown[layout] = keys
        for mark in marks:
            self._marks[mark.name] = mark
            if self._is_new(f"mark:{mark.name}", mark):
                self._show_mark(mark)

    def _key(self, entry: record.Item | record.Row) -> str:
        """Return the key of the widget of an entry.

        A content that never had data is a text: its plot is made with the first data.
        """
        key = _key(entry)
        return f"{entry.name}{EMPTY}" if key not in self.widgets and _missing(entry) else key

    def _is_new(self, key: str, entry: record.Item) -> bool:
        """Return whether an entry differs from the one drawn, and keep it."""
        # Drawn after each of their signals: to compare them takes as long.
        if isinstance(entry, (record.Cells, record.Traces, record.ChosenRows, record.CurrentRow)):
            return True
        # Compared as JSON and bytes, because arrays have no equality.
        json, arrays = record.plain(entry)
        content = json, [array.tobytes() for array in arrays]
        is_new = self._drawn.get(key) != content
        self._drawn[key] = content
        return is_new

    def _make(self, entry: record.Item | record.Row) -> QWidget:
        """Return the widget of a new item, without its content."""
        name = entry.name
        if isinstance(entry, record.Choice) and entry.key:
            shortcuts.bind(self, entry.key, lambda: record.choose_next(self.view, name))
        match entry:
            case record.Row():
                return _row(entry)
            case record.Text(tone=tone, is_line=True):
                return QuietLine() if tone == "quiet" else ElidedLabel()
            case record.Text(tone=tone):
                return theme.wrapped_label(TONES.get(tone), is_selectable=tone != "quiet")
            case record.Progress():
                return controls.progress_bar(entry.label)
            case record.Legend():
                return theme.LegendLabel()
            case record.Action(over=over) if over:
                stop = controls.tool_button("", "", lambda: self.press(name))
                stop.setStyleSheet(OVER_STYLE)
                return stop
            case record.Action():
                if entry.key and entry.key not in shortcuts.SHARED:
                    shortcuts.bind(self, entry.key, lambda: self.press(name))
                return controls.push_button(entry.label, entry.help, lambda: self.press(name))
            case record.Menu():
                button = QPushButton()
                menu = QMenu(button)
                menu.setToolTipsVisible(True)
                button.setMenu(menu)
                return button
            case record.Choice(is_row=True):
                buttons = SegmentedButton([], entry.label)
                buttons.picked.connect(lambda value: self._choose(name, value))
                return buttons
            case record.Choice():
                return _menu_box(entry, lambda value: self._choose(name, value))
            case record.Number():
                box = controls.number_box(
                    QSpinBox,
                    lambda: self._choose(name, box.value()),
                    tooltip=entry.help,
                    name=entry.label,
                )
                box.setMinimumWidth(78)
                return box
            case record.Switch():
                style = SWITCH_STYLE if entry.sign is None else SIGN_STYLE
                style = MENU_STYLE if entry.actions else style
                switch = controls.toggle_button(entry.label, entry.help, style)
                switch.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
                switch.setIconSize(QSize(10, 10))
                switch.clicked.connect(lambda is_on: self._choose(name, is_on))
                if entry.key:
                    shortcuts.bind(self, entry.key, switch.click)
                if entry.actions:
                    switch.setPopupMode(switch.ToolButtonPopupMode.MenuButtonPopup)
                    switch.setMenu(QMenu(switch))
                return switch
            case record.Settings(form=form, apply=apply):
                fields = SettingsForm(form)
                fields.applied.connect(lambda: self.press(apply) if apply else None)
                fields.drag_begun.connect(self._editor.begin_stroke)
                fields.drag_ended.connect(lambda _: self._editor.end_stroke())
                return fields
            case record.Table():
                view = _table_view(QStandardItemModel(self), entry)
                if entry.pick is not None:
                    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
                    view.clicked.connect(lambda index: self._pick(name, index.row()))
                return view
            case record.LongTable():
                self.tables[name] = long_table = LongTableView(entry)
                return _set_up(long_table.widget)
            case record.Matrix():
                return _matrix_view(QStandardItemModel(self))
            case record.Frames():
                from omnimouse_widgets.qt.timeline import VideoPlayer

                player = VideoPlayer(entry)
                player.stroke_begun.connect(self._editor.begin_stroke)
                player.stroke_ended.connect(self._editor.end_stroke)
                return player
            case record.Timeline():
                from omnimouse_widgets.qt.timeline import Lanes

                self.timelines[name] = timeline = Lanes(partial(self._go, name))
                _fill_height(timeline.canvas)
                # The dock of the timeline is lower than those of other contents.
                timeline.canvas.setMinimumHeight(LOW_HEIGHT)
                return timeline.canvas
            case record.Cells(tip=tip):
                from omnimouse_widgets.qt.raster.panel import RasterArea

                return RasterArea(tip)
            case record.Traces(tip=tip, colours=(first, second)):
                from omnimouse_widgets.qt.style import plot_style
                from omnimouse_widgets.qt.traces import WIDTH, TraceStack

                self.stacks[name] = stack = TraceStack(partial(self._pick, name), tip)
                stack.truth.setPen(plot_style.pen(first, WIDTH))
                stack.predicted.setPen(plot_style.pen(second, WIDTH, dashed=True))
                return _fill_height(stack.canvas)
        from omnimouse_widgets.qt.plot import RecordPlot

        self.plots[name] = plot = RecordPlot(partial(self._pick, name), partial(self._select, name))
        return _fill_height(plot.canvas)

    def _show(self, widget: Any, item: record.Item | record.Row) -> None:
        """Draw an item that changed in its widget."""
        if isinstance(item, record.Content):
            self._contents[item.name] = item
        if isinstance(widget, theme.EmptyPlot):
            widget.show_text(_missing(item))
            return
        match item:
            case record.Text():
                if item.is_line:
                    widget.set_text(item.text)
                else:
                    # Of a selectable text, the breaks would be copied, too.
                    is_quiet = item.tone == "quiet"
                    widget.setText(theme.breakable(item.text) if is_quiet else item.text)
                widget.setToolTip(item.tip)
                if isinstance(widget, theme.ToneLabel):
                    widget.set_tone(TONES.get(item.tone, "quiet"))
            case record.Progress():
                controls.set_share(widget, item.share)
            case record.Legend():
                widget.setText(theme.signs_html(item.signs))
            case record.Action() | record.Menu():
                widget.setText(item.label)
                widget.setEnabled(not item.refusal)
                controls.describe(widget, item.refusal or item.help)
                if isinstance(item, record.Menu):
                    self._fill_menu(widget.menu(), item.actions)
                elif item.over:
                    # No layout gives it the size of its text. At the axis: above are titles.
                    widget.adjustSize()
                    room = widget.parentWidget().size() - widget.size()
                    widget.move(room.width() - 16, room.height() - 1)
            case record.Choice(is_row=True):
                widget.offer([Segment(*option) for option in item.options])
                widget.show_value(item.value)
                widget.setEnabled(not item.refusal)
                widget.setToolTip(item.refusal)
            case record.Choice():
                widget.setEnabled(not item.refusal)
                controls.set_items(widget, [(label, value) for value, label, _ in item.options])
                for number, (_, _, tip) in enumerate(item.options):
                    widget.setItemData(number, tip, Qt.ItemDataRole.ToolTipRole)
                widget.setCurrentIndex(widget.findData(item.value))
                widget.setToolTip(item.refusal or item.help)
            case record.Number():
                with QSignalBlocker(widget):
                    widget.setRange(item.low, item.high)
                    widget.setPrefix(item.prefix)
                    widget.setSuffix(item.unit)
                    widget.setSpecialValueText(item.none)
                    widget.setValue(item.value)
            case record.Switch():
                widget.setText(item.label)
                widget.setChecked(item.is_on)
                controls.describe(widget, item.help)
                if item.sign is not None:
                    widget.setIcon(_sign_icon(*item.sign))
                if item.actions:
                    self._fill_menu(widget.menu(), item.actions)
            case record.Settings():
                widget.draw()
            case record.Table():
                _fill_table(widget, item)
            case record.LongTable():
                self.tables[item.name].show(item)
            case record.Matrix():
                _fill_matrix(widget, item)
            case record.Frames():
                widget.show_item(item)
            case record.Cells():
                widget.show_cells(item)
            case record.Timeline():
                self.timelines[item.name].show(item)
            case record.Traces():
                stack = self.stacks[item.name]
                stack.set_rows(item.rows, item.scale)
                stack.set_message(item.missing)
                stack.canvas.setToolTip(item.tip)
            case record.Curves() | record.Polar() | record.Image() | record.Message():
                self.plots[item.name].show(item)

    def _show_mark(self, mark: record.Mark) -> None:
        """Draw a mark over its content, if that is drawn already."""
        if isinstance(mark, record.Overlay) and mark.content in self.plots:
            self.plots[mark.content].show_overlay(mark)
        elif isinstance(mark, record.Overlay) and mark.content in self.stacks:
            self.stacks[mark.content].set_cursor(float(mark.x[0]) if len(mark.x) else None)
        if isinstance(mark, record.ChosenRows) and mark.content in self.tables:
            self.tables[mark.content].mark(mark)
        if isinstance(mark, record.Place) and mark.content in self.timelines:
            self.timelines[mark.content].show_place(mark)
        area = self.widgets.get(f"{mark.content}:cells")
        if isinstance(mark, record.CellMarks) and area is not None:
            area.show_marks(mark)
        view = self.widgets.get(f"{mark.content}:table")
        if isinstance(mark, record.CurrentRow) and view is not None:
            if mark.row is None:
                view.clearSelection()
            else:
                view.selectRow(mark.row)
                view.scrollTo(view.model().index(mark.row, 0))

    def _fill_menu(self, menu: QMenu, actions: Sequence[record.Action]) -> None:
        menu.clear()
        for action in actions:
            # A lambda would press the last action of the loop.
            entry = menu.addAction(action.label, partial(self.press, action.name))
            assert entry is not None
            entry.setEnabled(not action.refusal)
            entry.setToolTip(action.refusal or action.help)


def _key(entry: record.Item | record.Row) -> str:
    if not isinstance(entry, record.Content):
        return entry.name
    kind = "plot" if isinstance(entry, record.Plot) else type(entry).__name__.lower()
    return f"{entry.name}:{kind}"


def _missing(entry: record.Item | record.Row) -> str:
    """Return what a content over time says without data; "" with data."""
    match entry:
        case record.Cells(rows=None):
            return record.NO_SESSION
        case record.Traces() | record.Frames() | record.Timeline():
            return entry.missing
    return ""


def _takes_place(entry: record.Item | record.Row) -> bool:
    if isinstance(entry, record.Text):
        return bool(entry.text)
    if isinstance(entry, record.Legend):
        return bool(entry.signs)
    if isinstance(entry, record.Action):
        return bool(entry.label)
    return bool(entry.items) if isinstance(entry, record.Row) else True


def _takes_free_height(entry: record.Item | record.Row) -> bool:
    if isinstance(entry, record.Row):
        return any(map(_takes_free_height, entry.items))
    return isinstance(entry, record.Content)


def _row(row: record.Row) -> QWidget:
    """Return an empty row; buttons alone stand at its left."""
    widget = QWidget()
    layout = QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(3)
    if not row.wide and all(isinstance(item, (record.Action, record.Menu)) for item in row.items):
        layout.addStretch(1)
    return widget


def _sign_icon(glyph: str, colour: str) -> QIcon:
    """Return a glyph as an icon, which is pale while the switch is off.

    On the ground of a held switch, some colours show only within a rim.
    """
    icon, size = QIcon(), QSize(12, 12)
    centre, box = int(Qt.AlignmentFlag.AlignCenter), QRectF(0, 0, 12, 12)
    around = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    for state, opacity, rim in ((QIcon.State.On, 1.0, around), (QIcon.State.Off, 0.3, [])):

        def paint(
            painter: QPainter, opacity: float = opacity, rim: Sequence[tuple[int, int]] = rim
        ) -> None:
            painter.setOpacity(opacity)
            painter.setPen(QColor(theme.HELD_TEXT))
            for x, y in rim:
                painter.drawText(box.translated(x, y), centre, glyph)
            painter.setPen(QColor(colour))
            painter.drawText(box, centre, glyph)

        icon.addPixmap(theme.drawn_pixmap(size, paint), QIcon.Mode.Normal, state)
    return icon


def _menu_box(choice: record.Choice, choose: Callable[[Any], object]) -> QComboBox:
    box = controls.combo_box(choose, tooltip=choice.help, name=choice.label)
    if any(len(label) > LONG_NAME for _, label, _ in choice.options):
        # Cut in a narrow dock, as wide as the texts in others.
        box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToContents)
        box.setMinimumContentsLength(LONG_NAME)
    return box


def _table_view(model: QStandardItemModel, table: record.Table) -> QTableView:
    view, titles = row_table(model, table.label)
    # Rows are in the order of the record.
    view.setSortingEnabled(False)
    titles.setFont(theme.small_font())
    return _set_up(view)


def _matrix_view(model: QStandardItemModel) -> QTableView:
    view = RowView()
    view.setModel(model)
    rows = view.verticalHeader()
    assert rows is not None
    rows.setMinimumSectionSize(MATRIX_ROW_HEIGHT)
    rows.setDefaultSectionSize(MATRIX_ROW_HEIGHT)
    return _set_up(view)


def _set_up(view: RowView) -> QTableView:
    view.setFont(theme.small_font())
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setTabKeyNavigation(False)
    return _fill_height(view)


def _fill_height(widget: Taking) -> Taking:
    """Give a content the height that is left, at least `MIN_HEIGHT`."""
    widget.fills_height = True
    widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
    widget.setMinimumHeight(MIN_HEIGHT)
    return widget


def _fill_table(view: QTableView, table: record.Table) -> None:
    model = view.model()
    assert isinstance(model, QStandardItemModel)
    model.clear()
    controls.describe(view, table.label, table.label)
    model.setHorizontalHeaderLabels(table.titles)
    for number, row in enumerate(table.rows):
        items = [QStandardItem(cell) for cell in row]
        if table.colours:
            items[0].setForeground(QBrush(QColor(table.colours[number])))
        model.appendRow(items)
    view.resizeColumnsToContents()


def _fill_matrix(view: QTableView, matrix: record.Matrix) -> None:
    model = view.model()
    assert isinstance(model, QStandardItemModel)
    model.clear()
    controls.describe(view, matrix.label, matrix.label)
    model.setHorizontalHeaderLabels(matrix.columns)
    model.setVerticalHeaderLabels(matrix.rows)
    colours = palette.viridis_table()
    for (row, column), share in np.ndenumerate(matrix.shares):
        item = QStandardItem(matrix.texts[row][column])
        item.setToolTip(matrix.tips[row][column])
        item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        if np.isfinite(share):
            red, green, blue = colours[round(255 * float(share))].tolist()
            item.setBackground(QBrush(QColor(red, green, blue)))
            ink = DARK if share > record.BRIGHT_SHARE else BRIGHT
            item.setForeground(QBrush(QColor(ink)))
        model.setItem(row, column, item)
    view.resizeColumnsToContents()
    rows, titles = view.verticalHeader(), view.horizontalHeader()
    assert rows is not None
    assert titles is not None
    height = titles.sizeHint().height() + rows.length() + 2 * view.frameWidth()
    view.setMinimumHeight(min(max(height, MIN_HEIGHT), WHOLE_MATRIX_HEIGHT))
