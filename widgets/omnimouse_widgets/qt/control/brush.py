"""Brush section: state, samples, tool, grow and shrink, and undo."""

from typing import Any, Final, Protocol

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QSlider, QSpinBox, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style.form import NARROW_BOX, Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, Segmented

CODES: Final = (
    Choice(VISIBLE, "visible", "Paint: the model sees it (1)", palette.VISIBLE),
    Choice(HIDDEN, "hidden", "Paint: withheld, not asked (2)", palette.HIDDEN),
    Choice(TARGET, "target", "Paint: withheld, predicted, scored (3)", palette.TARGET),
)
TOOLS: Final = (
    Choice("brush", "Brush", "Drag on the field to paint neurons (P)"),
    Choice("lasso", "Lasso", "Draw around neurons to paint them (L)"),
    Choice("select", "Select", "Click neurons to select them; drag pans"),
)
LARGEST_RADIUS: Final = 100


# The field is drawn by the application (napari), which this package does not import.
class FieldBrush(Protocol):
    """Brush of the view that shows the field, with signals for its changes."""

    tool: Any
    radius: float
    tool_changed: Any
    radius_changed: Any


class BrushSection(QWidget):
    """Settings of strokes on the field; `field` adds its tool and radius."""

    def __init__(self, controller: Controller, field: FieldBrush | None = None) -> None:
        super().__init__()
        self._controller = controller
        self._field = field
        self.code = Segmented(CODES, "Paint")
        self.code.picked.connect(controller.set_brush)
        form = Form(self)
        form.add("Paint", self.code)
        self._build_span(form)
        if field is not None:
            self._build_field(form, field)
        self._build_reach(form)
        self._build_history(form)
        events = controller.state.events
        parts = [
            (self._draw_brush, [events.brush_code, events.active_span, events.window]),
            (
                self._draw_reach,
                [
                    events.brush_code,
                    events.active_span,
                    events.mask,
                    events.session,
                    controller.reaching.changed,
                ],
            ),
            (self._draw_history, [controller.history_changed, events.session]),
        ]
        if field is not None:
            parts.append((self._draw_field, [field.tool_changed, field.radius_changed]))
        self.redraw = Redraw(self, parts)

    def _build_span(self, form: Form) -> None:
        self.start, self.stop = QSpinBox(), QSpinBox()
        for box, words in ((self.start, "First"), (self.stop, "After the last")):
            box.setAccessibleName(f"Brush: {words.lower()} sample")
            # Report a typed number once it is complete, not after each digit.
            box.setKeyboardTracking(False)
            box.setStyleSheet(NARROW_BOX)
            box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.start.valueChanged.connect(lambda _: self._span_picked(self.start))
        self.stop.valueChanged.connect(lambda _: self._span_picked(self.stop))
        self.seconds = QLabel()
        span = row_of(self.start, QLabel("to"), self.stop, self.seconds)
        for column in (0, 2):
            span.setStretch(column, 1)
        form.add("Samples", span)
        self._fit_span()

    def _fit_span(self) -> None:
        """Limit the span to the samples of the window."""
        n_samples = self._controller.state.spec.n_samples
        with QSignalBlocker(self.start), QSignalBlocker(self.stop):
            self.start.setRange(0, n_samples - 1)
            self.stop.setRange(1, n_samples)
        for box, words in ((self.start, "First"), (self.stop, "After the last")):
            box.setToolTip(
                f"{words} sample that a stroke on the field sets (0-{n_samples})"
            )

    def _build_field(self, form: Form, field: FieldBrush) -> None:
        self.tool = Segmented(TOOLS, "Tool on the field")
        self.tool.picked.connect(lambda tool: setattr(field, "tool", tool))
        self.radius = QSlider(Qt.Orientation.Horizontal)
        self.radius.setRange(2, LARGEST_RADIUS)
        self.radius.setToolTip("Radius of the brush in screen pixels ([ and ])")
        self.radius.valueChanged.connect(self._radius_picked)
        self.pixels = QLabel()
        # Room for three digits: the slider must not change its width while it is
        # dragged.
        self.pixels.setMinimumWidth(42)
        self.radius.setMinimumWidth(48)
        self.radius.setMaximumWidth(72)  # the words of the tools need the rest
        form.add("Tool", row_of(self.tool, self.radius, self.pixels, stretch=0))

    def _build_reach(self, form: Form) -> None:
        reaching = self._controller.reaching
        self.grow, self.shrink = QPushButton("Grow"), QPushButton("Shrink")
        self.grow.clicked.connect(lambda: reaching.grow())
        self.shrink.clicked.connect(lambda: reaching.shrink())
        self.reach = QSpinBox()
        self.reach.setRange(1, 9999)
        self.reach.setToolTip("How far one step of Grow and Shrink reaches")
        self.reach.setAccessibleName("Grow and shrink: distance")
        self.reach.setKeyboardTracking(False)
        self.reach.setStyleSheet(NARROW_BOX)
        self.reach.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.reach.valueChanged.connect(lambda n: reaching.set_distance(float(n)))
        row = row_of(self.grow, self.shrink, self.reach)
        for column in range(3):
            row.setStretch(column, 1)
        form.add("By distance", row)

    def _build_history(self, form: Form) -> None:
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.undo.clicked.connect(lambda: self._controller.undo())
        self.redo.clicked.connect(lambda: self._controller.redo())
        for button in (self.undo, self.redo):
            # Long step names must not widen the panel.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setStyleSheet("QPushButton { text-align: left; padding: 3px 6px; }")
        row = row_of(self.undo, self.redo)
        row.setStretch(0, 3)
        row.setStretch(1, 2)
        form.add("", row)

    # -- what the user does -----------------------------------------------------------
    def _span_picked(self, changed: QSpinBox) -> None:
        start, stop = self.start.value(), self.stop.value()
        # A span has at least one sample: the edited end stays, the other end moves.
        if start >= stop:
            start, stop = (
                (start, start + 1) if changed is self.start else (stop - 1, stop)
            )
        # `_draw_brush` sets the boxes, too: only a difference is a user action.
        if (start, stop) != self._controller.state.active_span:
            self._controller.set_active_span(start, stop)

    def _radius_picked(self, radius: int) -> None:
        assert self._field is not None
        # The slider has whole pixels: keep a fractional radius that it only displays.
        if radius != round(self._field.radius):
            self._field.radius = float(radius)

    # -- from state to screen -----------------------------------------------------
    def _draw_brush(self) -> None:
        state = self._controller.state
        self.code.show_value(state.brush_code)
        self._fit_span()
        start, stop = state.active_span
        for box, value in ((self.start, start), (self.stop, stop)):
            with QSignalBlocker(box):
                box.setValue(value)
        self.seconds.setText(f"{(stop - start) / state.spec.response_rate_hz:.2f} s")

    def _draw_reach(self) -> None:
        reaching, code = self._controller.reaching, self._controller.state.brush_code
        word = palette.STATE_WORDS[code]
        near = f"{reaching.distance:g} {reaching.unit}"
        self.grow.setEnabled(reaching.can_grow)
        self.shrink.setEnabled(reaching.can_shrink)
        self.reach.setEnabled(bool(reaching.unit))
        with QSignalBlocker(self.reach):
            self.reach.setSuffix(f" {reaching.unit}" if reaching.unit else "")
            self.reach.setValue(round(reaching.distance))
        self.grow.setToolTip(f"Paint {word} what is within {near} of {word} ones (G)")
        self.shrink.setToolTip(
            f"Hide the {word} neurons within {near} of others (Shift+G)"
            if code != HIDDEN
            else "Hidden neurons have nothing to become: choose another paint"
        )

    def _draw_field(self) -> None:
        assert self._field is not None
        self.tool.show_value(self._field.tool)
        with QSignalBlocker(self.radius):
            self.radius.setValue(round(self._field.radius))
        self.pixels.setText(f"{self._field.radius:.0f} px")

    def _draw_history(self) -> None:
        names = (self._controller.undo_name, self._controller.redo_name)
        able = (self._controller.can_undo, self._controller.can_redo)
        words = (("Undo", "Undo", "Ctrl+Z"), ("Redo", "Redo", "Ctrl+Shift+Z"))
        buttons = (self.undo, self.redo)
        for button, name, is_able, (sign, verb, key) in zip(
            buttons, names, able, words, strict=True
        ):
            button.setEnabled(is_able)
            button.setText(f"{sign}: {_short(name)}" if name else sign)
            button.setToolTip(f"{verb} {name} ({key})" if name else f"{verb} ({key})")


def _short(name: str, length: int = 24) -> str:
    lower = name[:1].lower() + name[1:]
    return lower if len(lower) <= length else f"{lower[: length - 1]}…"
