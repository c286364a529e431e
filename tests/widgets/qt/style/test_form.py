"""Rows and labels of forms."""

import pytest

from omnimouse_widgets.qt.style.form import ElidedLabel
from omnimouse_widgets.qt.style.theme import ToneLabel


def test_the_tooltip_of_a_cut_line_is_its_whole_text_unless_it_has_another(qapp):
    label = ElidedLabel()
    label.resize(60, 20)
    label.set_text("neuron 934 · LM · plane 1 · depth 185 µm")
    assert label.text().endswith("…")
    assert label.toolTip() == label.full_text
    label.setToolTip("Place of the neuron")
    assert label.toolTip() == "Place of the neuron"
    label.setToolTip("")
    label.set_text("1")
    assert (label.text(), label.toolTip()) == ("1", "")


@pytest.mark.parametrize("name", ["<img src='/x'> <b>mouse</b>", "a &lt; b"])
@pytest.mark.parametrize("kind", [ToneLabel, ElidedLabel])
def test_a_name_like_html_is_shown_as_it_is(qapp, kind, name):
    label = kind()
    label.setText(name)
    assert label.sizeHint().width() >= label.fontMetrics().horizontalAdvance(name)
