"""Spikes as ticks of the raster: their places, and when there are none."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import omnimouse_model as om
from omnimouse_model.data.neurons import Units
from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.families.ndt.predictor import TRIALS
from omnimouse_model.masks import VISIBLE, Mask, input_cells, scored_cells
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_widgets.views import raster as ticks
from omnimouse_widgets.views.raster import RasterView, hatch_text
from omnimouse_widgets.views.record import record
from omnimouse_widgets.views.rows.raster import (
    MISSING,
    UNREAD,
    UNSCORED_TARGET,
    RasterRows,
    arrange,
    missing,
)


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


def test_the_text_of_the_pointer_follows_the_mask(controller):
    view = RasterView.of(controller)
    controller.state.raster_order = "stored"
    view.cells()
    view.point_at(24, 3.0)
    assert record(view)["status"].text == "3 · hidden · sample 24"
    controller.editor.paint_cells(slice(None), slice(0, 60), VISIBLE)
    assert record(view)["status"].text == "3 · visible · sample 24"
    view.point_away()
    assert "sample 24" not in record(view)["status"].text


def test_the_text_of_the_pointer_leaves_with_its_sample(controller):
    view = RasterView.of(controller)
    view.cells()
    view.point_at(59, 3.0)
    assert "sample 59" in record(view)["status"].text
    state, spec = controller.state, replace(controller.state.spec, duration_s=1.0)
    mask, state.mask = state.mask.stretched(spec), None
    state.window, state.mask = state.window.at(spec), mask
    assert state.mask.n_samples == 30
    assert "sample" not in record(view)["status"].text


def test_the_text_of_the_pointer_leaves_with_its_recording(controller):
    view = RasterView.of(controller)
    view.cells()
    view.point_at(24, 3.0)
    assert record(view)["status"].text == "3 · hidden · sample 24"
    controller.loader.open_now(om.open_session(spiking_arrays(SpikingSpec(n_trials=3))))
    assert "sample 24" not in record(view)["status"].text


def test_the_status_is_of_the_rows_of_the_open_recording(controller):
    view = RasterView.of(controller)
    view.rows = RasterRows.of(np.arange(900), 0, 900)  # of another recording
    assert "neurons / row" not in record(view)["status"].text


@given(st.integers(1, 900), st.integers(1, 60), st.data())
def test_every_neuron_in_view_is_in_exactly_one_row(n, most, data):
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    order = np.random.default_rng(n).permutation(n)
    rows = RasterRows.of(order, start, stop, most)
    assert len(rows) <= most
    found = [rows.neurons(edge, edge) for edge in rows.edges[:-1]]
    assert np.array_equal(np.concatenate(found), order[start:stop])


def test_rows_out_of_view_have_no_neurons():
    rows = RasterRows.of(np.arange(10), 2, 8)
    assert len(rows.neurons(-3, 1.9)) == 0
    assert len(rows.neurons(8.0, 9.0)) == 0
    assert list(rows.neurons(1.0, 2.5)) == [2]


def test_a_row_shows_the_mean_of_its_neurons_and_ignores_unknown_ones():
    values = np.random.default_rng(0).random((60, 7)).astype(np.float32)
    values[:, 4] = np.nan
    means = RasterRows.of(np.arange(7), 0, 7, 3).mean(values)
    bins = ([0, 1, 2], [3, 5], [6])
    expected = [values[:, neurons].mean(axis=1) for neurons in bins]
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    assert np.isnan(RasterRows.of(np.arange(4), 0, 4, 2).mean(values[:, [4] * 4])).all()


def test_rows_of_one_neuron_show_its_states_and_excluded_cells():
    mask = Mask.nothing(4).show([0], slice(0, 40)).show([1], slice(10, 16))
    mask = mask.show([2], slice(0, 20)).ask([2], slice(20, 60)).ask([3], slice(0, 60))
    codes = RasterRows.of(np.arange(4), 0, 4).codes(mask)
    expected = mask.cells.T.copy()
    expected[(mask.visible & ~input_cells(mask)).T] = UNREAD
    expected[(mask.target & ~scored_cells(mask)).T] = UNSCORED_TARGET
    assert np.array_equal(codes, expected)
    assert (codes[1, 10:16] == UNREAD).all()
    assert (codes[2, 20:25] == UNSCORED_TARGET).all()


@given(st.data(), st.sampled_from([1, 7, 40]))
def test_codes_after_a_stroke_are_those_of_a_fresh_mask(data, most):
    rows = RasterRows.of(np.random.default_rng(most).permutation(40), 2, 38, most)
    mask = Mask.nothing(40).show(slice(0, 25), slice(0, 40)).ask(slice(20, 40))
    codes = rows.codes(mask)
    for _ in range(3):
        before, neurons = mask, data.draw(st.lists(st.integers(0, 39), max_size=6))
        samples = sorted(data.draw(st.tuples(st.integers(0, 60), st.integers(0, 60))))
        mask = mask.paint(neurons, tuple(samples), data.draw(st.integers(0, 2)))
        codes = rows.codes(mask, None, (before, codes))
        assert np.array_equal(codes, rows.codes(replace(mask, cells=mask.cells.copy())))
    # Other rules for the same cells.
    cut = mask.with_attachment(cuts=(30,))
    assert np.array_equal(rows.codes(cut, None, (mask, codes)), rows.codes(cut))


def test_responses_that_were_not_recorded_are_hatched():
    values = np.ones((90, 6), "f4")
    values[20:30, 0], values[:, 3] = np.nan, np.nan
    window = open_session({"responses": values, "rate_hz": 30.0}).nearest_window(0.0)
    mask = Mask.nothing(6).show(range(6))
    missing = window.missing
    codes = RasterRows.of(np.arange(6), 0, 6).codes(mask, window)
    assert (codes[missing.T] == MISSING).all()
    assert (codes[~missing.T] == VISIBLE).all()
    assert "not recorded" in "".join(hatch_text(codes))
    # A row of several neurons is missing where all of them are.
    pairs = RasterRows.of(np.arange(6), 0, 6, 3).codes(mask, window)
    assert (pairs == VISIBLE).all()
    # A window of another model does not fit the mask.
    other = window.at(WindowSpec(2.0, 10.0))
    assert (RasterRows.of(np.arange(6), 0, 6).codes(mask, other) == VISIBLE).all()


@pytest.mark.parametrize(("n", "n_read"), [(1_000, 1_000), (1_001, 501), (4_500, 900)])
def test_grey_levels_are_those_of_neurons_spread_over_all(n, n_read):
    responses = np.random.default_rng(0).normal(size=(600, n)).cumsum(axis=1)
    window = om.open_session(
        {"responses": responses, "rate_hz": 30.0, "unit_ids": np.arange(n)}
    ).window(0.0)
    read = window.responses[:, :: -(-n // 1_000)]
    assert read.shape[1] == n_read
    np.testing.assert_allclose(ticks.levels_of(window), np.percentile(read, (1, 99)), rtol=1e-5)


@given(st.integers(1, 5_000), st.integers(0, 2**32 - 1), st.sampled_from(["sort", "mixed", "ties"]))
def test_outer_percentiles_are_those_of_all_values(n, seed, kind):
    values = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    if kind == "sort":
        values.sort()  # those that are sampled are even then spread over all
    elif kind == "ties":
        values = values.clip(-0.5, 0.5)
    expected = np.percentile(values, (1, 99))
    np.testing.assert_allclose(ticks.outer_percentiles(values), expected, rtol=1e-4, atol=1e-5)


def test_outer_percentiles_do_not_need_a_good_sample():
    values = np.arange(4_800, dtype=np.float32)
    values[::16] += 10_000  # only the highest are sampled
    expected = np.percentile(values, (1, 99))
    np.testing.assert_allclose(ticks.outer_percentiles(values), expected, rtol=1e-4)


def test_rows_are_ordered_again_after_a_change_of_the_mask_alone(controller):
    view = RasterView.of(controller)
    controller.state.raster_order = "state"
    view.cells()
    before = view.arrangement
    controller.navigation.step_window(1)
    view.cells()
    assert view.arrangement is before
    last = controller.state.session.n_neurons - 1
    controller.editor.paint([last], VISIBLE)
    view.cells()
    assert view.arrangement.order[0] == last


@pytest.fixture
def units():
    xyz = np.zeros((6, 3), np.float32)
    xyz[:, 2] = [300, 100, np.nan, 200, 150, 250]
    return Units(
        unit_id=np.arange(6),
        area=np.array(["V1", "LM", "V1", "LM", "AL", "V1"]),
        area_source="test",
        plane=np.full(6, -1, np.int32),
        xyz_um=xyz,
        xy_px=np.zeros((6, 2), np.float32),
        mean=np.zeros(6),
        std=np.ones(6),
    )


SPAN = (0, 60)
NOTHING = Mask.nothing(6)
SCORES = np.array([0.1, np.nan, 0.9, 0.5, np.nan, 0.2], np.float32)
ALIKE = np.array([5, 0, 2, 1, 3, 4])


@pytest.mark.parametrize(
    ("order", "mask", "scores", "alike", "rows"),
    [
        ("depth", NOTHING, None, None, [1, 4, 3, 5, 0, 2]),  # the unknown one last
        ("score", NOTHING, SCORES, None, [2, 3, 5, 0, 1, 4]),  # the best first
        ("area", NOTHING.show([5]), None, None, [4, 1, 3, 5, 0, 2]),  # then by state
        ("similarity", NOTHING, None, ALIKE, ALIKE.tolist()),
        ("similarity", NOTHING, None, None, [0, 1, 2, 3, 4, 5]),  # not known yet
        ("score", NOTHING, None, None, [0, 1, 2, 3, 4, 5]),
        (
            "state",
            NOTHING.ask([4], slice(0, 60)).show([1, 3]),
            None,
            None,
            [4, 1, 3, 0, 2, 5],
        ),
    ],
)
def test_rows_are_in_order(units, order, mask, scores, alike, rows):
    assert list(arrange(order, units, mask, SPAN, scores, alike).order) == rows


def test_rows_by_position_use_pixels_where_microns_are_unknown(units):
    units.xyz_um[:, 0] = [5, 3, 4, 0, 1, 2]
    found = arrange("x", units, NOTHING, SPAN, None)
    assert list(found.order) == [3, 4, 5, 1, 2, 0]
    assert found.ticks[0] == (0.5, "0 µm")
    units.xyz_um[:] = np.nan
    units.xy_px[:, 1] = [9, 8, 7, 6, 5, 40]
    found = arrange("y", units, NOTHING, SPAN, None)
    assert list(found.order) == [4, 3, 2, 1, 0, 5]
    assert found.ticks[-1] == (5.5, "40 px")
    assert missing("depth", units)
    assert list(arrange("depth", units, NOTHING, SPAN, None).order) == [*range(6)]
