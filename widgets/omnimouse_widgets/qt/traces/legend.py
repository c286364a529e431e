"""Legends of the trace plots, as HTML."""

from collections.abc import Sequence
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.drawn.traces.options import TraceOptions
from omnimouse_widgets.drawn.traces.rows import evidence_of, pin_results
from omnimouse_widgets.drawn.traces.text import LegendEntry, legend_entries, pin_signs
from omnimouse_widgets.qt.style import plot_style


def legend_html(controller: Controller, look: TraceOptions) -> str:
    """Return the legend of colours and lines; see `legend_entries`."""
    name, spec = controller.state.baseline_name, controller.state.spec
    return signs_html(
        legend_entries(
            name,
            is_large=look.is_large,
            spec=spec,
            evidence=evidence_of(controller.results),
        )
    )


def pins_html(controller: Controller) -> str:
    """Return the legend of the displayed pins, with reasons for missing ones."""
    pins = controller.pins
    answers = pin_results(controller)
    return signs_html(pin_signs(controller.state.pins, answers, pins.problem_of))


def signs_html(signs: Sequence[LegendEntry]) -> str:
    """Return coloured glyphs with their meanings in one line."""
    return " &nbsp;".join(
        # Names of pins are typed by the user and may contain & or <.
        f"<span style='color:{sign.colour}'>{sign.glyph}</span> {escape(sign.text)}"
        for sign in signs
    )


def legend_label(signs: Sequence[LegendEntry] = ()) -> QLabel:
    """Return a label for a legend, on the background of the plots."""
    label = QLabel(signs_html(signs))
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setFont(plot_style.small_font())
    label.setMinimumWidth(1)
    # Plots are dark in light themes, too, because the recording is drawn in white.
    label.setStyleSheet(
        f"color: {plot_style.TEXT}; background: {plot_style.BACKGROUND};"
        " padding: 1px 4px;"
    )
    return label
