"""Broken sessions: one clear error that names file, finding and remedy, or a note.

Over 600 lines because it is one list: the cases of the format's table of damage, in
its order, so that a missing one shows.
"""

import json
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from tests.model.experanto_folder import (
    TRIALS,
    Trial,
    edit_trial,
    edit_yaml,
    save_json,
    write_folder,
)


@pytest.fixture
def folder(tmp_path):
    """A sound session folder, to be broken."""
    return write_folder(tmp_path / "session")


def refused(root: Path) -> SessionFormatError:
    """The error with which a folder is refused."""
    with pytest.raises(SessionFormatError) as caught:
        open_session(root)
    assert "\n" not in str(caught.value)
    return caught.value


def notes(session: Session, code: str) -> list[str]:
    """Messages of the warnings of one kind."""
    return [note.message for note in session.warnings if note.code == code]


def save(path: Path, values: Any) -> None:
    np.save(path, values, allow_pickle=True)


# -- 1, 2: what kind of folder ------------------------------------------------------
def test_an_unknown_folder_lists_what_was_looked_for_and_found(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    error = refused(tmp_path)
    assert error.code == "unknown_format"
    assert "responses/meta.yml" in error.message
    assert "holiday.jpg" in error.message


def test_a_path_that_does_not_exist_says_so(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere").message


def test_a_folder_that_holds_just_one_session_opens_it(folder):
    assert open_session(folder.parent).path == folder


@pytest.mark.parametrize("part", ["responses", "screen", "meta.json"])
def test_a_part_of_a_session_opens_the_session(folder, part):
    assert open_session(folder / part).path == folder


def test_missing_responses_meta_is_an_error(folder):
    (folder / "responses/meta.yml").unlink()
    assert "responses/meta.yml is missing" in refused(folder).message


@pytest.mark.parametrize("name", ["screen", "eye_tracker", "treadmill"])
def test_other_devices_without_meta_are_skipped_with_a_note(folder, name):
    (folder / name / "meta.yml").unlink()
    session = open_session(folder)
    assert name not in session.streams
    assert f"{name}/meta.yml is missing" in notes(session, "missing_meta")[0]


# -- 3, 4: descriptions -------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "modality: sequence\nrate: [1,\n",
            "responses/meta.yml line 3: not valid YAML",
        ),
        ("a: !!python/object/apply:os.system ['true']\n", "line 1: not valid YAML"),
        ("- 1\n- 2\n", "found a list"),
        ("", "found nothing"),
        ("just words", "found a str"),
    ],
)
def test_unreadable_yaml_names_file_and_line(folder, text, expected):
    (folder / "responses/meta.yml").write_text(text)
    assert expected in refused(folder).message


def test_yaml_bombs_are_refused(folder):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 80)]
    (folder / "responses/meta.yml").write_text("\n".join(lines))
    begin = time.process_time()
    assert "responses/meta.yml" in refused(folder).message
    assert time.process_time() - begin < 2.0


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "sampling_rate",
            "abc",
            "sampling_rate must be a positive number, found 'abc'",
        ),
        ("sampling_rate", 0, "sampling_rate must be a positive number, found 0"),
        ("sampling_rate", -30.0, "must be a positive number, found -30.0"),
        ("sampling_rate", float("nan"), "must be a positive number, found nan"),
        ("sampling_rate", None, "must be a positive number, found nothing"),
        ("sampling_rate", True, "must be a positive number, found True"),
        ("start_time", float("inf"), "start_time must be a finite number"),
        ("start_time", None, "start_time must be a finite number, found nothing"),
        ("end_time", 3.0, "end_time 3.0 lies before start_time"),
        ("n_signals", 2.5, "n_signals must be a whole number, found 2.5"),
        ("n_timestamps", "many", "n_timestamps must be a whole number"),
        ("dtype", "quux", "dtype must be a numpy dtype"),
        ("dtype", "object", "dtype must be a numpy dtype"),
        ("dtype", None, "dtype must be a numpy dtype"),
        ("is_mem_mapped", "perhaps", "is_mem_mapped must be true or false"),
        ("modality", "flicker", "modality must be 'sequence', found 'flicker'"),
    ],
)
def test_bad_keys_are_named_with_what_was_found(folder, key, value, expected):
    edit_yaml(folder / "responses/meta.yml", **{key: value})
    error = refused(folder)
    assert error.message.startswith("responses/meta.yml: ")
    assert expected in error.message
    assert error.code == "bad_key"


