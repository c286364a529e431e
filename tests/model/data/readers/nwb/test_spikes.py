import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import write_nwb
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
        ("spike_times_index", [200, 680], "each unit"),
        ("spike_times", np.full(680, np.inf), "not finite"),
        ("spike_times", np.arange(680), "int64"),
        ("spike_times", np.arange(680) * 1e7, "week"),
        ("id", [1.0] * 5, "each unit"),
    ],
)
def test_damaged_spikes_are_refused(path, name, values, words):
    remove_parts(path, "units/obs_intervals")
    error = check_refusal(replace_part(path, f"units/{name}", values), words)
    assert error.code in ("bad_series", "bad_clock")


def test_times_of_trials_that_are_texts_are_refused(path):
    replace_part(path, "intervals/trials/stop_time", np.array([b"late"] * N_TRIALS))
    assert check_refusal(path, "not numbers").code == "bad_series"


def test_a_file_without_traces_and_spikes_is_refused(path):
    error = check_refusal(remove_parts(path, "units/spike_times"))
    assert error.code == "no_responses"
    assert "Units" in str(error)
