import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnimouse_model.data import clock
from omnimouse_model.data.signal import ShiftOrder, gather_shifted, shifted_rows

clocks = st.sampled_from([0.0, 1000.0, 1_000_000.0, 1_523_456_789.25, 1.52e9 + 1 / 3])
rates = st.sampled_from([30.0, 29.9994, 20.0, 100.0, 8.0, 7.98, 15.5, 1 / 3])
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.slow
@given(clocks, rates, st.integers(0, 300_000), st.floats(-1e-6, 1e-6))
def test_the_floor_rule_is_that_of_scalar_arithmetic(start, rate, sample, near):
    time = start + sample * (1.0 / rate) + near
    expected = math.floor((time - start) / (1.0 / rate))
    assert clock.previous_index(np.array([time]), start, rate)[0] == expected


@pytest.mark.slow
@given(clocks, rates, st.floats(0, 0.13), st.integers(0, 100_000))
def test_shifts_are_taken_off_before_the_start(start, rate, shift, sample):
    time = start + sample / rate + shift
    expected = math.floor((time - shift - start) / (1.0 / rate))
    index = clock.previous_index(np.array([time]), start, rate, np.array([shift]))
    assert index.tolist() == [[expected]]


@given(clocks, st.integers(0, 200_000), st.sampled_from([(30.0, 60), (20.0, 40)]))
def test_window_times_are_those_of_linspace(start, point, sampling):
    begin, (rate, count) = start + point / 30.0, sampling
    expected = np.linspace(begin, begin + count / rate, count, endpoint=False)
    np.testing.assert_array_equal(clock.window_times(begin, rate, count), expected)


@st.composite
def shifted_reads(draw: st.DrawFn) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Times, start, rate and shifts; often commensurate, often with equal shifts."""
    start, rate, seed = draw(clocks), draw(rates), draw(seeds)
    random = np.random.default_rng(seed)
    n_columns = draw(st.integers(1, 60))
    shifts = random.uniform(0, draw(st.sampled_from([0.0, 0.02, 0.12, 1.5])), n_columns)
    if draw(st.booleans()):
        shifts = np.round(shifts * 30) / 30
    first = shifts.max() + draw(st.integers(1, 400)) / 30 + 4 / rate
    if draw(st.booleans()):
        first += random.uniform(0, 0.1)
    times = clock.window_times(start + first, 30.0, draw(st.integers(1, 60)))
    return times, start, rate, shifts


@pytest.mark.slow
@given(shifted_reads())
def test_shifted_columns_are_read_where_the_floor_rule_says(read):
    times, start, rate, shifts = read
    order = ShiftOrder.of(shifts)
    expected = clock.previous_index(times, start, rate, shifts)
    highest, stairs = shifted_rows(times, start, rate, order)
    rows = highest[:, None] - (stairs[:, :, None] <= order.rank).sum(axis=1)
    np.testing.assert_array_equal(rows, expected)

    data = np.arange((expected.max() + 1) * len(shifts), dtype=np.float32)
    data = data.reshape(-1, len(shifts))
    taken = np.take_along_axis(data, expected, axis=0)
    np.testing.assert_array_equal(gather_shifted(data, highest, stairs, order), taken)
    wide = data.astype(np.float64)
    np.testing.assert_array_equal(gather_shifted(wide, highest, stairs, order), taken)


def test_a_slot_begins_a_tenth_of_a_millisecond_early():
    slots = np.array([10.0, 10.5, 11.0])
    times = np.array([10.0, 10.4998, 10.49995, 10.5, 11.0])
    assert clock.frame_slot(times, slots).tolist() == [0, 0, 1, 1, 2]


def test_the_common_interval_has_margins_and_the_grid_of_arange():
    common = clock.Interval(1.52e9 + 0.1, 1.52e9 + 900.0)
    step = (common.start + 1 / 30) - common.start
    grid = clock.start_grid(common)
    assert step != 1 / 30
    np.testing.assert_array_equal(grid, common.start + np.arange(len(grid)) * step)
    streams = [clock.Interval(1.0, 9.0), clock.Interval(2.0, 12.0)]
    assert clock.common_interval(streams) == clock.Interval(2.5, 8.5)


def test_gaps_take_their_surroundings_and_near_ends_with_them():
    spans = clock.spans_without_gaps(np.array([2, 40, 41, 98]), 0.0, 5.0, 20.0)
    np.testing.assert_allclose(spans, [[0.25, 1.85], [2.2, 4.75]])
    fast = clock.spans_without_gaps(np.array([500]), 0.0, 10.0, 1000.0)
    np.testing.assert_allclose(fast, [[0.0, 0.445], [0.555, 10.0]])
    spans = clock.spans_without_gaps(np.zeros(0, np.int64), 3.0, 9.0, 20.0)
    assert spans.tolist() == [[3.0, 9.0]]


@given(seeds, st.integers(0, 12))
def test_marked_points_are_those_of_half_open_spans(seed, n_spans):
    random = np.random.default_rng(seed)
    grid = np.arange(0.0, 10.0, 0.25)
    begin = random.integers(0, 40, n_spans) * 0.25
    spans = np.stack([begin, begin + random.integers(-4, 12, n_spans) * 0.25], axis=1)
    expected = [any(a <= t < b for a, b in spans) for t in grid]
    assert clock.points_inside(grid, spans).tolist() == expected


def test_starts_need_the_whole_window():
    allowed = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    assert clock.full_window_starts(allowed, 3).tolist() == [0, 4, 5]
    assert clock.full_window_starts(allowed, 9).tolist() == []
    assert clock.grid_points(1 / 60) == 1


@pytest.mark.parametrize("open_end", [np.inf, 100.0])
def test_the_last_trial_lasts_to_the_end(open_end):
    inside = clock.points_inside(np.arange(5.0), np.array([[2.0, open_end]]))
    assert inside.tolist() == [0, 0, 1, 1, 1]


def test_the_grid_ascends_over_pauses_and_joints_and_has_the_times_of_the_whole():
    whole = clock.Interval(1.7e9 + 0.5, 1.7e9 + 100.0)
    # A joint of two files at 60 Hz, between two points, and a pause from 60 to 80 s.
    spans = 1.7e9 + np.array([[0.0, 40.006], [40.006 + 1 / 60, 60.0], [80.0, 100.5]])
    grid, every = clock.start_grid(whole, spans), clock.start_grid(whole)
    assert (np.diff(grid) > 0).all()
    assert np.isin(grid, every).all()
    assert not ((grid > 1.7e9 + 60.1) & (grid < 1.7e9 + 79.9)).any()
    assert len(grid) == pytest.approx(len(every) - 20 * 30, abs=2)
