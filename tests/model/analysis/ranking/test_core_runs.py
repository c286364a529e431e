"""A session without its test tier: no window, no response, in any way."""

import pickle

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.ranking.core_runs import HeldBackError, without_test
from omnimouse_model.evaluation.tier_windows import scored_starts
from tests.model.analysis.ranking.fake_factory import SPEC, opened


@pytest.fixture(scope="module")
def spikes():
    return opened("spikes")


def test_spikes_of_test_trials_cannot_be_read(spikes):
    view = pickle.loads(pickle.dumps(without_test(spikes, SPEC)))
    start = float(spikes.window_starts("test", spec=SPEC)[0])
    signal = view.responses
    row = int((start + 0.2) * signal.rate_hz)
    for read in (
        lambda: signal.data,
        lambda: signal.count(start + view.t0, 50.0, 20),
        lambda: signal.read(row, row + 3),
        lambda: signal.events(start + view.t0, start + view.t0 + 0.4),
        lambda: signal.file.pick(np.array([0, row]), slice(0, 2)),
        lambda: signal.file.times(0, start + view.t0, start + view.t0 + 0.4),
        lambda: signal.file.all_times(),
        lambda: view.overview(),
    ):
        with pytest.raises(HeldBackError, match="'spikes'"):
            read()
    # The nearest window is one of another tier.
    assert view.window(start, SPEC).start_s != pytest.approx(start, abs=0.1)
    with pytest.raises(ValueError, match="no window of tier 'test'"):
        scored_starts(view, "test", spec=SPEC)


def test_other_tiers_read_as_before(spikes):
    view = without_test(spikes, SPEC)
    for tier in ("train", "validation"):
        starts = spikes.window_starts(tier, spec=SPEC)
        assert np.array_equal(view.window_starts(tier, spec=SPEC), starts)
        for start in starts.tolist():
            seen, whole = (s.window(start, SPEC).responses for s in (view, spikes))
            assert np.array_equal(seen, whole)


def test_windows_longer_than_trials_may_overlap_the_next_trial(spikes):
    # Trials come every 0.9 s: a window of 1.2 s reaches into the next one.
    long = om.WindowSpec(1.2, 50.0, responses="count", align="trial")
    view = without_test(spikes, long)
    for start in spikes.window_starts("train", spec=long).tolist():
        assert np.isfinite(view.window(start, long).responses).all()
    middle = float(spikes.window_starts("test", spec=long)[0]) + view.t0
    # What no other window has stays hidden: here 0.3 s to 0.9 s after the onset.
    view.responses.count(middle + 0.02, 50.0, 2)
    with pytest.raises(HeldBackError):
        view.responses.count(middle + 0.5, 50.0, 10)


def test_samples_of_a_test_tier_cannot_be_read(session):
    view = without_test(session, om.OMNIMOUSE)
    start = float(session.window_starts("test")[0])
    with pytest.raises(HeldBackError):
        np.asarray(view.window(start).responses)
    assert not len(view.window_starts("test"))
    train = session.window_starts("train", stride=7, include_blanks=True)
    assert np.array_equal(view.window_starts("train", stride=7, include_blanks=True), train)
    for start in train.tolist():
        np.asarray(view.window(start).responses)
    with pytest.raises(HeldBackError):
        view.responses.file.pick(np.arange(view.responses.n_samples), slice(0, 2))


def test_a_recording_without_tiers_hides_its_late_time(session):
    from dataclasses import replace

    none = np.full(len(session.trials), "")
    session = replace(session, trials=replace(session.trials, tier=none))
    view = without_test(session, om.OMNIMOUSE)
    with pytest.raises(HeldBackError):
        np.asarray(view.window(float(session.window_starts("test")[0])).responses)
    assert len(view.window_starts("train"))
