"""Samples on an even grid: jitter, pauses, joints of files, lost frames."""

from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.data.readers.build.trial_files import (
    Placed,
    PlacedRows,
    sample_places,
    stretches,
)
from omnimouse_model.storage.arrays.rows import MemoryRows


def test_jitter_of_a_quarter_of_a_sample_neither_loses_nor_doubles_a_frame():
    draw = np.random.default_rng(0)
    times = 9000.0 + (np.arange(2000) + draw.uniform(-0.25, 0.25, 2000)) / 30.03
    place, deviation = sample_places(times, 30.03)
    assert place.tolist() == list(range(2000))
    assert 0.2 < deviation < 0.3


def test_rows_are_counted_anew_after_a_gap_of_any_phase():
    # The second block begins half a sample beside the grid of the first one.
    draw = np.random.default_rng(1)
    second = 100.05 + (np.arange(500) + draw.uniform(-0.2, 0.2, 500)) / 10
    times = np.concatenate([np.arange(300) / 10, second])
    place, deviation = sample_places(times, 10.0)
    assert deviation < 0.25  # of each stretch from its own phase
    assert place[:300].tolist() == list(range(300))
    assert np.diff(place[300:]).tolist() == [1] * 499
    assert abs(place[300] - 1000.5) <= 0.75


def test_a_gap_reads_as_missing_and_holds_no_rows_in_memory():
    rows = MemoryRows(Path("x"), np.arange(8.0).reshape(4, 2))
    place = np.array([0, 1, 10**9, 10**9 + 1])
    placed = PlacedRows([Placed(rows, np.arange(4), place)], 10**9 + 2)
    assert placed.read(0, 3)[:, 0].tolist()[:2] == [0.0, 2.0]
    assert np.isnan(placed.read(2, 5)).all()
    assert placed.pick(np.array([1, 5, 10**9 + 1]), slice(1, 2))[[0, 2], 0].tolist() == [
        3.0,
        7.0,
    ]


class CountedRows(MemoryRows):
    """Rows of which the read ones are counted."""

    n_read = 0

    def read(self, first, stop):
        self.n_read += stop - first
        return super().read(first, stop)

    def pick(self, rows, columns):
        self.n_read += len(rows)
        return super().pick(rows, columns)


def test_scattered_rows_read_no_others():
    rows = CountedRows(Path("x"), np.arange(20_000.0).reshape(-1, 2))
    place = np.r_[np.arange(5000), 6000 + np.arange(5000)]
    placed = PlacedRows([Placed(rows, np.arange(10_000), place)], 11_000)
    wanted = np.array([0, 17, 5500, 6000, 10_999])
    picked = placed.pick(wanted, slice(0, 1))
    np.testing.assert_array_equal(picked[:, 0], [0.0, 34.0, np.nan, 10_000.0, 19_998.0])
    assert rows.n_read == 4


def test_places_of_places_are_read_once():
    rows = CountedRows(Path("x"), np.arange(10.0).reshape(-1, 1))
    place = np.r_[np.arange(5), 8 + np.arange(5)]
    inner = PlacedRows([Placed(rows, np.arange(10), place)], 13)
    # Grid rows 2 to 9 of the inner rows; nothing was recorded in 5 to 7.
    outer = PlacedRows([Placed(inner, np.arange(2, 10), np.arange(8))], 9)
    expected = [2.0, 3.0, 4.0, *[np.nan] * 3, 5.0, 6.0, np.nan]
    np.testing.assert_array_equal(outer.read(0, 9)[:, 0], expected)
    picked = outer.pick(np.arange(9), slice(None))
    np.testing.assert_array_equal(picked[:, 0], expected)
    assert rows.n_read == 10


def test_integers_become_numbers_that_can_be_missing():
    rows = MemoryRows(Path("x"), np.ones((2, 1), np.int16))
    values = PlacedRows([Placed(rows, np.arange(2), np.array([0, 2]))], 3).read(0, 3)
    assert np.isnan(values[1]).all()
    assert values[[0, 2], 0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("place", "joints", "spans", "n_missing"),
    [
        (list(range(100)), (), None, 0),
        # Five lost frames at 30 Hz, and a pause of a second.
        ([*range(40), *range(45, 100)], (), None, 5),
        ([*range(40), *range(70, 100)], (), [[0, 39], [70, 99]], 0),
        # A joint of two files: no row is missing, or the first ones of the second.
        (list(range(100)), (60,), [[0, 59], [60, 99]], 0),
        ([*range(60), *range(62, 100)], (60,), [[0, 59], [62, 99]], 0),
        # The first and the last rows are missing.
        (list(range(3, 98)), (), [[3, 97]], 0),
    ],
)
def test_stretches_end_at_pauses_and_joints(place, joints, spans, n_missing):
    found, missing = stretches(np.array(place), 100, 5.0, 30.0, joints)
    assert missing == n_missing
    if spans is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, 5.0 + np.array(spans) / 30.0)
