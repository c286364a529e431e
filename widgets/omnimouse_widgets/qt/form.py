"""Form of typed settings, drawn with the widgets of magicgui.

magicgui makes the widget of each field; the layout is ours, because a container of
magicgui has one field per row. Wide forms have two columns.
"""

from collections.abc import Sequence
from typing import Any, Final

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeyEvent, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLineEdit,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from omnimouse_widgets.qt.style import controls
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import ToneLabel, wrapped_label
from omnimouse_widgets.views.form import WAITS, Field, Form

COLUMN: Final = 180
"""Least width of a column in pixels."""
_TYPES: Final = {
    "integer": "SpinBox",
    "number": "FloatSpinBox",
    "switch": "CheckBox",
    "choice": "ComboBox",
    "text": "LineEdit",
}
# Any number can be typed: the form says which are valid, where Qt would change them.
_ANY: Final = {"integer": (-(2**53), 2**53), "number": (-1e12, 1e12)}
_MENU_STYLE: Final = "QComboBox { padding-left: 5px; padding-right: 0; }"
"""Narrow margins of a menu, so that "recorded" is whole in two columns."""
_LINE_STYLE: Final = "QLineEdit { padding-left: 3px; padding-right: 0; }"
"""Narrow margins of a line of text, so that "0, 16, 64, 256, 535" is whole in two columns."""


