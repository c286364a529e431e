import os
import pickle
import re
import shutil
import sys
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.readers.build.spiking_units import MAX_SPIKES
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from tests.hostile_pickles import CallingPickle, object_npy
from tests.model.alf_folder import (
    SECONDS,
    AlfSession,
    ProbeFiles,
    trial_columns,
    write_alf,
    write_table,
)
from tests.model.data.refusals import check_refusal, give_away, left_out

TRIALS = WindowSpec(
    duration_s=3.0,
    response_rate_hz=50.0,
    responses="count",
    align="trial",
    trial_offset_s=-0.5,
)
TWO = (ProbeFiles(), ProbeFiles("probe01", sorter="", n_units=4, seed=9))


@pytest.fixture
def written(tmp_path) -> AlfSession:
    return write_alf(tmp_path / "mouse_1" / "2024-05-06" / "001")


def note_messages(session: Session) -> dict[str, str]:
    return {n.code: n.message for n in (*session.assumptions, *session.warnings)}


def test_windows_of_trials_count_spikes_until_the_files_change(written):
    session = open_session(written.path)
    times, unit = written.spikes["probe00"]
    starts = session.window_starts(None, spec=TRIALS)
    np.testing.assert_allclose(starts, written.trials["stimOn_times"] - 0.5)
    for start in starts[[0, 7, -1]]:
        window = session.window(float(start), TRIALS)
        inside = (times >= start) & (times < start + 3.0)
        counts = np.bincount(unit[inside], minlength=6)
        np.testing.assert_array_equal(window.responses.sum(axis=0), counts)
        onset = np.count_nonzero((times >= start + 0.5) & (times < start + 0.52))
        assert window.responses[25].sum() == onset
    assert not session.is_stale
    os.truncate(written.probe / "spikes.clusters.npy", 200)
    assert session.is_stale


def test_units_have_places_regions_labels_and_columns(written):
    units = open_session(written.path).units
    assert units.unit_id.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(units.probe) == {"probe00"}
    assert units.area.tolist() == ["385", "672"] * 3
    # Channel 0 is the lowest of 12, which are 20 µm apart.
    np.testing.assert_array_equal(units.xyz_um[:, 2], [220, 180, 140, 100, 60, 20])
    columns = units.properties
    np.testing.assert_allclose(columns["label"][:4], [1, 2 / 3, 1 / 3, 0])
    assert columns["uuid"][2] == "unit-2"
    assert columns["ks2_label"].tolist() == ["good", *["mua"] * 5]
    np.testing.assert_array_equal(columns["ap_um"], np.arange(6) * 6 + 1)
    _, unit = written.spikes["probe00"]
    rate_hz = np.bincount(unit, minlength=6) / SECONDS
    np.testing.assert_allclose(columns["rate_hz"], rate_hz, rtol=0.01)


def test_trials_have_their_columns_tiers_and_stimuli(written):
    session = open_session(written.path)
    trials = session.trials
    assert dict(zip(*np.unique(trials.tier, return_counts=True), strict=True)) == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    for row, extra in enumerate(trials.extra):
        for name in ("choice", "feedbackType", "probabilityLeft", "goCue_times"):
            assert extra[name] == written.trials[name][row]
    left = np.isfinite(written.trials["contrastLeft"])
    assert [s.startswith("left") for s in trials.stim_id] == left.tolist()
    again = open_session(written.path, split_seed=1)
    assert again.trials.tier.tolist() != trials.tier.tolist()
    assert again.fingerprint != session.fingerprint


