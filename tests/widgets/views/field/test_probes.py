"""Units on probes: placed by depth, or listed where the depth is unknown."""

from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views.field.areas import probe_area_outlines
from omnimouse_widgets.views.field.layout import session_field
from omnimouse_widgets.views.field.probes import probe_places, probe_texts

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
