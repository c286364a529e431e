"""Responses to events: both ends count, burn-in does not, values are grouped."""

import numpy as np

from omnimouse_model.lab.stimuli.stimulus import Events, event_responses, responses_by_value


def test_samples_from_onset_to_offset_count_both_included():
    responses = np.arange(20.0).reshape(2, 10, 1)
    events = Events(
        np.array([0, 1, 0]),
        np.array([0.2, 0.0, 5.0]),
        np.array([0.4, 0.3, 6.0]),
        np.array([0.0, 90.0, 0.0]),
    )
    means = event_responses(responses, events, 0.1, lag_s=0.1, burn_in=2)
    # Frames 3 to 5 of the first video; 2 to 4 of the second; none.
    np.testing.assert_allclose(means[:2, 0], [4.0, 13.0])
    assert np.isnan(means[2, 0])
    found = responses_by_value(means, events.value)
    assert found.values.tolist() == [0.0, 90.0]
    np.testing.assert_allclose(found.response, [[4.0, 13.0]])
    assert found.count.tolist() == [[1, 1]]


def test_values_are_grouped_after_rounding():
    responses = np.array([[1.0], [3.0], [np.nan], [5.0]])
    found = responses_by_value(responses, np.array([10.01, 10.04, 20.0, 30.0]), digits=1)
    assert found.values.tolist() == [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(found.response, [[2.0, np.nan, 5.0]])
    assert found.count.tolist() == [[2, 0, 1]]
