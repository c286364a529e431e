"""Lags between the streams of a session: found where planted, none invented."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import group
from omnimouse_model.analysis.alignment import check_alignment
from omnimouse_model.data.open import open_session
from omnimouse_model.data.trial_files import MemoryRows
from omnimouse_model.demo import unseen_session
from tests import SESSIONS, SUITE2P
from tests.model.experanto_folder import write_folder

FRAME_S = 1 / 30


@pytest.fixture(scope="module")
def session():
    """Twelve simulated minutes, whose clocks agree."""
    return open_session(unseen_session())


@pytest.fixture(scope="module")
def report(session):
    return check_alignment(session)


@pytest.mark.slow
def test_an_aligned_session_is_not_accused(report):
    assert report.warnings == ()
    names = [(lag.first, lag.second) for lag in report.lags]
    assert names == [
        ("screen", "responses"),
        ("running", "responses"),
        ("running", "pupil"),
    ]
    assert report.lags[0].is_sure


@pytest.mark.slow
@pytest.mark.parametrize("frames", [-5, 2, 5])
def test_a_planted_shift_is_found_to_a_frame_and_a_small_one_accuses_nobody(
    session, report, frames
):
    """The screen's clock is put wrong: responses follow it later than before."""
    stimulus = session.stimulus
    moved = replace(stimulus, slot_t=stimulus.slot_t - frames * FRAME_S)
    found = check_alignment(replace(session, stimulus=moved, behavior={}, _cache={}))
    (lag,) = found.lags
    assert lag.is_sure
    assert abs((lag.seconds - report.lags[0].seconds) / FRAME_S - frames) < 1
    if frames == 2:
        assert found.warnings == ()
    else:
        assert abs(lag.shift_frames - frames) <= 1
        assert found.warnings == (lag.words(),)


@pytest.mark.slow
def test_responses_of_another_time_cannot_be_placed(session):
    values = np.roll(session.responses.data, session.responses.n_samples // 2, axis=0)
    moved = replace(session.responses, file=MemoryRows(Path("x"), values))
    found = check_alignment(replace(session, responses=moved, behavior={}, _cache={}))
    assert not found.lags[0].is_sure
    assert not found.warnings


@pytest.mark.parametrize("seed", range(3))
def test_noise_cannot_be_placed(tmp_path, seed):
    root = write_folder(tmp_path / "s", seed=seed)
    assert check_alignment(open_session(root)).warnings == ()


def running_arrays(seconds: float, n_neurons: int = 5) -> dict[str, Any]:
    """Responses that follow running by 0.4 s."""
    running = np.random.default_rng(0).random(int(seconds * 20))
    at = np.arange(int(seconds * 30)) / 30
    follows = np.interp(at - 0.4, np.arange(len(running)) / 20, running)
    responses = np.tile(follows[:, None], n_neurons)
    times = {"rate_hz": 30.0, "running_rate_hz": 20.0}
    return {"responses": responses, "running": running, **times}


@pytest.mark.parametrize("seconds", [3.2, 4.5, 6.5])
def test_a_short_recording_is_compared_as_far_as_it_goes(seconds):
    (lag,) = check_alignment(open_session(running_arrays(seconds))).lags
    assert lag.seconds == pytest.approx(0.4, abs=0.1)


def test_the_same_seed_gives_the_same_report():
    session = open_session(running_arrays(6.5, n_neurons=300))  # more than are read
    assert check_alignment(session) == check_alignment(session)


def test_dropped_frames_and_short_streams_are_told(tmp_path):
    session = open_session(write_folder(tmp_path / "s"))
    slots = session.stimulus.slot_t.copy()
    slots[int(session.trials.first_slot[1]) + 20 :] += 0.2
    faulty = replace(session, stimulus=replace(session.stimulus, slot_t=slots))
    (problem,) = check_alignment(replace(faulty, _cache={})).problems
    assert problem.startswith("screen: 1 ")
    session = open_session(running_arrays(60.0))
    short = replace(session.behavior["treadmill"], end_declared=session.t0 + 20.0)
    uneven = replace(session, behavior={"treadmill": short}, _cache={})
    (problem,) = check_alignment(uneven).problems
    assert problem.startswith("treadmill ")
    assert "40 s" in problem


def test_info_tells_it_as_json(tmp_path):
    np.savez(tmp_path / "s.npz", **running_arrays(6.5))
    words = ["info", str(tmp_path / "s.npz"), "--check", "--json"]
    (row,) = json.loads(CliRunner().invoke(group, words).stdout)["rows"]
    (lag,) = row["alignment"]["lags"]
    assert (lag["first"], lag["second"]) == ("running", "responses")
    assert lag["seconds"] == pytest.approx(0.4, abs=0.1)
    assert row["alignment"]["problems"] == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (SUITE2P, "nothing to compare"),
        (SESSIONS / "experanto_small", "overlap for 20 s"),
    ],
)
def test_what_has_nothing_to_compare_or_is_too_short_says_so(path, words):
    told = CliRunner().invoke(group, ["info", str(path), "--check"])
    (line,) = lines_below(told.stdout, "Alignment")
    assert words in line


def lines_below(text: str, title: str) -> list[str]:
    """The list under a title."""
    after = text.splitlines()[text.splitlines().index(title) + 1 :]
    return after[: next(i for i, line in enumerate(after) if line[0] != " ")]
