"""Mouse wheel over controls: it scrolls the panel, unless the control has the focus."""

from typing import Final, TypeVar

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QWidget

CONTROLS_WITH_WHEEL: Final = (QAbstractSlider, QAbstractSpinBox, QComboBox)
"""The kinds of controls that change their value with the wheel."""

Control = TypeVar("Control", bound=QWidget)


class _WheelFilter(QObject):
    """Event filter that leaves the wheel to the parent of a control without focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ignore the wheel; Qt then sends it to the parent, up to the scroll area."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        # With the focus, the user has chosen the control and may use the wheel on it.
        if not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


def scroll_past(control: Control) -> Control:
    """Let the wheel over a control without the focus scroll its panel; return it.

    Otherwise scrolling would change every slider and box under the pointer.
    """
    # Qt's default for boxes is the focus by wheel: the first turn would give it.
    control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    control.installEventFilter(_WheelFilter(control))
    return control
