import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.nwb.intervals import _without
from omnimouse_model.data.window_spec import WindowSpec
from tests.model.data.refusals import check_refusal, check_session
from tests.model.nwb_files import add_table, edit, write_nwb
from tests.model.nwb_units import HELD_OUT, N_TRIALS, SECONDS, write_units

TRIALS = WindowSpec(2.0, 50.0, "count", align="trial")
ELECTRODES = "general/extracellular_ephys/electrodes"
UNLISTED = {"units/electrodes": None, "units/electrodes_index": None}
UNOBSERVED = {"units/obs_intervals": None, "units/obs_intervals_index": None}


@pytest.fixture
def path(tmp_path):
    return write_units(tmp_path / "maze.nwb")


def spikes_of(path, unit):
    with h5py.File(path) as file:
        ends = [0, *file["units/spike_times_index"][()].tolist()]
        return file["units/spike_times"][ends[unit] : ends[unit + 1]]


def test_windows_count_the_spikes_of_each_unit(path):
    session = open_session(path)
    assert session.responses.has_events
    assert session.units.unit_id.tolist() == [10, 11, 12, 13, 14]
    window = session.window(13.0, TRIALS)
    for unit in range(5):
        times = spikes_of(path, unit)
        inside = (times >= window.start_s) & (times < window.start_s + 2.0)
        assert window.responses[:, unit].sum() == inside.sum()
    assert session.responses.end_declared == pytest.approx(SECONDS)


def test_units_lie_at_their_electrodes_and_keep_their_columns(path):
    units = open_session(path).units
    assert units.area.tolist() == ["PMd", "M1", "PMd", "M1", "M1"]
    assert units.probe.tolist() == [f"array_{k}" for k in (1, 2, 1, 2, 2)]
    np.testing.assert_array_equal(units.xyz_um[:, 0], [0, 16, 16, 0, 16])
    np.testing.assert_array_equal(units.xyz_um[:, 2], [100, 0, 0, 40, 0])
    held_out = (units.properties["heldout"] == "held-out").tolist()
    assert held_out == list(HELD_OUT)


@pytest.mark.parametrize("name", ["unknown", "n/a", ""])
def test_a_location_that_is_unknown_is_no_area(path, name):
    edit(path, {f"{ELECTRODES}/location": [name] * 4})
    assert open_session(path).units.area is None


def test_electrodes_are_found_by_the_id_of_the_peak_channel(path):
    ids = {f"{ELECTRODES}/id": [7, 5, 9, 4], "units/peak_channel_id": [4, 5, 7, 9, 1]}
    # The unit without an electrode is on no probe of its own.
    values = {"units.area": ["M1", "PMd", "PMd", "M1", ""], "units.plane": [1, 0, 0, 1, -1]}
    session = check_session(edit(path, {**UNLISTED, **ids}), values)
    assert np.isnan(session.units.xyz_um[4]).all()


def test_numbers_of_probes_are_their_names(path):
    edit(path, {f"{ELECTRODES}/group_name": [1, 1, 2, 2]})
    check_session(path, {"units.probe": ["1", "2", "1", "2", "2"]})


def test_trials_keep_their_split_and_columns(path):
    tiers = ["train"] * 9 + ["validation"] * 2 + ["none"]
    session = check_session(path, {"trials.tier": tiers}, {"trial_split": None})
    assert [extra["maze_id"] for extra in session.trials.extra[:4]] == [0, 1, 2, 0]
    np.testing.assert_allclose(session.trials.t_off, session.trials.t_on + 2.5)
    assert len(session.window_starts("validation", spec=TRIALS)) == 2
    moved = open_session(path, trial_event="move_onset_time")
    np.testing.assert_allclose(moved.trials.t_on, session.trials.t_on + 0.5)


