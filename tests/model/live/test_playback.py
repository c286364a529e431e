from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import VideoSpec, WindowSpec
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.navigation import (
    Film,
    Playback,
    frame_at_sample,
    sample_at_frame,
    window_frames,
)


@pytest.fixture
def playback(controller: Controller) -> Playback:
    return Playback(controller.state, controller.navigation)


@pytest.mark.parametrize("way", ["tick", "move_to"])
@pytest.mark.parametrize(("stride", "cursor"), [(60, 0), (30, 30), (3, 57)])
def test_playing_slides_by_the_stride(controller, playback, monkeypatch, way, stride, cursor):
    """Sample after sample is shown, whatever the stride and whoever counts the time."""
    now = [0.0]
    monkeypatch.setattr("omnimouse_model.live.navigation.perf_counter", lambda: now[0])
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(59)
    window = controller.state.window
    playback.set_stride(stride)
    if way == "move_to":
        assert playback.film is not None
        playback.move_to(playback.film.start_of(window) + 60, is_played=True)
    else:
        playback.play(True)
        now[0] = 1.02 / 30
        playback.tick()
        playback.play(False)
    assert controller.state.cursor == cursor
    moved = controller.state.window.start_s - window.start_s
    assert moved == pytest.approx(stride / 30, abs=1e-3)


def test_a_late_tick_skips_frames_and_keeps_the_speed(controller, playback, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("omnimouse_model.live.navigation.perf_counter", lambda: now[0])
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(0)
    playback.set_speed(2.0)
    playback.play(True)
    now[0] = 0.5
    playback.tick()
    assert controller.state.cursor == 30


@pytest.mark.parametrize(
    ("at", "is_played", "stride", "moved", "cursor"),
    [
        (41, False, 60, 0, 41),  # within the window
        (200, False, 60, 142, 58),  # out of it: the window moves along
        (61, True, 60, 60, 1),  # played past its end: by the stride
        (61, True, 30, 30, 31),
        (61, True, 3, 3, 58),
    ],
)
def test_the_playhead_moves_the_cursor_or_the_window(
    controller, playback, at, is_played, stride, moved, cursor
):
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(58)
    start = controller.state.window.start_index
    playback.set_stride(stride)
    playback.move_to(start + at, is_played=is_played)
    assert controller.state.cursor == cursor
    assert controller.state.window.start_index == start + moved


@pytest.mark.parametrize("at", [0, 7, -1])
def test_the_ends_of_the_session_are_reached(controller, playback, session, at):
    at %= len(session.start_grid)
    controller.navigation.seek(6.0)
    controller.navigation.set_cursor(30)
    playback.move_to(at)
    assert controller.state.window.start_index + controller.state.cursor == at


def test_without_a_session_nothing_moves():
    controller = Controller(synchronous=True)
    playback = Playback(controller.state, controller.navigation)
    playback.play(True)
    playback.move_to(10)
    assert not playback.is_playing
    assert playback.film is None
    assert playback.time_s == 0.0
    assert controller.state.cursor == 0
    controller.close()


def test_frames_leave_out_a_pause_of_the_recording(session):
    start, n = session.t0, session.responses.n_samples
    spans = start + np.array([[0, 200], [400, n - 1]]) / session.responses.rate_hz
    responses = replace(session.responses, recorded_spans=spans)
    film = Film(replace(session, responses=responses), om.OMNIMOUSE)
    ((first, lost_s),) = film.pauses
    grid = film.session.start_grid - start
    assert grid[first] - grid[first - 1] == pytest.approx(lost_s + 1 / 30, abs=1e-3)
    assert lost_s == pytest.approx(199 / 30, abs=0.04)
    for frame in (0, first - 1, first, film.n_frames - 1):
        assert film.frame_near(film.seconds(frame)) == frame
    assert film.frame_near(8.0) == first - 1
    assert film.frame_near(12.0) == first
    # Frames after the pause are those of their time.
    number = first // film.per_chunk
    frames, _ = film.read(number * film.per_chunk)
    window = film.session.nearest_window(film.seconds(first + 10))
    row = film.start_of(window) - number * film.per_chunk
    np.testing.assert_array_equal(frames[row : row + 20], window.frames_u8[:20])


@pytest.mark.parametrize(
    "spec",
    [
        om.OMNIMOUSE,
        WindowSpec(2.0, 30.0, video=VideoSpec(60.0, 36, 64)),
        WindowSpec(2.0, 50.0, video=VideoSpec(30.0, 36, 64)),
        WindowSpec(2.0, 30.0, video=VideoSpec(4.0, 36, 64)),
        WindowSpec(3.0, 50.0),
    ],
)
def test_each_sample_has_a_frame_of_the_window_that_begins_at_or_before_it(spec):
    for sample in range(spec.n_samples):
        frame = frame_at_sample(spec, sample)
        assert 0 <= frame < window_frames(spec)
        assert sample_at_frame(spec, frame) <= sample
