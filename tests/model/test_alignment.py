"""Lags between the streams of a session: found where planted, none invented."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from omnimouse_app.cli import group
from omnimouse_model.analysis.alignment import check_alignment
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.demo import demo_session, unseen_session
from tests.model.experanto_folder import write_folder

FRAME_S = 1 / 30


@pytest.fixture(scope="module", params=["demo", "unseen"])
def session(request):
    return open_session(demo_session() if request.param == "demo" else unseen_session())


def shifted(session: Session, frames: int) -> Session:
    """The screen's clock put wrong: responses follow it `frames` later than before."""
    stimulus = session.stimulus
    moved = replace(stimulus, slot_t=stimulus.slot_t - frames * FRAME_S)
    return replace(session, stimulus=moved, _cache={})


@pytest.fixture(scope="module")
def report(session):
    return check_alignment(session)


def test_an_aligned_session_is_not_accused(report):
    assert report.warnings == ()
    names = [(lag.first, lag.second) for lag in report.lags]
    assert names == [
        ("screen", "responses"),
        ("running", "responses"),
        ("running", "pupil"),
    ]
    assert report.lags[0].is_sure
    assert "as expected" in report.lags[0].words()


@pytest.mark.parametrize("frames", [-5, 5])
def test_a_planted_shift_is_found_to_a_frame(session, report, frames):
    found = check_alignment(shifted(session, frames))
    before, after = report.lags[0], found.lags[0]
    assert after.is_sure
    assert abs((after.seconds - before.seconds) / FRAME_S - frames) < 1
    assert abs(after.shift_frames - frames) <= 1
    (warning,) = found.warnings
    assert "shifted by about" in warning


def test_a_small_shift_changes_the_latency_and_accuses_nobody(session, report):
    found = check_alignment(shifted(session, 2))
    change = found.lags[0].seconds - report.lags[0].seconds
    assert abs(change / FRAME_S - 2) < 0.5
    assert found.warnings == ()


def test_a_film_of_another_session_cannot_be_placed():
    session, other = open_session(demo_session()), open_session(unseen_session())
    stimulus = other.stimulus
    moved = replace(
        stimulus,
        slot_t=stimulus.slot_t - stimulus.slot_t[0] + session.stimulus.slot_t[0],
    )
    film = replace(session, stimulus=moved, trials=moved.trials, _cache={})
    found = check_alignment(film)
    assert not found.lags[0].is_sure
    assert "cannot tell" in found.lags[0].words()
    assert not found.warnings


def test_noise_cannot_be_placed(tmp_path):
    for seed in range(6):
        root = write_folder(tmp_path / str(seed), seed=seed, seconds=16.0)
        assert check_alignment(open_session(root)).warnings == ()


def test_the_same_seed_gives_the_same_report(session, report):
    assert check_alignment(session) == report


def test_dropped_frames_and_short_streams_are_told():
    session = open_session(demo_session())
    slots = session.stimulus.slot_t.copy()
    video = np.flatnonzero(session.trials.kind == "video")[1]
    within = int(session.trials.first_slot[video]) + 20
    slots[within:] += 0.2
    running = session.behavior["treadmill"]
    short = replace(running, end_declared=session.t0 + 300.0)
    faulty = replace(
        session,
        stimulus=replace(session.stimulus, slot_t=slots),
        behavior={**session.behavior, "treadmill": short},
        _cache={},
    )
    problems = check_alignment(faulty).problems
    assert any("dropped frames" in text for text in problems)
    assert any("treadmill begins" in text for text in problems)
    assert len(problems) == 2


def test_info_prints_it():
    done = CliRunner().invoke(group, ["info", "demo", "--check"])
    assert "responses follow screen by" in done.stdout
    done = CliRunner().invoke(group, ["info", "demo", "--check", "--json"])
    (row,) = json.loads(done.stdout)["rows"]
    assert row["alignment"]["lags"][0]["is_sure"] is True
    assert row["alignment"]["problems"] == []


@pytest.mark.parametrize("seconds", [3.2, 4.5, 6.5])
def test_a_short_recording_is_compared_as_far_as_it_goes(seconds):
    draw = np.random.default_rng(0)
    running = draw.random(int(seconds * 20))
    at = np.arange(int(seconds * 30)) / 30
    follows = np.interp(at - 0.4, np.arange(len(running)) / 20, running)
    arrays = {
        "responses": follows[:, None] + np.zeros(5),
        "rate_hz": 30.0,
        "running": running,
        "running_rate_hz": 20.0,
    }
    (lag,) = check_alignment(open_session(arrays)).lags
    assert lag.seconds == pytest.approx(0.4, abs=0.1)


def test_what_has_nothing_to_compare_or_is_too_short_says_so(root):
    sessions = root / "tests/fixtures/sessions"
    told = CliRunner().invoke(
        group, ["info", str(sessions / "suite2p_small"), "--check"]
    )
    (line,) = lines_below(told.stdout, "Alignment")
    assert line.startswith("  - nothing to compare: the session has responses alone")
    told = CliRunner().invoke(
        group, ["info", str(sessions / "experanto_small"), "--check"]
    )
    (line,) = lines_below(told.stdout, "Alignment")
    assert line.startswith("  - too short to tell: the streams overlap for 20 s")


def lines_below(text: str, title: str) -> list[str]:
    """The list under a title."""
    after = text.splitlines()[text.splitlines().index(title) + 1 :]
    return after[: next(i for i, line in enumerate(after) if line[0] != " ")]