def test_numbers_that_yaml_takes_for_text_are_read(folder):
    path = folder / "responses/meta.yml"
    text = path.read_text().replace("sampling_rate: 30.0", "sampling_rate: 3e1")
    path.write_text(text)
    assert open_session(folder).responses.rate_hz == 30.0


# -- 5, 6, 7: samples ---------------------------------------------------------------
def test_missing_samples_are_named(folder):
    (folder / "responses/data.mem").unlink()
    message = refused(folder).message
    assert message == "responses: neither data.npy nor data.mem found"


def test_two_data_files_are_noted_and_the_right_one_read(folder):
    stored = open_session(folder).responses
    shape = (stored.n_samples, stored.n_columns)
    np.save(folder / "responses/data.npy", np.zeros(shape))
    session = open_session(folder)
    assert session.responses.file.path.name == "data.mem"
    assert "data.mem is read" in notes(session, "two_data_files")[0]
    edit_yaml(folder / "responses/meta.yml", is_mem_mapped=False)
    assert open_session(folder).responses.file.path.name == "data.npy"


def test_a_truncated_file_says_by_how_much(folder):
    path = folder / "responses/data.mem"
    size = path.stat().st_size
    os.truncate(path, size - size // 10)
    error = refused(folder)
    assert f"{size:,} expected (short by 10 %)" in error.message
    assert "481×9×4" in error.message
    assert "incomplete download" in error.hint


def test_a_file_twice_as_long_asks_about_columns(folder):
    path = folder / "treadmill/data.mem"
    path.write_bytes(path.read_bytes() * 2)
    assert "twice as long: does it hold 2 columns?" in refused(folder).message


def test_rows_and_columns_must_be_those_of_meta(tmp_path):
    root = write_folder(tmp_path / "s", mem=False)
    edit_yaml(root / "responses/meta.yml", n_signals=10)
    error = refused(root)
    assert "data.npy is (481, 9) but meta.yml says n_signals 10" in error.message
    edit_yaml(root / "responses/meta.yml", n_signals=9, n_timestamps=500)
    assert "but meta.yml says n_timestamps 500" in refused(root).message


def test_a_flat_array_is_one_column(tmp_path):
    root = write_folder(tmp_path / "s")
    samples = np.fromfile(root / "treadmill/data.mem")
    (root / "treadmill/data.mem").unlink()
    np.save(root / "treadmill/data.npy", samples)
    window = open_session(root).window(4.0)
    edit_yaml(root / "treadmill/meta.yml", is_mem_mapped=False)
    assert window.behavior.shape == (40, 5)
    np.save(root / "eye_tracker/data.npy", samples)
    assert "but meta.yml says n_signals 4" in refused(root).message


# -- 8, 9, 10: arrays beside the samples --------------------------------------------
def test_phase_shifts_of_another_length_are_refused(folder):
    np.save(folder / "responses/meta/phase_shifts.npy", np.zeros(8))
    assert refused(folder).message == "phase_shifts.npy has 8 values for 9 units"


def test_statistics_of_another_length_are_refused(folder):
    np.save(folder / "eye_tracker/meta/stds.npy", np.ones(3))
    assert "meta/stds.npy has 3 values for 4 channels" in refused(folder).message


def test_missing_phase_shifts_are_refused(folder):
    (folder / "responses/meta/phase_shifts.npy").unlink()
    assert refused(folder).message == "meta/phase_shifts.npy is missing"


@pytest.mark.parametrize(
    "name", ["unit_ids", "fields", "cell_motor_coordinates", "area"]
)
def test_unit_arrays_of_another_length_are_left_out(folder, name):
    np.save(folder / f"responses/meta/{name}.npy", np.arange(7))
    session = open_session(folder)
    assert notes(session, "wrong_length") == [
        f"{name}.npy has 7 values for 9 units; left out"
    ]
    assert len(session.units) == 9


def test_phase_shifts_that_are_not_finite_are_refused(folder):
    np.save(folder / "responses/meta/phase_shifts.npy", np.full(9, np.nan))
    assert "not finite" in refused(folder).message


def test_statistics_that_are_not_finite_are_computed_again(folder):
    sound = open_session(folder).units.std
    np.save(folder / "responses/meta/stds.npy", np.full(9, np.nan))
    session = open_session(folder)
    assert "responses/meta/stds.npy" in notes(session, "bad_statistics")[0]
    assert any(n.code == "computed_statistics" for n in session.assumptions)
    np.testing.assert_allclose(session.units.std, sound, rtol=0.3)


def test_missing_statistics_are_computed_from_train_time_and_said(folder):
    for name in ("means", "stds"):
        (folder / f"treadmill/meta/{name}.npy").unlink()
    session = open_session(folder)
    assumed = [n for n in session.assumptions if n.code == "computed_statistics"]
    assert "of train time" in assumed[0].message
    treadmill = session.behavior["treadmill"]
    at = treadmill.start + np.arange(treadmill.n_samples) / 100 - session.t0
    trials = session.trials
    train = np.zeros(len(at), bool)
    for row in np.flatnonzero(trials.tier == "train"):
        train |= (at >= trials.t_on[row]) & (at < trials.t_off[row])
    mean = treadmill.data[train].mean()
    np.testing.assert_allclose(treadmill.mean, mean, rtol=1e-9)


def test_neurons_and_channels_that_never_vary_are_noted_and_stay_finite(folder):
    stds = np.load(folder / "responses/meta/stds.npy")
    stds[[2, 4]] = 0
    np.save(folder / "responses/meta/stds.npy", stds)
    np.save(folder / "treadmill/meta/stds.npy", np.zeros(1))
    session = open_session(folder)
    noted = " ".join(notes(session, "zero_variance"))
    assert "2 of 9 neurons never vary (columns 2, 4)" in noted
    assert "running never varies; centred only" in noted
    window = session.window(4.0)
    assert np.isfinite(window.responses).all()
    assert np.isfinite(window.behavior).all()


# -- 11: gaps -----------------------------------------------------------------------
def test_gaps_are_counted_and_windows_keep_away(tmp_path):
    root = write_folder(tmp_path / "s", missing=((100, 110), (200, 202)))
    eye = np.load(root / "eye_tracker/data.npy")
    eye[300:338, 2] = np.nan
    np.save(root / "eye_tracker/data.npy", eye)
    session = open_session(root)
    noted = notes(session, "missing_samples")
    assert any(
        m.startswith("pupil_x: 14 % missing in 3 gaps, longest 1.9 s") for m in noted
    )
    assert len(noted) == 2
    for index in session.window_indices(None):
        start = session.start_grid[index] - session.t0
        for gap in (100, 105, 109, 200, 201, 300, 337):
            assert not start <= gap / 20 - 0.75 <= start + 1.97


def test_behavior_that_is_missing_everywhere_leaves_no_windows(tmp_path):
    session = open_session(write_folder(tmp_path / "s", missing=((0, 400),)))
    assert "all samples are missing" in notes(session, "missing_samples")[0]
    with pytest.raises(SessionFormatError, match="no valid data"):
        session.window_starts("train")


# -- 12, 13, 23: the screen's clock and trials --------------------------------------
def test_times_that_run_backward_are_placed_and_counted(folder):
    times = np.load(folder / "screen/timestamps.npy")
    times[81] = times[80] - 0.04
    np.save(folder / "screen/timestamps.npy", times)
    message = refused(folder).message
    assert "screen/timestamps.npy decreases at index 81" in message
    assert "1 such places" in message


def test_too_few_and_too_many_slots(folder):
    path = folder / "screen/timestamps.npy"
    times = np.load(path)
    np.save(path, times[:-1])
    assert f"has {len(times) - 1} times, the trials take {len(times)}" in (
        refused(folder).message
    )
    np.save(path, np.append(times, times[-1] + [1.0, 2.0]))
    session = open_session(folder)
    assert "2 times more" in notes(session, "excess_timestamps")[0]
    assert len(session.stimulus.slot_t) == len(times)


def test_first_frames_must_follow_one_another(folder):
    edit_trial(folder, "00004", first_frame_idx=130)
    message = refused(folder).message
    assert "trial 00004: first_frame_idx is 130" in message
    assert "take 123 slots" in message


def test_a_trial_file_of_other_length_is_refused(folder):
    np.save(folder / "screen/data/00001.npy", np.zeros((118, 36, 64), np.uint8))
    assert refused(folder).message == (
        "data/00001.npy (trial 00001) has 118 frames, meta says 120"
    )


def test_a_trial_file_of_other_size_is_refused(folder):
    np.save(folder / "screen/data/00001.npy", np.zeros((120, 18, 64), np.uint8))
    assert "frames of shape (120, 18, 64), the session's are (36, 64)" in (
        refused(folder).message
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"num_frames": None}, "num_frames must be a whole number"),
        ({"image_size": [36]}, "image_size must be [H, W]"),
        ({"image_size": "big"}, "image_size must be [H, W]"),
        ({"first_frame_idx": -1}, "first_frame_idx must be a whole number"),
    ],
)
def test_bad_trials_are_named(folder, changes, expected):
    edit_trial(folder, "00001", **changes)
    message = refused(folder).message
    assert message.startswith("screen/combined_meta.json: trial 00001: ")
    assert expected in message


