"""Bar above the traces: pin button, pinned conditions, span and scale."""

from functools import partial
from typing import Final

from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import QInputDialog, QMenu, QSizePolicy, QToolButton, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import MAX_PINS, Pin
from omnimouse_model.live.spans import SPAN_CHOICES, shown_span, span_choices
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.text import (
    COMMON_LABEL,
    COMMON_TIP,
    FULL_TIP,
    PIN_TIP,
    SHAPE_LABEL,
    SHAPE_TIP,
    pin_text,
    span_tip,
)
from omnimouse_widgets.qt.style.controls import (
    TOGGLE_STYLE,
    combo_box,
    toggle_button,
    tool_button,
)
from omnimouse_widgets.qt.style.form import row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import swatch

NARROW_STYLE: Final = f"{TOGGLE_STYLE} QToolButton {{ padding: 3px 2px; }}"
"""Style with less padding: four pins must fit in a dock of 400 pixels."""


class PinBar(QWidget):
    """Row of buttons for pins, span and scales.

    Parameters
    ----------
    controller
        Source of `state` and `pins`, and receiver of the user actions.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.pin = tool_button("Pin", "", controller.pins.pin)
        self.pin.setStyleSheet(NARROW_STYLE)
        self.chips = [self._chip(slot) for slot in range(MAX_PINS)]
        self.span = combo_box(
            controller.pins.choose_span,
            [(choice, choice) for choice in SPAN_CHOICES],
            name="Span of the traces",
        )
        self.span.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.common = toggle_button(COMMON_LABEL, COMMON_TIP, NARROW_STYLE)
        self.shape = toggle_button(SHAPE_LABEL, SHAPE_TIP, NARROW_STYLE)
        for button in (self.common, self.shape):
            button.toggled.connect(lambda _: self._scale_picked())
        row = row_of(self.pin, *self.chips, spacing=3)
        row.addStretch(1)
        for widget in (self.span, self.common, self.shape):
            row.addWidget(widget)
        self.setLayout(row)
        events = controller.state.events
        self.redraw = Redraw(
            self,
            (self._draw_pins, [events.pins, events.mask, events.predictor_name,
                               controller.pins.changed]),
            (self._draw_span, [events.trace_span, events.window]),
            (self._draw_scale, [events.common_scale, events.as_large]),
        )  # fmt: skip

    def _scale_picked(self) -> None:
        state = self._controller.state
        state.common_scale, state.as_large = self.common.isChecked(), self.shape.isChecked()

    def chip_menu(self, slot: int) -> QMenu:
        """Return the menu of a pin."""
        menu = self.chips[slot].menu()
        assert menu is not None
        return menu

    def _chip(self, slot: int) -> QToolButton:
        pins = self._controller.pins
        chip = tool_button("", "")
        chip.setIcon(swatch(palette.PINS[slot]))
        chip.setIconSize(QSize(10, 10))
        chip.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        chip.setCheckable(True)
        chip.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        chip.clicked.connect(partial(pins.show, slot))
        menu = QMenu(chip)
        # Lambdas without arguments: `triggered` also sends whether it is checked.
        menu.addAction("Restore this condition", lambda: self._controller.pins.make_current(slot))
        menu.addAction("Rename…", lambda: self._ask_name(slot))
        menu.addAction("Unpin", lambda: pins.unpin(slot))
        chip.setMenu(menu)
        # All slots have a button from the start, hidden until the slot has a pin.
        chip.hide()
        return chip

    def _ask_name(self, slot: int) -> None:
        """Open a dialog for the name of a pin."""
        # `open` does not block: results and drawings continue during the dialog.
        pin = self._controller.pins[slot]
        dialog = QInputDialog(self)
        dialog.setWindowTitle(f"Rename {pin.letter}")
        dialog.setLabelText("Name of this condition")
        dialog.setTextValue(pin.name)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.textValueSelected.connect(partial(self._rename, slot))
        dialog.open()

    def _rename(self, slot: int, name: str) -> None:
        # The pin may have been removed while the dialog was open.
        if any(pin.slot == slot for pin in self._controller.state.pins):
            self._controller.pins.rename(slot, name)

    # -- from state to screen -----------------------------------------------------
    def _draw_pins(self) -> None:
        state, pins = self._controller.state, self._controller.pins
        self.pin.setEnabled(pins.can_pin)
        self.pin.setToolTip(FULL_TIP if pins.is_full else PIN_TIP)
        # Slots of removed pins are empty: the index in `pins` is not the slot.
        by_slot = {pin.slot: pin for pin in state.pins}
        for slot, chip in enumerate(self.chips):
            pin = by_slot.get(slot)
            chip.setVisible(pin is not None)
            if pin is not None:
                chip.setText(pin.letter)
                chip.setChecked(pin.is_shown)
                chip.setToolTip(self._tip(pin))

    def _tip(self, pin: Pin) -> str:
        keys = f"Click to show or hide (Alt+{pin.slot + 1}); the arrow opens a menu"
        return f"{pin_text(self._controller.pins, pin)}\n{keys}"

    def _draw_span(self) -> None:
        self._name_spans()
        state = self._controller.state
        shown = shown_span(state.trace_span, state.spec)
        self.span.setCurrentIndex(SPAN_CHOICES.index(shown))
        tip = span_tip(state.trace_span, state.spec)
        self.span.setToolTip(f"Span of the traces: {tip}")

    def _name_spans(self) -> None:
        """Name the spans; the first one is the window, by its length."""
        spec = self._controller.state.spec
        self.span.setItemText(0, f"{spec.duration_s:.3g} s")
        for number, choice in enumerate(SPAN_CHOICES):
            tip = span_tip(choice, spec)
            self.span.setItemData(number, tip, Qt.ItemDataRole.ToolTipRole)
            # Qt's combo boxes disable an item whose flags have this role.
            is_possible = choice in span_choices(spec)
            flags = None if is_possible else 0
            self.span.setItemData(number, flags, Qt.ItemDataRole.UserRole - 1)

    def _draw_scale(self) -> None:
        state = self._controller.state
        switches = ((self.common, state.common_scale), (self.shape, state.as_large))
        # Each switch writes both values to the state. A signal from the first one would
        # write the outdated value of the second.
        for button, is_on in switches:
            with QSignalBlocker(button):
                button.setChecked(is_on)
