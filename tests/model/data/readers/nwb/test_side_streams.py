"""Streams beside the responses: what is read, and what a fault costs."""

import shutil

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from tests.model.data.refusals import check_session, notes_of
from tests.model.nwb_files import add_series, add_table, edit, typed_group, write_nwb
from tests.model.nwb_units import write_units

RUNNING = "processing/behavior/running_speed"
SPEED = np.linspace(0.0, 1.0, 640)  # 32 s at 20 Hz, from 0 s; responses: 2 to 32 s
EYE = "acquisition/EyeTracking"


@pytest.fixture
def path(tmp_path):
    return write_nwb(tmp_path / "a.nwb")


def left_out(session: Session) -> list[str]:
    return [n.message for n in session.warnings if n.code == "left_out_stream"]


# -- running -------------------------------------------------------------------------
TIMES = np.arange(640) / 20


RUNNING_FAULTS = {
    "(2, 640)": ("timestamps", np.stack([TIMES, TIMES + 0.01])),
    "1 of 640": ("timestamps", np.where(TIMES == 7, np.nan, TIMES)),
    "do not increase": ("timestamps", np.where(TIMES == 7, 5.0, TIMES)),
    "500 timestamps": ("timestamps", TIMES[:500]),
    "1700000000 to 1700000031.95 s": ("timestamps", TIMES + 1.7e9),
    "not numbers": ("data", np.array([b"fast"] * 640)),
    "(1, 640)": ("data", SPEED.reshape(1, 640)),
}


def test_each_faulty_running_costs_one_warning(path):
    for k, (part, value) in enumerate(RUNNING_FAULTS.values()):
        add_series(path, f"{RUNNING}_{k}", SPEED, unit="cm/s", timestamps=TIMES)
        edit(path, {f"{RUNNING}_{k}/{part}": value})
    add_series(path, f"{RUNNING}_9", SPEED, unit="cm/s")
    edit(path, {f"{RUNNING}_9/starting_time@rate": np.array([20.0, 20.0])})
    session = check_session(path, {"behavior.treadmill": None}, {"running_source": None})
    faults = dict(enumerate(RUNNING_FAULTS)) | {9: "2 values"}
    messages = left_out(session)
    assert len(messages) == len(faults)
    for k, words in faults.items():
        (message,) = (m for m in messages if f"{RUNNING}_{k}" in m)
        assert words in message


@pytest.mark.parametrize("is_damaged", [False, True])
def test_running_is_the_speed_of_the_animal_before_raw_signals(path, is_damaged):
    # The layout of the Allen Institute's files.
    base = "processing/running"
    for name, unit in (("dx", "cm"), ("speed_unfiltered", "cm/s"), ("v_sig", "V")):
        add_series(path, f"{base}/{name}", SPEED + 5, unit=unit)
    times = TIMES[: 600 if is_damaged else 640]
    add_series(path, f"{base}/speed", SPEED, unit="cm/s", timestamps=times)
    add_series(path, "stimulus/presentation/grating_speed", SPEED, unit="deg/s")
    used = "speed_unfiltered (not" if is_damaged else "speed (not"
    session = check_session(path, {}, {"running_source": used})
    expected = SPEED + 5 if is_damaged else SPEED
    np.testing.assert_array_equal(session.behavior["treadmill"].data[:, 0], expected)
    assert "dx" not in notes_of(session)["running_source"]
    assert len(left_out(session)) == is_damaged


def test_a_stream_in_another_file_is_named_and_not_followed(path):
    for name, n in ((RUNNING, 1), (f"{EYE}/pupil_position", 2)):
        add_series(path, name, np.zeros((640, n)), "SpatialSeries", unit="cm/s")
        edit(path, {f"{name}/data": h5py.ExternalLink("other.h5", "/data")})
    running, pupil = left_out(open_session(path))
    assert "other.h5" in running
    assert "pupil_position" in pupil


def test_other_series_are_no_running(path):
    for name in (
        "stimulus/presentation/running_speed",
        "acquisition/grating_speed",
        "acquisition/lick_times",
        "processing/behavior/wheel_position",
        "processing/behavior/running_speed_end_times",
        "processing/behavior/saccade_velocity",
    ):
        add_series(path, name, SPEED, unit="cm/s")
    check_session(path, {"behavior.treadmill": None}, {"left_out_stream": None})


