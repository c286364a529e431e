from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.storage.arrays.rows import MemoryRows
from tests.model.experanto_folder import write_folder

FRAME_S = 1 / 30


@pytest.fixture(scope="module")
def session():
    """Twelve simulated minutes, whose clocks agree."""
    return om.open_session(om.demo_session())


@pytest.fixture(scope="module")
def report(session):
    return om.check_alignment(session)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [-5, 2])
def test_a_planted_shift_is_found_and_a_small_one_is_no_fault(session, report, frames):
    """The screen's clock is put wrong: responses follow it later than before."""
    stimulus = session.stimulus
    moved = replace(stimulus, slot_t=stimulus.slot_t - frames * FRAME_S)
    found = om.check_alignment(replace(session, stimulus=moved, behavior={}))
    (lag,) = found.lags
    assert lag.is_sure
    assert abs((lag.seconds - report.lags[0].seconds) / FRAME_S - frames) < 1
    if frames == 2:
        assert found.warnings == report.warnings == ()
    else:
        assert abs(lag.shift_frames - frames) <= 1
        assert found.warnings == (lag.describe(),)


@pytest.mark.slow
def test_responses_of_another_time_cannot_be_placed(session):
    values = np.roll(session.responses.data, session.responses.n_samples // 2, axis=0)
    moved = replace(session.responses, file=MemoryRows(Path("x"), values))
    found = om.check_alignment(replace(session, responses=moved, behavior={}))
    assert not found.lags[0].is_sure
    assert not found.warnings


def running_arrays(seconds: float) -> dict[str, Any]:
    """Responses that follow running by 0.4 s."""
    running = np.random.default_rng(0).random(int(seconds * 20))
    at = np.arange(int(seconds * 30)) / 30
    follows = np.interp(at - 0.4, np.arange(len(running)) / 20, running)
    responses = np.tile(follows[:, None], 5)
    times = {"rate_hz": 30.0, "running_rate_hz": 20.0}
    return {"responses": responses, "running": running, **times}


def test_the_lag_of_responses_behind_running_is_found():
    (lag,) = om.check_alignment(om.open_session(running_arrays(6.5))).lags
    assert lag.seconds == pytest.approx(0.4, abs=0.1)


@pytest.mark.slow
def test_parts_lie_in_recorded_time():
    arrays = running_arrays(2000.0)
    arrays["responses"][6000:54_000] = np.nan
    arrays["responses"][:, 4] = np.nan
    session = om.open_session(arrays)
    signal = session.responses
    spans = signal.start + np.array([[0, 5999], [54_000, signal.n_samples - 1]]) / 30
    paused = replace(signal, recorded_spans=spans)
    (lag,) = om.check_alignment(replace(session, responses=paused)).lags
    assert lag.is_sure
    assert lag.seconds == pytest.approx(0.4, abs=0.05)


def test_dropped_frames_and_short_streams_are_told(tmp_path):
    session = om.open_session(write_folder(tmp_path / "s"))
    slots = session.stimulus.slot_t.copy()
    slots[int(session.trials.first_slot[1]) + 20 :] += 0.2
    faulty = replace(session, stimulus=replace(session.stimulus, slot_t=slots))
    (problem,) = om.check_alignment(faulty).problems
    assert problem.startswith("screen: 1 ")
    session = om.open_session(running_arrays(60.0))
    short = replace(session.behavior["treadmill"], end_declared=session.t0 + 20.0)
    uneven = replace(session, behavior={"treadmill": short})
    (problem,) = om.check_alignment(uneven).problems
    assert problem.startswith("treadmill ")
    assert "40 s" in problem