def test_trials_begin_at_any_event(written):
    session = open_session(written.path, trial_event="firstMovement_times")
    moved = written.trials["firstMovement_times"]
    np.testing.assert_allclose(session.trials.t_on, moved[:-1])
    assert "1 of 20" in note_messages(session)["missing_event"]
    # A trial has the same tier whatever event it begins at.
    tiers = open_session(written.path).trials.tier[:-1]
    assert session.trials.tier.tolist() == tiers.tolist()
    start = open_session(written.path, trial_event="start_time").trials.t_on
    np.testing.assert_allclose(start, written.trials["intervals_0"])
    error = check_refusal(written.path, trial_event="lick_times")
    assert error.code == "no_event"
    assert "goCue_times" in str(error)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_event_without_times_takes_no_trials_away(written, value):
    columns = {**written.trials, "stimOn_times": np.full(20, value)}
    write_table(written.path / "alf/_ibl_trials.table.pqt", columns)
    session = open_session(written.path)
    np.testing.assert_allclose(session.trials.t_on, columns["intervals_0"])
    notes = note_messages(session)
    assert "0 or missing in all 20 trials" in notes["missing_event"]
    assert "begin at start_time" in notes["trial_event"]


def test_units_are_chosen_by_quality_rate_and_presence(written):
    session = open_session(written.path, quality=0.66, min_rate_hz=0.5, min_presence=0.5)
    assert session.units.unit_id.tolist() == [1, 4]
    message = note_messages(session)["unit_selection"]
    for part in (
        "2 of 6",
        "0.66 leaves out 2",
        "0.5 Hz leaves out 1",
        "presence of 0.5 leaves out 1",
    ):
        assert part in message
    times, unit = written.spikes["probe00"]
    window = session.window(10.0, TRIALS)
    inside = (times >= window.start_s) & (times < window.start_s + 3)
    counts = np.bincount(unit[inside], minlength=6)[[1, 4]]
    np.testing.assert_array_equal(window.responses.sum(axis=0), counts)
    assert "1: 2, 0.67: 2" in note_messages(open_session(written.path))["unit_quality"]
    assert check_refusal(written.path, min_rate_hz=1000.0).code == "no_units"
    assert check_refusal(written.path, quality="good").code == "bad_option"


def test_presence_is_counted_without_metrics(written):
    (written.probe / "clusters.metrics.pqt").unlink()
    session = open_session(written.path, min_presence=0.9)
    # Unit 0 fires in 15 of 60 s, the last one never.
    assert session.units.unit_id.tolist() == [1, 2, 3, 4]
    assert check_refusal(written.path, quality=1.0).code == "no_quality"


def test_two_probes_are_one_population(tmp_path):
    written = write_alf(tmp_path / "s", *TWO)
    session = open_session(written.path)
    units = session.units
    assert units.unit_id.tolist() == [*range(6), *range(100_000, 100_004)]
    assert units.probe.tolist() == ["probe00"] * 6 + ["probe01"] * 4
    window = session.window(20.0, TRIALS)
    times, unit = written.spikes["probe01"]
    inside = (times >= window.start_s) & (times < window.start_s + 3)
    counts = np.bincount(unit[inside], minlength=4)
    np.testing.assert_array_equal(window.responses[:, 6:].sum(axis=0), counts)


def test_the_preferred_sorter_is_read_and_others_can_be_chosen(tmp_path):
    root = tmp_path / "s"
    write_alf(root, ProbeFiles(sorter="", n_units=3), ProbeFiles("probe01", n_units=2))
    write_alf(root, ProbeFiles(n_units=5))
    session = open_session(root)
    assert session.n_neurons == 7
    assert session.series == "pykilosort"
    assert list(session.series_choices) == ["pykilosort", "alf"]
    assert "there are also alf" in note_messages(session)["series"]
    direct = open_session(root, series="alf")
    assert direct.n_neurons == 3
    assert "probe01" in note_messages(direct)["left_out_probes"]
    error = check_refusal(root, series="kilosort9")
    assert error.code == "no_series"
    assert "pykilosort" in str(error)
    assert error.hint == "choose one of these with series=, or --series"


def test_spikes_without_a_folder_of_a_probe_are_read(tmp_path):
    written = write_alf(tmp_path / "s")
    for path in written.probe.iterdir():
        shutil.copy(path, tmp_path / "s/alf")
    assert open_session(tmp_path / "s").n_neurons == 6
    check_refusal(written.probe, "is a part of the recording .*/s")
    shutil.rmtree(written.probe.parent)
    session = open_session(tmp_path / "s")
    assert (session.n_neurons, session.series) == (6, "alf")