def test_trials_without_a_split_are_divided_by_a_seed(path):
    edit(path, {"intervals/trials/split": None})
    session = check_session(path, {}, {"trial_split": "split_seed 0"})
    names, counts = np.unique(session.trials.tier, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {
        "test": 1,
        "train": N_TRIALS - 2,
        "validation": 1,
    }


def test_units_are_chosen_by_quality_and_rate(path):
    check_session(
        path,
        {"units.unit_id": [10, 11], "units.properties.heldout": ["held-in", "held-out"]},
        {"unit_selection": ("good leaves out 2", "3 Hz leaves out 1")},
        quality="good",
        min_rate_hz=3.0,
    )


def test_a_column_of_depths_places_units_without_electrodes(path):
    depths = [100, 200, np.nan, 300, 50]
    edit(path, {"general/extracellular_ephys": None, "units/depth": depths})
    session = check_session(path, {}, {"unplaced_units": "1 of 5"})
    np.testing.assert_array_equal(session.units.xyz_um[:, 2], depths)


def test_a_file_with_traces_and_units_offers_both(tmp_path):
    path = write_nwb(tmp_path / "both.nwb")
    spikes = write_units(tmp_path / "maze.nwb")
    with h5py.File(spikes) as source, h5py.File(path, "a") as target:
        source.copy("units", target)
    session = check_session(path, {"responses.has_events": False})
    assert "Units" in session.series_choices
    check_session(path, {"n_neurons": 5}, series="Units")


def test_an_option_without_effect_is_told(tmp_path):
    notes = {"unused_options": "quality, min_rate_hz"}
    check_session(write_nwb(tmp_path / "a.nwb"), {}, notes, min_rate_hz=1.0, quality=1.0)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("spike_times_index", [1, 2, 3, 4, 5], "680"),
        ("spike_times_index", [200, 100, 300, 400, 680], "spike_times_index"),
        ("spike_times_index", [200, 680], "does not fit 5 rows"),
        ("spike_times", np.full(680, np.inf), "for 680 of 680 spikes"),
        ("spike_times", np.arange(680), "int64.*sampling rate"),
        ("spike_times", np.arange(680) * 30.0, "whole numbers"),
        ("spike_times", np.arange(680) * 1e7 + 0.5, "week"),
        ("id", [1.0] * 5, "each unit"),
    ],
)
def test_damaged_spikes_are_refused(path, name, values, words):
    edit(path, {"units/obs_intervals": None, f"units/{name}": values})
    error = check_refusal(path, words)
    assert error.code in ("bad_series", "bad_clock")


def test_damaged_parts_beside_the_spikes_are_left_out(path):
    changes = {
        "intervals/trials/stop_time": np.array([b"late"] * N_TRIALS),
        "units/electrodes": [0, 3, 1, 2, 9],
        "units/quality": np.zeros((5, 2)),
        "units/obs_intervals": np.zeros((5, 3)),
    }
    notes = {"left_out_columns": "quality (5, 2)"}
    session = check_session(edit(path, changes), {"n_neurons": 5}, notes)
    left_out = [n.message for n in session.warnings if n.code == "left_out_stream"]
    for words in ("not numbers", "electrodes 0 to 9 of 4", "obs_intervals (5, 3)"):
        assert sum(words in message for message in left_out) == 1


def test_units_without_any_spike_are_refused(path):
    no_spikes = {"spike_times": np.zeros(0), "spike_times_index": np.zeros(5, np.int64)}
    edit(path, {f"units/{name}": values for name, values in no_spikes.items()})
    check_refusal(path, "5 units, and none of them has a spike")


def test_spike_times_that_are_nan_are_left_out_and_sorted(path):
    with h5py.File(path, "a") as file:
        times = file["units/spike_times"]
        times[:200] = times[:200][::-1]
        times[200] = np.nan
        times[361] = times[360]
    notes = {
        "missing_spikes": ("1 of 680", "index 200"),
        "repeated_spikes": "1 of 680",
        "unsorted_spikes": "199 places",
    }
    unit, _ = check_session(path, {}, notes).responses.events(-np.inf, np.inf)
    assert np.bincount(unit).tolist() == [200, 159, 0, 240, 80]


def test_spikes_in_milliseconds_are_refused_where_trials_show_it(path):
    edit(path, {**UNOBSERVED, "units/spike_times": lambda times: times * 1000})
    error = check_refusal(path, "/intervals/trials.*if they are milliseconds")
    assert error.code == "bad_clock"


