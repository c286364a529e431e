"""View section: display and selection of neurons, and meaning of their colours."""

import numpy as np
from qtpy.QtWidgets import QApplication, QCheckBox, QWidget

from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.planes import Planes, Selection
from omnimouse_model.live.project.exports import score_text
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import MAX_SELECTED, LiveState
from omnimouse_widgets.qt.control.colour_by import ColourLegend, ColourMenu
from omnimouse_widgets.qt.control.planes import PlaneRow
from omnimouse_widgets.qt.style.controls import push_button
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import wrapped_label


class ViewSection(QWidget):
    """Controls for display, selection and colours of the neurons, with a legend."""

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
        self.selection = wrapped_label()
        self.selection.setToolTip(f"Neurons whose traces are shown, at most {MAX_SELECTED}")
        self.clear = push_button("Clear", "Clear the selection", lambda: selection.select([]))
        self.colour_by = ColourMenu(state, colouring)
        self.legend = ColourLegend(state, results, colouring)
        self.areas = QCheckBox("Outline brain areas")
        self.areas.setToolTip("Show the outline and the name of each area (A)")
        # `clicked` is emitted for the user only, `toggled` also by `_draw_areas`.
        self.areas.clicked.connect(colouring.outline_areas)
        self.planes = PlaneRow(state, planes)
        self.copy = push_button(
            "Copy score",
            "Copy the score with its definition, condition, model and neurons",
            lambda: copy_score(state, results),
        )
        form = Form(self)
        form.add("Neurons", self.planes)
        form.add("Selected", row_of(self.selection, self.clear, stretch=0))
        form.add("Colour by", self.colour_by)
        form.add_rows(self.legend, self.areas, self.copy)
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
