import os
import pickle
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.readers.build.spiking_units import MAX_SPIKES
from omnimouse_model.data.window_spec import WindowSpec
from tests.hostile_pickles import CallingPickle, object_npy
from tests.model.alf_folder import (
    SECONDS,
    AlfSession,
    ProbeFiles,
    replace,
    trial_columns,
    write_alf,
)
from tests.model.data.refusals import check_refusal, check_session, left_out

TRIALS = WindowSpec(
    duration_s=3.0,
    response_rate_hz=50.0,
    responses="count",
    align="trial",
    trial_offset_s=-0.5,
)
TWO = (ProbeFiles(), ProbeFiles("probe01", sorter="", n_units=4, seed=9))
TABLE, METRICS = "_ibl_trials.table.pqt", "clusters.metrics.pqt"
TIMES, UNITS = "spikes.times.npy", "spikes.clusters.npy"


@pytest.fixture
def written(tmp_path) -> AlfSession:
    return write_alf(tmp_path / "mouse_1" / "2024-05-06" / "001")


def counts_of(written: AlfSession, window, probe: str = "probe00", n_units: int = 6) -> np.ndarray:
    """Spikes of each unit of a probe in a window of three seconds."""
    times, unit = written.spikes[probe]
    inside = (times >= window.start_s) & (times < window.start_s + 3.0)
    return np.bincount(unit[inside], minlength=n_units)


def test_windows_of_trials_count_spikes_until_the_files_change(written):
    session = open_session(written.path)
    times, _ = written.spikes["probe00"]
    starts = session.window_starts(None, spec=TRIALS)
    np.testing.assert_allclose(starts, written.trials["stimOn_times"] - 0.5)
    for start in starts[[0, 7, -1]]:
        window = session.window(float(start), TRIALS)
        np.testing.assert_array_equal(window.responses.sum(axis=0), counts_of(written, window))
        onset = np.count_nonzero((times >= start + 0.5) & (times < start + 0.52))
        assert window.responses[25].sum() == onset
    assert not session.is_stale
    os.truncate(written.probe / UNITS, 200)
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
    np.testing.assert_allclose(trials.t_off, written.trials["intervals_1"])
    left = np.isfinite(written.trials["contrastLeft"])
    assert [s.startswith("left") for s in trials.stim_id] == left.tolist()
    again = open_session(written.path, split_seed=1)
    assert again.trials.tier.tolist() != trials.tier.tolist()
    assert again.fingerprint != session.fingerprint


def test_trials_begin_at_any_event(written):
    event, notes = "firstMovement_times", {"missing_event": "1 of 20"}
    session = check_session(written.path, {}, notes, trial_event=event)
    np.testing.assert_allclose(session.trials.t_on, written.trials[event][:-1])
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
    replace(written, TABLE, {**written.trials, "stimOn_times": np.full(20, value)})
    notes = {"missing_event": "0 or missing in all 20 trials", "trial_event": "begin at start_time"}
    session = check_session(written.path, {}, notes)
    np.testing.assert_allclose(session.trials.t_on, written.trials["intervals_0"])


def test_units_are_chosen_by_quality_rate_and_presence(written):
    words = "2 of 6", "0.66 leaves out 2", "0.5 Hz leaves out 1", "presence of 0.5 leaves out 1"
    chosen = {"quality": 0.66, "min_rate_hz": 0.5, "min_presence": 0.5}
    values = {"units.unit_id": [1, 4]}
    session = check_session(written.path, values, {"unit_selection": words}, **chosen)
    window = session.window(10.0, TRIALS)
    counts = counts_of(written, window)[[1, 4]]
    np.testing.assert_array_equal(window.responses.sum(axis=0), counts)
    check_session(written.path, {}, {"unit_quality": "1: 2, 0.67: 2"})
    assert check_refusal(written.path, min_rate_hz=1000.0).code == "no_units"
    assert check_refusal(written.path, quality="good").code == "bad_option"


def test_presence_is_counted_without_metrics(written):
    replace(written, METRICS, None)
    # Unit 0 fires in 15 of 60 s, the last one never.
    check_session(written.path, {"units.unit_id": [1, 2, 3, 4]}, min_presence=0.9)
    assert check_refusal(written.path, quality=1.0).code == "no_quality"