def test_quantised_times_are_refused(tmp_path):
    root = write_folder(tmp_path / "s", t0=1.52e9)
    path = root / "screen/timestamps.npy"
    np.save(path, np.load(path).astype(np.float32))
    error = refused(root)
    assert "times quantised to 128 s; stored as float32?" in error.message
    assert error.code == "quantised_times"


# -- 14: pickles --------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "responses/meta/unit_ids.npy",
        "responses/meta/area.npy",
        "responses/meta/stds.npy",
        "screen/timestamps.npy",
        "eye_tracker/data.npy",
        "screen/data/00001.npy",
    ],
)
def test_pickled_arrays_are_refused(folder, name):
    class Planted:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(folder / "planted"),)

    save(folder / name, np.array([Planted()], object))
    error = refused(folder)
    assert error.code == "pickled"
    assert Path(name).name in error.message
    assert "refused for safety" in error.message
    assert not (folder / "planted").exists()


# -- 15 – 18: trials that cannot be shown, or are odd -------------------------------
def test_a_missing_trial_file_leaves_that_trial_out(folder):
    sound = open_session(folder)
    (folder / "screen/data/00001.npy").rename(folder / "screen/data/00001.mp4")
    session = open_session(folder)
    assert notes(session, "missing_trial_file") == [
        "trial 00001 (video, tier train): data/00001.npy missing "
        "(found 00001.mp4: encoded stimuli are not supported)"
    ]
    assert len(sound.window_starts("train")) > 0
    assert len(session.window_starts("train")) == 0
    assert len(session.window_starts("validation")) > 0
    window = session.window(2.0)
    assert not window.valid["video"].any()
    assert not window.video.any()


