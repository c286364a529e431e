import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build.notes import stream_word
from omnimouse_model.errors import SessionFormatError
from tests.hostile_pickles import CallingPickle
from tests.model.data.refusals import bar, check_refusal, check_session, left_out, warning_of
from tests.model.experanto_folder import (
    TRIALS,
    Trial,
    edit_trial,
    edit_yaml,
    save_json,
    write_folder,
)

META = "responses/meta.yml"
SHIFTS = "responses/meta/phase_shifts.npy"
TIMES = "screen/timestamps.npy"
FRAMES = "screen/data/00001.npy"
SMALL_FRAMES = np.zeros((120, 18, 64), "u1")
EYE_META = "eye_tracker/meta.yml"
EYE_DATA = "eye_tracker/data.npy"
HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
LARGE_NPY = b"\x93NUMPY\x01\x00" + len(HEADER).to_bytes(2, "little") + HEADER
EYE_STDS = "eye_tracker/meta/stds.npy"
TRIALS_JSON = "screen/combined_meta.json"


@pytest.fixture
def folder(tmp_path):
    """A sound session folder, to be broken."""
    return write_folder(tmp_path / "session")


def names_all(message: str, *values: object) -> bool:
    return all(str(value) in message for value in values)


def replace_file(path: Path, content: Any) -> None:
    """Put text, bytes or an array in a file's place, or change keys; None removes."""
    if content is None:
        path.unlink()
    elif isinstance(content, dict):
        edit_yaml(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("name", "content", "code", "values"),
    [
        (META, None, "missing_meta", ["meta.yml"]),
        (META, "modality: sequence\nrate: [1,\n", "bad_yaml", ["line 3"]),
        (META, "a: !!python/object/apply:os.system ['true']\n", "bad_yaml", ["line 1"]),
        (META, "- 1\n- 2\n", "bad_yaml", ["list"]),
        (META, "", "bad_yaml", ["nothing"]),
        (META, b"modality: sequence\nx: \xff\xfe\n", "bad_text", ["line 2"]),
        (META, {"sampling_rate": "abc"}, "bad_key", ["sampling_rate", "'abc'"]),
        (META, {"sampling_rate": -30.0}, "bad_key", ["-30.0"]),
        (META, {"sampling_rate": float("nan")}, "bad_key", ["nan"]),
        (META, {"sampling_rate": None}, "bad_key", ["nothing"]),
        (META, {"start_time": float("inf")}, "bad_key", ["start_time", "inf"]),
        (META, {"end_time": 3.0}, "bad_key", ["end_time", "3.0", "start_time"]),
        (META, {"n_signals": 2.5}, "bad_key", ["n_signals", "2.5"]),
        (META, {"n_timestamps": "many"}, "bad_key", ["n_timestamps", "'many'"]),
        (META, {"n_timestamps": 10**12}, "wrong_size", []),
        (META, {"dtype": "object"}, "bad_key", ["dtype", "object"]),
        (META, {"is_mem_mapped": "perhaps"}, "bad_key", ["is_mem_mapped"]),
        (META, {"modality": "flicker"}, "bad_key", ["modality", "flicker"]),
        ("responses/data.mem", None, "missing_data", ["data.npy", "data.mem"]),
        (SHIFTS, None, "missing_file", ["phase_shifts.npy"]),
        (SHIFTS, np.zeros(8), "wrong_length", ["phase_shifts.npy", "8", "9"]),
        (SHIFTS, np.full(9, np.nan), "not_finite", ["phase_shifts.npy"]),
    ],
)
def test_a_broken_file_of_responses_is_refused_and_named(folder, name, content, code, values):
    replace_file(folder / name, content)
    error = check_refusal(folder)
    assert error.code == code
    assert names_all(error.message, *values), error.message


