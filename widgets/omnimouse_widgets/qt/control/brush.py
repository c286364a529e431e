"""Sections of the mask: task (preset and modalities), brush, and counts of what it paints."""

from typing import Any, Final, Protocol, cast

from qtpy.QtCore import QRectF, QSignalBlocker, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QWidget,
)

from omnimouse_model.live.controller import OfController
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.mask.presets import name_and_region, regions_of, with_region
from omnimouse_model.live.neurons.planes import PaintedRegion
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import HIDDEN, MIXED, BehaviorMode
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import controls
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.qt.style.theme import glyph_label, state_label, wrapped_label
from omnimouse_widgets.views.field.text import ORDER, UNIFORM, counted
from omnimouse_widgets.views.text.controls import (
    BEHAVIOR,
    CODES,
    PRESET,
    REDO,
    REGION,
    TOOLS,
    UNDO,
    refusals,
    video_options,
)
from omnimouse_widgets.views.text.model import (
    BY_HAND,
    caveats,
    half_text,
    task_text,
    video_name,
    video_span,
)

# -- task section: mask preset and modalities -----------------------------------------
COLOURS = {"visible": palette.VISIBLE, "target": palette.TARGET, "hidden": palette.HIDDEN}


class TaskSection(QWidget, OfController):
    """Choices of mask preset, visible video and use of behaviour."""

    def __init__(self, state: LiveState, results: Results, editor: MaskEditor) -> None:
        super().__init__()
        self._state, self._results, self._editor = state, results, editor
        self.preset = controls.combo_box(
            self._preset_picked,
            [(label, name) for name, label in editor.presets],
            name=PRESET[0],
            tooltip=PRESET[1],
        )
        self.preset.setPlaceholderText(BY_HAND)
        # Without a minimum, the longest preset would determine the panel's width.
        self.preset.setMinimumContentsLength(12)
        self.region = controls.combo_box(
            self._region_picked,
            offered=lambda: regions_of(state.session),
            name=REGION[0],
            tooltip=REGION[1],
        )
        # The names of regions are short; a box this wide shows "CA1" or "VISp".
        self.region.setMinimumContentsLength(5)
        self.meaning = wrapped_label("quiet")
        self.video = SegmentedButton([Choice(*option) for option in video_options("")], "Video")
        self.video.picked.connect(self._video_picked)
        modes = [Choice(*option, COLOURS[option[0]]) for option in BEHAVIOR]
        self.behavior = SegmentedButton(modes, "Behaviour")
        self.behavior.picked.connect(lambda mode: editor.set_behavior(cast(BehaviorMode, mode)))
        self.caveat = wrapped_label("alert")
        form = Form(self)
        form.add(PRESET[0], row_of(self.preset, self.region, stretch=0))
        form.add("Video", self.video)
        form.add("Behaviour", self.behavior)
        # Last: a long explanation moves no control out of a small window.
        form.add("", self.meaning)
        form.add("", self.caveat)
        events = state.events
        self.redraw = Redraw(
            self,
            (
                self._draw_preset,
                [
                    *(events.preset, events.mask, events.session),
                    results.events.needs,
                ],
            ),
            (self._draw_modalities, [events.mask, events.session, events.window]),
            (self._draw_caveat, [events.mask, results.changed]),
        )

    def _preset_picked(self, name: str) -> None:
        is_possible = name not in self._editor.preset_problems
        if self._state.session is not None and is_possible:
            self._editor.apply_preset(name)
        # If nothing was applied, show the preset of the state again. A menu that is not
        # drawn yet offers what was possible in the last recording.
        self._draw_preset()

    def _video_picked(self, name: str) -> None:
        n_frames = self._state.spec.n_frames
        self._editor.set_frames(video_span(name, n_frames))

    def _region_picked(self, region: str) -> None:
        state = self._state
        self._editor.apply_preset(with_region(state.preset, region))

    # -- from state to screen -----------------------------------------------------
    def _draw_preset(self) -> None:
        state = self._state
        controls.set_items(self.preset, [(text, name) for name, text in self._editor.presets])
        problems = self._editor.preset_problems
        for number in range(self.preset.count()):
            problem = problems.get(self.preset.itemData(number), "")
            self.preset.setItemData(number, problem, Qt.ItemDataRole.ToolTipRole)
            # Qt's combo boxes disable an item whose flags have this role.
            flags = 0 if problem else None
            self.preset.setItemData(number, flags, Qt.ItemDataRole.UserRole - 1)
        name = state.preset if state.mask is not None else ""
        base, region = name_and_region(name)
        # Index -1 shows the placeholder text, `BY_HAND`.
        self.preset.setCurrentIndex(self.preset.findData(base) if name else -1)
        self.region.setVisible(bool(region))
        controls.set_items(self.region, [(text, text) for text in regions_of(state.session)])
        self.region.setCurrentIndex(self.region.findData(region))
        self.meaning.setText(task_text(self._state))

    def _draw_modalities(self) -> None:
        mask = self._state.mask
        no_video, no_behavior = refusals(self._state)
        self.preset.setEnabled(mask is not None)
        self.video.setEnabled(mask is not None and not no_video)
        self.behavior.setEnabled(mask is not None and not no_behavior)
        self.video.setToolTip(no_video)
        self.behavior.setToolTip(no_behavior)
        for name, _, tip in video_options(half_text(self._state.spec.duration_s)):
            self.video.button(name).setToolTip(tip)
        if mask is None:
            return
        # Frames painted by hand match no choice: no button is then on.
        self.video.show_value(video_name(mask.frames))
        self.behavior.show_value(mask.behavior_mode)

    def _draw_caveat(self) -> None:
        mask, needs = self._state.mask, self._results.needs
        texts = [] if mask is None or needs is None else caveats(mask, needs)
        controls.show_text(self.caveat, "\n".join(texts))


