from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.in_silico.stimulus_edits import Contrast
from omnimouse_model.data.window_spec import VideoSpec
from omnimouse_widgets.jupyter.film import Film
from omnimouse_widgets.jupyter.video import VideoScrubber

CHUNK = 256


@pytest.fixture
def video(controller):
    return VideoScrubber(controller)


@pytest.fixture
def video_page(video, page):
    """A page that knows the film and the place."""
    return page(video, "film", "frames")


def go(video_page: Any, at: int, *, plays: bool = False, view: str = "page") -> None:
    """The page says where its playhead is."""
    film = video_page.wait_for("film")[0]["film"]
    video_page.say("go", frame=at, is_playing=plays, film=film, seq=1, view=view)


def chunk(video_page: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and which are valid, as the page asks for them."""
    film = video_page.wait_for("film")[0]["film"]
    video_page.say("chunks", film=film, chunks=[number], seq=1)
    _, (frames, valid) = video_page.wait_for("chunk", lambda m, _: m["chunk"] == number)
    frames, valid = (np.frombuffer(b, np.uint8) for b in (frames, valid))
    return frames.reshape(-1, 36, 64), valid


def test_frames_of_a_chunk_are_those_of_the_windows(video_page, session):
    first, valid = chunk(video_page, 0)
    second, _ = chunk(video_page, 1)
    assert len(first) == len(valid) == CHUNK
    assert valid.all()
    both = np.concatenate([first, second])
    for at in (0, CHUNK - 30, CHUNK + 5):
        window = session.window(float(session.start_grid[at]) - session.t0)
        assert window.start_index == at
        np.testing.assert_array_equal(both[at : at + 60], window.frames_u8)


def test_frames_leave_out_a_pause_of_the_recording(session):
    start, n = session.t0, session.responses.n_samples
    spans = start + np.array([[0, 200], [400, n - 1]]) / session.responses.rate_hz
    responses = replace(session.responses, recorded_spans=spans)
    film = Film(replace(session, responses=responses, _cache={}), om.OMNIMOUSE)
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


def test_the_last_chunk_ends_with_the_session(video_page, session):
    last = (len(session.start_grid) - 1) // CHUNK
    frames, _ = chunk(video_page, last)
    assert last * CHUNK + len(frames) == len(session.start_grid)


def test_edited_frames_are_shown_as_the_model_is_given_them(video_page, controller):
    video_page.wait_for("edited", lambda m, _: m["start"] < 0)
    controller.stimulus_edits.put(Contrast(0.5))
    message, buffers = video_page.wait_for("edited", lambda m, _: m["start"] >= 0)
    frames = np.frombuffer(buffers[0], np.uint8).reshape(60, 36, 64)
    np.testing.assert_array_equal(frames, controller.stimulus_edits.window.frames_u8)
    assert message["text"] == controller.stimulus_edits.text


def test_raw_frames_of_another_size_and_no_video_at_all(video_page, controller):
    session = controller.state.session
    raw = om.WindowSpec(2.0, 30.0, video=VideoSpec(30.0, 144, 256, is_raw=True))
    window = session.window(4.0, raw)
    controller.state.window = window
    film, _ = video_page.wait_for("film", lambda m, _: m["height"] == 144)
    at, chunk_size = window.start_index, film["chunk"]
    video_page.say("chunks", film=film["film"], chunks=[at // chunk_size], seq=1)
    _, (frames, _) = video_page.wait_for("chunk")
    shown = np.frombuffer(frames, np.uint8).reshape(-1, 144, 256)
    np.testing.assert_array_equal(shown[at % chunk_size], window.frames_u8[0])
    controller.state.window = session.window(4.0, om.WindowSpec(3.0, 50.0))
    film, _ = video_page.wait_for("film", lambda m, _: m["window"] == 150)
    assert not film["reads_video"]
    assert film["strides"][0] == [150, "Step the window by 3 s"]


@pytest.mark.parametrize(
    ("at", "plays", "stride", "moved", "cursor"),
    [
        (41, False, 60, 0, 41),  # within the window
        (200, False, 60, 142, 58),  # out of it: the window moves along
        (61, True, 60, 60, 1),  # played past its end: by the stride
        (61, True, 30, 30, 31),
        (61, True, 3, 3, 58),
    ],
)
def test_the_playhead_moves_the_cursor_or_the_window(
    video, video_page, controller, at, plays, stride, moved, cursor
):
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(58)
    start = controller.state.window.start_index
    video.stride = stride
    go(video_page, start + at, plays=plays)
    assert controller.state.cursor == cursor
    assert controller.state.window.start_index == start + moved


@pytest.mark.parametrize("at", [0, 7, -1])
def test_the_ends_of_the_session_are_reached(video_page, controller, session, at):
    at %= len(session.start_grid)
    controller.navigation.seek(6.0)
    controller.navigation.set_cursor(30)
    go(video_page, at)
    assert controller.state.window.start_index + controller.state.cursor == at


def test_of_two_pages_that_play_one_moves_the_window(video_page, controller):
    start = controller.state.window.start_index
    go(video_page, start + 10, plays=True)
    go(video_page, start + 5, plays=True, view="other")
    assert controller.state.cursor == 10
    video_page.wait_for("position", lambda m, _: m["driver"] == "page")
    go(video_page, start + 12, plays=False)
    go(video_page, start + 6, plays=True, view="other")
    assert controller.state.cursor == 6


def test_time_and_cursor_are_the_states_both_ways(video, controller):
    video.time_s = 9.3
    window, cursor = controller.state.window, controller.state.cursor
    time = float(window.timestamps["responses"][cursor])
    assert time == pytest.approx(9.3, abs=1 / 60)
    assert video.time_s == pytest.approx(time, abs=1e-3)
    controller.navigation.seek(2.0)
    controller.navigation.set_cursor(15)
    assert video.cursor == 15
    start_s = controller.state.window.start_s
    assert video.time_s == pytest.approx(start_s + 0.5, abs=1e-3)


def test_a_clock_nobody_sees_does_not_run(video, video_page):
    video.playing = True
    video_page.say("gone")
    assert not video.playing


def test_frames_are_painted_as_one_step(video_page, controller):
    controller.editor.set_frames(True)
    video_page.say("paint", runs=[[5, 8]], is_visible=False, seq=3, begin={})
    video_page.say("paint", runs=[[8, 10], [20, 21]], is_visible=False, seq=4)
    video_page.say("end")
    hidden = np.flatnonzero(~controller.state.mask.frames)
    assert hidden.tolist() == [5, 6, 7, 8, 9, 20]
    message, _ = video_page.wait_for("frames", lambda m, _: m["handled"] == {"page": 4})
    assert np.flatnonzero(np.array(message["visible"]) == 0).tolist() == hidden.tolist()
    controller.editor.undo()
    assert controller.state.mask.frames.all()