@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        (EYE_META, None, []),
        (EYE_META, {"sampling_rate": [30.0, 30.0]}, ["eye_tracker", "sampling_rate"]),
        (EYE_META, {"start_time": float("nan")}, ["eye_tracker", "start_time", "nan"]),
        (EYE_DATA, LARGE_NPY, ["000,000,000,000"]),
        (TIMES, LARGE_NPY, ["screen", "000,000,000,000"]),
        (TRIALS_JSON, "{}", ["has no trials"]),
        (TRIALS_JSON, "{", ["combined_meta.json"]),
        (TRIALS_JSON, "[1]", ["combined_meta.json"]),
        (TRIALS_JSON, '{"a": ' * 3000, ["combined_meta.json"]),
        (TRIALS_JSON, '{"a": NaN}', ["combined_meta.json"]),
    ],
)
def test_a_broken_stream_is_left_out_and_named(folder, name, content, values):
    whole = open_session(folder)
    replace_file(folder / name, content)
    session = open_session(folder)
    device = name.split("/")[0]
    assert set(whole.streams) - set(session.streams) == {device}
    np.testing.assert_array_equal(session.responses.data, whole.responses.data)
    if content is not None:
        assert names_all(left_out(session), *values), left_out(session)
        absent = [n.message for n in session.assumptions if n.code == "missing_stream"]
        assert not any(stream_word(device) in message for message in absent)


@pytest.mark.parametrize(
    ("frames", "values"),
    [
        (np.zeros((118, 36, 64), "u1"), ["00001", "118", "120"]),
        (SMALL_FRAMES, ["(120, 18, 64)", "(36, 64)"]),
    ],
)
def test_frames_that_do_not_fit_leave_their_trial_out(folder, frames, values):
    np.save(folder / FRAMES, frames)
    session = open_session(folder)
    assert names_all(left_out(session), *values)
    assert len(session.window_starts("train")) == 0
    assert len(session.window_starts("validation")) > 0


def test_stored_statistics_of_another_length_are_computed_again(folder):
    np.save(folder / EYE_STDS, np.ones(3))
    session = open_session(folder)
    assert names_all(warning_of(session, "bad_statistics"), "stds.npy", "3", "4")
    (folder / EYE_STDS).unlink()
    absent = open_session(folder).behavior["eye_tracker"]
    np.testing.assert_array_equal(session.behavior["eye_tracker"].std, absent.std)


