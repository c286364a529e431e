import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.nwb.intervals import _without
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import typed_group, write_nwb
from tests.model.nwb_units import (
    HELD_OUT,
    N_TRIALS,
    SECONDS,
    remove_parts,
    replace_part,
    write_units,
)

TRIALS = WindowSpec(2.0, 50.0, "count", align="trial")


@pytest.fixture
def path(tmp_path):
    return write_units(tmp_path / "maze.nwb")


def note_messages(session: Session) -> dict[str, str]:
    return {n.code: n.message for n in (*session.assumptions, *session.warnings)}


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
    units = open_session(path).units
    held_out = (units.properties["heldout"] == "held-out").tolist()
    assert held_out == list(HELD_OUT)


def test_electrodes_are_found_by_the_id_of_the_peak_channel(path):
    remove_parts(path, "units/electrodes", "units/electrodes_index")
    replace_part(path, "general/extracellular_ephys/electrodes/id", [7, 5, 9, 4])
    replace_part(path, "units/peak_channel_id", [4, 5, 7, 9, 1])
    units = open_session(path).units
    assert units.area.tolist() == ["M1", "PMd", "PMd", "M1", ""]
    assert np.isnan(units.xyz_um[4]).all()
    # The unit without an electrode is on no probe of its own.
    assert units.plane.tolist() == [1, 0, 0, 1, -1]


def test_numbers_of_probes_are_their_names(path):
    replace_part(path, "general/extracellular_ephys/electrodes/group_name", [1, 1, 2, 2])
    assert open_session(path).units.probe.tolist() == ["1", "2", "1", "2", "2"]


def test_trials_keep_their_split_and_columns(path):
    session = open_session(path)
    tiers = ["train"] * 9 + ["validation"] * 2 + ["none"]
    assert session.trials.tier.tolist() == tiers
    assert [extra["maze_id"] for extra in session.trials.extra[:4]] == [0, 1, 2, 0]
    assert "trial_split" not in note_messages(session)
    assert len(session.window_starts("validation", spec=TRIALS)) == 2
    moved = open_session(path, trial_event="move_onset_time")
    np.testing.assert_allclose(moved.trials.t_on, session.trials.t_on + 0.5)