def test_two_probes_are_one_population(tmp_path):
    written = write_alf(tmp_path / "s", *TWO)
    session = open_session(written.path)
    units = session.units
    assert units.unit_id.tolist() == [*range(6), *range(100_000, 100_004)]
    assert units.probe.tolist() == ["probe00"] * 6 + ["probe01"] * 4
    window = session.window(20.0, TRIALS)
    counts = counts_of(written, window, "probe01", 4)
    np.testing.assert_array_equal(window.responses[:, 6:].sum(axis=0), counts)


def test_the_preferred_sorter_is_read_and_others_can_be_chosen(tmp_path):
    root = tmp_path / "s"
    write_alf(root, ProbeFiles(sorter="", n_units=3), ProbeFiles("probe01", n_units=2))
    write_alf(root, ProbeFiles(n_units=5))
    notes = {"series": "there are also alf"}
    session = check_session(root, {"n_neurons": 7, "series": "pykilosort"}, notes)
    assert list(session.series_choices) == ["pykilosort", "alf"]
    check_session(root, {"n_neurons": 3}, {"left_out_probes": "probe01"}, series="alf")
    error = check_refusal(root, "pykilosort", series="kilosort9")
    assert error.code == "no_series"
    assert error.hint == "choose one of these with series=, or --series"


def test_a_pupil_that_is_not_read_is_not_called_missing(written):
    (written.path / "alf/_ibl_leftCamera.features.pqt").write_bytes(b"PAR1")
    session = check_session(written.path, {}, {"left_out_stream": "leftCamera.features"})
    assert not any("no pupil" in note.message for note in session.assumptions)


def test_a_probe_without_spikes_is_named(written):
    (written.path / "alf/probe09/pykilosort").mkdir(parents=True)
    check_session(written.path, {}, {"left_out_probes": "probe09 has no spikes"})


def test_spikes_without_a_folder_of_a_probe_are_read(tmp_path):
    written = write_alf(tmp_path / "s")
    for path in written.probe.iterdir():
        shutil.copy(path, tmp_path / "s/alf")
    assert open_session(tmp_path / "s").n_neurons == 6
    check_refusal(written.probe, "is a part of the recording .*/s")
    shutil.rmtree(written.probe.parent)
    check_session(tmp_path / "s", {"n_neurons": 6, "series": "alf"})


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
    replace(written, TABLE, None)
    columns = trial_columns(20)
    ends = [columns.pop(f"intervals_{k}") for k in (0, 1)]
    for name, values in {**columns, "intervals": np.stack(ends, axis=1)}.items():
        replace(written, f"_ibl_trials.{name}.npy", values)
    session = open_session(written.path)
    np.testing.assert_allclose(session.trials.t_on, columns["stimOn_times"])
    assert session.trials.extra[3]["choice"] == columns["choice"][3]


def test_trials_of_a_task_are_read_and_others_named(written):
    alf = written.path / "alf"
    for task in ("task_00", "task_01"):
        (alf / task).mkdir()
        shutil.copy(alf / TABLE, alf / task / TABLE)
    (alf / TABLE).unlink()
    assert len(check_session(written.path, {}, {"several_tasks": "task_01"}).trials) == 20


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
    check_session(written.path, {"behavior.treadmill": None})


def test_times_of_the_wheel_in_milliseconds_are_told(written):
    expected = open_session(written.path).behavior["treadmill"].data
    times = np.load(written.path / "alf/_ibl_wheel.timestamps.npy")
    replace(written, "_ibl_wheel.timestamps.npy", times * 1000)
    session = check_session(written.path, {}, {"times_in_milliseconds": "running (wheel)"})
    np.testing.assert_allclose(session.behavior["treadmill"].data, expected, atol=1e-6)


