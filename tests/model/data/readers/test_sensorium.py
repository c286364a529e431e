import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from tests import SESSIONS
from tests.model.data.refusals import check_refusal, check_session

VIDEO, IMAGES = SESSIONS / "sensorium2023_small", SESSIONS / "sensorium2022_small"
N_UNITS = 12
LENGTHS = (100, 59, 75, 90)
PADDED = 110
TIERS = ("train", "oracle", "validation", "final_test_main")


def raw_array(folder: Path, stream: str, trial: int) -> np.ndarray:
    return np.load(folder / "data" / stream / f"{trial}.npy")


@pytest.fixture
def folder(tmp_path):
    """Trials long enough for windows, each padded with NaN."""
    folder, draw = tmp_path / "dynamic77-3-4-Video-0123", np.random.default_rng(5)
    for trial, length in enumerate(LENGTHS):
        streams = {
            "videos": draw.integers(0, 256, (36, 64, PADDED)).astype(np.float32),
            "responses": draw.gamma(2.0, 1.0, (N_UNITS, PADDED)).astype(np.float32),
            "behavior": draw.normal(size=(2, PADDED)).cumsum(axis=1),
            "pupil_center": draw.normal(size=(2, PADDED)),
        }
        for name, values in streams.items():
            values[..., length:] = np.nan
            (folder / "data" / name).mkdir(parents=True, exist_ok=True)
            np.save(folder / "data" / name / f"{trial}.npy", values)
    for kind in ("trials", "neurons"):
        (folder / "meta" / kind).mkdir(parents=True)
    np.save(folder / "meta" / "trials" / "tiers.npy", np.array(TIERS))
    np.save(folder / "meta" / "neurons" / "unit_ids.npy", np.arange(N_UNITS) + 100)
    return folder


@pytest.fixture(scope="module")
def video():
    return open_session(VIDEO)


def test_rows_of_a_trial_are_its_file_and_holes_are_missing(video):
    data, tier = video.responses.data, video.trials.tier[1::2].tolist()
    onset = np.rint(video.trials.t_on[1::2] * 30).astype(int)
    covered = np.zeros(len(data), bool)
    for trial, first in enumerate(onset):
        valid = int(np.isfinite(raw_array(VIDEO, "behavior", trial)[0]).sum())
        covered[first : first + valid] = True
        if tier[trial] in ("live_test_main", "final_test_bonus"):
            assert np.isnan(data[first : first + valid]).all()
        else:
            expected = raw_array(VIDEO, "responses", trial)[:, :valid].T
            np.testing.assert_array_equal(data[first : first + valid], expected)
    assert np.isnan(data[~covered]).all()
    assert (np.diff(onset) >= 36 + 75).all()
    assert tier == np.load(VIDEO / "meta/trials/tiers.npy").tolist()
    assert "final_test_bonus: 1, live" not in str(video.warnings)
    assert any(note.code == "withheld" for note in video.warnings)


def test_frames_and_behaviour_of_a_trial_are_its_files(video):
    for trial, at in enumerate(video.trials.first_slot[1::2].tolist()):
        valid = int(video.trials.n_slots[2 * trial + 1])
        shown = video.stimulus.frames(np.arange(at, at + valid))
        stored = np.moveaxis(raw_array(VIDEO, "videos", trial), -1, 0)[:valid]
        np.testing.assert_array_equal(shown, stored)
        first = round(float(video.trials.t_on[2 * trial + 1]) * 30)
        eye = video.behavior["eye_tracker"].read(first, first + valid)
        size, running = raw_array(VIDEO, "behavior", trial)[:, :valid]
        np.testing.assert_array_equal(eye[:, 0], size)
        np.testing.assert_allclose(eye[:, 1], np.gradient(size) * 30)
        centre = raw_array(VIDEO, "pupil_center", trial)[:, :valid].T
        np.testing.assert_array_equal(eye[:, 2:], centre)
        treadmill = video.behavior["treadmill"].read(first, first + valid)
        np.testing.assert_array_equal(treadmill[:, 0], running)


