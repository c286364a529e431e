"""View section: display and selection of neurons, and meaning of their colours."""

import numpy as np
from qtpy.QtWidgets import QApplication, QCheckBox, QPushButton, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.project.score_text import score_words
from omnimouse_model.live.state import MAX_SELECTED
from omnimouse_widgets.qt.control.colour_by import ColourLegend, ColourMenu
from omnimouse_widgets.qt.control.planes import PlaceRow
from omnimouse_widgets.qt.style.form import Form, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import quiet_label


class ViewSection(QWidget):
    """Controls for display, selection and colours of the neurons, with a legend."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.selection = quiet_label()
        self.selection.setToolTip(
            f"Neurons whose traces are drawn, at most {MAX_SELECTED}"
        )
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Select no neuron")
        self.clear.clicked.connect(lambda: controller.select([]))
        self.colour_by = ColourMenu(controller)
        self.legend = ColourLegend(controller)
        self.areas = QCheckBox("Outline brain areas")
        self.areas.setToolTip("Draw round each area's neurons, with its name (A)")
        # `clicked` is emitted for the user only, `toggled` also by `_draw_areas`.
        self.areas.clicked.connect(controller.colouring.outline_areas)
        self.place = PlaceRow(controller)
        form = Form(self)
        form.add("Neurons", self.place)
        form.add("Selected", row_of(self.selection, self.clear, stretch=0))
        form.add("Colour by", self.colour_by)
        self.copy = QPushButton("Copy score")
        self.copy.setToolTip(
            "Copy the score with its definition, condition, predictor and neurons"
        )
        self.copy.clicked.connect(lambda: copy_score(controller))
        form.add("", self.legend)
        form.add("", self.areas)
        form.add("", self.copy)
        events, results = controller.state.events, controller.results
        self.redraw = Redraw(
            self,
            [
                (self.place.draw, [events.session, events.plane_shown,
                                   events.in_space]),
                (self._draw_selection, [events.selection, events.session]),
                (self.colour_by.draw, [events.colour_by, events.session,
                                       controller.colouring.changed]),
                (self._draw_areas, [events.areas_shown, events.session]),
                (self._draw_legend, [events.colour_by, events.session, results.changed,
                                     controller.colouring.changed]),
            ],
        )  # fmt: skip

    # -- from state to screen -----------------------------------------------------
    def _draw_selection(self) -> None:
        state = self._controller.state
        words = ""
        if state.session is not None:
            names = state.session.units.names
            words = ", ".join(str(names[neuron]) for neuron in state.selection)
        self.selection.setText(words or "none")
        self.clear.setEnabled(bool(words))

    def _draw_areas(self) -> None:
        has_areas = self._controller.colouring.has_areas
        self.areas.setVisible(has_areas)
        self.areas.setChecked(self._controller.state.areas_shown)

    def _draw_legend(self) -> None:
        self.legend.draw()
        scores = self._controller.results.scores
        # Scores are all NaN if the mask has no target samples.
        self.copy.setEnabled(scores is not None and bool(np.isfinite(scores).any()))


def copy_score(controller: Controller) -> None:
    """Copy the displayed score with its definition and conditions."""
    words = score_words(controller.state, controller.results)
    clipboard = QApplication.clipboard()
    if words and clipboard is not None:
        clipboard.setText(words)