def test_times_of_the_wheel_are_linear_between_the_samples_that_have_one(written):
    name = "_ibl_wheel.timestamps.npy"
    expected = open_session(written.path).behavior["treadmill"].data
    times = np.load(written.path / "alf" / name)
    replace(written, name, np.array([[0, times[0]], [len(times) - 1, times[-1]]]))
    found = open_session(written.path).behavior["treadmill"].data
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_wheel_of_a_part_of_the_recording_is_missing_in_the_rest(written):
    for name in ("_ibl_wheel.timestamps.npy", "_ibl_wheel.position.npy"):
        values = np.load(written.path / "alf" / name)
        replace(written, name, values[: len(values) // 2])
    session = check_session(written.path, {}, {"stream_lengths": "lasts 29.49 s"})
    values, _ = session.behavior["treadmill"].sample(np.array([10.0, SECONDS - 5]))
    np.testing.assert_array_equal(values[:, 0], [0.0, np.nan])


def test_units_without_a_position_are_listed_and_not_placed(written):
    places = np.load(written.probe / "channels.localCoordinates.npy")
    places[2] = np.nan
    replace(written, "channels.localCoordinates.npy", places)
    session = check_session(written.path, {}, {"unplaced_units": "1 of 6"})
    assert np.isnan(session.units.xyz_um[1]).all()
    assert np.isfinite(session.units.xyz_um[[0, 2, 3, 4, 5]]).all()
    for name in ("clusters.channels", "channels.localCoordinates"):
        replace(written, f"{name}.npy", None)
    session = check_session(written.path, {"units.area": None})
    assert np.isnan(session.units.xyz_um).all()


def test_regions_are_named_by_a_table_of_the_session(written):
    (written.path / "regions.csv").write_text("id,acronym\n385,VISp\n")
    check_session(written.path, {"units.area": ["VISp", "672"] * 3}, {"region_ids": "1 regions"})


@pytest.mark.parametrize("row", ["first,VISp", "385.5,VISp", "1e30,VISp", "385,"])
def test_a_table_of_regions_that_is_none_is_left_out(written, row):
    (written.path / "regions.csv").write_text(f"id,acronym\n{row}\n")
    session = check_session(written.path, {"units.area": ["385", "672"] * 3})
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
    values = {"units.area": ["VISp", "CP"] * 3, "units.area_source": "iblatlas (Beryl)"}
    check_session(written.path, values)


def test_names_come_from_the_path(written):
    name = "mouse_1_2024-05-06_001"
    check_session(written.path, {"id": name, "animal_id": "mouse_1"})
    check_session(written.path / "alf", {"id": name})
    assert is_session(written.path)
    other = written.path.rename(written.path.parents[2] / "mine")
    check_session(other, {"id": "mine", "animal_id": None}, {"no_identity": ""})


def test_a_session_is_sent_by_its_path_with_its_options(written):
    session = open_session(written.path, quality=1.0, trial_event="feedback_times")
    copy = pickle.loads(pickle.dumps(session))
    assert copy.fingerprint == session.fingerprint
    assert copy.units.unit_id.tolist() == session.units.unit_id.tolist()
    assert copy.fingerprint != open_session(written.path).fingerprint


def test_spikes_without_trials_are_a_session(written):
    session = check_session(replace(written, TABLE, None).path, {"trials.tier": []})
    assert list(session.tiers()) == ["train", "test"]
    error = check_refusal(written.path, trial_event="goCue_times")
    assert error.code == "no_event"


def test_spikes_in_any_order_are_sorted(written):
    times, unit = written.spikes["probe00"]
    expected = open_session(written.path).window(10.0, TRIALS).responses
    order = np.random.default_rng(0).permutation(len(times))
    replace(replace(written, TIMES, times[order]), UNITS, unit[order])
    session = open_session(written.path)
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses, expected)


def test_channels_that_a_table_lacks_are_told(written):
    replace(written, "clusters.channels.npy", np.array([0, 1, 2, 3, 99, -1]))
    check_session(written.path, {}, {"unknown_channels": ("from -1 to 99", "2 of 6 units")})


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
        ("spikes.clusters", np.arange(2400) % 6 - 1, "bad_array", "400 of 2,400 spikes are of no"),
        ("spikes.clusters", np.full(2400, 0.5), "bad_array", "not whole"),
        ("spikes.clusters", np.full(2400, 10**9), "bad_array", "1000000000"),
    ],
)
def test_spikes_that_do_not_fit_are_named(written, name, values, code, words):
    replace(written, f"{name}.npy", values)
    error = check_refusal(written.path, words)
    assert error.code == code
    assert name in str(error) or error.code == "bad_clock"


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("clusters.channels", np.zeros(6) + 0.5, ["float64"]),
        ("clusters.channels", np.zeros(3, int), ["3 units, ", " unit 4"]),
        ("clusters.channels", np.full(6, 99), ["99"]),
        ("channels.mlapdv", np.zeros((12, 2)), ["12, 2"]),
        ("channels.localCoordinates", np.zeros(12), ["(12,)"]),
    ],
)
def test_tables_of_channels_that_do_not_fit_are_left_out(written, name, values, words):
    expected = open_session(written.path).window(10.0, TRIALS).responses
    session = open_session(replace(written, f"{name}.npy", values).path)
    messages = [n.message for n in session.warnings if n.code == "left_out_stream"]
    assert messages
    assert all(word in message for word in words for message in messages), messages
    # Without channels, the unit without spikes is not known.
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses[:, :5], expected[:, :5])
    assert session.n_neurons in (5, 6)


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_vectors_of_matlab_and_numbers_as_floats_are_read(written, shape):
    expected = open_session(written.path).window(10.0, TRIALS).responses
    times, unit = written.spikes["probe00"]
    replace(written, TIMES, times.reshape(shape))
    replace(written, UNITS, unit.astype(float).reshape(shape))
    session = open_session(written.path)
    np.testing.assert_array_equal(session.window(10.0, TRIALS).responses, expected)


