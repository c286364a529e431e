import shutil

import numpy as np
import pytest

from omnimouse_model.data.convert import convert
from omnimouse_model.data.open import open_session
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.masks import Mask
from tests.model.data.refusals import check_refusal, left_out
from tests.model.trial_tree_folder import LENGTHS, N_UNITS, REPEATS, SIZE, write_tree

RATE_HZ = 30.0


@pytest.fixture
def stored(tmp_path):
    """Arrays of every trial of the tree in `tree`, by key."""
    return write_tree(tmp_path / "mouse")


@pytest.fixture
def tree(tmp_path, stored):
    return tmp_path / "mouse"


def recorded(session):
    """Table row and key of every recorded trial."""
    return [(k, str(session.trials.key[k])) for k in range(1, len(session.trials), 2)]


def test_trials_are_the_files_in_natural_order(tree, stored):
    session = open_session(tree)
    keys = [key for _, key in recorded(session)]
    repeats = ["/".join(names) for names in REPEATS]
    assert keys == ["trial1", "trial2", "trial10", *repeats]
    tiers = [str(session.trials.tier[row]) for row, _ in recorded(session)]
    assert tiers == ["validation", "train", "train", *["test"] * 3]
    clips = [str(session.trials.stim_id[row]) for row, _ in recorded(session)]
    assert clips == ["", "", "", "video0", "video0", "video1"]
    assert session.id == "27203-4-7"
    assert session.n_neurons == N_UNITS
    for row, key in recorded(session):
        own, length = stored[key], len(stored[key]["units"])
        first = round(float(session.trials.t_on[row]) * RATE_HZ)
        found = session.responses.read(first, first + length)
        np.testing.assert_array_equal(found, own["units"])
        slots = int(session.trials.first_slot[row]) + np.arange(length)
        frames = session.stimulus.frames(slots)
        np.testing.assert_array_equal(frames, own["stimuli"][..., 0])
        eye = session.behavior["eye_tracker"].read(first, first + length)
        np.testing.assert_allclose(eye[:, [2, 3]], own["perspectives"])
        np.testing.assert_allclose(eye[:, 0], own["modulations"][:, 0])
        running = session.behavior["treadmill"].read(first, first + length)
        np.testing.assert_allclose(running[:, 0], own["modulations"][:, 1])


def test_names_that_begin_with_a_digit_come_first(tree):
    for kind in (tree / "evaluation_data_27203_4_7").iterdir():
        (kind / "video0").rename(kind / "c3")
        (kind / "video1").rename(kind / "9ab")
    session = open_session(tree / "evaluation_data_27203_4_7")
    assert [key for _, key in recorded(session)] == ["9ab/repeat0", "c3/repeat0", "c3/repeat1"]


def test_behaviour_reaches_a_twin_as_it_is_stored(tree, stored):
    """Running is not centred: its mean in the tree is 2."""
    session = open_session(tree)
    spec = twin_spec(*SIZE)
    row, key = next(pair for pair in recorded(session) if pair[1] == "trial10")
    start = float(session.trials.t_on[row]) + 2.0
    window = session.window(start, spec=spec)
    own = stored[key]
    expected = np.concatenate([own["perspectives"], own["modulations"]], axis=1)
    np.testing.assert_allclose(window.behavior, expected[60:120], atol=1e-5)
    np.testing.assert_array_equal(window.frames_u8, own["stimuli"][60:120, ..., 0])
    assert Mask.nothing(session, spec).n_neurons == N_UNITS


def test_each_folder_opens_by_itself(tree):
    training = open_session(tree / "training_data_27203_4_7")
    assert {str(t) for t in training.trials.tier} == {"train", "validation", "blank"}
    evaluation = open_session(tree / "evaluation_data_27203_4_7")
    assert {str(t) for t in evaluation.trials.tier} == {"test", "blank"}
    assert evaluation.id == "27203-4-7"


def test_missing_behaviour_is_missing(tree, stored):
    path = tree / "training_data_27203_4_7" / "perspectives" / "trial10.npy"
    np.save(path, np.full((LENGTHS["trial10"], 2), np.nan, np.float32))
    session = open_session(tree)
    row = next(row for row, key in recorded(session) if key == "trial10")
    first = round(float(session.trials.t_on[row]) * RATE_HZ)
    assert np.isnan(session.behavior["eye_tracker"].read(first, first + 9)[:, 2:]).all()


def test_a_trial_whose_responses_end_early_has_no_windows(tree, stored):
    path = tree / "training_data_27203_4_7" / "units" / "trial10.npy"
    units = stored["trial10"]["units"].copy()
    units[-4:] = np.nan
    np.save(path, units)
    session = open_session(tree)
    assert "trial10" in next(n.message for n in session.warnings)
    row = next(row for row, key in recorded(session) if key == "trial10")
    inside = session.window_starts("train") - float(session.trials.t_on[row])
    assert not ((inside > 0) & (inside < 6)).any()


