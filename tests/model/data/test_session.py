import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.recording import copies
from omnimouse_model.data.stimulus import Trials
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.storage import byte_source
from tests import SESSIONS
from tests.conformance import session as conformance
from tests.conformance.session import lines
from tests.memory import check_memory
from tests.model.data.refusals import check_refusal
from tests.model.experanto_folder import edit_yaml, save_json, write_folder
from tests.small_sessions import write_session

REFERENCE = SESSIONS / "experanto_small"
"""The committed session, recorded from the reference package."""


@pytest.fixture(scope="module")
def fixture():
    return open_session(REFERENCE)


def test_everything_recorded_from_the_reference_is_met():
    found = [*lines(REFERENCE, SESSIONS / "experanto_small_expected.npz")]
    assert len(found) == 349
    assert not [line.text() for line in found if not line.is_good]


def test_a_difference_from_the_reference_fails(tmp_path):
    wrong = {"fm/responses/valid_interval": np.zeros(2)}
    np.savez(tmp_path / "wrong.npz", **wrong)
    (line,) = lines(REFERENCE, tmp_path / "wrong.npz")
    assert not line.is_good


def test_plans_of_recorded_windows_may_name_any_tier_of_the_session():
    known = {"final_test", "final_test_1", "validation", "odd_tier"}
    found = conformance._plan("val_odd_tier_final_test_1_s30_noblanks", known)
    assert found == (["validation", "odd_tier", "final_test_1"], 30, False)


def test_identity_units_and_streams(fixture):
    found = (fixture.id, fixture.animal_id, fixture.n_neurons)
    assert found == ("99000-1-2", "99000", 24)
    assert fixture.duration_s == pytest.approx(26.0, abs=0.05)
    units = fixture.units
    assert set(units.area) == {"V1", "LM", "AL", "RL"}
    assert units.xyz_um.shape == (24, 3)
    assert units.plane.dtype == np.int32
    pupil = ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y")
    assert fixture.behavior_names == (*pupil, "running")
    assert units.scale.min() == 1.0


def test_tiers_have_the_minutes_of_their_trials(fixture):
    trials = fixture.trials
    minutes = fixture.tiers()
    assert list(minutes)[:3] == ["blank", "train", "validation"]
    seconds = (trials.t_off - trials.t_on)[trials.tier == "train"].sum()
    assert minutes["train"] == pytest.approx(seconds / 60)


@pytest.mark.parametrize(
    ("meta", "session_id", "animal"),
    [
        ({"data_key": "8-1-2", "scan_key": {"animal_id": 9}}, "8-1-2", "9"),
        ({"data_key": "8-1-2"}, "8-1-2", "8"),
        ({"scan_key": {"animal_id": 7, "session": 3, "scan_idx": 4}}, "7-3-4", "7"),
        ({"animal_id": 8, "session": 2, "scan_idx": 3}, "8-2-3", "8"),
        ({"data_key": "5-6-7", "scan_key": "8-9-1"}, "5-6-7", "5"),
        ({"animal_id": "m"}, "dynamic5-6-7-Video-x", "m"),
        ({}, "dynamic5-6-7-Video-x", "5"),
        (None, "dynamic5-6-7-Video-x", "5"),
    ],
)
def test_the_key_is_found_in_the_formats_order(tmp_path, meta, session_id, animal):
    root = write_folder(tmp_path / "dynamic5-6-7-Video-x", identity=False)
    if meta is not None:
        save_json(root / "meta.json", meta)
    session = open_session(root)
    assert (session.id, session.animal_id) == (session_id, animal)


def test_the_fingerprint_stays_with_a_move_and_changes_with_the_contents(tmp_path):
    root = write_folder(tmp_path / "a")
    before = open_session(root).fingerprint
    moved = root.rename(tmp_path / "b")
    assert open_session(moved).fingerprint == before
    edit_yaml(moved / "screen/meta.yml", note="changed")
    assert open_session(moved).fingerprint != before


def test_a_copy_under_another_name_is_known_by_its_numbers(tmp_path):
    arrays = {"responses": np.random.default_rng(0).normal(size=(900, 5)), "rate_hz": 30.0}
    np.savez(tmp_path / "mine.npz", **arrays)
    shutil.copy(tmp_path / "mine.npz", tmp_path / "backup.npz")
    np.savez(tmp_path / "other.npz", **arrays | {"responses": arrays["responses"][:, ::-1]})
    sessions = [open_session(tmp_path / f"{name}.npz") for name in ("mine", "backup", "other")]
    assert sessions[0].contents != sessions[1].contents, "the name of the file is the id"
    assert copies(sessions) == [("backup", "mine")]


def test_a_copy_has_the_contents_of_the_original_and_an_edit_has_others(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_source, "_HASHED_BYTES", 0)  # each file counts as a large one
    place = write_session(tmp_path / "own" / "9-1-1", 12)
    session = open_session(place)

    def copy(name):
        folder = shutil.copytree(place, tmp_path / name / place.name)
        for path in folder.rglob("*"):  # as after `cp -r`, on another day
            os.utime(path, (86400, 86400))
        return folder

    same = open_session(copy("same"))
    assert same.fingerprint != session.fingerprint
    assert same.contents == session.contents
    other = copy("tiers")
    (table,) = other.glob("screen/combined_meta.json")
    names = table.read_text().replace('"train"', '"x"').replace('"final_test_1"', '"train"')
    table.write_text(names.replace('"x"', '"final_test_1"'))
    tiers = open_session(other)
    assert set(tiers.tiers()) == set(session.tiers())
    assert tiers.contents != session.contents
    other = copy("order")
    rows = np.load(other / "responses/data.npy")
    np.save(other / "responses/data.npy", rows[::-1])
    order = open_session(other)
    assert (order.units.mean == session.units.mean).all()
    assert order.contents != session.contents
    assert copies([session, same, tiers]) == []
    # What is gone is known by its fingerprint alone.
    gone = open_session(other)
    shutil.rmtree(other)
    assert gone.contents == gone.fingerprint