def test_each_dataset_is_of_its_latest_revision(tmp_path):
    root = tmp_path / "s"
    write_alf(root, ProbeFiles(revision="#2023-01-01#", seed=1))
    written = write_alf(root, ProbeFiles(revision="#2024-05-06#", seed=2))
    session = open_session(root)
    times, _ = written.spikes["probe00"]
    np.testing.assert_array_equal(np.sort(session.responses.file.all_times()), times)


def test_names_with_identities_and_columns_in_arrays_are_read(written):
    old = written.probe / "spikes.times.npy"
    identity = "spikes.times.11111111-2222-3333-4444-555555555555.npy"
    old.rename(old.with_name(identity))
    alf = written.path / "alf"
    (alf / "_ibl_trials.table.pqt").unlink()
    columns = trial_columns(20)
    ends = [columns.pop(f"intervals_{k}") for k in (0, 1)]
    np.save(alf / "_ibl_trials.intervals.npy", np.stack(ends, axis=1))
    for name, values in columns.items():
        np.save(alf / f"_ibl_trials.{name}.npy", values)
    session = open_session(written.path)
    np.testing.assert_allclose(session.trials.t_on, columns["stimOn_times"])
    assert session.trials.extra[3]["choice"] == columns["choice"][3]


def test_trials_of_a_task_are_read_and_others_named(written):
    alf = written.path / "alf"
    for task in ("task_00", "task_01"):
        (alf / task).mkdir()
        target = alf / task / "_ibl_trials.table.pqt"
        shutil.copy(alf / "_ibl_trials.table.pqt", target)
    (alf / "_ibl_trials.table.pqt").unlink()
    session = open_session(written.path)
    assert len(session.trials) == 20
    assert "task_01" in note_messages(session)["several_tasks"]


def test_the_speed_of_the_wheel_is_a_behaviour_channel(written):
    session = open_session(written.path)
    assert session.behavior_names == ("wheel_speed",)
    wheel = session.behavior["treadmill"]
    assert wheel.units == ("rad/s",)
    values, valid = wheel.sample(np.array([10.0, 45.0, 50.0]))
    assert len(valid) == 3
    np.testing.assert_allclose(values[:, 0], [0.0, 0.2 * np.pi, 0.2 * np.pi], rtol=1e-6)
    for path in (written.path / "alf").glob("_ibl_wheel*"):
        path.unlink()
    assert open_session(written.path).behavior["treadmill"] is None