def test_times_in_milliseconds_are_refused_with_both_readings(written):
    times, _ = written.spikes["probe00"]
    replace(written, TIMES, times * 1000)
    assert "trials from 2 to" in str(check_refusal(written.path, "milliseconds"))


def test_more_spikes_than_any_recording_are_refused_unread(written):
    for name, dtype in (("times", "<f8"), ("clusters", "<u4")):
        path = written.probe / f"spikes.{name}.npy"
        np.lib.format.open_memmap(path, "w+", dtype, (MAX_SPIKES + 1,)).flush()
    assert check_refusal(written.path).code == "too_large"


def test_pickles_are_not_opened(written):
    made = written.path / "made"
    hostile = object_npy(pickle.dumps(CallingPickle(os.mkdir, str(made))))
    replace(written, "channels.mlapdv.npy", hostile)
    assert "pickled" in left_out(open_session(written.path))
    replace(written, TIMES, hostile)
    assert check_refusal(written.path).code == "pickled"
    assert not made.exists()


def test_linked_folders_are_not_searched(written):
    outside = written.path.parents[2] / "outside"
    written.probe.rename(outside)
    written.probe.symlink_to(outside)
    assert check_refusal(written.path).code == "unknown_format"


def test_a_column_of_another_length_is_left_out(written):
    replace(written, TABLE, None)
    begin = written.trials["intervals_0"]
    for name, values in {
        "intervals": np.stack([begin, begin + 2.0], axis=1),
        "choice": np.ones(21),
        "feedbackType": np.ones((20, 1)),
    }.items():
        replace(written, f"_ibl_trials.{name}.npy", values)
    notes = {"left_out_columns": ("choice", "21 values for 20")}
    session = check_session(written.path, {}, notes)
    assert len(session.trials) == 20
    assert session.trials.extra[0]["feedbackType"] == 1.0


@pytest.mark.parametrize(
    ("columns", "code", "words"),
    [
        ({"cluster_id": np.arange(6) + 1}, "left_out_stream", "cluster_id names units 1 to 6"),
        ({"cluster_id": np.zeros(6, int)}, "left_out_stream", "cluster_id"),
        ({"cluster_id": np.full(6, np.nan)}, "left_out_stream", "cluster_id"),
        ({"label": np.ones(4)}, "left_out_stream", "4 rows for 6 units, and no cluster_id"),
        ({"cluster_id": np.arange(6), "label": [[1.0, 0.5]] * 6}, "unread_columns", "label"),
    ],
)
def test_labels_of_other_units_or_kinds_are_left_out(written, columns, code, words):
    replace(written, METRICS, {"label": np.ones(6), **columns})
    session = check_session(written.path, {}, {code: words})
    assert "label" not in session.units.properties


