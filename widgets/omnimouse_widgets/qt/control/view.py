"""View section: display and selection of neurons, their colours and what these mean."""

from typing import cast

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QVBoxLayout, QWidget

from omnimouse_model.live.controller import OfController
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes, Selection
from omnimouse_model.live.neurons.quantities import Quantity, Scale
from omnimouse_model.live.project.exports import score_text
from omnimouse_model.live.results import IN_WINDOW, Results
from omnimouse_model.live.state import MAX_SELECTED, ColourBy, LiveState
from omnimouse_model.masks import HIDDEN, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.qt.style import controls, theme
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.segmented_button import Choice, SegmentedButton
from omnimouse_widgets.views.field.colours import table_of
from omnimouse_widgets.views.field.text import ORDER, compute_action
from omnimouse_widgets.views.text.controls import AREAS, COLOUR_BY, PLANES

IN_SPACE = "The neurons at their positions in the cortex; drag to turn them (Shift+D)"
PLACES = (
    Choice(False, "Field", "The imaging field, which can be painted"),
    Choice(True, "3-D", IN_SPACE),
)


class ViewSection(QWidget, OfController):
    """Controls for display, selection and colours of the neurons, with a legend.

    Attributes
    ----------
    rare
        Controls that are used now and then, for another place: selection, score, areas.
    """

    def __init__(
        self,
        state: LiveState,
        results: Results,
        selection: Selection,
        colouring: Colouring,
        planes: Planes,
    ) -> None:
        super().__init__()
        self._state, self._results, self._colouring = state, results, colouring
        self.selection = theme.wrapped_label()
        self.selection.setToolTip(f"Neurons whose traces are shown, at most {MAX_SELECTED}")
        self.clear = controls.push_button(
            "Clear", "Clear the selection", lambda: selection.select([])
        )
        self.colour_by = ColourMenu(state, colouring)
        self.legend = ColourLegend(state, results, colouring)
        self.areas = QCheckBox(AREAS[0])
        self.areas.setToolTip(f"{AREAS[1]} (A)")
        # `clicked` is emitted for the user only, `toggled` also by `_draw_areas`.
        self.areas.clicked.connect(colouring.outline_areas)
        self.planes = PlaneRow(state, planes)
        self.copy = controls.push_button(
            "Copy score",
            "Copy the score with its definition, condition, model and neurons",
            lambda: copy_score(state, results),
        )
        form = Form(self)
        form.add(COLOUR_BY[0], self.colour_by)
        form.add("Neurons", self.planes)
        # Last: a legend of another height moves no control.
        form.add_rows(self.legend)
        self.rare = QWidget()
        rare = Form(self.rare)
        rare.add("Selected", row_of(self.selection, self.clear, stretch=0))
        rare.add_rows(row_of(self.copy, self.areas, stretch=0))
        events = state.events
        colours = [events.colour_by, events.session, colouring.changed]
        self.redraw = Redraw(
            self,
            (self.planes.draw, [events.session, events.plane_shown, events.in_space]),
            (self._draw_selection, [events.selection, events.session]),
            # The unit of the score is that of the window's spec.
            (self.colour_by.draw, [*colours, events.window]),
            (self._draw_areas, [events.areas_shown, events.session]),
            (self._draw_legend, [*colours, results.changed]),
        )

    # -- from state to screen -----------------------------------------------------
    def _draw_selection(self) -> None:
        state = self._state
        names = () if state.session is None else state.session.units.names
        text = ", ".join(str(names[neuron]) for neuron in state.selection)
        self.selection.setText(text or "none")
        self.clear.setEnabled(bool(text))

    def _draw_areas(self) -> None:
        has_areas = self._colouring.has_areas
        self.areas.setVisible(has_areas)
        self.areas.setChecked(self._state.areas_shown)

    def _draw_legend(self) -> None:
        self.legend.draw()
        scores = self._results.shown_scores
        # Scores are all NaN if the mask has no target samples.
        self.copy.setEnabled(scores is not None and bool(np.isfinite(scores).any()))


def copy_score(state: LiveState, results: Results) -> None:
    """Copy the displayed score with its definition and conditions."""
    text = score_text(state, results)
    clipboard = QApplication.clipboard()
    if text and clipboard is not None:
        clipboard.setText(text)


