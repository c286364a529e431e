"""Spikes as ticks of the raster: their places, and when there are none."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.families.ndt.predictor import TRIALS
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views import raster as ticks
from omnimouse_widgets.views.raster import RasterView
from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.rows.raster import RasterRows


@pytest.fixture(scope="module")
def window():
    session = om.open_session(spiking_arrays(SpikingSpec(n_trials=3)))
    return session.window(0.5, TRIALS)


ORDER = np.arange(24)[::-1]


def test_ticks_lie_in_the_bins_that_count_them(window):
    rows = RasterRows.of(ORDER, 4, 14)
    found = ticks.spike_ticks(window, rows, 20.0, 120.0)
    sample, row = np.floor(found).astype(int).T
    counted = np.zeros((24, TRIALS.n_samples))
    np.add.at(counted, (row, sample), 1)
    expected = np.zeros_like(counted)
    expected[4:14, 20:120] = window.responses.T[ORDER][4:14, 20:120]
    # A spike at an edge may be counted on either side.
    np.testing.assert_array_equal(counted.sum(axis=1), expected.sum(axis=1))
    assert np.abs(counted - expected).sum() <= 2


def test_there_are_none_for_several_neurons_per_row_or_too_many(window, monkeypatch):
    binned = RasterRows.of(ORDER, 0, 24, max_rows=12)
    assert ticks.spike_ticks(window, binned, 0, 150) is None
    rows = RasterRows.of(ORDER, 0, 24)
    monkeypatch.setattr(ticks, "MAX_TICKS", 10)
    assert ticks.spike_ticks(window, rows, 0, 150) is None
    assert not ticks.are_ticks(2.0, 10.0)
    assert ticks.are_ticks(8.0, 8.0)


def test_the_text_of_the_pointer_leaves_with_its_recording(controller):
    view = RasterView.of(controller)
    view.cells()
    view.point_at(24, 3.0)
    assert record(view)["status"].text == "3 · hidden · sample 24"
    controller.loader.open_now(om.open_session(spiking_arrays(SpikingSpec(n_trials=3))))
    assert "sample 24" not in record(view)["status"].text