@pytest.mark.parametrize(
    ("order", "code", "words"),
    [
        ((0, 1, 2, 3), "assumptions", "the data agree"),
        ((2, 3, 0, 1), "warnings", "x, y, size, its change"),
        ((0, 2, 1, 3), "warnings", "cannot tell the order"),
    ],
)
def test_the_order_of_eye_columns_is_checked_and_kept(tmp_path, order, code, words):
    root = write_folder(tmp_path / "s")
    eye = np.load(root / "eye_tracker/data.npy")
    np.save(root / "eye_tracker/data.npy", eye[:, order])
    session = open_session(root)
    found = [n.message for n in getattr(session, code) if n.code == "channel_order"]
    assert len(found) == 1
    assert words in found[0]
    assert session.behavior_names[0] == "pupil_size"
    stored = session.behavior["eye_tracker"]
    np.testing.assert_array_equal(stored.data, eye[:, order])


def test_channels_can_be_named(tmp_path):
    root = write_folder(tmp_path / "s")
    names = ["pupil_x", "pupil_y", "pupil_size", "pupil_dsize"]
    session = open_session(root, behavior_names={"eye_tracker": names})
    assert session.behavior_names == (*names, "running")
    assert not [n for n in session.warnings if n.code == "channel_order"]
    check_refusal(root, "4 columns", behavior_names={"eye_tracker": ["a"]})


def test_columns_of_unusual_number_get_plain_names(tmp_path):
    session = open_session(write_folder(tmp_path / "s", eye_columns=3))
    names = tuple(f"eye_tracker_{column}" for column in range(3))
    assert session.behavior_names[:3] == names
    assert any(n.code == "unknown_channels" for n in session.warnings)


def test_the_overview_bins_behaviour_population_and_trials(tmp_path):
    session = open_session(write_folder(tmp_path / "s", missing=((120, 160),)))
    overview = session.overview(16)
    assert session.overview(16) is overview
    assert overview.edges_s[-1] == pytest.approx(session.duration_s)
    treadmill = session.behavior["treadmill"]
    at = treadmill.start - session.t0 + np.arange(treadmill.n_samples) / 100
    third = (at >= overview.edges_s[3]) & (at < overview.edges_s[4])
    mean = treadmill.data[third, 0].mean()
    assert overview.running[3] == pytest.approx(mean, rel=1e-2)
    assert np.isnan(overview.pupil_size[6])
    assert np.isfinite(overview.population).all()
    assert overview.trial_tier.tolist() == session.trials.tier.tolist()


def test_the_overview_of_bare_responses_knows_only_the_population(tmp_path):
    session = open_session(write_folder(tmp_path / "s", streams=("responses",)))
    overview = session.overview(8)
    assert np.isnan(overview.running).all()
    assert np.isfinite(overview.population).all()
    assert not overview.has_trials
    assert overview.trial_tier.tolist() == ["train", "test"]  # its division


def test_outlines_and_mean_image_are_read_where_there_are_any(tmp_path):
    root = write_folder(tmp_path / "s", n_neurons=2)
    (root / "imaging").mkdir()
    pixels = np.array([[3, 4], [3, 5], [9, 9], [11, 9]], np.int16)
    offsets, weight = np.array([0, 2, 4]), np.array([1, 3, 1, 1], np.float32)
    np.savez(root / "imaging/rois.npz", offsets=offsets, yx=pixels, weight=weight)
    np.save(root / "imaging/mean_image.npy", np.ones((16, 20), np.float32))
    (root / "imaging/meta.yml").write_text("modality: imaging\num_per_pixel: 2.5\n")
    session = open_session(root)
    assert session.images["mean"].shape == (16, 20)
    assert session.meta["um_per_pixel"] == 2.5
    found, weight = session.units.roi.pixels(1)
    assert found.tolist() == [[9, 9], [11, 9]]
    assert weight.tolist() == [1, 1]
    np.testing.assert_allclose(session.units.xy_px, [[4.75, 3], [9, 10]])


def test_opening_a_long_session_reads_nothing_big(tmp_path):
    root, rows = write_folder(tmp_path / "long", n_neurons=1000), 600_000
    with (root / "responses/data.mem").open("r+b") as file:
        file.truncate(rows * 1000 * 4)  # a hole of 2.4 GB takes no disk
    end = 1000.0 + (rows - 1) / 30
    edit_yaml(root / "responses/meta.yml", n_timestamps=rows, end_time=end)
    session = open_session(root)
    assert session.responses.n_samples == rows
    check_memory(lambda: open_session(root), 20)
    window = session.window(8.0)
    assert window.responses.shape == (60, 1000)
    assert window.valid["responses"].all()


def test_the_tier_of_a_trial_is_that_of_its_onset_whatever_their_order():
    values = np.random.default_rng(0).random((3000, 3))
    session = open_session({"responses": values, "rate_hz": 30.0})
    on = np.array([95.0, 2.0, 50.0])
    session = replace(session, trials=Trials.of(t_on=on, t_off=on + 3))
    assert session.trial_tiers.tolist() == ["test", "train", "train"]
    starts = session.window_starts("test", spec=replace(default_spec(), align="trial"))
    np.testing.assert_allclose(starts, [95.0])
