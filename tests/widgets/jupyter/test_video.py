from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.stimulus_edits import Contrast
from omnimouse_model.data.window_spec import VideoSpec
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


def test_a_page_that_plays_slides_the_window_by_the_stride(video, video_page, controller):
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(58)
    start = controller.state.window.start_index
    video.stride = 30
    go(video_page, start + 61, plays=True)
    assert controller.state.cursor == 31
    assert controller.state.window.start_index == start + 30
    go(video_page, start + 200)
    assert controller.state.cursor == 31
    assert controller.state.window.start_index == start + 169


def test_steps_of_windows_of_trials_are_trials(video, video_page, controller):
    controller.state.window = controller.state.session.window(
        5.0, om.WindowSpec(1.0, 30.0, align="trial")
    )
    before = controller.navigation.trial
    video_page.say("press", name="window_next")
    assert controller.navigation.trial == before + 1


def test_a_step_out_of_the_window_leads_to_the_next_one_as_in_napari(video_page, controller):
    controller.navigation.seek(4.0)
    controller.navigation.set_cursor(59)
    start = controller.state.window.start_index
    video_page.say("press", name="next")
    assert (controller.state.window.start_index, controller.state.cursor) == (start + 60, 0)
    video_page.say("press", name="back")
    assert (controller.state.window.start_index, controller.state.cursor) == (start, 59)


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