@pytest.mark.parametrize(
    ("name", "unit", "factor", "label"),
    [
        ("speed", "cm s^-1", 1.0, ("running", "cm/s")),
        ("TreadmillVelocity", "meters per second", 100.0, ("running", "cm/s")),
        ("speed", "cm_per_s", 1.0, ("running", "cm/s")),
        ("speed", "mps", 100.0, ("running", "cm/s")),
        ("wheel_speed", "rad/s", 1.0, ("wheel_speed", "rad/s")),
    ],
)
def test_speeds_have_the_unit_that_they_say(path, name, unit, factor, label):
    add_series(path, f"processing/behavior/{name}", SPEED, unit=unit)
    running = open_session(path).behavior["treadmill"]
    np.testing.assert_allclose(running.data[:, 0], SPEED * factor)
    assert (running.names[0], running.units[0]) == label


def test_running_in_milliseconds_is_read_in_seconds_and_a_gap_is_missing(path):
    times = np.concatenate([TIMES[:300], TIMES[300:] + 2.0])
    add_series(path, RUNNING, SPEED, unit="cm/s", timestamps=times * 1000)
    values = {"behavior.treadmill.rate_hz": 20.0, "behavior.treadmill.start": 0.0}
    session = check_session(path, values, {"times_in_milliseconds": "0 to 33950 s"})
    running = session.behavior["treadmill"]
    np.testing.assert_array_equal(running.data[:300, 0], SPEED[:300])
    assert np.isnan(running.data[300:340]).all()
    np.testing.assert_array_equal(running.data[340:, 0], SPEED[300:])


# -- pupil ---------------------------------------------------------------------------
def test_an_ellipse_of_the_pupil_is_its_position_and_size(path):
    places = {}
    for k, name in enumerate(("corneal_reflection", "eye", "pupil")):
        places[name] = np.arange(1400.0).reshape(700, 2) + k
        series = f"{EYE}/{name}_tracking"
        add_series(path, series, places[name], "EllipseSeries", unit="meters")
        edit(path, {f"{series}/area": np.full(700, 10.0 * k)})
    session = check_session(
        path,
        {
            "behavior.eye_tracker.names": ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y"),
            "behavior.eye_tracker.units": ("px²", "px²/s", "px", "px"),
        },
        {"pupil_unit": "taken as pixels"},
    )
    eye = session.behavior["eye_tracker"].data
    assert (eye[:, 0] == 20.0).all()
    np.testing.assert_array_equal(eye[:, 2:], places["pupil"])


def test_what_an_eye_camera_sees_is_no_pupil(path):
    for name in (
        "processing/behavior/Position/paw_position_eyecam",
        "processing/behavior/Position/eyeblink_paw_xy",
        "acquisition/eye_camera/lick_xy",
        f"{EYE}/corneal_reflection_tracking",
    ):
        add_series(path, name, np.zeros((700, 2)), "SpatialSeries")
    add_series(path, f"{EYE}/eye_tracking", np.zeros((700, 2)), "EllipseSeries")
    check_session(path, {"behavior.eye_tracker": None})


@pytest.mark.parametrize(
    "name", ["processing/behavior/eye_xy_positions", "acquisition/PupilTracking/PupilCenter"]
)
def test_the_pupil_is_found_by_words(path, name):
    add_series(path, name, np.zeros((700, 2)), "SpatialSeries")
    check_session(path, {"behavior.eye_tracker.names": ("pupil_x", "pupil_y")})


def test_a_faulty_position_leaves_the_size(path):
    add_series(path, f"{EYE}/pupil_diameter", np.arange(700.0))
    times = np.zeros(700)
    series = f"{EYE}/pupil_position"
    add_series(path, series, np.zeros((700, 2)), "SpatialSeries", timestamps=times)
    names = {"behavior.eye_tracker.names": ("pupil_size", "pupil_dsize")}
    assert len(left_out(check_session(path, names))) == 1


# -- trials --------------------------------------------------------------------------
def test_trials_of_unequal_length_cost_the_table(path):
    add_table(path, "trials", [3, 9, 15], [5, 11])
    assert not len(check_session(path, {}, {"left_out_stream": "3 start and 2 stop"}).trials)


def test_columns_of_trials_keep_their_values(path):
    add_table(
        path,
        "trials",
        [3, 9],
        [5, 11],
        correct=[True, False],
        tags=[b"a", b"b", b"c"],
        tags_index=[2, 3],
        pixels=np.zeros((2, 4)),
        contrast=[0.5, 0.1, 0.2],
    )
    session = check_session(path, {}, {"left_out_columns": ("contrast (3,)", "pixels (2, 4)")})
    assert session.trials.extra[0]["correct"] is True
    assert session.trials.extra[0]["tags"] == "a, b"
    assert "tags_index" not in session.trials.extra[0]