def test_neurons_and_scale_are_those_of_the_folder(video):
    neurons, statistics = VIDEO / "meta/neurons", VIDEO / "meta/statistics"
    assert video.units.unit_id.tolist() == np.load(neurons / "unit_ids.npy").tolist()
    assert video.units.plane.tolist() == np.load(neurons / "fields.npy").tolist()
    positions = np.load(neurons / "cell_motor_coordinates.npy")
    np.testing.assert_array_equal(video.units.xyz_um, positions)
    std = np.load(statistics / "responses/all/std.npy").reshape(-1)
    np.testing.assert_allclose(video.response_scale, np.maximum(std, 0.01 * std.mean()), rtol=1e-6)
    assert video.units.area is None


@pytest.mark.parametrize("folder", [VIDEO, IMAGES])
def test_statistics_of_behaviour_are_those_of_the_folder(folder):
    session, statistics = open_session(folder), folder / "meta" / "statistics"
    eye, running = session.behavior["eye_tracker"], session.behavior["treadmill"]
    for name in ("mean", "std"):
        own, centre = (
            np.load(statistics / stream / "all" / f"{name}.npy").reshape(-1)
            for stream in ("behavior", "pupil_center")
        )
        found = getattr(eye, name)
        # Of videos, the change of pupil size is not stored: its statistics are computed.
        pupil = [own[0], found[1]] if folder == VIDEO else own[:2]
        np.testing.assert_array_equal(found, [*pupil, *centre])
        np.testing.assert_array_equal(getattr(running, name), own[-1:])
    assert np.isfinite(eye.mean).all()


def test_statistics_of_behaviour_that_tell_nothing_are_computed(tmp_path):
    without, wrong = (tmp_path / name / VIDEO.name for name in ("without", "wrong"))
    for folder in (without, wrong):
        shutil.copytree(VIDEO, folder)
    statistics = wrong / "meta" / "statistics"
    for stream in ("behavior", "pupil_center"):
        shutil.rmtree(without / "meta" / "statistics" / stream)
    np.save(statistics / "behavior/all/std.npy", np.zeros(2))
    (statistics / "behavior/all/mean.npy").unlink()
    np.save(statistics / "pupil_center/all/mean.npy", np.zeros(3))
    expected, session = open_session(without).behavior, open_session(wrong)
    for name in ("eye_tracker", "treadmill"):
        np.testing.assert_array_equal(session.behavior[name].mean, expected[name].mean)
    eye, running = session.behavior["eye_tracker"], session.behavior["treadmill"]
    np.testing.assert_array_equal(eye.std[:2], expected["eye_tracker"].std[:2])
    np.testing.assert_array_equal(running.std, expected["treadmill"].std)
    assert any("one number for each of 2" in text for text in messages(session, "bad_statistics"))
    assert not messages(session, "zero_variance")


def test_windows_lie_within_trials_and_hold_their_values(folder):
    session = open_session(folder)
    assert (session.id, session.animal_id) == ("77-3-4", "77")
    for tier, trial in (("train", 0), ("oracle", 1), ("validation", 2)):
        starts = session.window_starts(tier)
        assert len(starts) == max(0, LENGTHS[trial] - 60 + 1)
        if not len(starts):
            continue
        onset = float(session.trials.t_on[2 * trial + 1])
        for number in (0, len(starts) - 1):
            window = session.window(float(starts[number]))
            assert window.start_s == pytest.approx(onset + number / 30, abs=0.02)
            assert all(valid.all() for valid in window.valid.values())
            rows = slice(number, number + 60)
            stored = raw_array(folder, "responses", trial)[:, rows].T
            np.testing.assert_allclose(window.responses, stored / session.response_scale, rtol=1e-6)
            frames = np.moveaxis(raw_array(folder, "videos", trial)[..., rows], -1, 0)
            np.testing.assert_allclose(window.video, (frames - 113) / 59, atol=1e-5)
            at = number + np.floor(np.arange(40) * 1.5 + 0.25).astype(int)
            running = raw_array(folder, "behavior", trial)[1, at]
            mean, std = session.behavior_statistics("treadmill")
            expected = (running - mean) / std
            np.testing.assert_allclose(window.behavior[:, 4], expected, atol=1e-4)


def change_trial(folder: Path, stream: str, trial: int, where: object, value: float) -> None:
    values = raw_array(folder, stream, trial)
    values[where] = value
    np.save(folder / "data" / stream / f"{trial}.npy", values)


def messages(session: Session, code: str) -> list[str]:
    every = (*session.assumptions, *session.warnings)
    return [note.message for note in every if note.code == code]


