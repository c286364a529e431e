"""What a session says of itself, on the committed fixture and on written folders."""

import tracemalloc
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from tests.conformance.session import main as conform
from tests.model.experanto_folder import Trial as StoredTrial
from tests.model.experanto_folder import (
    edit_yaml,
    save_json,
    smooth,
    trial_meta,
    write_folder,
    write_stream,
)


@pytest.fixture
def fixture(root):
    """The committed session, recorded from the reference package."""
    return open_session(root / "tests/fixtures/sessions/experanto_small")


def test_everything_recorded_from_the_reference_is_met(root, capsys):
    folder = root / "tests/fixtures/sessions"
    expected = folder / "experanto_small_expected.npz"
    assert conform([str(folder / "experanto_small"), str(expected)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "349 of 349 cases within tolerance"


def test_a_difference_from_the_reference_fails(root, tmp_path, capsys):
    folder = root / "tests/fixtures/sessions"
    wrong = np.zeros(2)
    np.savez(tmp_path / "wrong.npz", **{"fm/responses/valid_interval": wrong})
    assert conform([str(folder / "experanto_small"), str(tmp_path / "wrong.npz")]) == 1
    assert "FAIL fm/responses/valid_interval" in capsys.readouterr().out


def test_identity_units_and_streams(fixture):
    assert (fixture.id, fixture.animal_id, fixture.n_neurons) == (
        "99000-1-2",
        "99000",
        24,
    )
    assert fixture.duration_s == pytest.approx(26.0, abs=0.05)
    units = fixture.units
    assert units.area is not None
    assert set(units.area) == {"V1", "LM", "AL", "RL"}
    assert units.xyz_um.shape == (24, 3)
    assert units.plane.dtype == np.int32
    assert fixture.behavior_names == (
        *("pupil_size", "pupil_dsize", "pupil_x", "pupil_y"),
        "running",
    )
    assert units.scale.min() == 1.0


def test_tiers_have_the_minutes_of_their_trials(fixture):
    trials = fixture.trials
    minutes = fixture.tiers()
    assert list(minutes)[:3] == ["blank", "train", "validation"]
    seconds = sum(
        float(trials.t_off[i] - trials.t_on[i])
        for i in range(len(trials))
        if trials.tier[i] == "train"
    )
    assert minutes["train"] == pytest.approx(seconds / 60)


def test_columns_hold_their_trials(fixture):
    stimulus = fixture.stimulus
    assert stimulus is not None
    bits = stimulus.frame(int(fixture.trials.first_slot[5]) + 77)[0, :8] == 255
    assert int((bits * 2 ** np.arange(8)).sum()) == 77


@pytest.mark.parametrize(
    ("meta", "session_id", "animal"),
    [
        ({"data_key": "8-1-2", "scan_key": {"animal_id": 9}}, "8-1-2", "9"),
        ({"data_key": "8-1-2"}, "8-1-2", "8"),
        ({"scan_key": {"animal_id": 7, "session": 3, "scan_idx": 4}}, "7-3-4", "7"),
        ({"animal_id": "m"}, "dynamic5-6-7-Video-x", "m"),
        ({}, "dynamic5-6-7-Video-x", "5"),
        (None, "dynamic5-6-7-Video-x", "5"),
    ],
)
def test_the_key_is_found_in_the_order_of_the_format(
    tmp_path, meta, session_id, animal
):
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


# -- order of the behaviour channels ------------------------------------------------
@pytest.mark.parametrize(
    ("order", "code", "words"),
    [
        ((0, 1, 2, 3), "assumptions", "the data agree"),
        ((2, 3, 0, 1), "warnings", "look like x, y, size, its change"),
        ((0, 2, 1, 3), "warnings", "cannot tell the order"),
    ],
)
def test_the_order_of_eye_columns_is_checked_never_changed(
    tmp_path, order, code, words
):
    root = write_folder(tmp_path / "s")
    eye = np.load(root / "eye_tracker/data.npy")
    np.save(root / "eye_tracker/data.npy", eye[:, order])
    session = open_session(root)
    found = [n.message for n in getattr(session, code) if n.code == "channel_order"]
    assert len(found) == 1
    assert words in found[0]
    assert "the change of the first" in found[0]
    assert session.behavior_names[0] == "pupil_size"
    stored = session.behavior["eye_tracker"]
    assert stored is not None
    np.testing.assert_array_equal(stored.data, eye[:, order])


def test_channels_can_be_named(tmp_path):
    root = write_folder(tmp_path / "s")
    names = ["pupil_x", "pupil_y", "pupil_size", "pupil_dsize"]
    session = open_session(root, behavior_names={"eye_tracker": names})
    assert session.behavior_names == (*names, "running")
    assert not [n for n in session.warnings if n.code == "channel_order"]
    with pytest.raises(
        SessionFormatError, match="has 4 columns; the names given are a"
    ):
        open_session(root, behavior_names={"eye_tracker": ["a"]})


def test_columns_of_unusual_number_get_plain_names(tmp_path):
    session = open_session(write_folder(tmp_path / "s", eye_columns=3))
    assert session.behavior_names[:3] == (
        "eye_tracker_0",
        "eye_tracker_1",
        "eye_tracker_2",
    )
    assert any(n.code == "unknown_channels" for n in session.warnings)


# -- what the time line shows -------------------------------------------------------
def test_the_overview_bins_behaviour_population_and_trials(tmp_path):
    session = open_session(write_folder(tmp_path / "s", missing=((120, 160),)))
    overview = session.overview(16)
    assert session.overview(16) is overview
    assert overview.edges_s[-1] == pytest.approx(session.duration_s)
    treadmill = session.behavior["treadmill"]
    assert treadmill is not None
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


# -- imaging ------------------------------------------------------------------------
def test_outlines_and_mean_image_are_read_where_there_are_any(tmp_path):
    root = write_folder(tmp_path / "s", n_neurons=2)
    (root / "imaging").mkdir()
    pixels = np.array([[3, 4], [3, 5], [9, 9], [11, 9]], np.int16)
    np.savez(
        root / "imaging/rois.npz",
        offsets=np.array([0, 2, 4]),
        yx=pixels,
        weight=np.array([1, 3, 1, 1], np.float32),
    )
    np.save(root / "imaging/mean_image.npy", np.ones((16, 20), np.float32))
    (root / "imaging/meta.yml").write_text("modality: imaging\num_per_pixel: 2.5\n")
    session = open_session(root)
    assert session.images["mean"].shape == (16, 20)
    assert session.meta["um_per_pixel"] == 2.5
    assert session.units.roi is not None
    found, weight = session.units.roi.pixels(1)
    assert found.tolist() == [[9, 9], [11, 9]]
    assert weight.tolist() == [1, 1]
    np.testing.assert_allclose(session.units.xy_px, [[4.75, 3], [9, 10]])


def test_outlines_that_do_not_fit_are_left_out(tmp_path):
    root = write_folder(tmp_path / "s")
    (root / "imaging").mkdir()
    zero = np.zeros(1)
    np.savez(root / "imaging/rois.npz", offsets=zero, yx=np.zeros((0, 2)), weight=zero)
    session = open_session(root)
    assert session.units.roi is None
    assert "rois.npz does not fit 9 units" in session.warnings[0].message


# -- cost ---------------------------------------------------------------------------
def test_opening_a_long_session_of_10_000_neurons_reads_nothing_big(tmp_path):
    root = _long_session(tmp_path / "long", n_neurons=10_000, minutes=90)
    open_session(root)
    tracemalloc.start()
    begin = process_time()
    session = open_session(root)
    seconds = process_time() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert session.duration_s > 5_390
    assert seconds < 1.0 * _TRACING
    assert peak < 300 * 2**20
    window = session.window(4_000.0)
    assert window.responses.shape == (60, 10_000)
    assert window.valid["responses"].all()


_TRACING = 4.0
"""Tracing allocations, and checking types, slow opening down by about that much."""


def _long_session(root: Path, n_neurons: int, minutes: float) -> Path:
    """A session whose big files are holes: full size, no disk."""
    seconds, draw = minutes * 60, np.random.default_rng(0)
    rows = int(seconds * 30) + 1
    one = np.zeros((2, n_neurons), np.float32)
    write_stream(root / "responses", one, 30.0, 0.0, mem=True)
    edit_yaml(
        root / "responses/meta.yml",
        n_timestamps=rows,
        end_time=(rows - 1) / 30,
        phase_shift_per_signal=True,
    )
    np.save(root / "responses/meta/stds.npy", np.ones(n_neurons))
    shifts = draw.uniform(0, 0.12, n_neurons)
    np.save(root / "responses/meta/phase_shifts.npy", shifts)
    with (root / "responses/data.mem").open("r+b") as file:
        file.truncate(rows * n_neurons * 4)
    eye = smooth(draw, int(seconds * 20), 4)
    write_stream(root / "eye_tracker", eye, 20.0, 0.0, mem=True)
    run = smooth(draw, int(seconds * 100), 1)
    write_stream(root / "treadmill", run, 100.0, 0.0, mem=True)
    (root / "screen/data").mkdir(parents=True)
    kept, slot = {}, 0
    for number in range(int(seconds / 10)):
        kept[f"{number:05d}"] = trial_meta(
            StoredTrial("video", "train", 300), slot, (36, 64)
        )
        slot += 300
        path = root / "screen/data" / f"{number:05d}.npy"
        np.save(path, np.zeros((0, 36, 64), np.uint8))
        header = path.read_bytes().replace(b"(0, 36, 64), }  ", b"(300, 36, 64), }")
        path.write_bytes(header)
        with path.open("r+b") as file:
            file.truncate(len(header) + 300 * 36 * 64)
    save_json(root / "screen/combined_meta.json", kept)
    np.save(root / "screen/timestamps.npy", np.arange(slot) / 30.0)
    (root / "screen/meta.yml").write_text("modality: screen\n")
    return root
