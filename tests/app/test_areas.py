"""Outlines of brain areas around neurons whose areas are known."""

import numpy as np
import pytest

from omnimouse_app.areas import area_outlines
from omnimouse_model.masks.selecting import are_inside


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


def test_the_border_lies_where_the_areas_meet():
    outlines = area_outlines(*two_area_field())
    right_of_lm, left_of_v1 = outlines[0].yx[:, 1].max(), outlines[1].yx[:, 1].min()
    assert right_of_lm == pytest.approx(300, abs=20)
    assert left_of_v1 == pytest.approx(300, abs=20)


def test_a_stray_neuron_moves_no_border():
    centres, area, plane = two_area_field()
    stray = int(np.hypot(*(centres - (300, 500)).T).argmin())
    before = area_outlines(centres, area, plane)
    area[stray] = "LM"
    after = area_outlines(centres, area, plane)
    assert len(after) == len(before)
    assert after[0].yx[:, 1].max() == pytest.approx(before[0].yx[:, 1].max(), abs=1)


def test_planes_are_outlined_apart_and_the_unknown_not_at_all():
    centres, area, plane = two_area_field()
    centres = np.concatenate([centres, centres + np.array([0, 1000])])
    area = np.concatenate([area, np.full(len(area), "")])
    plane = np.concatenate([plane, plane + 1])
    assert all(o.yx[:, 1].max() < 800 for o in area_outlines(centres, area, plane))
    area[1200:] = "AL"
    found = area_outlines(centres, area, plane)
    assert [o.area for o in found] == ["LM", "V1", "AL"]
    assert found[2].yx[:, 1].min() > 900


def test_an_outline_ends_where_its_plane_does():
    centres, area, plane = two_area_field(60)
    for outline in area_outlines(centres, area, plane):
        assert outline.yx.min() > -60
        assert outline.yx.max() < 660


def test_few_neurons_and_neurons_without_a_place_are_no_trouble():
    assert area_outlines(np.empty((0, 2)), np.empty(0, str), np.empty(0, int)) == []
    one = area_outlines(
        np.array([[5.0, 5.0], [np.nan] * 2]), np.array(["V1", "V1"]), np.zeros(2, int)
    )
    assert [o.area for o in one] == ["V1"]
    assert are_inside(np.array([[5.0, 5.0]]), one[0].yx).all()