@pytest.mark.parametrize("ends", [[2, 9], [3, 1]])
def test_lists_of_texts_that_do_not_fit_the_rows_are_no_column(path, ends):
    add_table(path, "trials", [3, 9], [5, 11], tags=[b"a", b"b", b"c"], tags_index=ends)
    trials = open_session(path).trials
    assert len(trials) == 2
    assert "tags" not in trials.extra[0]


def test_presentations_are_the_trials_where_no_table_is_called_so(path):
    angle = [0.0, 90.0, 0.0]
    add_table(path, "drifting_gratings_presentations", [3, 9, 15], [5, 11, 17], angle=angle)
    shown = 20.0 + np.arange(60) / 30
    frame = np.tile(np.arange(30), 2)
    add_table(path, "movie_presentations", shown, shown + 1 / 30, frame=frame)
    add_table(path, "epochs", [2.0], [30.0])
    add_table(path, "invalid_times", [2.0], [3.0])
    other = path.with_name("b.nwb")
    shutil.copyfile(path, other)
    ids = ["drifting_gratings angle=0", "drifting_gratings angle=90"]
    session = check_session(
        path,
        {"trials.stim_id": [*ids, ids[0], "movie", "movie"]},
        {
            "frames_joined": "60 rows are frames",
            "trial_source": "drifting_gratings_presentations",
        },
    )
    assert session.trials.extra[1]["angle"] == 90.0
    assert "angle" not in session.trials.extra[3]
    np.testing.assert_allclose(session.trials.t_off[3:] + session.t0, [21.0, 22.0])
    # With a table of trials, presentations are named and not read.
    notes = {"trial_source": None, "left_out_tables": ("movie_presentations", "epochs")}
    assert len(check_session(add_table(other, "trials", [3.0], [5.0]), {}, notes).trials) == 1


# -- stimulus ------------------------------------------------------------------------
FILM = np.zeros((300, 8, 10), np.uint8)
FRAME_TIMES = 3.0 + np.arange(300) / 30


STIMULUS_FAULTS = {
    "299 timestamps for 300": (FILM, FRAME_TIMES[:299]),
    "300 timestamps for 299": (FILM[:299], FRAME_TIMES),
    "1 of 300": (FILM, np.where(FRAME_TIMES == 3, np.nan, FRAME_TIMES)),
    "do not increase": (FILM, FRAME_TIMES[::-1]),
    "(8, 5, 2)": (FILM.reshape(300, 8, 5, 2), FRAME_TIMES),
    "(8,)": (FILM[:, :, 0], FRAME_TIMES),
    "|S1": (np.full(300, b"a"), FRAME_TIMES),
}


def test_each_faulty_stimulus_costs_one_warning(path):
    for k, (data, times) in enumerate(STIMULUS_FAULTS.values()):
        name = f"stimulus/presentation/film{k}"
        add_series(path, name, data, "ImageSeries", timestamps=times)
    session = check_session(path, {"stimulus": None})
    for words, message in zip(STIMULUS_FAULTS, left_out(session), strict=True):
        assert words in message


def test_a_stimulus_on_another_clock_is_left_out(path):
    name = "stimulus/presentation/film"
    add_series(path, name, FILM, "ImageSeries", timestamps=FRAME_TIMES + 1e6)
    check_session(path, {"stimulus": None}, {"left_out_stream": "1000003 to 1000013"})


def show(path, images, order):
    """Show images of a template by their numbers, one in 3.3 s."""
    add_series(path, "stimulus/templates/set", images, "ImageSeries", rate_hz=1.0)
    name = "stimulus/presentation/shown"
    add_series(path, name, np.array(order), "IndexSeries", start=4.0, rate_hz=0.3)
    edit(path, {f"{name}/indexed_timeseries": h5py.SoftLink("/stimulus/templates/set")})


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([1, 2, 3], "subtract 1"),
        pytest.param([0, 7, 1], "there are 3", marks=pytest.mark.slow),
    ],
)
def test_images_that_do_not_exist_cost_the_presentation(path, order, words):
    show(path, FILM[:3], order)
    (message,) = left_out(open_session(path))
    assert words in message