def test_a_test_trial_with_silent_neurons_is_not_withheld(folder):
    change_trial(folder, "responses", 3, np.s_[:11, :90], 0)
    session = open_session(folder)
    assert not messages(session, "withheld")
    first = round(float(session.trials.t_on[7]) * 30)
    stored = raw_array(folder, "responses", 3)[:, :90].T
    np.testing.assert_array_equal(session.responses.read(first, first + 90), stored)
    change_trial(folder, "responses", 3, np.s_[:, :90], 0)
    assert messages(open_session(folder), "withheld")


@pytest.mark.parametrize(
    ("stream", "where"),
    [("responses", np.s_[:, 40:60]), ("responses", np.s_[:]), ("behavior", (0, 40))],
)
def test_a_trial_whose_values_are_missing_is_left_out(folder, stream, where):
    change_trial(folder, stream, 0, where, np.nan)
    session = open_session(folder)
    assert not len(session.window_starts("train"))
    assert session.trials.n_slots[1] == LENGTHS[0]
    assert "00000" in messages(session, "odd_trials")[0]
    assert len(session.window_starts("validation"))


def test_behaviour_of_time_and_channel_is_turned(folder):
    expected = open_session(folder)
    for path in sorted((folder / "data").glob("[bp]*/*.npy")):
        np.save(path, np.load(path).T)
    session = open_session(folder)
    assert "is transposed" in messages(session, "transposed")[0]
    for name in ("treadmill", "eye_tracker"):
        np.testing.assert_array_equal(session.behavior[name].data, expected.behavior[name].data)


def test_behaviour_without_the_channels_leaves_the_trials_whole(folder):
    for path in sorted((folder / "data").glob("[bp]*/*.npy")):
        np.save(path, np.zeros((5, 7)))
    session = open_session(folder)
    assert session.behavior == {"eye_tracker": None, "treadmill": None}
    assert session.trials.n_slots[1] == LENGTHS[0]
    assert len(session.window_starts("train"))


def test_numbers_of_trials_may_begin_with_zeros(folder):
    expected = open_session(folder).responses.data
    for path in sorted((folder / "data").glob("*/*.npy")):
        path.rename(path.with_name(f"{int(path.stem):04d}.npy"))
    np.testing.assert_array_equal(open_session(folder).responses.data, expected)


@pytest.mark.parametrize("stream", ["pupil_center", "behavior"])
@pytest.mark.parametrize("shape", [(3, PADDED), (2, PADDED - 60), ()])
def test_one_odd_file_masks_its_trial_alone(folder, stream, shape):
    np.save(folder / "data" / stream / "2.npy", np.zeros(shape))
    session = open_session(folder)
    assert session.behavior["treadmill"] is not None
    assert session.behavior["eye_tracker"].n_columns == 4
    assert not len(session.window_starts("validation"))
    assert len(session.window_starts("train")) == LENGTHS[0] - 59
    assert len(session.window_starts("final_test_main")) == LENGTHS[3] - 59
    assert "00002" in messages(session, "odd_trials")[0]


def test_withheld_responses_may_be_missing_and_others_not(folder):
    responses = folder / "data" / "responses"
    (responses / "3.npy").unlink()
    session = open_session(folder)
    assert len(session.window_starts("final_test_main")) == LENGTHS[3] - 59
    assert any("final_test_main: 1" in note.message for note in session.warnings)
    (responses / "0.npy").unlink()
    check_refusal(folder, "tier train is not withheld")


def test_streams_may_have_other_names(folder):
    (folder / "data" / "behavior").rename(folder / "data" / "wheel")
    (folder / "config.json").write_text(json.dumps({"links": {"behavior": "wheel"}}))
    assert open_session(folder).behavior["treadmill"] is not None
    (folder / "config.json").write_text(json.dumps({"links": {"behavior": "../x"}}))
    check_refusal(folder, "must name a folder")


def test_it_survives_pickling(folder):
    session = open_session(folder)
    again = pickle.loads(pickle.dumps(session))
    start = float(session.window_starts("train")[3])
    first, second = (one.window(start).responses for one in (session, again))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("stream", ["responses", "videos"])
