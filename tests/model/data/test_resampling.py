"""Resampling: lines stay lines, gaps are told, flips and trials are found."""

import numpy as np
import pytest

from omnimouse_model.data.resampling import (
    flip_index,
    missing_samples,
    n_samples,
    resample,
    standardise,
)
from omnimouse_model.metrics.repeats import join_trials


def test_a_line_stays_one_and_traces_keep_their_length():
    times = 1e9 + np.arange(100) / 50
    line = 3 + 2 * (times - 1e9)
    found = resample(times, line, 1e9 + 0.5, 1e9 + 2.5, 0.1, kind="linear")
    at = 0.5 + 0.1 * np.arange(21)
    inside = at <= 1.98
    np.testing.assert_allclose(found[inside], (3 + 2 * at)[inside], rtol=1e-5)
    assert np.isnan(found[~inside]).all()
    # The filter is symmetric, so that it does not move a line either.
    smooth = resample(times, line, 1e9 + 0.5, 1e9 + 1.5, 0.1)
    np.testing.assert_allclose(smooth, (3 + 2 * at)[:11], rtol=1e-4)
    times, values = np.arange(5) / 50, np.ones(5)
    found = resample(times, values, 0.0, 0.08, 0.02, kind="lowpass", lowpass_s=0.4)
    assert found.shape == (5,)


def test_fast_noise_is_filtered_where_the_source_is_faster():
    times = np.arange(1000) / 100
    noise = np.random.default_rng(0).normal(size=1000)
    plain = resample(times, noise, 1.0, 9.0, 0.1, kind="linear")
    filtered = resample(times, noise, 1.0, 9.0, 0.1)
    slow = resample(times, noise, 1.0, 9.0, 0.1, kind="lowpass", lowpass_s=0.4)
    assert plain.std() > 2 * filtered.std() > 2.5 * slow.std()
    np.testing.assert_array_equal(
        resample(times[::20], noise[::20], 1.0, 9.0, 0.1),
        resample(times[::20], noise[::20], 1.0, 9.0, 0.1, kind="linear"),
    )


def test_gaps_are_filled_and_told():
    times = np.arange(100) / 10
    values = np.arange(100.0)
    values[50:53] = np.nan
    found = resample(times, values, 0.0, 9.0, 0.1, kind="linear")
    np.testing.assert_allclose(found, np.arange(91), atol=1e-4)
    missing = missing_samples(times, values, 0.0, 9.0, 0.1)
    assert missing[50:53].all()
    assert not missing[:49].any()
    assert not missing[54:].any()


def test_what_cannot_be_resampled_is_refused():
    times = np.arange(5.0)
    for other, values, what in (
        (times[:4], times, "differ"),
        (times, np.full(5, np.nan), "missing"),
        (times[::-1], times, "increase"),
        (np.array([0, 1, np.nan, 0.5, 1.5]), times, "increase"),
    ):
        with pytest.raises(ValueError, match=what):
            resample(other, values, 0.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="begin at 0"):
        flip_index(np.array([0.1, 0.2]), 0.1)


def test_each_sample_shows_the_first_flip_of_its_period_or_the_one_before():
    flips = np.array([0.0, 0.1, 0.14, 0.3, 0.42])
    assert flip_index(flips, 0.1).tolist() == [0, 1, 1, 3, 4]
    assert n_samples(0.0, 0.3, 0.1) == 4


def test_homogeneous_channels_are_not_shifted_and_the_inverse_comes_back():
    values = np.random.default_rng(0).normal(size=(5, 3))
    scale, shift = np.array([2.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0])
    found = standardise(values, scale, shift, [False, False, True])
    np.testing.assert_allclose(found[:, 0], (values[:, 0] - 1) / 2)
    np.testing.assert_allclose(found[:, 1], (values[:, 1] - 1) / 1e-4)
    np.testing.assert_allclose(found[:, 2], values[:, 2])
    back = standardise(found, scale, shift, [False, False, True], inverse=True)
    np.testing.assert_allclose(back, values)


def test_trials_of_clips_are_joined_without_burn_in():
    clips = [[np.arange(5.0), np.arange(4.0)], [np.arange(10, 14.0)]]
    joined = join_trials(clips, burn_in=1)
    np.testing.assert_array_equal(
        joined, [[1, 2, 3, 11, 12, 13], [1, 2, 3, np.nan, np.nan, np.nan]]
    )
    with pytest.raises(ValueError, match="clip 0"):
        join_trials([[np.arange(5.0), np.arange(3.0)]])