# Alt-drag allows larger radii; a longer range would make the short slider coarse.
LARGEST_RADIUS: Final = 100


# The field is drawn by the application (napari), which this package does not import.
class FieldBrush(Protocol):
    """Brush of the view that shows the field, with signals for its changes."""

    tool: Any
    radius: float
    tool_changed: Any
    radius_changed: Any


class BrushSection(QWidget, OfController):
    """Settings of strokes on the field; `field` adds its tool and radius.

    Attributes
    ----------
    rare
        Those that are set now and then, for another place: samples, and the distance by
        which neurons grow and shrink.
    """

    def __init__(
        self,
        state: LiveState,
        editor: MaskEditor,
        painted_region: PaintedRegion,
        field: FieldBrush | None = None,
    ) -> None:
        super().__init__()
        self._state, self._editor, self._painted_region = state, editor, painted_region
        self._field = field
        self.code = SegmentedButton(
            [Choice(*option, palette.STATE_COLOURS[option[0]]) for option in CODES], "Paint"
        )
        self.code.picked.connect(editor.set_brush)
        form, self.rare = Form(self), QWidget()
        form.add("Paint", self.code)
        if field is not None:
            self._build_field(form, field)
        self._build_history(form)
        rare = Form(self.rare)
        self._build_span(rare)
        self._build_growth(rare)
        events = state.events
        span = [events.brush_code, events.active_span]
        growth = [*span, events.mask, events.session, painted_region.changed]
        history = [editor.history_changed, events.session]
        tool = [] if field is None else [field.tool_changed, field.radius_changed]
        self.redraw = Redraw(
            self,
            (self._draw_brush, [*span, events.window]),
            (self._draw_growth, growth),
            (self._draw_history, history),
            (self._draw_field, tool),
        )

    def _build_span(self, form: Form) -> None:
        self.start = controls.number_box(
            QSpinBox,
            lambda: self._span_picked(self.start),
            name="Brush: first sample",
            has_arrows=False,
        )
        self.stop = controls.number_box(
            QSpinBox,
            lambda: self._span_picked(self.stop),
            name="Brush: sample after the last",
            has_arrows=False,
        )
        self.seconds = QLabel()
        span = row_of(self.start, QLabel("to"), self.stop, self.seconds)
        for column in (0, 2):
            span.setStretch(column, 1)
        form.add("Samples", span)

    def _build_field(self, form: Form, field: FieldBrush) -> None:
        self.tool = SegmentedButton(
            [Choice(*option) for option in TOOLS if option[0] != "rectangle"], "Tool on the field"
        )
        self.tool.picked.connect(lambda tool: setattr(field, "tool", tool))
        tooltip = "Radius of the brush in screen pixels ([ and ])"
        self.radius = controls.slider(LARGEST_RADIUS, bottom=2, tooltip=tooltip)
        self.radius.valueChanged.connect(self._radius_picked)
        self.pixels = QLabel()
        # Room for three digits: the slider must not change its width while it is
        # dragged.
        self.pixels.setMinimumWidth(42)
        form.add("Tool", self.tool)
        form.add("Radius", row_of(self.radius, self.pixels, stretch=0))

    def _build_growth(self, form: Form) -> None:
        region = self._painted_region
        self.grow = controls.push_button("Grow", "", region.grow)
        self.shrink = controls.push_button("Shrink", "", region.shrink)
        self.distance = controls.number_box(
            QSpinBox,
            lambda: region.set_distance(float(self.distance.value())),
            tooltip="Distance of one step of Grow and Shrink",
            name="Grow and shrink: distance",
            has_arrows=False,
        )
        self.distance.setRange(1, 9999)
        row = row_of(self.grow, self.shrink, self.distance)
        for column in range(3):
            row.setStretch(column, 1)
        form.add("By distance", row)

    def _build_history(self, form: Form) -> None:
        self.undo, self.redo = StepButton("↶"), StepButton("↷")
        # `clicked` sends whether the button is checked, which the editor does not take.
        self.undo.clicked.connect(lambda: self._editor.undo())
        self.redo.clicked.connect(lambda: self._editor.redo())
        row = row_of(self.undo, self.redo)
        row.setStretch(0, 3)
        row.setStretch(1, 2)
        form.add("", row)

    # -- what the user does -----------------------------------------------------------
    def _span_picked(self, changed: QSpinBox) -> None:
        start, stop = self.start.value(), self.stop.value()
        # A span has at least one sample: the edited end stays, the other end moves.
        if start >= stop:
            start, stop = (start, start + 1) if changed is self.start else (stop - 1, stop)
        # `_draw_brush` sets the boxes, too: only a difference is a user action.
        if (start, stop) != self._state.active_span:
            self._editor.set_active_span(start, stop)

    def _radius_picked(self, radius: int) -> None:
        assert self._field is not None
        # The slider has whole pixels: keep a fractional radius that it only displays.
        if radius != round(self._field.radius):
            self._field.radius = float(radius)

    # -- from state to screen -----------------------------------------------------
    def _draw_brush(self) -> None:
        state = self._state
        self.code.show_value(state.brush_code)
        n_samples, (start, stop) = state.spec.n_samples, state.active_span
        for box, value, least, end in (
            (self.start, start, 0, "First"),
            (self.stop, stop, 1, "After the last"),
        ):
            with QSignalBlocker(box):
                box.setRange(least, n_samples - 1 + least)
                box.setValue(value)
            box.setToolTip(f"{end} sample that a stroke on the field sets (0-{n_samples})")
        self.seconds.setText(f"{(stop - start) / state.spec.response_rate_hz:z.2f} s")

    def _draw_growth(self) -> None:
        region, code = (self._painted_region, self._state.brush_code)
        word = palette.STATE_NAMES[code]
        near = f"{region.distance:g} {region.unit}"
        self.grow.setEnabled(region.can_grow)
        self.shrink.setEnabled(region.can_shrink)
        self.distance.setEnabled(bool(region.unit))
        with QSignalBlocker(self.distance):
            self.distance.setSuffix(f" {region.unit}" if region.unit else "")
            self.distance.setValue(round(region.distance))
        self.grow.setToolTip(f"Paint the neurons within {near} of {word} ones as {word} (G)")
        self.shrink.setToolTip(
            f"Hide the {word} neurons within {near} of others (Shift+G)"
            if code != HIDDEN
            else "Hidden neurons cannot shrink: choose another state"
        )

    def _draw_field(self) -> None:
        if self._field is None:
            return
        self.tool.show_value(self._field.tool)
        with QSignalBlocker(self.radius):
            self.radius.setValue(round(self._field.radius))
        self.pixels.setText(f"{self._field.radius:z.0f} px")

    def _draw_history(self) -> None:
        for button, verb, key, name, is_possible in (
            (self.undo, *UNDO, self._editor.undo_name, self._editor.can_undo),
            (self.redo, *REDO, self._editor.redo_name,
             self._editor.can_redo),
        ):  # fmt: skip
            button.setEnabled(is_possible)
            step = name.removeprefix("Paint ")
            button.setText(f"{verb}: {step[:1].lower()}{step[1:]}" if name else verb)
            button.setToolTip(f"{verb} {name} ({key})" if name else f"{verb} ({key})")