def test_trials_on_another_clock_than_the_spikes_are_left_out(path):
    start = {"session_start_time": "2023-11-14T22:13:20+00:00"}  # 1.7e9 s
    edit(path, {**UNOBSERVED, **start, "units/spike_times": lambda times: times + 1.7e9})
    words = ("1 to 34 s", "add session_start_time (1700000000 s) to its times")
    assert not len(check_session(path, {}, {"trials_left_out": words}).trials)


# -- observed time -------------------------------------------------------------------
def observe(path, *spans):
    """Store the intervals in which each unit was observed."""
    parts = np.array([span for own in spans for span in own])
    ends = np.cumsum([len(own) for own in spans])
    return edit(path, {"units/obs_intervals": parts, "units/obs_intervals_index": ends})


def test_time_outside_obs_intervals_is_missing_not_silent(path):
    whole, part = [[0.0, 40.0]], [[10.0, 15.0], [15.0, 30.0]]
    observe(path, whole, part, whole, part, whole)
    values = {"responses.recorded_spans": None}
    session = check_session(path, values, {"observed_time": "20 to 40 s of 40 s"})
    rows = session.responses.data
    assert np.isnan(rows[:300, [1, 3]]).all()
    assert np.isnan(rows[900:, [1, 3]]).all()
    assert np.isfinite(rows[300:900]).all()
    assert np.isfinite(rows[:, [0, 2, 4]]).all()
    times = spikes_of(path, 1)
    inside = int(((times >= 10) & (times <= 30)).sum())
    rates = session.units.properties["rate_hz"]
    np.testing.assert_allclose(rates[:2], [200 / 40, inside / 20])
    presences = session.units.properties["presence_ratio"]
    assert presences[1] == 1.0  # of two bins, not of four
    outside = 160 + 240 - int(rows[300:900][:, [1, 3]].sum())
    check_session(session, {}, {"unobserved_spikes": f"{outside} of 680 spikes"})


def test_one_interval_for_each_unit_needs_no_index(path):
    spans = np.array([[0.0, 40.0], [10.0, 30.0], [0.0, 40.0], [0.0, 40.0], [0.0, 40.0]])
    edit(path, {"units/obs_intervals": spans, "units/obs_intervals_index": None})
    missing = np.isnan(open_session(path).responses.data)
    assert missing.any(axis=0).tolist() == [False, True, False, False, False]
    assert np.flatnonzero(~missing[:, 1])[[0, -1]].tolist() == [300, 899]


def test_time_in_which_no_unit_was_observed_is_a_pause(path):
    own = [[0.0, 12.0], [20.0, 40.0]]
    values = {"duration_s": 40.0, "recorded_s": 32.0}
    session = check_session(observe(path, *[own] * 5), values)
    assert np.isnan(session.responses.data[360:600]).all()
    assert len(session.responses.recorded_spans) == 2
    starts = session.window_starts(None)
    assert not ((starts > 10.0) & (starts < 20.0)).any()


def test_spikes_outside_the_common_intervals_do_not_raise_rates(path):
    observe(path, *[[[10.0, 25.0], [20.0, 30.0]]] * 5)
    session = check_session(path, {"recorded_s": 20.0}, {"unobserved_spikes": ""})
    times = spikes_of(path, 0)
    inside = int(((times >= 10) & (times <= 30)).sum())
    assert session.units.properties["rate_hz"][0] == pytest.approx(inside / 20)


def test_invalid_times_are_missing_for_the_units_that_they_name(path):
    tags = {"tags": [b"noise", b"probe", b"array_2"], "tags_index": [1, 3]}
    add_table(path, "invalid_times", [5.0, 30.0], [8.0, 35.0], **tags)
    rows = open_session(path).responses.data
    assert np.isnan(rows[150:240]).all()
    is_second = np.array([False, True, False, True, True])
    assert np.isnan(rows[900:1050, is_second]).all()
    assert np.isfinite(rows[900:1050, ~is_second]).all()
    assert np.isfinite(rows[:150]).all()