def test_a_tree_that_does_not_fit_names_its_file(tree):
    training = tree / "training_data_27203_4_7"
    stimuli = training / "stimuli" / "trial2.npy"
    frames = np.load(stimuli)
    damages = {
        "samples": (np.array(7), ("7", "150")),
        "training": (np.array(3), ("int64",)),
        "stimuli": (frames.astype(np.float32), ("float32",)),
        "units": (np.zeros((149, N_UNITS), np.float32), ("149", "150")),
    }
    for kind, (values, words) in damages.items():
        path = training / kind / "trial2.npy"
        before = path.read_bytes()
        np.save(path, values)
        refused = str(check_refusal(tree, f"{kind}/trial2.npy"))
        for word in words:
            assert word in refused, (kind, refused)
        path.write_bytes(before)


def test_behaviour_that_does_not_fit_is_missing_in_its_trial(tree):
    training = tree / "training_data_27203_4_7"
    np.save(training / "perspectives" / "trial2.npy", np.zeros((150, 3), np.float32))
    (training / "modulations" / "trial1.npy").unlink()
    session = open_session(tree)
    assert "perspectives of trial2" in left_out(session)
    messages = [n.message for n in session.warnings if n.code == "missing_behavior"]
    assert messages == [
        "1 of 6 trials have no perspectives",
        "1 of 6 trials have no modulations",
    ]
    eye = session.behavior["eye_tracker"]
    for row, key in recorded(session):
        first = round(float(session.trials.t_on[row]) * RATE_HZ)
        gaze = eye.read(first, first + 9)[:, 2:]
        assert np.isnan(gaze).all() == (key == "trial2")


def test_linked_folders_are_not_followed_and_said(tree, tmp_path):
    shutil.move(tree / "evaluation_data_27203_4_7", tmp_path / "elsewhere")
    (tree / "evaluation_data").symlink_to(tmp_path / "elsewhere")
    session = open_session(tree)
    assert "test" not in session.trials.tier
    assert any(note.code == "linked_folder" for note in session.warnings)


def test_a_download_that_lacks_a_part_is_refused(tree):
    shutil.move(tree / "training_data_27203_4_7" / "training", tree / "elsewhere")
    check_refusal(tree, "training has no trial1.npy and 2 more")


def test_a_clip_that_one_kind_of_data_lacks_is_refused(tree):
    evaluation = tree / "evaluation_data_27203_4_7"
    shutil.rmtree(evaluation / "stimuli" / "video1")
    check_refusal(tree, "video1 has no repeat0.npy")


def test_trials_beside_the_folders_of_clips_are_refused(tree):
    stimuli = tree / "evaluation_data_27203_4_7" / "stimuli"
    shutil.copy(stimuli / "video0" / "repeat0.npy", stimuli / "trial0.npy")
    check_refusal(tree, r"has trial0\.npy beside its folders of clips")


def test_behaviour_of_one_part_alone_is_kept(tree):
    shutil.rmtree(tree / "evaluation_data_27203_4_7" / "perspectives")
    session = open_session(tree)
    assert "3 of 6 trials have no perspectives" in str(session.warnings)
    eye = session.behavior["eye_tracker"]
    for row, key in recorded(session):
        first = round(float(session.trials.t_on[row]) * RATE_HZ)
        is_missing = np.isnan(eye.read(first, first + 90)[:, 2:]).all()
        assert is_missing == ("/" in key)


def test_hidden_files_of_archives_are_no_trials(tree):
    path = tree / "training_data_27203_4_7" / "units" / "._trial1.npy"
    path.write_bytes(b"resource fork")
    assert len(recorded(open_session(tree))) == 6


def test_the_name_is_that_of_the_data(tree, tmp_path):
    moved = shutil.move(tree, tmp_path / "2024-05-01_mouse")
    assert open_session(moved).id == "27203-4-7"


@pytest.mark.slow
def test_a_tree_is_converted(tree, tmp_path):
    session = open_session(tree)
    store = open_session(convert(session, tmp_path / "m.omses.zarr"))
    start = float(session.window_starts("train")[0])
    one, other = (s.window(start, spec=twin_spec(*SIZE)) for s in (session, store))
    for name in ("responses", "behavior", "frames_u8"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_two_trees_in_one_folder_are_refused(tree):
    shutil.copytree(tree / "training_data_27203_4_7", tree / "training_data_2")
    check_refusal(tree, "several folders of training_data")
