"""Repeats that come in pieces of time give what they give in one."""

import numpy as np
import pytest

from omnimouse_model.metrics.correlation import Status
from omnimouse_model.metrics.repeats import RunningRepeats, cc_scores, jackknife_reliability


def responses(n_units: int = 300, n_repeats: int = 6, n_times: int = 240) -> np.ndarray:
    """(repeat, time, unit) of signals of all strengths, far from nought."""
    draw = np.random.default_rng(3)
    signal = draw.normal(size=(1, n_times, n_units)) * np.linspace(0, 2, n_units)
    return 30.0 + signal + draw.normal(size=(n_repeats, n_times, n_units))


def run(values: np.ndarray, cuts: list[int]) -> RunningRepeats:
    made = RunningRepeats(values.shape[0], values.shape[2])
    for piece in np.split(values, cuts, axis=1):
        made.add(piece)
    return made


@pytest.mark.parametrize("missing", ["nothing", "a stretch", "a repeat", "anything"])
def test_pieces_give_what_the_whole_gives(missing):
    values = responses()
    if missing == "a stretch":
        values[2, 50:90] = np.nan
    elif missing == "a repeat":
        values[4] = np.nan
    elif missing == "anything":
        values[np.random.default_rng(4).random(values.shape) < 0.02] = np.nan
    whole = cc_scores(values.transpose(2, 0, 1)[:, :1], values.transpose(2, 0, 1))
    found = run(values, [1, 70, 71, 200])
    np.testing.assert_array_equal(found.status, whole.status)
    is_ok = whole.status == Status.OK
    assert 100 < is_ok.sum() < 300
    wanted = np.sqrt(whole.signal_power / whole.total_power)[is_ok]
    np.testing.assert_allclose(found.single_trial_max[is_ok], wanted, rtol=1e-6)
    assert np.isnan(found.single_trial_max[~is_ok]).all()
    complete = np.isfinite(values).all(axis=0)
    for unit in (0, 1, 150, 299):
        own = values[:, complete[:, unit], unit].T[:, :, None]
        if own.shape[0] > 1:
            wanted = jackknife_reliability(own).value[0]
            assert found.oracle[unit] == pytest.approx(wanted, abs=1e-9)
        else:
            assert np.isnan(found.oracle[unit])


def test_what_says_nothing_is_said_to():
    values = responses(4)
    values[:, :, 0] = 0.1
    values[1:, :, 1] = np.nan
    values[:, :, 2] = np.nan
    found = run(values, [100])
    statuses = [Status.CONSTANT_TARGET, Status.TOO_FEW_REPEATS, Status.EMPTY, Status.OK]
    assert found.status.tolist() == [str(status) for status in statuses]
    known = [False, False, False, True]
    assert np.isfinite(found.single_trial_max).tolist() == known
    assert np.isfinite(found.oracle).tolist() == known