def test_many_observed_intervals_lose_invalid_times_that_overlap():
    draw = np.random.default_rng(0)
    edges = np.sort(draw.uniform(0, 5000, (3, 2000)), axis=1).reshape(3, 1000, 2)
    # Some holes overlap each other or reach over several intervals.
    holes = np.sort(draw.uniform(0, 5000, (200, 1)), axis=0) + np.array([0.0, 9.0])
    left = [_without(spans, holes) for spans in edges]
    at = draw.uniform(0, 5000, 2000)[:, None]
    invalid = ((holes[:, 0] <= at) & (at < holes[:, 1])).any(axis=1)
    for spans, own in zip(edges, left, strict=True):
        seen = ((spans[:, 0] <= at) & (at < spans[:, 1])).any(axis=1)
        still = ((own[:, 0] <= at) & (at < own[:, 1])).any(axis=1)
        np.testing.assert_array_equal(still, seen & ~invalid)
        assert (np.diff(own.ravel()) >= 0).all()


def test_obs_intervals_on_another_clock_are_left_out(path):
    observe(path, *[[[1e6, 1e6 + 40.0]]] * 5)
    notes = {"left_out_stream": "1000000 to 1000040 s"}
    check_session(path, {"duration_s": pytest.approx(40.0, abs=0.5)}, notes)


# -- places --------------------------------------------------------------------------
PEAKS = np.array([0, 3, 1, 2, 3])
"""Rows of the electrodes of the units in `write_units`."""


def waveform_parts(kind):
    """Return the columns of units that show the peaks in one of the known forms."""
    size = np.exp(-np.abs(np.arange(4) - PEAKS[:, None]))
    mean = np.zeros((5, 30, 4))
    mean[:, 10] = -size
    rows = mean.transpose(0, 2, 1)
    ends = np.arange(1, 6)
    parts = {
        "mean": {"waveform_mean": mean},
        "exchanged": {"waveform_mean": rows},
        "ragged": {
            "waveform_mean": rows.reshape(20, 30),
            "waveform_mean_index": ends * 4,
        },
        "spikes": {
            "waveforms": np.repeat(rows, 3, axis=0).reshape(60, 30),
            "waveforms_index": np.arange(1, 16) * 4,
            "waveforms_index_index": ends * 3,
        },
        "channel": {"max_channel": PEAKS.astype(float)},
    }
    return parts[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "mean",
        "channel",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("exchanged", "ragged")),
        pytest.param("spikes", marks=pytest.mark.slow),
    ],
)
def test_a_unit_lies_at_its_largest_waveform(path, kind):
    listed = {"electrodes": np.tile(np.arange(4), 5), "electrodes_index": np.arange(1, 6) * 4}
    parts = {**listed, **waveform_parts(kind)}
    edit(path, {f"units/{name}": values for name, values in parts.items()})
    session = check_session(path, {"units.area": ["PMd", "M1", "PMd", "M1", "M1"]})
    np.testing.assert_array_equal(session.units.xyz_um[:, 2], [100, 0, 0, 40, 0])


def test_of_several_electrodes_only_what_they_share_is_known(path):
    rows = {"units/electrodes": [0, 1, 2, 3, 1, 2, 3], "units/electrodes_index": [2, 4, 6, 7, 7]}
    areas = {"units.area": ["PMd", "M1", "", "M1", ""]}
    session = check_session(edit(path, rows), areas, {"several_electrodes": "3 of 5 units"})
    is_placed = np.isfinite(session.units.xyz_um[:, 2])
    assert is_placed.tolist() == [False, False, False, True, False]


def test_peak_channels_of_several_probes_without_lists_are_not_read(path):
    edit(path, {**UNLISTED, "units/peak_channel": [0, 1, 0, 1, 1]})
    session = check_session(path, {}, {"peak_channels": "peak_channel_id"})
    assert np.isnan(session.units.xyz_um).all()


def test_a_file_without_traces_and_spikes_is_refused(path):
    error = check_refusal(edit(path, {"units/spike_times": None}), "Units")
    assert error.code == "no_responses"