class SettingsForm(QWidget):
    """Labels, controls and reasons of a form.

    Parameters
    ----------
    form
        Description and values.
    signals
        Signals after which ranges and choices may be others.

    Attributes
    ----------
    applied
        Emitted by Enter while all fields are valid.
    drag_begun, drag_ended
        Emitted around a drag of a slider, with the name of its undo step.
    controls, reasons
        The widget of magicgui, and the label of the reason, of each field by name.
    """

    applied = Signal()
    drag_begun, drag_ended = Signal(str), Signal(str)

    def __init__(self, form: Form[Any], signals: Sequence[Any] = ()) -> None:
        super().__init__()
        # No taller than its fields: what is below them in a panel stands directly below.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.form = form
        # Any: magicgui makes classes that share no type with `value` and `choices`.
        self.controls: dict[str, Any] = {}
        self.reasons: dict[str, ToneLabel] = {}
        self._labels: dict[str, ToneLabel] = {}
        self._made: list[tuple[str, str]] = []
        self._n_columns = 0
        self._keys = _Keys(self)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(3)
        # Drawn when it is first shown: the first control of magicgui takes 20 ms.
        self.redraw = Redraw(self, (self.draw, [form.changed, *signals]))

    def _make(self, fields: Sequence[Field]) -> None:
        """Make the controls of the fields in place of those before."""
        for name, control in self.controls.items():
            for widget in (control.native, self._labels[name], self.reasons[name]):
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        for made in (self.controls, self._labels, self.reasons):
            made.clear()
        for each in fields:
            self._add(each)
        self._n_columns = 0
        self.fit(self.width())

    def _add(self, each: Field) -> None:
        # Only where a form is shown: the import takes a third of a second.
        from magicgui.widgets import create_widget

        options: dict[str, Any] = {"widget_type": _TYPES[each.kind]}
        if each.stroke:
            options = {"widget_type": "Slider", "min": each.ends[0], "max": each.ends[1]}
            options |= {"step": each.step, "readout": False}
        elif each.kind in _ANY:
            options["min"], options["max"] = _ANY[each.kind]
            options["step"] = each.step
        if each.kind == "choice":
            options["choices"] = _choices(each)
        control: Any = create_widget(each.value, name=each.name, label=each.label, options=options)
        native: QWidget = control.native
        native.setMinimumWidth(1)
        native.setParent(self)
        native.installEventFilter(self._keys)
        for kind in controls.CONTROLS_WITH_WHEEL:  # a slider has a box for its number
            for inner in native.findChildren(kind):
                controls.scroll_past(inner)
        for slider in (native, *native.findChildren(QSlider)):
            if isinstance(slider, QSlider):
                controls.scroll_past(slider)
                slider.sliderPressed.connect(lambda: self.drag_begun.emit(each.stroke))
                slider.sliderReleased.connect(lambda: self.drag_ended.emit(each.stroke))
        if isinstance(native, QAbstractSpinBox):
            native.setStyleSheet(controls.NARROW_BOX)
            native.setKeyboardTracking(not each.is_live)
            controls.scroll_past(native)
        if isinstance(native, QComboBox):
            native.setStyleSheet(_MENU_STYLE)
            controls.scroll_past(native)
            view = native.view()
            assert view is not None
            view.installEventFilter(self._keys)
        if isinstance(native, QLineEdit):
            native.setStyleSheet(_LINE_STYLE)
            native.setPlaceholderText(each.empty)
        if isinstance(native, QCheckBox):
            native.setText("")
        label = ToneLabel()
        label.setBuddy(native)
        control.changed.connect(lambda value: self.form.set(each.name, value))
        self.controls[each.name], self._labels[each.name] = control, label
        self.reasons[each.name] = wrapped_label("alert", is_selectable=True)

    def _lay_out(self, n_columns: int) -> None:
        """Place the fields row by row, in the order of the Tab key."""
        if n_columns == self._n_columns:
            return
        self._n_columns = n_columns
        before: QWidget | None = None
        # Free height is below the fields, not between them.
        for row in range(self._grid.rowCount()):
            self._grid.setRowStretch(row, 0)
        self._grid.setRowStretch(2 * len(self.controls), 1)
        for number, name in enumerate(self.controls):
            row, column = 2 * (number // n_columns), 2 * (number % n_columns)
            native = self.controls[name].native
            self._grid.addWidget(self._labels[name], row, column)
            self._grid.addWidget(native, row, column + 1)
            self._grid.addWidget(self.reasons[name], row + 1, column, 1, 2)
            if before is not None:
                QWidget.setTabOrder(before, native)
            before = native
        for column in (1, 3):
            self._grid.setColumnStretch(column, 1 if column < 2 * n_columns else 0)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Use two columns where there is room."""
        super().resizeEvent(event)
        self.fit(self.width())

    def fit(self, width: int) -> None:
        """Use two columns if there is room for them in a width."""
        self._lay_out(2 if width >= 2 * COLUMN and len(self.controls) > 1 else 1)

    def apply(self) -> None:
        """Emit `applied` if all fields are valid."""
        if not self.form.refusal:
            self.applied.emit()

    def draw(self) -> None:
        """Show values, choices and reasons; a form may show other settings."""
        fields = self.form.fields()
        named: list[tuple[str, str]] = [(each.name, each.kind) for each in fields]
        if named != self._made:
            self._made = named
            self._make(fields)
        for each in fields:
            control = self.controls[each.name]
            native: QWidget = control.native
            with control.changed.blocked():
                if each.kind == "choice" and control.choices != tuple(o[0] for o in each.options):
                    control.choices = _choices(each)
                if control.value != each.value:
                    control.value = each.value
            if isinstance(native, QLineEdit) and not native.hasFocus():
                native.setCursorPosition(0)  # a long list shows its beginning
            if isinstance(native, QComboBox):
                with QSignalBlocker(native):
                    for at, (_, text, tip) in enumerate(each.options):
                        # Another recording has other numbers in the texts of the same choices.
                        native.setItemText(at, text)
                        native.setItemData(at, tip, Qt.ItemDataRole.ToolTipRole)
            # A slider has its value in the tip: the label would change its width in a drag.
            tip = f"{each.help}: {each.value} {each.unit}" if each.stroke else each.help
            unit = f" ({each.unit})" if each.unit and not each.stroke else ""
            self._labels[each.name].setText(f"{each.label}{unit}")
            controls.describe(native, each.refusal or tip, each.label)
            native.setAccessibleDescription(each.reason or each.help)
            native.setEnabled(not each.refusal)
            # A sign as well as a colour.
            is_problem = not each.reason.startswith(WAITS)
            self.reasons[each.name].set_tone("alert" if is_problem else "quiet")
            sign = "✕ " if each.reason and is_problem else ""
            controls.show_text(self.reasons[each.name], sign + each.reason)


class SettingsDialog(QDialog):
    """Form that opens before an action; it is accepted by Enter or its button.

    Parameters
    ----------
    title
        Title of the dialog.
    action
        Name and help of the action, for the button.
    form
        Description and values; they stay for the next time.

    Attributes
    ----------
    button
        Runs the action; disabled, with the reason, while a field is not valid.
    """

    def __init__(self, title: str, action: tuple[str, str], form: Form[Any], parent: QWidget):
        super().__init__(parent)
        self.setWindowTitle(title.removesuffix("…"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.settings, (name, self._help) = SettingsForm(form), action
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.button = controls.push_button(name, self._help, self.settings.apply)
        self.button.setDefault(True)
        buttons.addButton(self.button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.rejected.connect(self.reject)
        self.settings.applied.connect(self.accept)
        column = QVBoxLayout(self)
        column.addWidget(controls.scroll_vertically(self.settings))
        column.addWidget(buttons)
        self.settings.draw()
        self.settings.fit(3 * COLUMN)
        self.resize(3 * COLUMN, self.sizeHint().height())
        self.redraw = Redraw(self, (self._draw, [form.changed]))

    def _draw(self) -> None:
        refusal = self.settings.form.refusal
        self.button.setEnabled(not refusal)
        controls.describe(self.button, refusal or self._help)


class _Keys(QObject):
    """Enter applies the form; letters and digits are typed and run no shortcut."""

    def __init__(self, form: SettingsForm) -> None:
        super().__init__(form)
        self._form = form

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Handle Enter in a field."""
        if not isinstance(event, QKeyEvent):
            return False
        is_typed = event.text().isprintable() and not event.modifiers() & controls.WITH_MODIFIER
        if event.type() == QEvent.Type.ShortcutOverride and is_typed:
            event.accept()
            return False
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        # Enter in an open list chooses an entry.
        is_field = any(watched is control.native for control in self._form.controls.values())
        if event.type() != QEvent.Type.KeyPress or not is_enter or not is_field:
            return False
        if isinstance(watched, QAbstractSpinBox):
            watched.stepBy(0)  # takes what is typed; `interpretText` does not in every box
        self._form.apply()
        return True


def _choices(each: Field) -> list[tuple[str, Any]]:
    return [(label, value) for value, label, _ in each.options]
