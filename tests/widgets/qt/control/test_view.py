"""The legend of the field's colours."""

from unittest.mock import PropertyMock

import numpy as np
import pytest

from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.quantities import QUANTITIES, make_scale
from omnimouse_widgets.qt.control.view import ColourLegend


@pytest.mark.parametrize("width", [180, 300, 500])
def test_names_of_categories_are_whole_at_any_width(controller, show, monkeypatch, width):
    names = ("video", "behaviour", "own past", "same area", "other areas", "upper & deep")
    source = next(one for one in QUANTITIES if one.name == "source")
    scale = make_scale(source, np.arange(controller.state.session.n_neurons) % 6.0, names)
    monkeypatch.setattr(Colouring, "scale", PropertyMock(return_value=scale))
    legend = show(ColourLegend(controller.state, controller.results, controller.colouring), width)
    legend.draw()
    legend.adjustSize()
    legend.resize(width, legend.heightForWidth(width))
    label = legend.swatches
    assert label.isVisible()
    assert label.height() >= label.heightForWidth(label.width())
    assert label.width() <= width
    assert "upper &amp; deep" in label.text()
