"""Repeats of the clip on screen."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.evaluation.repeats import clip_repeats, repeated_clips
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.neurons import repeats as live_clips
from tests.small_sessions import simulate_mouse, with_trials, write_session

pytestmark = pytest.mark.slow  # a mouse is simulated
N = 20


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Twenty neurons; two clips are shown four times each."""
    folder = tmp_path_factory.mktemp("clips") / "mouse"
    return open_session(simulate_mouse(folder, N, 2.5, clips=2, times=4))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Five neurons, no clip twice."""
    return open_session(write_session(tmp_path_factory.mktemp("clips") / "m", 5))


def test_repeats_are_of_the_clip_at_the_centre_of_the_window(controller, session):
    clips = repeated_clips(session)
    assert [len(clip.trials) for clip in clips] == [4, 3]  # one is cut off at the end
    controller.selection.select([7, 3])
    for number, clip in enumerate(clips):
        controller.repeats.go_to_clip(number)
        assert controller.repeats.clip.trials == clip.trials
        assert controller.repeats.repeat == 0
        controller.repeats.follow()
        expected = clip_repeats(session, clip, np.array([7, 3]))
        found = controller.repeats.responses
        np.testing.assert_array_equal(found.responses, expected.responses)
        np.testing.assert_array_equal(found.cc_max, expected.cc_max)
        onset_s = session.trials.t_on[list(clip.trials)]
        np.testing.assert_array_equal(found.onset_s, onset_s)


def test_stepping_goes_to_the_same_moment_of_another_repeat(controller, session):
    onsets = session.trials.t_on[list(repeated_clips(session)[0].trials)]
    controller.repeats.go_to_clip(0)
    controller.repeats.go_to(1, 3.0)
    assert controller.repeats.repeat == 1
    middle = controller.state.window.start_s + 1.0
    assert middle == pytest.approx(onsets[1] + 3.0, abs=0.04)
    controller.repeats.step(2)
    middle = controller.state.window.start_s + 1.0
    assert middle == pytest.approx(onsets[3] + 3.0, abs=0.08)
    controller.repeats.step(1)
    assert controller.repeats.repeat == 0


def test_a_clip_that_was_shown_once_has_no_repeats(short):
    with closing(Controller(synchronous=True)) as controller:
        controller.repeats.follow()
        assert controller.repeats.clip is None
        controller.loader.open_now(short)
        controller.repeats.follow()
        before = controller.state.window
        controller.repeats.step(1)
        assert (controller.repeats.clips, controller.repeats.responses) == ((), None)
        assert controller.state.window is before


@pytest.mark.parametrize(("at_s", "repeat"), [(-9.0, 0), (99.0, 1)])
def test_a_clip_at_an_end_of_a_session_is_on_screen(controller, short, at_s, repeat):
    session = with_trials(short, [0.5, 6, 10, 18.9], [1.1, 7, 12, 19.5])
    names = np.array(["a", "b", "c", "a"])
    session = replace(session, trials=replace(session.trials, stim_id=names))
    controller.loader.open_now(session)
    controller.navigation.seek_nearest(at_s)
    assert controller.repeats.clip.trials == (0, 3)
    assert controller.repeats.repeat == repeat
    controller.repeats.step(1)
    assert controller.repeats.repeat == 1 - repeat
    controller.navigation.seek(6.4)
    assert controller.repeats.clip is None


def test_cached_repeats_are_limited_by_memory(controller, monkeypatch):
    clips = controller.repeats
    controller.selection.select(range(N))
    clips.go_to_clip(0)
    clips.follow()
    whole = clips.responses.responses.nbytes
    monkeypatch.setattr(live_clips, "_READ_BYTES", whole // 2)
    assert len(clips.neurons) == N // 2
    assert set(clips.neurons) < set(range(N))
    monkeypatch.setattr(live_clips, "_READ_BYTES", 2 * whole)
    monkeypatch.setattr(clips._cache, "_limit", whole)
    assert clips.responses is not None
    clips.go_to_clip(1)
    clips.follow()
    assert clips.responses is not None
    clips.go_to_clip(0)
    assert clips.responses is None