class StepButton(QPushButton):
    """Button that names a step.

    Where the text is too long, an arrow stands for its verb; one longer still ends with ….
    """

    def __init__(self, arrow: str) -> None:
        super().__init__()
        self._arrow = arrow
        controls.fit_panel_width(self)
        self.setStyleSheet("QPushButton { text-align: left; padding: 3px 6px; }")

    @property
    def shown_text(self) -> str:
        """The text as it fits."""
        option, style = QStyleOptionButton(), self.style()
        self.initStyleOption(option)
        assert style is not None
        part = QStyle.SubElement.SE_PushButtonContents
        room = style.subElementRect(part, option, self).width()
        text, metrics = self.text(), self.fontMetrics()
        _, colon, step = text.partition(": ")
        if colon and metrics.horizontalAdvance(text) > room:
            text = f"{self._arrow} {step}"
        return metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the button."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = self.shown_text
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)


COUNTS_TIP: Final = (
    "Number of neurons per state, in the samples that a stroke on the field sets. Targets\n"
    "are hidden in the samples in which they are no target. Below: neurons that are visible\n"
    "in a part of these samples."
)


class MaskCountsSection(QWidget):
    """Bar with the share of each state, and the numbers below."""

    def __init__(self, state: LiveState) -> None:
        super().__init__()
        self._state = state
        self.bar = _Shares()
        self.numbers: dict[int, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(0)
        for column, code in enumerate(UNIFORM):
            self.numbers[code] = QLabel("0")
            self.numbers[code].setStyleSheet("font-weight: 600;")
            grid.addWidget(state_label(code), 0, column)
            grid.addWidget(self.numbers[code], 1, column)
            # Equal columns: the counts stay in place when their number of digits
            # changes.
            grid.setColumnStretch(column, 1)
        self.changes, self.samples = wrapped_label(), wrapped_label("quiet")
        self._changing = QWidget()
        row = row_of(glyph_label(MIXED), self.changes, stretch=1)
        row.setContentsMargins(0, 0, 0, 0)
        self._changing.setLayout(row)
        # A form has no margins; the other sections of the panel are forms, too.
        Form(self).add_rows(self.bar, grid, self._changing, self.samples)
        events = state.events
        signals = [events.mask, events.active_span, events.session]
        self.redraw = Redraw(self, (self._draw, signals))

    def _draw(self) -> None:
        state = self._state
        counts, changes, hidden = counted(state)
        start, stop = state.active_span
        for code, label in self.numbers.items():
            label.setText(f"{counts[code]:,}")
        self.bar.show_counts([int(counts[code]) for code in ORDER])
        self.changes.setText(changes)
        self._changing.setVisible(bool(changes))
        # All samples are the usual case, and take no room in a low window.
        is_part = (start, stop) != (0, state.spec.n_samples)
        controls.show_text(self.samples, f"In samples {start}–{stop}, which are painted." * is_part)
        # A small window has no room for a line of its own.
        told = f"{hidden.capitalize()}." if hidden else ""
        self.setToolTip("\n".join(filter(None, [COUNTS_TIP, told])))


class _Shares(QWidget):
    """Thin stacked bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(6)
        self._counts = [0] * len(ORDER)

    def sizeHint(self) -> QSize:
        """Return a default size; the layout stretches the width."""
        return QSize(100, 6)

    def show_counts(self, counts: list[int]) -> None:
        """Set the counts in the order of `ORDER` and repaint if they changed."""
        if counts != self._counts:
            self._counts = counts
            self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint the shares from left to right in the colours of the states."""
        painter = QPainter(self)
        # At least 1: without a session all counts are 0.
        total, x = max(sum(self._counts), 1), 0.0
        for code, count in zip(ORDER, self._counts, strict=True):
            width = self.width() * count / total
            colour = QColor(palette.STATE_COLOURS[code])
            painter.fillRect(QRectF(x, 0, width, self.height()), colour)
            x += width
        painter.end()