class PlaneRow(QWidget):
    """Buttons *Field | 3-D*, and a menu of imaging planes if there are several."""

    def __init__(self, state: LiveState, planes: Planes) -> None:
        super().__init__()
        self._state, self._planes = state, planes
        self.space = SegmentedButton(PLACES, "Field or 3-D")
        self.space.picked.connect(planes.show_in_space)
        self.plane = controls.combo_box(planes.show, offered=lambda: (None, *planes.numbers))
        controls.fit_panel_width(self.plane)
        row = row_of(self.space, self.plane)
        row.setStretch(0, 2)
        row.setStretch(1, 3)
        self.setLayout(row)

    def draw(self) -> None:
        """Show the planes of the session and the current choices."""
        planes, session = self._planes, self._state.session
        has_probes = session is not None and session.units.probe is not None
        kind = "probe" if has_probes else "imaging plane"
        tooltip = f"{PLANES.format(kind)} (Alt+PgUp, Alt+PgDown)"
        controls.describe(self.plane, tooltip, kind.capitalize())
        every = planes.label_of_all
        names = [(every, None), *((planes.label_of(n), n) for n in planes.numbers)]
        controls.set_items(self.plane, names)
        self.plane.setCurrentIndex(self.plane.findData(planes.number))
        # A session with one plane or probe has only the entry for all.
        self.plane.setVisible(len(names) > 1)
        self.space.show_value(self._state.in_space)
        why_flat = planes.flat_reason
        button = self.space.button(True)
        button.setEnabled(not why_flat)
        # A disabled button still shows its tooltip, which gives the reason.
        button.setToolTip(f"No 3-D: {why_flat}" if why_flat else IN_SPACE)


class ColourMenu(controls.MenuBox):
    """Menu of all quantities that the session has."""

    def __init__(self, state: LiveState, colouring: Colouring) -> None:
        super().__init__()
        self._state, self._colouring = state, colouring
        controls.describe(self, COLOUR_BY[1], COLOUR_BY[0])
        controls.fit_panel_width(self)
        self.activated.connect(lambda _: self._choose_current())

    def names(self) -> list[str]:
        """Return the names of all choices."""
        return [str(self.itemData(at)) for at in range(self.count())]

    def _choose_current(self) -> None:
        name = self.currentData()
        # Until the next drawing, the menu lists the quantities of the last recording.
        if name in {quantity.name for quantity in self._colouring.choices}:
            self._colouring.choose(cast(ColourBy, name))

    def draw(self) -> None:
        """Fill the menu with the quantities of the session and show the current one."""
        choices = self._colouring.choices
        controls.set_items(self, [(_titled(quantity), quantity.name) for quantity in choices])
        for at, quantity in enumerate(choices):
            role = Qt.ItemDataRole.ToolTipRole
            self.setItemData(at, quantity.explanation, role)
        self.setCurrentIndex(self.findData(self._state.colour_by))


def _titled(quantity: Quantity) -> str:
    return quantity.label + (f" ({quantity.unit})" if quantity.unit else "")


class ColourLegend(QWidget):
    """Legend of the field: colour bar or swatches, a message, and all marks.

    Attributes
    ----------
    states
        Meaning of glyphs or outlines as mask states; hidden if scores are coloured.
    rings
        Meaning of the other marks: visible, without score, unknown, selected.
    """

    def __init__(self, state: LiveState, results: Results, colouring: Colouring) -> None:
        super().__init__()
        self._state, self._results, self._colouring = state, results, colouring
        self.bar = ColourBar()
        # Its lines break between names, so that none is cut.
        self.swatches = theme.wrapped_label()
        self.swatches.setTextFormat(Qt.TextFormat.RichText)
        self.swatches.setIndent(4)
        self.notice = theme.wrapped_label()
        self.compute = controls.push_button("", "", self._press)
        notice = row_of(self.notice, self.compute, stretch=0)
        self.outline, self.no_outline = (
            theme.ToneLabel("outline"),
            theme.ToneLabel("· none: target"),
        )
        self._labels = {code: theme.state_label(code) for code in ORDER}
        self.states, self.rings = QWidget(), QWidget()
        states = (self.outline, *self._labels.values(), self.no_outline)
        self.states.setLayout(row_of(*states, spacing=4))
        self.visible_ring = theme.ring_label(palette.VISIBLE_RING, "visible")
        self.unscored_ring = theme.disk_label(palette.UNSCORED, "no score")
        self.unknown_ring = theme.ring_label(palette.UNKNOWN_RING, "unknown")
        self.untuned_disk = theme.disk_label(palette.UNSCORED, "", palette.UNKNOWN_RING)
        self.selected_ring = theme.ring_label(palette.SELECTED, "selected")
        row = row_of(
            self.visible_ring, self.unscored_ring, self.unknown_ring, self.selected_ring, spacing=8
        )
        row.addStretch(1)
        self.rings.setLayout(row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.bar)
        column.addWidget(self.swatches)
        column.addLayout(notice)
        column.addWidget(self.states)
        column.addWidget(self.rings)
        # A row of its own: its words have no room beside the others.
        column.addWidget(self.untuned_disk)

    def draw(self) -> None:
        """Show the legend of the current colours."""
        colouring, results = self._colouring, self._results
        scale, by_score = colouring.scale, self._state.colour_by == "score"
        # While a quantity is being read, the field still shows the states.
        if scale is not None and not scale.is_known and not by_score:
            scale = None
        # Numbers have a colour bar; categories have swatches.
        is_ranked = scale is not None and not scale.categories
        self.bar.setVisible(is_ranked or (scale is None and by_score))
        self.bar.show_scale(scale, is_old=by_score and results.are_scores_old)
        self.bar.setToolTip(_explained(scale))
        names = () if scale is None else scale.categories
        colours = palette.area_table(len(names)).tolist()
        signs = [
            ("■", QColor(*colour[:3]).name(), name)
            for colour, name in zip(colours, names, strict=True)
        ]
        controls.show_text(self.swatches, theme.signs_html(signs))
        controls.show_text(self.notice, colouring.message)
        action = compute_action(colouring)
        self.compute.setVisible(action is not None)
        if action is not None:
            self.compute.setText(action.label)
            self.compute.setToolTip(action.help)
        self.outline.setVisible(scale is not None)
        for code, label in self._labels.items():
            # With a quantity, the outline shows only visible and hidden; target neurons
            # have an outline in the colour of the quantity.
            label.setVisible(scale is None or code in (VISIBLE, HIDDEN))
        # The counts of the states, above, have the same glyphs.
        self.states.setVisible(scale is not None and not by_score)
        self.no_outline.setVisible(scale is not None)
        self.visible_ring.setVisible(by_score)
        self.unscored_ring.setVisible(by_score)
        texts = ("", "") if scale is None else (colouring.unknown_text, colouring.untuned_text)
        for mark, text in zip((self.unknown_ring, self.untuned_disk), texts, strict=True):
            mark.setVisible(bool(text))
            label = mark.findChild(theme.ToneLabel)
            assert label is not None
            label.setText(text)

    def _press(self) -> None:
        action = compute_action(self._colouring)
        if action is not None:
            action.run()