def test_trials_without_a_split_are_divided_by_a_seed(path):
    session = open_session(remove_parts(path, "intervals/trials/split"))
    names, counts = np.unique(session.trials.tier, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {
        "test": 1,
        "train": N_TRIALS - 2,
        "validation": 1,
    }
    assert "split_seed 0" in note_messages(session)["trial_split"]


def test_units_are_chosen_by_quality_and_rate(path):
    session = open_session(path, quality="good", min_rate_hz=3.0)
    assert session.units.unit_id.tolist() == [10, 11]
    assert session.units.properties["heldout"].tolist() == ["held-in", "held-out"]
    message = note_messages(session)["unit_selection"]
    assert "good leaves out 2" in message
    assert "3 Hz leaves out 1" in message


def test_a_column_of_depths_places_units_without_electrodes(path):
    remove_parts(path, "general/extracellular_ephys")
    replace_part(path, "units/depth", [100.0, 200.0, np.nan, 300.0, 50.0])
    session = open_session(path)
    depths = [100, 200, np.nan, 300, 50]
    np.testing.assert_array_equal(session.units.xyz_um[:, 2], depths)
    assert "1 of 5" in note_messages(session)["unplaced_units"]


def test_a_file_with_traces_and_units_offers_both(tmp_path):
    path = write_nwb(tmp_path / "both.nwb")
    spikes = write_units(tmp_path / "maze.nwb")
    with h5py.File(spikes) as source, h5py.File(path, "a") as target:
        source.copy("units", target)
    session = open_session(path)
    assert not session.responses.has_events
    assert "Units" in session.series_choices
    assert open_session(path, series="Units").n_neurons == 5


def test_an_option_without_effect_is_told(tmp_path):
    session = open_session(write_nwb(tmp_path / "a.nwb"), min_rate_hz=1.0, quality=1.0)
    message = note_messages(session)["unused_options"]
    assert "quality, min_rate_hz" in message


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
    remove_parts(path, "units/obs_intervals")
    error = check_refusal(replace_part(path, f"units/{name}", values), words)
    assert error.code in ("bad_series", "bad_clock")


def test_damaged_parts_beside_the_spikes_are_left_out(path):
    replace_part(path, "intervals/trials/stop_time", np.array([b"late"] * N_TRIALS))
    replace_part(path, "units/electrodes", [0, 3, 1, 2, 9])
    replace_part(path, "units/quality", np.zeros((5, 2)))
    replace_part(path, "units/obs_intervals", np.zeros((5, 3)))
    session = open_session(path)
    assert session.n_neurons == 5
    left_out = [n.message for n in session.warnings if n.code == "left_out_stream"]
    for words in ("not numbers", "electrodes 0 to 9 of 4", "obs_intervals (5, 3)"):
        assert sum(words in message for message in left_out) == 1
    assert "quality (5, 2)" in note_messages(session)["left_out_columns"]


def test_units_without_any_spike_are_refused(path):
    replace_part(path, "units/spike_times", np.zeros(0))
    replace_part(path, "units/spike_times_index", np.zeros(5, np.int64))
    check_refusal(path, "5 units, and none of them has a spike")


def test_spike_times_that_are_nan_are_left_out_and_sorted(path):
    with h5py.File(path, "a") as file:
        times = file["units/spike_times"]
        times[:200] = times[:200][::-1]
        times[200] = np.nan
        times[361] = times[360]
    session = open_session(path)
    unit, _ = session.responses.events(-np.inf, np.inf)
    assert np.bincount(unit).tolist() == [200, 159, 0, 240, 80]
    notes = note_messages(session)
    assert "1 of 680" in notes["missing_spikes"]
    assert "index 200" in notes["missing_spikes"]
    assert "1 of 680" in notes["repeated_spikes"]
    assert "199 places" in notes["unsorted_spikes"]


def test_spikes_in_milliseconds_are_refused_where_trials_show_it(path):
    with h5py.File(path) as file:
        times = file["units/spike_times"][()] * 1000
    remove_parts(path, "units/obs_intervals", "units/obs_intervals_index")
    error = check_refusal(replace_part(path, "units/spike_times", times))
    assert error.code == "bad_clock"
    assert "/intervals/trials" in str(error)
    assert "if they are milliseconds" in str(error)


def test_trials_on_another_clock_than_the_spikes_are_left_out(path):
    with h5py.File(path, "a") as file:
        times = file["units/spike_times"][()] + 1.7e9
        del file["units/obs_intervals"], file["units/obs_intervals_index"]
        file["session_start_time"] = "2023-11-14T22:13:20+00:00"  # 1.7e9 s
    session = open_session(replace_part(path, "units/spike_times", times))
    assert not len(session.trials)
    message = note_messages(session)["trials_left_out"]
    assert "1 to 34 s" in message
    assert "add session_start_time (1700000000 s) to its times" in message


# -- observed time -------------------------------------------------------------------
def observe(path, *spans):
    """Store the intervals in which each unit was observed."""
    parts = np.array([span for own in spans for span in own])
    replace_part(path, "units/obs_intervals", parts)
    ends = np.cumsum([len(own) for own in spans])
    return replace_part(path, "units/obs_intervals_index", ends)


def test_time_outside_obs_intervals_is_missing_not_silent(path):
    whole, part = [[0.0, 40.0]], [[10.0, 15.0], [15.0, 30.0]]
    session = open_session(observe(path, whole, part, whole, part, whole))
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
    message = note_messages(session)["unobserved_spikes"]
    assert f"{outside} of 680 spikes" in message
    assert session.responses.recorded_spans is None
    assert "20 to 40 s of 40 s" in note_messages(session)["observed_time"]


def test_time_in_which_no_unit_was_observed_is_a_pause(path):
    own = [[0.0, 12.0], [20.0, 40.0]]
    session = open_session(observe(path, *[own] * 5))
    assert session.duration_s == pytest.approx(40.0)
    assert session.recorded_s == pytest.approx(32.0)
    assert np.isnan(session.responses.data[360:600]).all()
    assert len(session.responses.recorded_spans) == 2
    starts = session.window_starts(None)
    assert not ((starts > 10.0) & (starts < 20.0)).any()


def test_spikes_outside_the_common_intervals_do_not_raise_rates(path):
    session = open_session(observe(path, *[[[10.0, 25.0], [20.0, 30.0]]] * 5))
    times = spikes_of(path, 0)
    inside = int(((times >= 10) & (times <= 30)).sum())
    assert session.units.properties["rate_hz"][0] == pytest.approx(inside / 20)
    assert "unobserved_spikes" in note_messages(session)
    assert session.recorded_s == pytest.approx(20.0)


def test_invalid_times_are_missing_for_the_units_that_they_name(path):
    with h5py.File(path, "a") as file:
        table = typed_group(file, "intervals/invalid_times", "TimeIntervals")
        table["start_time"], table["stop_time"] = [5.0, 30.0], [8.0, 35.0]
        table["tags"], table["tags_index"] = [b"noise", b"probe", b"array_2"], [1, 3]
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
    session = open_session(observe(path, *[[[1e6, 1e6 + 40.0]]] * 5))
    (message,) = (n.message for n in session.warnings if n.code == "left_out_stream")
    assert "1000000 to 1000040 s" in message
    assert session.duration_s == pytest.approx(40.0, abs=0.5)


# -- places --------------------------------------------------------------------------
PEAKS = np.array([0, 3, 1, 2, 3])
"""Rows of the electrodes of the units in `write_units`."""


def list_all_electrodes(path):
    """Let each unit list all four electrodes."""
    replace_part(path, "units/electrodes", np.tile(np.arange(4), 5))
    return replace_part(path, "units/electrodes_index", np.arange(1, 6) * 4)


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
    list_all_electrodes(path)
    for name, values in waveform_parts(kind).items():
        replace_part(path, f"units/{name}", values)
    units = open_session(path).units
    assert units.area.tolist() == ["PMd", "M1", "PMd", "M1", "M1"]
    np.testing.assert_array_equal(units.xyz_um[:, 2], [100, 0, 0, 40, 0])


def test_of_several_electrodes_only_what_they_share_is_known(path):
    replace_part(path, "units/electrodes", [0, 1, 2, 3, 1, 2, 3])
    replace_part(path, "units/electrodes_index", [2, 4, 6, 7, 7])
    session = open_session(path)
    assert session.units.area.tolist() == ["PMd", "M1", "", "M1", ""]
    is_placed = np.isfinite(session.units.xyz_um[:, 2])
    assert is_placed.tolist() == [False, False, False, True, False]
    assert "3 of 5 units" in note_messages(session)["several_electrodes"]


def test_peak_channels_of_several_probes_without_lists_are_not_read(path):
    remove_parts(path, "units/electrodes", "units/electrodes_index")
    session = open_session(replace_part(path, "units/peak_channel", [0, 1, 0, 1, 1]))
    assert np.isnan(session.units.xyz_um).all()
    assert "peak_channel_id" in note_messages(session)["peak_channels"]


def test_a_file_without_traces_and_spikes_is_refused(path):
    error = check_refusal(remove_parts(path, "units/spike_times"))
    assert error.code == "no_responses"
    assert "Units" in str(error)
