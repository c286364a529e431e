"""Outlines of brain areas around neurons whose areas are known."""

import numpy as np

from omnimouse_model.masks.selection import are_inside
from omnimouse_widgets.views.field.areas import area_outlines


def two_area_field(n=1200, *, border=300.0):
    """Neurons on a field of 600 pixels, LM to the left of a border, V1 to the right."""
    centres = np.random.default_rng(3).uniform(0, 600, (n, 2))
    area = np.where(centres[:, 1] < border, "LM", "V1")
    return centres, area, np.zeros(n, int)


def test_an_outline_holds_its_own_neurons_and_no_others():
    centres, area, plane = two_area_field()
    outlines = area_outlines(centres, area, plane)
    assert [(o.area, o.is_named) for o in outlines] == [("LM", True), ("V1", True)]
    for outline in outlines:
        inside = are_inside(centres, outline.yx)
        assert inside[area == outline.area].mean() > 0.96
        assert inside[area != outline.area].mean() < 0.02


def test_few_neurons_and_neurons_without_a_place_are_no_trouble():
    assert area_outlines(np.empty((0, 2)), np.empty(0, str), np.empty(0, int)) == []
    one = area_outlines(
        np.array([[5.0, 5.0], [np.nan] * 2]), np.array(["V1", "V1"]), np.zeros(2, int)
    )
    assert [o.area for o in one] == ["V1"]
    assert are_inside(np.array([[5.0, 5.0]]), one[0].yx).all()