def test_a_wheel_of_a_part_of_the_recording_is_missing_in_the_rest(written):
    alf = written.path / "alf"
    for name in ("timestamps", "position"):
        values = np.load(alf / f"_ibl_wheel.{name}.npy")
        np.save(alf / f"_ibl_wheel.{name}.npy", values[: len(values) // 2])
    session = open_session(written.path)
    values, _ = session.behavior["treadmill"].sample(np.array([10.0, SECONDS - 5]))
    np.testing.assert_array_equal(values[:, 0], [0.0, np.nan])
    message = note_messages(session)["stream_lengths"]
    assert "lasts 29.49 s" in message


def test_units_without_a_position_are_listed_and_not_placed(written):
    places = np.load(written.probe / "channels.localCoordinates.npy")
    places[2] = np.nan
    np.save(written.probe / "channels.localCoordinates.npy", places)
    session = open_session(written.path)
    assert np.isnan(session.units.xyz_um[1]).all()
    assert np.isfinite(session.units.xyz_um[[0, 2, 3, 4, 5]]).all()
    assert "1 of 6" in note_messages(session)["unplaced_units"]
    for name in ("clusters.channels", "channels.localCoordinates"):
        (written.probe / f"{name}.npy").unlink()
    session = open_session(written.path)
    assert np.isnan(session.units.xyz_um).all()
    assert session.units.area is None


def test_regions_are_named_by_a_table_of_the_session(written):
    (written.path / "regions.csv").write_text("id,acronym\n385,VISp\n")
    session = open_session(written.path)
    assert session.units.area.tolist() == ["VISp", "672"] * 3
    assert "1 regions" in note_messages(session)["region_ids"]
    (written.path / "regions.csv").write_text("id,acronym\nfirst,VISp\n")
    session = open_session(written.path)
    assert session.units.area.tolist() == ["385", "672"] * 3
    assert "regions.csv" in left_out(session)


def test_regions_are_named_by_iblatlas_if_it_is_installed(written, monkeypatch):
    class BrainRegions:
        """Stand-in of the package."""

        def id2acronym(self, ids: np.ndarray, mapping: str) -> np.ndarray:
            assert mapping == "Beryl"
            return np.array([{385: "VISp", 672: "CP"}[i] for i in ids.tolist()])

    module = ModuleType("iblatlas.regions")
    module.BrainRegions = BrainRegions  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "iblatlas", ModuleType("iblatlas"))
    monkeypatch.setitem(sys.modules, "iblatlas.regions", module)
    session = open_session(written.path)
    assert session.units.area.tolist() == ["VISp", "CP"] * 3
    assert session.units.area_source == "iblatlas (Beryl)"


def test_names_come_from_the_path(written):
    session = open_session(written.path)
    assert session.id == "mouse_1_2024-05-06_001"
    assert session.animal_id == "mouse_1"
    assert open_session(written.path / "alf").id == session.id
    assert is_session(written.path)
    other = written.path.rename(written.path.parents[2] / "mine")
    session = open_session(other)
    assert (session.id, session.animal_id) == ("mine", None)
    assert "no_identity" in note_messages(session)


def test_a_session_is_sent_by_its_path_with_its_options(written):
    session = open_session(written.path, quality=1.0, trial_event="feedback_times")
    copy = pickle.loads(pickle.dumps(session))
    assert copy.fingerprint == session.fingerprint
    assert copy.units.unit_id.tolist() == session.units.unit_id.tolist()
    assert copy.fingerprint != open_session(written.path).fingerprint


def test_spikes_without_trials_are_a_session(written):
    (written.path / "alf" / "_ibl_trials.table.pqt").unlink()
    session = open_session(written.path)
    assert len(session.trials) == 0
    assert list(session.tiers()) == ["train", "test"]
    error = check_refusal(written.path, trial_event="goCue_times")
    assert error.code == "no_event"


def test_spikes_in_any_order_are_sorted(written):
    times, unit = written.spikes["probe00"]
    expected = open_session(written.path).window(10.0, TRIALS).responses
    order = np.random.default_rng(0).permutation(len(times))
    np.save(written.probe / "spikes.times.npy", times[order])
    np.save(written.probe / "spikes.clusters.npy", unit[order])
    session = open_session(written.path)
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses, expected)


def test_spikes_without_a_time_are_left_out(written):
    times, unit = written.spikes["probe00"]
    np.save(written.probe / "spikes.times.npy", np.where(unit == 2, np.nan, times))
    session = open_session(written.path)
    found = np.bincount(session.responses.events(-1e9, 1e9)[0], minlength=6)
    expected = np.bincount(unit[unit != 2], minlength=6)
    np.testing.assert_array_equal(found, expected)
    message = note_messages(session)["missing_spikes"]
    assert f"{np.sum(unit == 2)} of 2,400 spikes" in message


def test_channels_that_a_table_lacks_are_told(written):
    np.save(written.probe / "clusters.channels.npy", [0, 1, 2, 3, 99, -1])
    message = note_messages(open_session(written.path))["unknown_channels"]
    assert "from -1 to 99" in message
    assert "2 of 6 units" in message