def test_an_unknown_kind_of_trial_is_left_out(folder):
    edit_trial(folder, "00006", modality="flicker")
    session = open_session(folder)
    assert (
        "trial 00006: unknown modality 'flicker'"
        in (notes(session, "unknown_modality")[0])
    )
    assert len(session.window_starts("final_test_1")) == 0
    assert len(session.stimulus.slot_t) == session.trials.n_slots.sum()


def test_invalid_trials_show_their_gray(folder):
    session = open_session(folder)
    row = session.trials.kind.tolist().index("invalid")
    frame = session.stimulus.frame(int(session.trials.first_slot[row]))
    assert (frame == 128).all()


def test_a_gray_level_may_be_text_and_a_missing_one_is_said(folder):
    edit_trial(folder, "00000", interleave_value="60")
    edit_trial(folder, "00005", interleave_value=None)
    session = open_session(folder)
    assert session.stimulus is not None
    shown = [session.stimulus.frame(int(session.trials.first_slot[k])) for k in (0, 5)]
    assert (shown[0] == 60).all()
    assert (shown[1] == 113).all()
    assert [n.code for n in session.assumptions].count("no_gray") == 1


def test_frames_that_are_not_finite_are_noted_and_read_as_mean_gray(tmp_path):
    folder = write_folder(tmp_path / "s", frame_dtype="float32")
    path = folder / "screen/data/00001.npy"
    frames = np.load(path)
    frames[:, 0, 0] = np.nan
    frames[:, 0, 1] = np.inf
    np.save(path, frames)
    session = open_session(folder)
    assert notes(session, "not_finite")
    window = session.window(float(session.window_starts("train")[0]))
    assert np.isfinite(window.video).all()
    assert not window.valid["video"].all()


