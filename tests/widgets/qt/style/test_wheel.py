"""The wheel over controls: it scrolls the panel, and changes a control with focus."""

import pytest
from qtpy.QtCore import QPointF
from qtpy.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from omnimouse_widgets.qt.style.controls import (
    combo_box,
    number_box,
    scroll_vertically,
    slider,
)
from tests.widgets.pointer import wheel

MAKERS = {
    "menu": lambda: combo_box(lambda _: None, [(str(n), n) for n in range(9)]),
    "number": lambda: number_box(QSpinBox, lambda: None),
    "slider": lambda: slider(9),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_wheel_is_left_to_the_panel_and_changes_only_a_control_with_the_focus(show, kind):
    control, content = MAKERS[kind](), QWidget()
    QVBoxLayout(content).addWidget(control)
    area = show(scroll_vertically(content))
    value = control.currentIndex if kind == "menu" else control.value
    (control.setCurrentIndex if kind == "menu" else control.setValue)(5)
    area.setFocus()
    middle = QPointF(control.rect().center())
    # Qt passes an event that is not accepted to the parent, up to the scroll area.
    assert not wheel(control, middle, -1)
    assert value() == 5
    control.setFocus()
    assert wheel(control, middle, -1)
    assert value() != 5