def test_a_trial_that_changes_while_open_is_a_clear_error(folder, stream):
    session = open_session(folder)
    window = session.window(float(session.window_starts("train")[0]))
    assert not session.is_stale
    np.save(folder / "data" / stream / "0.npy", np.zeros((5, 50), np.float32))
    assert session.is_stale
    with pytest.raises(SessionFormatError, match=r"0\.npy changed while"):
        _ = window.responses if stream == "responses" else window.video
    (folder / "data" / stream / "0.npy").unlink()
    held = session.stimulus.source if stream == "videos" else session.responses.file
    with pytest.raises(SessionFormatError, match=r"0\.npy cannot be read"):
        held.check()


def test_an_image_is_one_response_and_one_frame():
    session = open_session(IMAGES)
    assert session.format == "sensorium-2022"
    assert session.id == "99001-5-7"
    tiers = np.load(IMAGES / "meta/trials/tiers.npy").tolist()
    assert session.trials.tier[1::2].tolist() == tiers
    for trial, tier in enumerate(tiers):
        slot = int(session.trials.first_slot[2 * trial + 1])
        stored = raw_array(IMAGES, "images", trial)[0]
        np.testing.assert_array_equal(session.stimulus.frame(slot), stored)
        values = raw_array(IMAGES, "responses", trial)
        row = trial + 1  # after a row of hole
        found = session.responses.read(row, row + 1)[0]
        if tier in ("train", "validation") or values.any():
            np.testing.assert_array_equal(found, values)
        else:
            assert np.isnan(found).all()
        size, change_trial, running = raw_array(IMAGES, "behavior", trial).reshape(-1)
        eye = session.behavior["eye_tracker"].read(row, row + 1)[0]
        centre = raw_array(IMAGES, "pupil_center", trial).reshape(-1)
        np.testing.assert_array_equal(eye, [size, change_trial, *centre])
        assert session.behavior["treadmill"].read(row, row + 1)[0, 0] == running
    shown = session.trials.stim_id[1::2][np.array(tiers) == "test"]
    assert len(set(shown.tolist())) < len(shown)
    assert set(session.units.area.tolist()) == {"V1"}


def test_a_hole_in_the_numbers_is_told(folder):
    (folder / "data" / "videos" / "1.npy").unlink()
    check_refusal(folder, r"videos has 3 files.*missing: 1")


@pytest.mark.parametrize(
    ("stream", "values", "words"),
    [
        ("responses", np.zeros((N_UNITS, 7), np.float32), r"\(12, 110\) expected"),
        ("videos", np.zeros((36, 60, PADDED), np.float32), "frames are"),
        ("videos", np.zeros((36, 64), np.float32), "frames are"),
        ("responses", np.full((N_UNITS, PADDED), "a"), "numbers expected"),
    ],
)
def test_a_file_of_another_shape_or_kind_is_named(folder, stream, values, words):
    np.save(folder / "data" / stream / "2.npy", values)
    assert check_refusal(folder, words).path.name == "2.npy"


@pytest.mark.parametrize("values", [np.full((2, 3), "a"), np.array([{}]), None])
def test_behaviour_that_cannot_be_read_masks_its_trial(folder, values):
    path = folder / "data" / "behavior" / "2.npy"
    path.unlink()
    if values is not None:
        np.save(path, values)
    session = open_session(folder)
    assert session.behavior["treadmill"] is not None
    assert not len(session.window_starts("validation"))
    assert len(session.window_starts("train"))
    if values is not None:
        assert "behavior of trial 2" in messages(session, "left_out_stream")[0]


def test_unknown_tiers_are_kept_and_told(folder):
    tiers = ["TRAIN", "mine", *TIERS[2:]]
    np.save(folder / "meta/trials/tiers.npy", np.array(tiers))
    words = ("'TRAIN' (1 trial), 'mine' (1 trial)", "rename 'TRAIN' to train")
    session = check_session(folder, {}, {"unknown_tier": words})
    assert set(tiers) <= set(session.trials.tier.tolist())


def test_pickled_and_short_arrays_are_refused(folder):
    tiers = folder / "meta" / "trials" / "tiers.npy"
    np.save(tiers, np.array(TIERS[:2]))
    check_refusal(folder, "2 values for 4 trials")
    np.save(tiers, np.array("train"))
    check_refusal(folder, "1 values for 4 trials")
    np.save(tiers, np.array(TIERS, object), allow_pickle=True)
    check_refusal(folder, "pickled")