# -- damaged and hostile folders -----------------------------------------------------
@pytest.mark.parametrize(
    ("name", "values", "code", "words"),
    [
        ("spikes.times", np.full(2400, np.nan), "bad_clock", "2,400 .* index 0"),
        ("spikes.times", np.zeros((2400, 2)), "wrong_shape", "2400, 2"),
        ("spikes.times", np.arange(2400), "bad_clock", "sample numbers"),
        ("spikes.times", np.zeros(0), "wrong_length", "2,400"),
        ("spikes.times", np.float32(1.7e9 + np.arange(2400)), "quantised_times", "128"),
        ("spikes.times", np.arange(2400) * 1e6, "bad_clock", "seconds"),
        ("spikes.clusters", np.zeros(7, int), "wrong_length", "7"),
        ("spikes.clusters", np.full(2400, -1), "bad_array", "-1"),
        ("spikes.clusters", np.full(2400, 0.5), "bad_array", "not whole"),
        ("spikes.clusters", np.full(2400, 10**9), "bad_array", "1000000000"),
    ],
)
def test_spikes_that_do_not_fit_are_named(written, name, values, code, words):
    np.save(written.probe / f"{name}.npy", values)
    error = check_refusal(written.path, words)
    assert error.code == code
    assert name in str(error) or error.code == "bad_clock"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("clusters.channels", np.zeros(6) + 0.5, "float64"),
        ("clusters.channels", np.zeros(3, int), "3 units, .* unit 4"),
        ("clusters.channels", np.full(6, 99), "99"),
        ("channels.mlapdv", np.zeros((12, 2)), "12, 2"),
        ("channels.localCoordinates", np.zeros(12), r"\(12,\)"),
    ],
)
def test_tables_of_channels_that_do_not_fit_are_left_out(written, name, values, words):
    expected = open_session(written.path).window(10.0, TRIALS).responses
    np.save(written.probe / f"{name}.npy", values)
    session = open_session(written.path)
    messages = [n.message for n in session.warnings if n.code == "left_out_stream"]
    assert messages
    for message in messages:
        assert re.search(words, message), message
    n = session.n_neurons  # without channels, the unit without spikes is not known
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses[:, :5], expected[:, :5])
    assert n in (5, 6)


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_vectors_of_matlab_and_numbers_as_floats_are_read(written, shape):
    expected = open_session(written.path).window(10.0, TRIALS).responses
    times, unit = written.spikes["probe00"]
    np.save(written.probe / "spikes.times.npy", times.reshape(shape))
    np.save(written.probe / "spikes.clusters.npy", unit.astype(float).reshape(shape))
    session = open_session(written.path)
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses, expected)


def test_times_in_milliseconds_are_refused_with_both_readings(written):
    times, _ = written.spikes["probe00"]
    np.save(written.probe / "spikes.times.npy", times * 1000)
    error = check_refusal(written.path, "milliseconds")
    assert "trials from 2 to" in str(error)


def test_more_spikes_than_any_recording_are_refused_unread(written):
    for name, dtype in (("times", "<f8"), ("clusters", "<u4")):
        path = written.probe / f"spikes.{name}.npy"
        np.lib.format.open_memmap(path, "w+", dtype, (MAX_SPIKES + 1,)).flush()
    assert check_refusal(written.path).code == "too_large"


def test_pickles_are_not_opened(written):
    made = written.path / "made"
    hostile = object_npy(pickle.dumps(CallingPickle(os.mkdir, str(made))))
    (written.probe / "channels.mlapdv.npy").write_bytes(hostile)
    assert "pickled" in left_out(open_session(written.path))
    (written.probe / "spikes.times.npy").write_bytes(hostile)
    assert check_refusal(written.path).code == "pickled"
    assert not made.exists()


@pytest.mark.parametrize(
    "name",
    ["spikes.times.npy", "clusters.metrics.pqt", "clusters.uuids.csv"],
)
def test_no_link_of_another_user_is_followed(written, name, monkeypatch):
    outside = written.path.parents[2] / "outside"
    (written.probe / name).rename(outside)
    (written.probe / name).symlink_to(outside)
    assert open_session(written.path).n_neurons
    give_away(written.probe / name, monkeypatch)
    if name == "spikes.times.npy":
        assert check_refusal(written.path).code == "outside"
    else:
        assert name in left_out(open_session(written.path))


def test_linked_folders_are_not_searched(written):
    outside = written.path.parents[2] / "outside"
    written.probe.rename(outside)
    written.probe.symlink_to(outside)
    assert check_refusal(written.path).code == "unknown_format"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"intervals_0": None}, "intervals_0"),
        ({"intervals_1": np.array(["a"] * 20)}, "intervals_1"),
        ({"choice": [[1]] * 20, "intervals_1": None}, "intervals_1"),
    ],
)
def test_trials_without_intervals_are_left_out(written, columns, words):
    trials = {**written.trials, **columns}
    trials = {k: v for k, v in trials.items() if v is not None}
    write_table(written.path / "alf" / "_ibl_trials.table.pqt", trials)
    session = open_session(written.path)
    assert words in left_out(session)
    assert len(session.trials) == 0