def _explained(scale: Scale | None) -> str:
    if scale is None:
        return ""
    if scale.quantity.name != "score":
        return (
            f"{scale.quantity.explanation}\n"
            "Empty ring: unknown · outline: visible or hidden; neurons with target samples have an "
            "outline in the colour of the number · white: selected"
        )
    noisy = "The score of one window is noisy; `omnimouse evaluate` uses many windows.\n"
    return (
        f"{scale.quantity.explanation}.\n"
        f"{noisy if IN_WINDOW in scale.quantity.explanation else ''}"
        "Slate ring: visible · grey disk: no score · white ring: selected"
    )


FADED = 0.45
"""Opacity of scores of an older request."""
_GAP = 8


class ColourBar(QWidget):
    """Colour bar of a scale with the median; of an angle, both ends have one colour."""

    def __init__(self) -> None:
        super().__init__()
        self._scale: Scale | None = None
        self._is_old = False

    def sizeHint(self) -> QSize:
        """Return the size of the bar with its numbers."""
        return QSize(160, 29)

    def minimumSizeHint(self) -> QSize:
        """Return the full height and a small width."""
        return QSize(60, 29)

    def show_scale(self, scale: Scale | None, *, is_old: bool = False) -> None:
        """Show a scale; fade it if it belongs to an older request."""
        if (scale, is_old) != (self._scale, self._is_old):
            self._scale, self._is_old = scale, is_old
            self.update()

    @property
    def ends(self) -> tuple[str, str]:
        """The texts at both ends."""
        return ("", "") if self._scale is None else self._scale.ends

    @property
    def median_text(self) -> str:
        """The text at the median, or ""."""
        text = "" if self._scale is None else self._scale.middle
        return f"{text} (older)" if text and self._is_old else text

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Paint gradient, numbers and median."""
        painter = QPainter(self)
        painter.setFont(theme.small_font())
        bar = QRectF(4, 2, self.width() - 8, 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        # Qt interpolates linearly between stops; 17 of them follow viridis closely.
        table = table_of(None if self._scale is None else self._scale.quantity)
        for at in np.linspace(0, 1, 17):
            gradient.setColorAt(at, QColor(*map(int, table[round(at * 255)])))
        painter.setOpacity(FADED if self._is_old else 1.0)
        painter.fillRect(bar, gradient)
        painter.setOpacity(1.0)
        painter.setPen(QColor(theme.colour_of("quiet", self)))
        low, high = self.ends
        right = painter.fontMetrics().horizontalAdvance(high)
        painter.drawText(QRectF(4, 14, bar.width(), 18), low)
        painter.drawText(QRectF(bar.right() - right, 14, right + 2, 18), high)
        self._draw_median(painter, bar)
        painter.end()

    def _draw_median(self, painter: QPainter, bar: QRectF) -> None:
        scale = self._scale
        median = None if scale is None else scale.median
        if scale is None or median is None:
            return
        share = (median - scale.low) / (scale.high - scale.low)
        # Clipped: the colours of the neurons are clipped to the same ends.
        x = bar.left() + min(max(share, 0.0), 1.0) * bar.width()
        # White on black is visible on every colour of the bar.
        painter.fillRect(QRectF(x - 1.5, 0, 3, 14), QColor("black"))
        painter.fillRect(QRectF(x - 0.5, 0, 1, 14), QColor("white"))
        advance = painter.fontMetrics().horizontalAdvance
        low, high = (advance(end) for end in self.ends)
        width = advance(self.median_text)
        first, last = bar.left() + low + _GAP, bar.right() - high - _GAP - width
        # The text must not touch the numbers at the ends; without room it is left out.
        if first <= last:
            left = min(max(x - width / 2, first), last)
            painter.drawText(QRectF(left, 14, width + 2, 18), self.median_text)