@pytest.mark.parametrize(
    ("meta", "key"),
    [
        ({"data_key": "5-6-7", "scan_key": "8-9-1"}, "5-6-7"),
        ({"data_key": None, "scan_key": "8-9-1"}, "8-9-1"),
        ({"scan_key": {"animal_id": 8, "session": 2, "scan_idx": 3}}, "8-2-3"),
        ({"animal_id": 8, "session": 2, "scan_idx": 3}, "8-2-3"),
        ({}, "session"),
    ],
)
def test_the_session_key_is_looked_for_in_the_formats_order(folder, meta, key):
    save_json(folder / "meta.json", meta)
    assert open_session(folder).id == key


def test_unknown_tiers_are_kept_and_noted_once(tmp_path):
    trials = (*TRIALS, Trial("video", "mine", 70), Trial("video", "mine", 70))
    session = open_session(write_folder(tmp_path / "s", trials=trials, seconds=22.0))
    assert notes(session, "unknown_tier") == [
        "tiers outside the usual ones: 'mine' (2 trials); kept as they are, "
        "in no preset"
    ]
    assert "mine" in session.tiers()
    assert "mine" not in session.named_tiers("test")
    assert len(session.window_starts("mine")) > 0


def test_videos_without_tier_count_as_blank_and_are_noted(tmp_path):
    trials = (*TRIALS[:3], Trial("video", None, 100), *TRIALS[3:])
    session = open_session(write_folder(tmp_path / "s", trials=trials, seconds=20.0))
    assert "1 video or image trials have no tier" in notes(session, "missing_tier")[0]


def test_a_stale_json_is_used_and_noted(folder):
    (folder / "screen/meta/00009.yml").write_text("modality: blank\n")
    session = open_session(folder)
    assert notes(session, "stale_combined_meta") == [
        "combined_meta.json has 9 trials, meta/ has 10 files; the JSON is used"
    ]
    (folder / "screen/meta/00009.yml").unlink()
    edit_yaml(folder / "screen/meta/00004.yml", tier="train")
    session = open_session(folder)
    assert "00004.yml differ" in notes(session, "stale_combined_meta")[0]
    assert session.trials.tier[4] == "validation"
    (folder / "screen/meta/00004.yml").write_text("{{{")
    session = open_session(folder)
    assert "the JSON is used" in notes(session, "stale_combined_meta")[0]
    assert session.trials.tier[4] == "validation"


# -- 19 – 22, 24 --------------------------------------------------------------------
def test_streams_that_do_not_overlap_are_named_with_their_spans(folder):
    path = folder / "screen/timestamps.npy"
    np.save(path, np.load(path) + 3000.0)
    message = refused(folder).message
    assert message.startswith("responses cover 1000.1–1016.0 s, ")
    assert "screen 4000.2–" in message
    assert "no common 2-s window" in message