def test_no_trial_vanishes_without_a_note(written):
    trials = {k: v.copy() for k, v in written.trials.items()}
    trials["intervals_0"][3] = np.nan
    trials["intervals_1"][[5, 19]] = np.nan
    write_table(written.path / "alf" / "_ibl_trials.table.pqt", trials)
    session = open_session(written.path, trial_event="start_time")
    notes = note_messages(session)
    assert "1 of 20 trials have no start" in notes["trials_without_start"]
    assert "2 of 19 trials have no stop" in notes["trial_stops"]
    ends = session.trials.t_off
    assert len(ends) == 19
    assert ends[4] == trials["intervals_0"][6]
    assert ends[-1] == pytest.approx(SECONDS, abs=0.1)


def test_a_column_of_another_length_is_left_out(written):
    alf = written.path / "alf"
    (alf / "_ibl_trials.table.pqt").unlink()
    begin = written.trials["intervals_0"]
    intervals = np.stack([begin, begin + 2.0], axis=1)
    np.save(alf / "_ibl_trials.intervals.npy", intervals)
    np.save(alf / "_ibl_trials.choice.npy", np.ones(21))
    np.save(alf / "_ibl_trials.feedbackType.npy", np.ones((20, 1)))
    session = open_session(written.path)
    assert len(session.trials) == 20
    assert session.trials.extra[0]["feedbackType"] == 1.0
    message = note_messages(session)["left_out_columns"]
    assert "choice" in message
    assert "21 values for 20" in message


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"cluster_id": np.arange(6) + 1}, "cluster_id names units 1 to 6"),
        ({"cluster_id": np.zeros(6, int)}, "cluster_id"),
        ({"cluster_id": np.full(6, np.nan)}, "cluster_id"),
        ({"label": np.ones(4)}, "4 rows for 6 units, and no cluster_id"),
    ],
)
def test_metrics_of_other_units_are_left_out(written, columns, words):
    path = written.probe / "clusters.metrics.pqt"
    table = {"label": np.ones(6), **columns}
    write_table(path, table)
    session = open_session(written.path)
    assert words in left_out(session)
    assert "label" not in session.units.properties


def test_labels_that_are_missing_are_no_quality(written):
    path = written.probe / "clusters.metrics.pqt"
    units = {"cluster_id": np.arange(6.0), "label": np.full(6, np.nan)}
    write_table(path, {**units, "ks2_label": ["good"] + ["mua"] * 5})
    session = open_session(written.path, quality="good")
    assert session.units.unit_id.tolist() == [0]
    assert "clusters.metrics: label is missing" in note_messages(session)["no_quality"]


def test_labels_that_are_lists_are_named(written):
    path = written.probe / "clusters.metrics.pqt"
    write_table(path, {"cluster_id": np.arange(6), "label": [[1.0, 0.5]] * 6})
    session = open_session(written.path)
    assert "label" in note_messages(session)["unread_columns"]
    assert "label" not in session.units.properties


def test_metrics_of_another_sorting_are_noticed(written):
    _, unit = written.spikes["probe00"]
    counts = np.bincount(unit, minlength=6)
    path = written.probe / "clusters.metrics.pqt"
    for spikes, is_noted in ((counts, False), (counts[::-1].copy(), True)):
        write_table(path, {"cluster_id": np.arange(6), "spike_count": spikes})
        notes = note_messages(open_session(written.path))
        assert ("other_spikes" in notes) == is_noted


def test_revisions_that_differ_are_named(tmp_path):
    root = tmp_path / "s"
    written = write_alf(root, ProbeFiles(revision="#2024-05-06#"))
    assert "mixed_revisions" not in note_messages(open_session(root))
    older = written.probe.with_name("#2023-01-01#")
    older.mkdir()
    for path in written.probe.glob("cl*"):
        path.rename(older / path.name)
    message = note_messages(open_session(root))["mixed_revisions"]
    assert "spikes of 2024-05-06" in message
    assert "2023-01-01" in message


