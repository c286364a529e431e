"""Files in the layouts of the Allen Institute: Visual Behavior and Brain Observatory."""

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.stimulus import MEAN_GRAY
from tests.model.data.refusals import check_session, notes_of
from tests.model.nwb_files import Plane, add_series, add_table, edit, write_nwb

SIZE = (12, 20)
IMAGES = "Natural_Images_Set_A"
# 24 flashes of 0.25 s with 0.5 s of gray; the eighth is omitted.
ONSETS = 4.0 + 0.75 * np.arange(24)
SHOWN = np.delete(np.arange(24), 7)


@pytest.fixture
def recording(tmp_path):
    return write_nwb(tmp_path / "a.nwb", Plane(n=6))


@pytest.fixture
def behavior(recording):
    """A file of Visual Behavior: change detection with flashed images."""
    frames = 20.0 * np.arange(1, 9)[:, None, None] * np.ones(SIZE)
    template = f"stimulus/templates/{IMAGES}"
    add_series(recording, template, frames, "StimulusTemplate", rate_hz=1.0)
    name = f"stimulus/presentation/{IMAGES}"
    numbers = np.arange(24) % 8
    add_series(recording, name, numbers[SHOWN], "IndexSeries", timestamps=ONSETS[SHOWN] + 0.004)
    edit(recording, {f"{name}/indexed_timeseries": h5py.SoftLink(f"/{template}")})
    is_omitted = np.arange(24) == 7
    add_table(
        recording,
        f"{IMAGES}_presentations",
        ONSETS,
        ONSETS + 0.25,
        stimulus_name=np.array([IMAGES.encode()] * 24),
        stimulus_block=np.arange(24) // 12,
        image_name=np.array([f"im{n:03d}".encode() for n in numbers]),
        omitted=is_omitted,
    )
    tiers = np.array([b"train", b"test"])
    return add_table(recording, "trials", [3.9, 12.9], [12.8, 23.0], go=[True, False], tier=tiers)


def test_flashes_end_as_their_table_says_and_gray_follows(behavior):
    notes = {"image_ends": "23 of 23 images end as their row"}
    session = check_session(behavior, {"stimulus.size": SIZE}, notes)
    times = np.array([4.1, 4.3, 4.7, 4.8, 9.3, 9.6, 10.1]) - session.t0
    shown, _ = session.stimulus.sample(times + session.t0)
    # The omitted image would begin at 9.25 s.
    wanted = [20.0, MEAN_GRAY, MEAN_GRAY, 40.0, MEAN_GRAY, MEAN_GRAY, 20.0]
    np.testing.assert_allclose(shown[:, 0, 0], wanted)


def test_flashes_are_trials_with_the_columns_of_both_tables(behavior):
    session = open_session(behavior)
    is_image = session.trials.kind == "image"
    assert is_image.sum() == 23
    first = session.trials.extra[int(np.flatnonzero(is_image)[0])]
    assert first["image_name"] == "im000"
    assert first["stimulus_block"] == 0
    assert first["go"] is True
    assert set(session.trials.tier[is_image].tolist()) == {"train", "test"}
    last = session.trials.extra[int(np.flatnonzero(is_image)[-1])]
    assert (last["stimulus_block"], last["go"]) == (1, False)


def test_faults_of_presentations_are_told_beside_a_table_of_trials(behavior):
    table = f"intervals/{IMAGES}_presentations"
    edit(behavior, {f"{table}/omitted": np.zeros(5, bool)})
    found = notes_of(open_session(behavior))
    assert found["left_out_columns"] == f"not read from /{table} of 24 rows: omitted (5,)"
    edit(behavior, {f"{table}/start_time": np.zeros(5)})
    found = notes_of(open_session(behavior))
    assert f"/{table} is left out: " in found["left_out_stream"]
    assert found["left_out_tables"] == f"not read as trials: /{table}"


def test_windows_reach_over_the_gray_between_flashes(behavior):
    session = open_session(behavior)
    window = session.window(4.5 - session.t0)
    assert np.isfinite(window.video).all()
    assert len(session.window_starts("train"))


def test_frames_of_a_template_are_shown_as_the_table_numbers_them(recording):
    film = np.arange(30.0)[:, None, None] * np.ones(SIZE)
    add_series(recording, "stimulus/templates/natural_movie_one_image_stack", film, "ImageSeries")
    on = np.concatenate([5.0 + np.arange(30) / 30, 9.0 + np.arange(30) / 30])
    frame = np.tile(np.arange(30.0), 2)
    add_table(recording, "natural_movie_one_presentations", on, on + 1 / 30, frame=frame)
    angles = np.array([0.0, 90.0])
    add_table(
        recording, "drifting_gratings_presentations", [15.0, 20.0], [17.0, 22.0], angle=angles
    )
    # Gratings have no frames: they are counted, and no window touches them.
    notes = {"shown_template": "60 rows of frame", "trials_without_frames": "2 of 4 trials"}
    session = check_session(recording, {"stimulus.size": SIZE}, notes)
    shown, _ = session.stimulus.sample(np.array([5.0 + 10.5 / 30, 9.0 + 3.5 / 30]))
    np.testing.assert_array_equal(shown[:, 0, 0], [10.0, 3.0])
    assert (session.trials.kind == "video").sum() == 2


def test_frames_that_a_template_does_not_have_cost_the_stimulus(recording):
    add_series(recording, "stimulus/templates/natural_scenes", np.ones((3, *SIZE)), "ImageSeries")
    on = 5.0 + np.arange(10)
    add_table(recording, "natural_scenes_presentations", on, on + 0.25, frame=np.arange(10.0) - 1)
    notes = {"left_out_stream": "is shown with frames 0 to 8, and it has 3"}
    check_session(recording, {"stimulus": None}, notes)


def test_ids_of_cells_in_other_recordings_are_a_property(recording):
    table = "processing/ophys/ImageSegmentation/S0"
    edit(recording, {f"{table}/cell_specimen_id": 1000.0 + np.arange(6)})
    session = open_session(recording)
    found = session.units.properties["cell_specimen_id"]
    assert found.dtype == np.int64
    assert len(found) == session.n_neurons
    assert found.min() >= 1000