def test_a_session_shorter_than_a_window_is_refused(tmp_path):
    root = write_folder(tmp_path / "s", seconds=2.5)
    assert "no common 2-s window" in refused(root).message


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("n_signals", "responses hold 0 units"),
        ("n_timestamps", "responses hold 0 samples"),
    ],
)
def test_empty_responses_are_refused(folder, key, message):
    edit_yaml(folder / "responses/meta.yml", **{key: 0})
    (folder / "responses/data.mem").write_bytes(b"")
    np.save(folder / "responses/meta/phase_shifts.npy", np.zeros(9))
    if key == "n_signals":
        np.save(folder / "responses/meta/phase_shifts.npy", np.zeros(0))
    assert refused(folder).message == message


def test_a_session_of_more_than_a_week_is_refused(tmp_path):
    root = write_folder(tmp_path / "s", streams=("responses",))
    edit_yaml(root / "responses/meta.yml", sampling_rate=1e-250, end_time=None)
    edit_yaml(root / "responses/meta.yml", end_time=1e240)
    assert "more than a week" in refused(root).message


def test_a_screen_without_trials_is_refused(folder):
    save_json(folder / "screen/combined_meta.json", {})
    assert "the screen has 0 trials" in refused(folder).message


def test_an_end_far_beyond_the_data_is_cut_to_them(folder):
    edit_yaml(folder / "responses/meta.yml", end_time=1016.2)
    session = open_session(folder)
    assert session.responses.end_declared == 1016.2
    assert not notes(session, "end_beyond_data")
    edit_yaml(folder / "responses/meta.yml", end_time=1030.0)
    session = open_session(folder)
    assert (
        "end_time lies 420 samples after the last"
        in (notes(session, "end_beyond_data")[0])
    )
    assert session.responses.end_declared == 1016.0
    edit_yaml(folder / "responses/meta.yml", end_time=1012.0)
    session = open_session(folder)
    assert "120 samples before the last" in notes(session, "end_before_data")[0]


def test_times_a_little_past_the_data_are_invalid_not_an_error(folder):
    edit_yaml(folder / "treadmill/meta.yml", end_time=1017.15)
    treadmill = open_session(folder).behavior["treadmill"]
    times = np.array([1017.09, 1017.12, 1017.14])
    values, valid = treadmill.sample(times)
    np.testing.assert_array_equal(valid, [0])
    assert values.shape == (1, 1)


def test_a_rate_that_disagrees_with_timestamps_is_noted_and_kept(folder):
    times = 1000.0 + np.arange(481) / 7.98
    np.save(folder / "responses/timestamps.npy", times)
    session = open_session(folder)
    assert (
        "declared 30 Hz, timestamps say 7.98 Hz" in notes(session, "rate_disagrees")[0]
    )
    assert session.responses.rate_hz == 30.0
    times = 1000.0 + np.arange(481) / 30.0
    times[200:] += 0.5
    np.save(folder / "responses/timestamps.npy", times)
    assert "1 gap" in notes(open_session(folder), "gaps_in_timestamps")[0]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (1 / 255, "stimulus looks 0–1"),
        (2.0, "the model expects 0–255"),
        (-1.0, "from -"),
    ],
)
def test_gray_values_of_another_range_are_noted_never_scaled(tmp_path, scale, expected):
    root = write_folder(tmp_path / "s", frame_dtype="float32")
    for path in (root / "screen/data").iterdir():
        np.save(path, np.load(path) * np.float32(scale))
    session = open_session(root)
    assert expected in notes(session, "gray_range")[0]
    frame = session.stimulus.frame(5)
    stored = np.load(root / "screen/data/00001.npy")[4]
    np.testing.assert_array_equal(frame, stored)


