"""Rows and labels of forms."""

from omnimouse_widgets.qt.style.form import ElidedLabel


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
