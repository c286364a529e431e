"""Words and marks are readable on dark and on light panels."""

from typing import get_args

import pytest
from qtpy.QtWidgets import QLabel, QWidget

from omnimouse_widgets import palette
from omnimouse_widgets.qt import plots
from omnimouse_widgets.qt.control import ControlPanel
from omnimouse_widgets.qt.tone import Tone, ToneLabel, colour_of
from omnimouse_widgets.qt.traces import legend

# napari's own, and plain Qt's
DARK, LIGHT = ("#23242b", "#2b2b2b"), ("#ebe7e6", "#efefef")
FOR_TEXT, FOR_MARKS = 4.5, 3.0


def contrast(one: str, other: str) -> float:
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""

    def luminance(colour: str) -> float:
        parts = [part / 255 for part in palette.rgb(colour)]
        linear = [
            p / 12.92 if p <= 0.04 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def panel_on(background: str) -> QWidget:
    """A panel with a style sheet, as napari's themes are."""
    panel = QWidget()
    panel.setStyleSheet(f"QWidget {{ background-color: {background}; }}")
    return panel


@pytest.mark.parametrize("background", [*DARK, *LIGHT])
@pytest.mark.parametrize("tone", get_args(Tone))
def test_every_tone_stands_out(qtbot, background, tone):
    panel = panel_on(background)
    qtbot.addWidget(panel)
    panel.ensurePolished()
    needed = FOR_TEXT if tone in ("quiet", "alert") else FOR_MARKS
    assert contrast(colour_of(tone, panel), background) >= needed


@pytest.mark.parametrize("background", [*DARK, *LIGHT])
def test_the_edge_of_a_mark_stands_out(background):
    assert contrast(palette.EDGE, background) >= FOR_MARKS


def test_the_marks_of_the_plots_legend_stand_out_on_its_own_ground(qtbot):
    label = legend()
    qtbot.addWidget(label)
    assert plots.BACKGROUND in label.styleSheet()
    for colour in (palette.HELD, palette.PREDICTED, palette.VISIBLE, palette.TARGET):
        assert contrast(colour, plots.BACKGROUND) >= FOR_MARKS
        assert colour in label.text()
    assert contrast(plots.TEXT, plots.BACKGROUND) >= FOR_TEXT


def test_words_follow_the_theme(controller, show, redraw):
    panel = show(ControlPanel(controller), 400, 900)
    for background in (LIGHT[0], DARK[0], LIGHT[1]):
        text = "#111111" if background in LIGHT else "#F0F0F0"
        panel.setStyleSheet(
            f"QWidget {{ background-color: {background}; color: {text}; }}"
        )
        redraw()
        labels = [x for x in panel.findChildren(QLabel) if x.text()]
        for label in labels:
            if label.pixmap().isNull():
                label.ensurePolished()
                colour = label.palette().color(label.foregroundRole()).name()
                assert contrast(colour, background) >= FOR_MARKS, label.text()
        (quiet,) = [x for x in labels if x.text() == "Preset"]
        assert isinstance(quiet, ToneLabel)
        colour = quiet.palette().color(quiet.foregroundRole()).name()
        assert contrast(colour, background) >= FOR_TEXT