# -- 31: nothing outside the folder -------------------------------------------------
@pytest.mark.parametrize(
    "given", ["../../secret.npy", "/etc/hostname", "../screen/../../x"]
)
def test_named_unit_arrays_must_lie_in_the_session(folder, given):
    edit_yaml(folder / "responses/meta.yml", neuron_properties={"unit_ids": given})
    error = refused(folder)
    assert error.code == "outside"
    assert "points outside the session folder" in error.message


def test_a_named_link_that_leaves_the_session_is_refused(folder):
    np.save(folder.parent / "elsewhere.npy", np.arange(9))
    (folder / "responses/link.npy").symlink_to(folder.parent / "elsewhere.npy")
    edit_yaml(folder / "responses/meta.yml", neuron_properties={"unit_ids": "link.npy"})
    assert refused(folder).code == "outside"


@pytest.mark.parametrize("name", ["../a", "..", "/tmp/a", "a/b", "C:a", "a\\b"])
def test_stimulus_names_must_be_plain(folder, name):
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=True)
    edit_trial(folder, "00001", stimulus_name=name)
    error = refused(folder)
    assert error.code == "outside"
    assert "trial 00001" in error.message


def test_trial_keys_must_be_plain(folder):
    path = folder / "screen/combined_meta.json"
    stored = json.loads(path.read_text())
    save_json(path, {("../../x" if k == "00001" else k): v for k, v in stored.items()})
    assert refused(folder).code == "outside"


def test_stimuli_by_name_are_found(folder):
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=True)
    plain = open_session_by_key(folder)
    for key in ("00001", "00002", "00004", "00006", "00007"):
        (folder / f"screen/data/{key}.npy").rename(
            folder / f"screen/data/clip{key}.npy"
        )
    for key in sorted(json.loads((folder / "screen/combined_meta.json").read_text())):
        edit_trial(folder, key, stimulus_name=f"clip{key}")
    session = open_session(folder)
    np.testing.assert_array_equal(session.window(3.0).video, plain)


def open_session_by_key(folder: Path) -> np.ndarray:
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=None)
    video = open_session(folder).window(3.0).video
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=True)
    return video


# -- 32: things that change or cannot be read ---------------------------------------
def test_a_file_that_changes_while_open_is_a_clear_error(folder):
    session = open_session(folder)
    window = session.window(3.0)
    assert not session.is_stale
    os.truncate(folder / "responses/data.mem", 100)
    assert session.is_stale
    with pytest.raises(SessionFormatError, match="changed while the session was open"):
        _ = window.responses
    (folder / "responses/data.mem").unlink()
    with pytest.raises(SessionFormatError, match="cannot be read"):
        _ = window.responses
    assert window.video.shape == (60, 36, 64)


def touch(path: Path) -> None:
    """Make sure that a rewritten file is seen to be newer."""
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize("read_before", [False, True])
def test_frames_that_change_while_open_are_a_clear_error(folder, read_before):
    session = open_session(folder)
    if read_before:
        assert session.window(2.0).video.any()
    assert not session.is_stale
    path = folder / "screen/data/00001.npy"
    np.save(path, np.zeros_like(np.load(path)))
    touch(path)
    assert session.is_stale
    for held in (session, replace(session, stimulus=copied(session.stimulus))):
        with pytest.raises(SessionFormatError, match=r"00001\.npy changed while"):
            _ = held.window(2.0).video
    assert not open_session(folder).window(2.0).frames_u8[:30].any()


def copied(held: Any) -> Any:
    return pickle.loads(pickle.dumps(held))


def test_a_session_sent_elsewhere_must_be_the_same_there(folder):
    sent = pickle.dumps(open_session(folder))
    edit_yaml(folder / "responses/meta.yml", end_time=1015.0)
    with pytest.raises(SessionFormatError, match="changed after it was opened"):
        pickle.loads(sent)


def test_a_trial_file_that_goes_away_is_a_clear_error(folder):
    session = open_session(folder)
    (folder / "screen/data/00001.npy").unlink()
    with pytest.raises(SessionFormatError, match=r"data/00001\.npy is missing"):
        _ = session.window(2.0).video


