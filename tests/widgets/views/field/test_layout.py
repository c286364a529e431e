"""The imaged field of recordings with several planes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.open import open_session
from omnimouse_model.masks.selection import are_inside
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views.field.areas import area_outlines, probe_area_outlines
from omnimouse_widgets.views.field.layout import session_field
from omnimouse_widgets.views.field.probes import probe_places, probe_texts
from omnimouse_widgets.views.traces import Shown, trace_rows
from tests import SUITE2P


def test_images_lie_under_the_neurons_of_their_plane(tmp_path):
    # Plane 0 of the flyback was not read.
    for plane in (0, 1):
        source = SUITE2P / "suite2p" / f"plane{plane}"
        shutil.copytree(source, tmp_path / f"plane{plane + 1}")
    session = open_session(tmp_path)
    field = session_field(session)
    for neuron, plane in enumerate(session.units.plane.tolist()):
        x, y = session.units.xy_px[neuron]
        own = session.images[f"mean_{plane}"][round(float(y)), round(float(x))]
        row, column = np.rint(field.centres[neuron]).astype(int)
        near = field.mean[row - 3 : row + 4, column - 3 : column + 4]
        assert np.isin(own, near)


# -- outlines of brain areas around neurons whose areas are known --------------------
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


# -- units on probes: placed by depth, or listed where the depth is unknown ----------
LOST = (4, 9)


@pytest.fixture(scope="module")
def session():
    """A recording on two probes; two of its units have no depth."""
    arrays = dict(spiking_arrays(SpikingSpec(n_trials=3)))
    arrays["xyz_um"][list(LOST)] = np.nan
    return om.open_session(arrays)


def test_units_without_a_depth_are_listed_and_the_others_placed(session):
    field, units = session_field(session), session.units
    assert field.without_pixels.tolist() == list(LOST)
    assert np.isnan(field.centres[list(LOST)]).all()
    assert any("4, 9" in text for _, _, text in field.texts)
    placed = np.setdiff1d(np.arange(len(units)), LOST)
    for probe, outline in zip("AB", field.outlines, strict=True):
        own = placed[units.probe[placed] == probe]
        (top, left), (bottom, right) = outline.min(axis=0), outline.max(axis=0)
        y, x = field.centres[own].T
        assert (np.diff(y) > 0).all()
        assert ((y > top) & (y < bottom) & (x > left) & (x < right)).all()


def test_areas_are_ranges_of_depth_within_each_probe(session):
    units = session.units
    outlines = probe_area_outlines(units)
    every = {("V1", 0), ("HPC", 0), ("V1", 1), ("HPC", 1)}
    assert {(o.area, o.plane) for o in outlines} == every
    assert len(outlines) == len(every)
    y = session_field(session).centres[:, 0]
    for outline in outlines:
        low, high = outline.yx[:, 0].min(), outline.yx[:, 0].max()
        own = (units.area == outline.area) & (units.plane == outline.plane)
        own &= np.isfinite(y)
        assert ((y[own] > low) & (y[own] < high)).all()


def test_without_any_depth_units_are_a_grid(session):
    nowhere = np.full_like(session.units.xyz_um, np.nan)
    units = replace(session.units, xyz_um=nowhere)
    field = session_field(replace(session, units=units))
    assert len(field.without_pixels) == 0
    assert not field.outlines


def test_units_without_a_probe_have_no_column(session):
    units = session.units
    # The text of no probe is the name of a group of its own.
    lost = replace(units, plane=np.where(np.isin(range(len(units)), LOST), 2, units.plane))
    names = [text for _, _, text in probe_texts(lost)]
    assert names == [text for _, _, text in probe_texts(units)]
    np.testing.assert_array_equal(probe_places(lost), probe_places(units))


def test_units_on_one_line_get_large_marks_on_a_scale_from_0(session):
    line = replace(session.units, xyz_um=session.units.xyz_um * [0, 1, 1])
    field = session_field(replace(session, units=line))
    assert np.bincount(field.owner[field.owner >= 0]).max() > 200
    assert "0 µm" in [text for _, _, text in field.texts]
    assert not field.note


def test_counts_are_drawn_as_rates_and_units_by_probe_and_depth(look_at):
    state = (controller := look_at()).state
    truth = trace_rows(Shown.of(controller))[0].truth
    np.testing.assert_array_equal(truth, 50 * state.window.responses[:, 14])
    y, x = session_field(state.session).centres.T
    assert (np.diff(y) > 0).all()  # depth grows with the number of the unit
    assert x[::2].max() < x[1::2].min()  # two probes in turn
