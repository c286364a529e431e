"""Responses to trials, recorded and predicted, over the same samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.lab.recorded_comparison import recorded_responses, responses_to_trials
from omnimouse_model.lab.recorded_trials import direction_trials
from omnimouse_model.progress import CallbackJob
from omnimouse_model.storage.arrays.rows import MemoryRows
from tests.model.lab.recorded.known_neurons import OFFSET_S, RATE_HZ, grating_session
from tests.predictors import EchoPredictor
from tests.toy_predictors import FRAMES

PREFERRED = np.array([0.0, 100.0, 215.0])
NEURONS = np.arange(3)


class Echo(EchoPredictor):
    """Predicts recorded responses plus one in windows of another spec."""

    def __init__(self, spec):
        EchoPredictor.__init__(self)
        self.spec = spec

    @property
    def needs(self):
        return replace(EchoPredictor.needs.fget(self), spec=self.spec)


@pytest.fixture(scope="module")
def noisy():
    return grating_session(PREFERRED, noise=0.5)


def mean_over(session, trial, lag_s=0.0, offset_s=0.0):
    """Mean over samples from onset to end, both included, from the arrays."""
    table = session.trials
    begin, end = (t[trial] + lag_s for t in (table.t_on, table.t_off))
    times = np.arange(session.responses.n_samples) / RATE_HZ + offset_s
    of_trial = (times >= begin - 1e-6) & (times <= end + 1e-6)
    return session.responses.data[of_trial].mean(axis=0) / session.response_scale


@pytest.mark.parametrize("lag_s", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("spec", [None, FRAMES], ids=["2 s", "0.5 s"])
def test_windows_cover_each_sample_of_a_trial_once(noisy, lag_s, spec):
    trials = direction_trials(noisy).trials
    model = EchoPredictor() if spec is None else Echo(spec)
    found = responses_to_trials(model, noisy, trials, NEURONS, lag_s=lag_s)
    expected = [mean_over(noisy, trial, lag_s, OFFSET_S) for trial in trials]
    np.testing.assert_allclose(found.recorded, expected, rtol=1e-5)
    np.testing.assert_allclose(found.predicted, np.stack(expected) + 1, rtol=1e-5)
    expected = [mean_over(noisy, trial, lag_s) for trial in trials]
    direct = recorded_responses(noisy, trials, NEURONS, lag_s=lag_s)
    np.testing.assert_allclose(direct, expected, rtol=1e-5)


def test_no_window_touches_a_pause_of_the_recording(noisy):
    signal = noisy.responses
    first, stop = signal.n_samples // 3, signal.n_samples // 2
    values = signal.data.copy()
    values[first:stop] = np.nan
    spans = np.array([[0, first - 1], [stop, signal.n_samples - 1]]) / RATE_HZ
    paused = replace(
        signal, file=MemoryRows(Path("x"), values), recorded_spans=signal.start + spans
    )
    session, starts = replace(noisy, responses=paused), []

    class Watched(EchoPredictor):
        def encode(self, window, *rest):
            starts.append(window.start_s)
            return EchoPredictor.encode(self, window, *rest)

    trials = direction_trials(noisy).trials
    found = responses_to_trials(Watched(), session, trials, NEURONS)
    whole = responses_to_trials(EchoPredictor(), noisy, trials, NEURONS)
    began, ended = first / RATE_HZ, stop / RATE_HZ
    assert all(s + 2 < began or s > ended for s in starts)
    assert min(starts) < began
    assert max(starts) > ended
    on, off = noisy.trials.t_on[trials], noisy.trials.t_off[trials]
    is_far = (off < began - 1) | ((on > ended + 1) & (off < off.max()))
    np.testing.assert_allclose(found.recorded[is_far], whole.recorded[is_far], rtol=0.1)
    in_pause = (on > began) & (off < ended)
    assert in_pause.any()
    assert np.isnan(found.recorded[in_pause]).all()


def test_only_windows_with_trials_are_predicted(noisy):
    model, seen = EchoPredictor(), []
    trials = direction_trials(noisy).trials[10:12]
    responses_to_trials(
        model, noisy, trials, NEURONS, job=CallbackJob(lambda *of: seen.append(of[:2]))
    )
    assert 2 <= model.counters["decodings"] <= 3
    assert seen[-1] == (len(seen), len(seen))


def test_long_trials_are_read_in_pieces(noisy, monkeypatch):
    from omnimouse_model.lab import recorded_comparison as module

    trials = direction_trials(noisy).trials
    whole = recorded_responses(noisy, trials, NEURONS)
    monkeypatch.setattr(module, "_PIECE_BYTES", 4 * 3 * 5)
    pieces = recorded_responses(noisy, trials, NEURONS)
    np.testing.assert_allclose(pieces, whole, rtol=1e-12)


def test_trials_that_leave_the_recording_have_no_response(noisy):
    trials = direction_trials(noisy).trials
    late = replace(noisy.trials, t_off=noisy.trials.t_off + 1e3 * (noisy.trials.t_on > 40))
    moved = replace(noisy, trials=late)
    direct = recorded_responses(moved, trials, NEURONS)
    found = responses_to_trials(EchoPredictor(), moved, trials, NEURONS)
    is_late = moved.trials.t_on[trials] > 40
    assert is_late.any()
    for responses in (direct, found.recorded, found.predicted):
        assert (np.isnan(responses).all(axis=1) == is_late).all()


def test_a_trial_ends_where_its_table_says(noisy):
    trials = direction_trials(noisy).trials
    own = tuple({**fields, "duration_s": 0.4} for fields in noisy.trials.extra)
    shorter = replace(noisy, trials=replace(noisy.trials, extra=own))
    found = recorded_responses(shorter, trials, NEURONS)
    table = noisy.trials
    times = np.arange(noisy.responses.n_samples) / RATE_HZ
    begin = table.t_on[trials[3]]
    of_trial = (times >= begin - 1e-6) & (times <= begin + 0.4 + 1e-6)
    expected = noisy.responses.data[of_trial].mean(axis=0) / noisy.response_scale
    np.testing.assert_allclose(found[3], expected, rtol=1e-6)