def test_one_broken_probe_does_not_take_the_other_away(tmp_path):
    written = write_alf(tmp_path / "s", *TWO)
    (written.path / "alf" / "probe01" / "spikes.clusters.npy").unlink()
    session = open_session(written.path)
    assert set(session.units.probe) == {"probe00"}
    message = left_out(session)
    assert "probe01" in message
    assert "spikes.clusters" in message
    (written.probe / "spikes.clusters.npy").unlink()
    assert check_refusal(written.path, "spikes.clusters").code == "missing_file"


def test_units_are_missing_after_the_end_of_their_probe(tmp_path):
    written = write_alf(tmp_path / "s", *TWO)
    folder = written.path / "alf" / "probe01"
    times, unit = written.spikes["probe01"]
    is_early = times < SECONDS / 3
    np.save(folder / "spikes.times.npy", times[is_early])
    np.save(folder / "spikes.clusters.npy", unit[is_early])
    session = open_session(written.path)
    notes = note_messages(session)
    assert "probe00 at 59.9" in notes["stream_lengths"]
    assert "unobserved_spikes" not in notes
    assert session.duration_s == pytest.approx(SECONDS, abs=0.1)
    early = session.window(10.0, TRIALS).responses
    late = session.window(45.0, TRIALS).responses
    assert np.isfinite(early).all()
    assert np.isfinite(late[:, :6]).all()
    assert np.isnan(late[:, 6:]).all()
    rates = session.units.properties["rate_hz"][6:]
    counts = np.bincount(unit[is_early], minlength=4)
    np.testing.assert_allclose(rates, counts / (SECONDS / 3), rtol=0.02)


def test_metrics_of_some_units_leave_the_others_without(written):
    path = written.probe / "clusters.metrics.pqt"
    table = {"cluster_id": [4, 1], "label": [1.0, 0.0], "depth": [1.0, 2.0]}
    pq.write_table(pa.table(table), path)
    session = open_session(written.path)
    label = session.units.properties["label"]
    np.testing.assert_array_equal(label, [np.nan, 0, np.nan, np.nan, 1, np.nan])
    assert "depth" in note_messages(session)["left_out_columns"]


def test_a_table_that_is_no_parquet_is_left_out(written):
    (written.path / "alf" / "_ibl_trials.table.pqt").write_bytes(b"PAR1 and no more")
    session = open_session(written.path)
    assert "_ibl_trials.table.pqt" in left_out(session)
    assert len(session.trials) == 0


def test_a_missing_package_is_named(written, monkeypatch):
    (written.probe / "clusters.metrics.pqt").unlink()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install" in left_out(open_session(written.path))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("position", np.zeros(5), "5,900 times for 5 positions"),
        ("position", np.full(5900, np.inf), "5,900 of 5,900 positions that are NaN"),
        (
            "timestamps",
            np.arange(5900)[::-1] * 1.0,
            "do not increase in 5,899 of 5,899 steps, first from index 0",
        ),
        ("timestamps", np.arange(5900) + 1e6, "lasts from 1000000 to 1005899 s"),
        ("timestamps", np.array(["a"] * 5900), "U1"),
        ("timestamps", None, "is missing"),
    ],
)
def test_a_damaged_wheel_is_left_out(written, name, values, words):
    path = written.path / "alf" / f"_ibl_wheel.{name}.npy"
    path.unlink()
    if values is not None:
        np.save(path, values)
    session = open_session(written.path)
    message = left_out(session)
    assert "wheel" in message
    assert re.search(words, message), message
    assert session.behavior["treadmill"] is None


def test_an_identity_for_each_unit_is_expected(written):
    (written.probe / "clusters.uuids.csv").write_text("uuids\na\nb\n")
    session = open_session(written.path)
    assert "2 rows for 6 units" in left_out(session)
    assert "uuid" not in session.units.properties