def test_labels_that_are_missing_are_no_quality(written):
    labels = {"label": np.full(6, np.nan), "ks2_label": ["good"] + ["mua"] * 5}
    replace(written, METRICS, {"cluster_id": np.arange(6.0), **labels})
    notes = {"no_quality": "clusters.metrics: label is missing"}
    check_session(written.path, {"units.unit_id": [0]}, notes, quality="good")


def test_metrics_of_another_sorting_are_noticed(written):
    counts = np.bincount(written.spikes["probe00"][1], minlength=6)
    for spikes, told in ((counts, None), (counts[::-1].copy(), "")):
        replace(written, METRICS, {"cluster_id": np.arange(6), "spike_count": spikes})
        check_session(written.path, {}, {"other_spikes": told})


def test_metrics_of_some_units_leave_the_others_without(written):
    table = {"cluster_id": [4, 1], "label": [1.0, 0.0], "depth": [1.0, 2.0]}
    replace(written, METRICS, table)
    session = check_session(written.path, {}, {"left_out_columns": "depth"})
    label = session.units.properties["label"]
    np.testing.assert_array_equal(label, [np.nan, 0, np.nan, np.nan, 1, np.nan])


def test_revisions_that_differ_are_named(tmp_path):
    root = tmp_path / "s"
    written = write_alf(root, ProbeFiles(revision="#2024-05-06#"))
    check_session(root, {}, {"mixed_revisions": None})
    older = written.probe.with_name("#2023-01-01#")
    older.mkdir()
    for path in written.probe.glob("cl*"):
        path.rename(older / path.name)
    check_session(root, {}, {"mixed_revisions": ("spikes of 2024-05-06", "2023-01-01")})


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
    values = {"duration_s": pytest.approx(SECONDS, abs=0.1)}
    notes = {"stream_lengths": "probe00 at 59.9", "unobserved_spikes": None}
    session = check_session(written.path, values, notes)
    early = session.window(10.0, TRIALS).responses
    late = session.window(45.0, TRIALS).responses
    assert np.isfinite(early).all()
    assert np.isfinite(late[:, :6]).all()
    assert np.isnan(late[:, 6:]).all()
    rates = session.units.properties["rate_hz"][6:]
    counts = np.bincount(unit[is_early], minlength=4)
    np.testing.assert_allclose(rates, counts / (SECONDS / 3), rtol=0.02)


def test_a_missing_package_is_named(written, monkeypatch):
    replace(written, METRICS, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install" in left_out(open_session(written.path))


def without(columns: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key: values for key, values in columns.items() if key != name}


TRIAL_COLUMNS = trial_columns(20)
LEFT_OUT = {
    "trials without a start": (TABLE, without(TRIAL_COLUMNS, "intervals_0"), "intervals_0"),
    "trials without a stop": (TABLE, without(TRIAL_COLUMNS, "intervals_1"), "intervals_1"),
    "texts as stops": (
        TABLE,
        {**TRIAL_COLUMNS, "intervals_1": np.array(["a"] * 20)},
        "intervals_1",
    ),
    "lists and no stops": (
        TABLE,
        {**without(TRIAL_COLUMNS, "intervals_1"), "choice": [[1]] * 20},
        "intervals_1",
    ),
    "no Parquet": (TABLE, b"PAR1 and no more", TABLE),
    "two identities": ("clusters.uuids.csv", "uuids\na\nb\n", "2 rows for 6 units"),
    **{
        f"wheel {k}": (f"_ibl_wheel.{name}.npy", values, words)
        for k, (name, values, words) in enumerate(
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
            ]
        )
    },
}


@pytest.mark.parametrize(("name", "content", "words"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_faulty_file_beside_the_spikes_is_left_out(written, name, content, words):
    session = open_session(replace(written, name, content).path)
    assert words in left_out(session)
    assert (len(session.trials) == 0) == (name == TABLE)
    assert (session.behavior["treadmill"] is None) == ("wheel" in name)
    assert ("uuid" not in session.units.properties) == ("uuids" in name)
    assert "wheel" not in name or "wheel" in left_out(session)