def test_barred_files_are_a_clear_error(folder, monkeypatch):
    def barred(path: Path, mode: str, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", barred)
    error = refused(folder)
    assert error.message.endswith("meta.yml cannot be read: Permission denied")
    assert "check permissions" in error.hint


def test_a_folder_in_place_of_a_file_is_a_clear_error(folder):
    (folder / "responses/meta.yml").unlink()
    (folder / "responses/meta.yml").mkdir()
    assert "responses/meta.yml is not a plain file" in refused(folder).message


def test_a_pipe_in_place_of_a_file_does_not_hang(folder):
    (folder / "screen/timestamps.npy").unlink()
    os.mkfifo(folder / "screen/timestamps.npy")
    assert "is not a plain file" in refused(folder).message


# -- 33: headers that lie -----------------------------------------------------------
def test_a_header_that_declares_more_than_the_file_holds_is_refused(folder):
    path = folder / "eye_tracker/data.npy"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(360, 4)", b"(3" + b"0" * 5 + b"0)", 1))
    assert refused(folder).code in ("wrong_size", "wrong_shape", "not_npy")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    lying = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (folder / "screen/timestamps.npy").write_bytes(lying + b"\0" * 64)
    path.write_bytes(data)
    error = refused(folder)
    assert error.code == "wrong_size"
    assert "1,000,000,000,000" in error.message or "8,000,000,000,000" in error.message


def test_a_file_cut_within_its_header_holds_0_bytes(folder):
    path = folder / "screen/data/00001.npy"
    path.write_bytes(path.read_bytes()[:100])  # the padding of its header is missing
    error = refused(folder)
    assert (error.code, error.message[-7:]) == ("wrong_size", "holds 0")


def test_meta_that_declares_more_than_the_file_holds_is_refused(folder):
    edit_yaml(folder / "responses/meta.yml", n_timestamps=10**12)
    assert refused(folder).code == "wrong_size"


def test_a_json_of_more_than_256_mb_is_refused_unread(folder):
    os.truncate(folder / "screen/combined_meta.json", 300 * 2**20)
    begin = time.process_time()
    assert refused(folder).code == "too_large"
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": ' * 3000, '{"a": NaN}'])
def test_broken_json_is_refused(folder, text):
    (folder / "screen/combined_meta.json").write_text(text)
    assert "combined_meta.json" in refused(folder).message


def test_a_broken_identity_is_only_noted(folder):
    (folder / "meta.json").write_text("{")
    session = open_session(folder)
    assert session.id == folder.name
    assert "meta.json" in notes(session, "bad_identity")[0]


def test_text_that_is_not_utf8_is_refused_with_its_line(folder):
    (folder / "responses/meta.yml").write_bytes(b"modality: sequence\nx: \xff\xfe\n")
    assert "responses/meta.yml line 2: not UTF-8 text" in refused(folder).message


# -- 34: odd names ------------------------------------------------------------------
@pytest.mark.parametrize("name", ["mouse ä 🐭", " trailing ", "CON", "a" * 200])
def test_odd_folder_names_work(tmp_path, name):
    root = write_folder(tmp_path / name, identity=False)
    assert open_session(root).id == name


def test_a_name_that_is_not_text_works(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/mouse-\xff"))
    session = open_session(write_folder(root))
    assert session.window(3.0).responses.shape == (60, 9)
    (root / b"\xff.txt".decode("utf-8", "surrogateescape")).touch()
    assert open_session(root).id == "77-1-2"


def test_a_linked_session_opens(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    session = open_session(link)
    assert session.n_neurons == 9
    assert len(session.units) == 9


# -- never writes -------------------------------------------------------------------
def test_reading_writes_nothing(tmp_path):
    root = write_folder(tmp_path / "s", combined=False)

    def listing() -> list[tuple[str, int, int]]:
        return sorted(
            (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*")
        )

    before = listing()
    session = open_session(root)
    session.window_starts("train")
    _ = session.window(3.0).video, session.window(3.0).responses, session.overview(50)
    assert listing() == before
