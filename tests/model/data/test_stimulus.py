from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.stimulus import SPLIT_NOTE, random_tiers
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.training.sessions import covered_s
from tests import SESSIONS, SUITE2P


def smooth(seconds: float = 60.0, n: int = 6, **more: Any) -> dict[str, Any]:
    """Responses that last: the sample before says much of the next."""
    draw = np.random.default_rng(5)
    noise = draw.normal(size=(int(seconds * 30), n)).cumsum(axis=0)
    return {"responses": np.abs(noise).astype(np.float32), "rate_hz": 30.0, **more}


def test_early_time_is_train_and_late_time_test():
    session = om.open_session(smooth())
    train, test = session.window_starts("train"), session.window_starts("test")
    every = session.window_starts()
    assert train[0] == every[0]
    assert test[-1] == every[-1]
    cut = every[int(0.8 * len(every))]
    assert train[-1] + 2.0 == pytest.approx(cut)
    assert test[0] == pytest.approx(cut + 2.0)
    assert list(session.tiers()) == ["train", "test"]
    assert session.tiers()["train"] == pytest.approx((cut - every[0]) / 60)
    assert SPLIT_NOTE in [note.message for note in session.assumptions]


def test_time_in_gaps_of_the_video_is_not_counted():
    film = np.zeros((1800, 36, 64), np.uint8)
    times = np.arange(1800) / 30 + 60.0 * (np.arange(1800) >= 600)
    session = om.open_session(smooth(120.0, video=film, video_times=times))
    assert sum(session.tiers().values()) == pytest.approx(58 / 60, abs=0.05)
    starts = session.window_starts("train")
    assert covered_s(starts) == pytest.approx(60 * session.tiers()["train"], abs=3)
    assert starts[-1] - starts[0] > 90


def test_a_tier_anywhere_is_left_alone():
    session = om.open_session(SESSIONS / "experanto_small")
    assert session.split == {}
    assert "inferred_tiers" not in {note.code for note in session.assumptions}
    with pytest.raises(ValueError, match="'bogus'; its tiers are blank, train"):
        session.window_starts("bogus")


def test_too_short_a_recording_is_not_divided():
    session = om.open_session(smooth(5.0))
    assert session.tiers() == {}
    with pytest.raises(om.UnsupportedRequestError, match="too short to be divided"):
        naive_predictor("mean").prepare(session)
    with pytest.raises(om.UnsupportedRequestError, match="it lasts 5 s"):
        om.evaluate("mean", session, "test/causal_response_25")


@pytest.mark.parametrize(
    "name",
    [
        *("mean", "ridge", "context-ridge"),
        pytest.param("video-ridge", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("made", ["suite2p", "arrays"])
def test_naive_predictors_fit_without_tiers(name, made, monkeypatch, tmp_path):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    running = {"running": np.sin(np.arange(1200) / 20), "running_rate_hz": 20.0}
    session = om.open_session(SUITE2P if made == "suite2p" else smooth(**running))
    video = name == "video-ridge"
    asked = "test/responses_from_behavior" if video else "test/causal_response_25"
    scores = om.evaluate(naive_predictor(name), session, asked, max_windows=4)
    found = scores.scores[0]
    assert found.n_windows == 4
    if name == "ridge" and made == "arrays":  # a walk: the last value says the next
        assert found.value > 0.3


def test_a_session_without_whole_windows_says_why():
    film = np.zeros((400, 36, 64), np.uint8)
    times = np.arange(400) / 30 + 2.0 * (np.arange(400) // 40)
    session = om.open_session(smooth(60.0, video=film, video_times=times))
    (reason,) = check_compatibility(om.load_predictor("mean").needs, session).missing
    assert "no window of 2 s lies within a trial" in reason
    assert len(session.window_starts()) == 0
    assert session.split == {}


def test_a_clock_that_was_moved_is_told():
    late = om.open_session(smooth(start_s=3.2))
    told = {note.code: note.message for note in late.assumptions}
    assert "3.2 s in the file" in told["clock"]
    assert "clock" not in {note.code for note in om.open_session(smooth()).assumptions}


def test_sessions_and_reports_are_told_in_few_words(tmp_path):
    np.savez(tmp_path / "s.npz", **smooth())
    session = om.open_session(tmp_path / "s.npz")
    assert "format arrays; neurons 6; duration 1.0 min at 30 Hz" in repr(session)
    assert "1 sessions, 6 neurons, 0.9 min" in repr(om.catalogue(tmp_path))
    report = om.check_alignment(tmp_path / "s.npz")
    assert repr(report) == report.describe()
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        om.catalogue(tmp_path / "s.npz")


def test_trials_are_divided_8_1_1_the_same_for_a_seed():
    tiers = random_tiers(57, 3)
    counts = dict(zip(*np.unique(tiers, return_counts=True), strict=True))
    assert counts == {"train": 47, "validation": 5, "test": 5}
    np.testing.assert_array_equal(random_tiers(57, 3), tiers)
    assert (random_tiers(57, 4) != tiers).any()
    # Stored results depend on the order of a seed.
    assert np.flatnonzero(random_tiers(20, 0) == "test").tolist() == [14, 15]