def test_images_are_shown_until_the_next_one_and_trials_without_are_counted(path):
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((8, 10, 4), np.uint8)
    show(path, images, [2, 0, 1])
    add_table(path, "trials", [4.0, 25.0], [5.0, 27.0])
    notes = {"image_ends": "until the next one", "trials_without_frames": ("1 of 2 trials", "25 s")}
    session = check_session(path, {}, notes)
    shown, _ = session.stimulus.sample(np.array([4.5, 7.2, 7.8]))
    assert shown.shape[1:] == (8, 10, 3)
    assert shown[:, 0, 0, 0].tolist() == [2, 2, 0]


def test_images_are_numbered_as_their_collection_orders_them(path):
    order = [3, 1, 0, 2, 1]
    with h5py.File(path, "a") as file:
        folder = typed_group(file, "stimulus/templates/images", "Images")
        for k in range(4):
            folder[f"img{k + 1}"] = np.full((8, 10), 10.0 * k)
        names = [f"img{k}" for k in (4, 3, 2, 1)]
        references = [folder[name].ref for name in names]
        folder["order_of_images"] = np.array(references, h5py.ref_dtype)
        shown = typed_group(file, "stimulus/presentation/flashes", "IndexSeries")
        shown["data"], shown["timestamps"] = order, 4.0 + 2 * np.arange(5)
        shown["indexed_images"] = h5py.SoftLink(folder.name)
    session = open_session(path)
    frames, _ = session.stimulus.sample(4.5 + 2.0 * np.arange(5))
    assert frames[:, 0, 0].tolist() == [10.0 * (3 - k) for k in order]
    assert session.trials.stim_id[:2].tolist() == ["flashes/3", "flashes/1"]


# -- spiking recordings --------------------------------------------------------------
def test_events_from_the_start_of_each_trial_are_moved_there(tmp_path):
    path = write_units(tmp_path / "maze.nwb")
    edit(path, {"intervals/trials/cue_time": np.full(12, 0.25)})
    notes = {"relative_event": "start_time is added"}
    session = check_session(path, {}, notes, trial_event="cue_time")
    np.testing.assert_allclose(session.trials.t_on, 1.25 + np.arange(12) * 3.0)


def test_a_split_survives_a_faulty_stimulus(tmp_path):
    path = write_units(tmp_path / "maze.nwb")
    name = "stimulus/presentation/film"
    add_series(path, name, FILM, "ImageSeries", timestamps=FRAME_TIMES[:5])
    session = open_session(path)
    assert session.trials.tier.tolist()[-3:] == ["validation", "validation", "none"]
    assert len(left_out(session)) == 1


@pytest.mark.slow
def test_stimuli_that_are_no_images_are_named(path):
    for name, kind in (("angle", "TimeSeries"), ("laser", "OptogeneticSeries")):
        add_series(path, f"stimulus/presentation/{name}", np.zeros(20), kind)
    both = "/stimulus/presentation/angle, /stimulus/presentation/laser"
    check_session(path, {}, {"stimulus_left_out": both})


@pytest.mark.slow
def test_frames_higher_than_wide_are_noted(path):
    frames = np.zeros((600, 16, 9), np.uint8)
    add_series(path, "stimulus/presentation/film", frames, "ImageSeries")
    check_session(path, {}, {"frame_axes": "16 × 9"})


@pytest.mark.slow
def test_a_film_in_milliseconds_is_shown_in_seconds(path):
    frames = np.zeros((640, 9, 16), np.uint8)
    add_series(path, "stimulus/presentation/film", frames, "ImageSeries", timestamps=1e3 * TIMES)
    session = check_session(path, {}, {"times_in_milliseconds": "milliseconds"})
    span = session.stimulus.valid_interval()
    assert (span.start, span.stop) == pytest.approx((0.0, 32.0), abs=0.1)


@pytest.mark.slow
def test_counts_of_an_encoder_are_named_and_no_running(path):
    add_series(path, "acquisition/rotary_encoder", np.arange(640.0), unit="counts")
    check_session(path, {"behavior.treadmill": None}, {"no_speed": "rotary_encoder (counts)"})


def test_whether_an_animal_runs_is_no_speed(path):
    add_series(path, "acquisition/is_running", np.arange(640.0) % 2, unit="n.a.")
    check_session(path, {"behavior.treadmill": None}, {"no_speed": "is_running (n.a.)"})


@pytest.mark.slow
def test_images_of_a_film_in_another_file_are_not_read(path):
    show(path, np.zeros((3, 8, 10)), [0, 1, 2])
    film = "stimulus/templates/set"
    edit(path, {f"{film}/data": None, f"{film}/starting_time": None})
    edit(path, {f"{film}/external_file": [b"film.avi"]})
    check_session(path, {}, {"external_stimulus": "film.avi"})