def test_an_unknown_folder_lists_what_was_looked_for_and_found(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    error = check_refusal(tmp_path)
    assert error.code == "unknown_format"
    assert names_all(error.message, META, "holiday.jpg")
    assert "nowhere" in check_refusal(tmp_path / "nowhere").message


# What takes the place of a file, and the one warning about it.
WARNED: dict[str, tuple[str, Any, str, list[object]]] = {
    **{
        f"no meta of {name}": (f"{name}/meta.yml", None, "missing_meta", [f"{name}/meta.yml"])
        for name in ("screen", "eye_tracker", "treadmill")
    },
    **{
        name: (
            f"responses/meta/{name}.npy",
            np.arange(7),
            "wrong_length",
            [f"{name}.npy", "7", "9"],
        )
        for name in ("unit_ids", "fields", "cell_motor_coordinates", "area")
    },
    "rate": (
        "responses/timestamps.npy",
        1000.0 + np.arange(481) / 7.98,
        "rate_disagrees",
        ["30 Hz", "7.98 Hz"],
    ),
    "gap": (
        "responses/timestamps.npy",
        1000.0 + np.arange(481) / 30.0 + 0.5 * (np.arange(481) >= 200),
        "gaps_in_timestamps",
        ["1 gap"],
    ),
}


@pytest.mark.parametrize(("name", "content", "code", "values"), WARNED.values(), ids=WARNED)
def test_what_does_not_fit_is_told_and_the_rest_is_read(folder, name, content, code, values):
    replace_file(folder / name, content)
    session = check_session(folder, {"n_neurons": 9, "responses.rate_hz": 30.0})
    assert names_all(warning_of(session, code), *values)
    assert code != "missing_meta" or name.split("/")[0] not in session.streams


def test_a_file_of_another_length_says_by_how_much(folder):
    path = folder / "responses/data.mem"
    size = path.stat().st_size
    os.truncate(path, size - size // 10)
    assert names_all(check_refusal(folder).message, f"{size:,}", "10 %", "481×9×4")
    os.truncate(path, size)
    path = folder / "treadmill/data.mem"
    path.write_bytes(path.read_bytes() * 2)
    assert "2 columns" in left_out(folder)


def test_rows_and_columns_must_be_those_of_meta(tmp_path):
    root = write_folder(tmp_path / "s", mem=False)
    edit_yaml(root / META, n_signals=10)
    assert names_all(check_refusal(root).message, "data.npy", "(481, 9)", "n_signals 10")
    edit_yaml(root / META, n_signals=9, n_timestamps=500)
    assert "n_timestamps 500" in check_refusal(root).message


@pytest.mark.parametrize("wrong", [np.nan, -1.0])
def test_only_statistics_that_cannot_be_are_computed_again(folder, wrong):
    sound = open_session(folder).units.std
    np.save(folder / "responses/meta/stds.npy", np.append(np.ones(8), wrong))
    notes = {"bad_statistics": "responses/meta/stds.npy", "computed_statistics": ""}
    session = check_session(folder, {}, notes)
    np.testing.assert_array_equal(session.units.std[:8], 1)
    np.testing.assert_allclose(session.units.std[8], sound[8], rtol=0.3)


def test_missing_statistics_are_computed_from_train_time_and_said(folder):
    for name in ("means", "stds"):
        (folder / f"treadmill/meta/{name}.npy").unlink()
    session = check_session(folder, {}, {"computed_statistics": ""})
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
    session = check_session(folder, {}, {"zero_variance": ("2 of 9", "2, 4", "running")})
    window = session.window(4.0)
    assert np.isfinite(window.responses).all()
    assert np.isfinite(window.behavior).all()


def test_gaps_are_counted_and_windows_keep_away(tmp_path):
    root = write_folder(tmp_path / "s", missing=((100, 110), (200, 202)))
    eye = np.load(root / "eye_tracker/data.npy")
    eye[300:338, 2] = np.nan
    np.save(root / "eye_tracker/data.npy", eye)
    session = open_session(root)
    noted = [n.message for n in session.warnings if n.code == "missing_samples"]
    assert len(noted) == 2
    assert any(names_all(m, "pupil_x", "14 %", "3 gaps", "1.9 s") for m in noted)
    for index in session.window_indices(None):
        start = session.start_grid[index] - session.t0
        for gap in (100, 105, 109, 200, 201, 300, 337):
            assert not start <= gap / 20 - 0.75 <= start + 1.97


def test_behavior_that_is_missing_everywhere_takes_no_windows_away(tmp_path):
    session = open_session(write_folder(tmp_path / "s", missing=((0, 400),)))
    assert "pupil is left out" in warning_of(session, "left_out_stream")
    assert len(session.window_starts("train"))


# -- the screen's clock and trials --------------------------------------------------
def test_times_that_run_backward_are_placed_and_counted(folder):
    times = np.load(folder / TIMES)
    times[81] = times[80] - 0.04
    np.save(folder / TIMES, times)
    assert names_all(left_out(folder), TIMES, "index 80", "to 81", "1 of 404 steps")


def test_too_few_and_too_many_slots(folder):
    path = folder / TIMES
    times = np.load(path)
    np.save(path, times[:-1])
    assert names_all(left_out(folder), len(times) - 1, len(times))
    np.save(path, np.append(times, times[-1] + [1.0, 2.0]))
    session = check_session(folder, {}, {"excess_timestamps": "2 times"})
    assert len(session.stimulus.slot_t) == len(times)


@pytest.mark.parametrize(
    ("trial", "changes", "values"),
    [
        ("00001", {"num_frames": 0}, ["num_frames"]),
        ("00001", {"num_frames": None}, ["num_frames"]),
        ("00001", {"image_size": [36]}, ["image_size"]),
        ("00001", {"image_size": "big"}, ["image_size"]),
        ("00001", {"first_frame_idx": -1}, ["first_frame_idx"]),
        ("00004", {"first_frame_idx": 130}, ["first_frame_idx", "130", "123"]),
    ],
)
def test_bad_trials_are_named(folder, trial, changes, values):
    edit_trial(folder, trial, **changes)
    assert names_all(left_out(folder), f"trial {trial}", *values)


def test_quantised_times_are_left_out(tmp_path):
    root = write_folder(tmp_path / "s", t0=1.52e9)
    path = root / "screen/timestamps.npy"
    np.save(path, np.load(path).astype(np.float32))
    assert "128 s" in left_out(root)


@pytest.mark.parametrize("name", ["responses/meta/area.npy", "eye_tracker/data.npy", TIMES, FRAMES])
def test_pickled_arrays_are_not_opened(folder, name):
    hostile = CallingPickle(os.mkdir, str(folder / "planted"))
    np.save(folder / name, np.array([hostile], object), allow_pickle=True)
    assert names_all(left_out(folder), "pickled", Path(name).name)
    assert not (folder / "planted").exists()


# -- trials that cannot be shown, or are odd ----------------------------------------
def test_a_missing_trial_file_leaves_that_trial_out(folder):
    sound = open_session(folder)
    (folder / FRAMES).rename(folder / "screen/data/00001.mp4")
    session = open_session(folder)
    told = warning_of(session, "missing_trial_file")
    assert names_all(told, "trial 00001", "data/00001.npy", "00001.mp4", "train")
    assert len(sound.window_starts("train")) > 0
    assert len(session.window_starts("train")) == 0
    assert len(session.window_starts("validation")) > 0
    window = session.window(2.0)
    assert not window.valid["video"].any()
    assert not window.video.any()


def test_an_unknown_kind_of_trial_is_left_out(folder):
    edit_trial(folder, "00006", modality="flicker")
    session = open_session(folder)
    assert names_all(warning_of(session, "unknown_modality"), "00006", "flicker")
    assert len(session.window_starts("final_test_1")) == 0
    assert len(session.stimulus.slot_t) == session.trials.n_slots.sum()


def test_names_of_any_length_and_sign_make_short_plain_notes(folder):
    keys = [path.stem for path in sorted((folder / "screen/meta").glob("*.yml"))]
    for n, key in enumerate(keys):
        edit_trial(folder, key, modality="\x1b[2J" * 9000, tier=f"{n}" * 9000)
    warnings = open_session(folder).warnings
    assert len({one.code for one in warnings}) == len(warnings)
    assert all(len(one.message) < 2100 and one.message.isprintable() for one in warnings)


def test_frames_that_are_not_finite_are_noted_and_read_as_mean_gray(tmp_path):
    folder = write_folder(tmp_path / "s", frame_dtype="float32")
    path = folder / FRAMES
    frames = np.load(path)
    frames[:, 0, 0] = np.nan
    frames[:, 0, 1] = np.inf
    np.save(path, frames)
    session = open_session(folder)
    assert warning_of(session, "not_finite")
    window = session.window(float(session.window_starts("train")[0]))
    assert np.isfinite(window.video).all()
    assert not window.valid["video"].all()


def test_unknown_tiers_are_kept_and_noted_once(tmp_path):
    tiers = ("mine", "mine", "Val")
    trials = (*TRIALS, *(Trial("video", tier, 70) for tier in tiers))
    session = open_session(write_folder(tmp_path / "s", trials=trials, seconds=25.0))
    told = warning_of(session, "unknown_tier")
    assert names_all(told, "'mine' (2 trials)", "rename 'Val' to validation")
    assert "mine" in session.tiers()
    assert "mine" not in session.named_tiers("test")
    assert len(session.window_starts("mine")) > 0


# -- spans and clocks ---------------------------------------------------------------
def test_a_stream_that_does_not_overlap_is_left_out_with_both_spans(folder):
    path = folder / TIMES
    np.save(path, np.load(path) + 3000.0)
    (folder / EYE_STDS).unlink()
    session = open_session(folder)
    assert session.stimulus is None
    # Without its trials, no time is that of the train tier.
    computed = [n.message for n in session.assumptions if n.code == "computed_statistics"]
    assert all("samples of all time" in message for message in computed)
    assert computed
    message = warning_of(session, "left_out_stream")
    assert names_all(message, "stimulus", "responses", "1000.1", "4000.2")
    missing = [n.message for n in session.assumptions if n.code == "missing_stream"]
    assert not any("video" in message for message in missing)


@pytest.mark.parametrize("key", ["n_signals", "n_timestamps"])
def test_empty_responses_are_refused(folder, key):
    edit_yaml(folder / META, **{key: 0})
    (folder / "responses/data.mem").write_bytes(b"")
    np.save(folder / SHIFTS, np.zeros(0 if key == "n_signals" else 9))
    assert check_refusal(folder).code == "empty"


def test_a_session_of_more_than_a_week_is_refused(tmp_path):
    root = write_folder(tmp_path / "s", streams=("responses",))
    edit_yaml(root / META, sampling_rate=1e-250, end_time=1e240)
    assert "more than a week" in check_refusal(root).message


@pytest.mark.parametrize(
    ("end_s", "read_s", "code", "value"),
    [
        (1016.2, 1016.2, None, ""),
        (1030.0, 1016.0, "end_beyond_data", "420 samples"),
        (1012.0, 1012.0, "end_before_data", "120 samples"),
    ],
)
def test_an_end_far_beyond_the_data_is_cut_to_them(folder, end_s, read_s, code, value):
    edit_yaml(folder / META, end_time=end_s)
    notes = {"end_beyond_data": None, "end_before_data": None} | ({code: value} if code else {})
    check_session(folder, {"responses.end_declared": read_s}, notes)


def test_seconds_between_samples_are_no_rate(folder):
    rate = open_session(folder).responses.rate_hz
    edit_yaml(folder / META, sampling_rate=1 / rate)
    hz = {"responses.rate_hz": pytest.approx(rate)}
    check_session(folder, hz, {"converted_rate": "seconds between samples"})


@pytest.mark.parametrize("rate", [0.97, 0.98, 0.99])
def test_a_rate_just_below_one_is_a_rate(folder, rate):
    start, n = open_session(folder).t0, open_session(folder).responses.n_samples
    edit_yaml(folder / META, sampling_rate=rate, end_time=start + (n - 0.37) / rate)
    check_session(folder, {"responses.rate_hz": rate}, {"converted_rate": None})


@pytest.mark.parametrize("scale", [1 / 255, 2.0, -1.0])
def test_gray_values_of_another_range_are_noted_never_scaled(tmp_path, scale):
    root = write_folder(tmp_path / "s", frame_dtype="float32")
    for path in (root / "screen/data").iterdir():
        np.save(path, np.load(path) * np.float32(scale))
    session = open_session(root)
    assert warning_of(session, "gray_range")
    frame = session.stimulus.frame(5)
    stored = np.load(root / "screen/data/00001.npy")[4]
    np.testing.assert_array_equal(frame, stored)


@pytest.mark.parametrize(
    "name", ["../../secret.npy", "/etc/hostname", "../screen/../../x", "link.npy"]
)
def test_named_unit_arrays_must_lie_in_the_session(folder, name):
    np.save(folder.parent / "elsewhere.npy", np.arange(9))
    (folder / "responses/link.npy").symlink_to(folder.parent / "elsewhere.npy")
    edit_yaml(folder / META, neuron_properties={"unit_ids": name})
    assert check_refusal(folder).code == "outside"


@pytest.mark.parametrize("name", ["../a", "..", "/tmp/a", "a/b", "C:a", "a\\b"])
def test_stimulus_names_must_be_plain(folder, name):
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=True)
    edit_trial(folder, "00001", stimulus_name=name)
    assert names_all(left_out(folder), "trial 00001", repr(name))


def test_trial_keys_must_be_plain(folder):
    path = folder / TRIALS_JSON
    stored = json.loads(path.read_text())
    save_json(path, {("../../x" if k == "00001" else k): v for k, v in stored.items()})
    assert "../../x" in left_out(folder)


def test_stimuli_by_name_are_found(folder):
    by_key = open_session(folder).window(3.0).video
    edit_yaml(folder / "screen/meta.yml", use_stimuli_names=True)
    for key in json.loads((folder / TRIALS_JSON).read_text()):
        edit_trial(folder, key, stimulus_name=f"clip{key}")
    for path in list((folder / "screen/data").iterdir()):
        path.rename(path.with_name(f"clip{path.name}"))
    np.testing.assert_array_equal(open_session(folder).window(3.0).video, by_key)


def test_a_file_that_changes_while_open_is_a_clear_error(folder):
    session = open_session(folder)
    window = session.window(3.0)
    assert not session.is_stale
    os.truncate(folder / "responses/data.mem", 100)
    assert session.is_stale
    with pytest.raises(SessionFormatError, match="changed while the session was open"):
        _ = window.responses
    (folder / "responses/data.mem").unlink()
    with pytest.raises(SessionFormatError, match="is missing"):
        _ = window.responses
    assert window.video.shape == (60, 36, 64)


@pytest.mark.parametrize("read_before", [False, True])
def test_frames_that_change_or_go_away_are_a_clear_error(folder, read_before):
    session = open_session(folder)
    if read_before:
        assert session.window(2.0).video.any()
    assert not session.is_stale
    path = folder / FRAMES
    changed_ns = path.stat().st_mtime_ns + 1_000_000
    np.save(path, np.zeros_like(np.load(path)))
    os.utime(path, ns=(changed_ns, changed_ns))  # newer, whatever the clock's step
    assert session.is_stale
    copy = pickle.loads(pickle.dumps(session.stimulus))
    for held in (session, replace(session, stimulus=copy)):
        with pytest.raises(SessionFormatError, match=r"00001\.npy changed while"):
            _ = held.window(2.0).video
    session = open_session(folder)
    path.unlink()
    with pytest.raises(SessionFormatError, match=r"data/00001\.npy is missing"):
        _ = session.window(2.0).video


def test_a_session_sent_elsewhere_must_be_the_same_there(folder):
    sent = pickle.dumps(open_session(folder))
    edit_yaml(folder / META, end_time=1015.0)
    with pytest.raises(SessionFormatError, match="changed after it was opened"):
        pickle.loads(sent)


def test_barred_files_are_a_clear_error(folder, monkeypatch):
    real = os.open

    def barred(name: Any, flags: int, **options: Any) -> int:
        # Neither folders nor looks, which need no permission for the file itself.
        if not flags & (os.O_DIRECTORY | getattr(os, "O_PATH", 0)):
            raise PermissionError(13, "Permission denied", str(name))
        return real(name, flags, **options)

    monkeypatch.setattr(os, "open", barred)
    assert names_all(check_refusal(folder).message, "meta.yml", "Permission denied")


def test_a_folder_beside_the_devices_may_be_private(folder, monkeypatch):
    (folder / "private").mkdir()
    bar(monkeypatch, "open", "private/")
    assert open_session(folder).n_neurons


def test_a_folder_of_responses_that_may_not_be_entered_is_a_clear_error(folder, monkeypatch):
    bar(monkeypatch, "open", "responses/")
    bar(monkeypatch, "scandir", "responses")
    assert names_all(check_refusal(folder).message, "responses", "Permission denied")


def test_a_json_of_more_than_256_mb_is_not_read(folder):
    os.truncate(folder / TRIALS_JSON, 300 * 2**20)
    assert "combined_meta.json" in left_out(folder)
