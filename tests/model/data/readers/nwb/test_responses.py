"""Series, axes and clocks of responses in NWB files as strangers write them."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import Nwb, Plane, typed_group, write_nwb, write_samples
from tests.model.nwb_files import Samples as About

OPHYS = "processing/ophys"
FLUORESCENCE = f"{OPHYS}/Fluorescence"
FIRST = f"{FLUORESCENCE}/RoiResponseSeries0"
ALTERNATIVES = {
    "deconvolved": ("Deconvolved", "spks"),
    "DfOverF": ("dFF", "DeltaF_F"),
    "Fluorescence": ("RoiResponseSeries", "F_raw"),
    "corrected": ("NeuropilCorrected", "baseline_subtracted"),
    "demixed": ("demixed_traces",),
    "denoised": ("Denoised",),
    "events": ("event_detection",),
    "neuropil": ("Neuropil", "Fneu", "BackgroundTraces"),
    "baseline": ("Baseline", "F0_"),
    "second channel": ("Fluorescence_chan2", "RoiResponseSeriesRed"),
}
"""Kind -> names of series, whose number follows."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.nwb"


def copy(path: Path) -> Path:
    """A copy that can be changed; HDF5 locks files that are open."""
    return Path(shutil.copy(path, path.with_name("other.nwb")))


def values_of(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[name][()]


def told(session: Session, code: str) -> str:
    """The notes of one kind in one text."""
    notes = (*session.assumptions, *session.warnings)
    return " | ".join(note.message for note in notes if note.code == code)


def add_responses(path: Path, name: str, data: np.ndarray, **about: Any) -> np.ndarray:
    """Add a series of the regions of the first one, and return its data."""
    with h5py.File(path, "a") as file:
        typed_group(file, name.rsplit("/", 1)[0], "Fluorescence")
        series = typed_group(file, name, "RoiResponseSeries")
        write_samples(series, data, About(**about))
        series["rois"] = file[f"{FIRST}/rois"][()]
        series["rois"].attrs["table"] = file[f"{FIRST}/rois"].attrs["table"]
    return data


def draw(n: int, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 5)).astype(np.float32)


def set_imaging_rate(path: Path, rate_hz: float, plane: int = 0) -> Path:
    with h5py.File(path, "a") as file:
        file[f"general/optophysiology/p{plane}/imaging_rate"] = rate_hz
    return path


# -- alternatives and epochs ---------------------------------------------------------
@pytest.mark.slow
def test_names_tell_the_kinds_of_series(path):
    names = [name for kind in reversed(ALTERNATIVES) for name in ALTERNATIVES[kind]]
    session = open_session(write_nwb(path, Nwb((Plane(series=tuple(names)),))))
    assert session.n_neurons == 5
    kinds = [name for name in session.series_choices if "/" not in name]
    assert kinds == list(ALTERNATIVES)
    for kind, members in ALTERNATIVES.items():
        listed = session.series_choices[kind].split(", ")
        assert set(listed) == {f"Fluorescence/{name}0" for name in members}
    assert session.meta["series"] == [f"/{FLUORESCENCE}/Deconvolved0"]
    assert "Fluorescence/spks0" in told(session, "series")


def test_series_of_the_same_regions_are_alternatives(path):
    names = ("RoiResponseSeries", "Denoised", "Baseline", "Neuropil")
    session = open_session(write_nwb(path, Nwb((Plane(series=names),))))
    assert session.n_neurons == 5
    assert session.meta["series"] == [f"/{FIRST}"]
    assert "Fluorescence/Denoised0" in told(session, "series")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["events", "neuropil", "baseline", "second channel"])
def test_other_kinds_are_never_chosen_by_themselves(path, kind):
    (name, *_) = ALTERNATIVES[kind]
    write_nwb(path, Nwb((Plane(series=(name,)),)))
    assert f"Fluorescence/{name}0" in check_refusal(path, kind).message
    assert open_session(path, series=kind).n_neurons == 5
    assert open_session(path, series=f"{name}0").series == kind


@pytest.mark.slow
def test_a_container_of_the_same_name_in_another_module_is_an_alternative(path):
    write_nwb(path)
    name = "processing/ophys_2/Fluorescence/RoiResponseSeries0"
    other = add_responses(path, name, draw(300), start=2.0, rate_hz=10.0)
    session = open_session(path)
    assert session.n_neurons == 5
    assert session.meta["series"] == [f"/{FIRST}"]
    chosen = "ophys_2/Fluorescence/RoiResponseSeries0"
    assert chosen in session.series_choices
    found = open_session(path, series=chosen).responses.data
    np.testing.assert_array_equal(found, other)


@pytest.mark.slow
def test_the_series_of_all_planes_holds_those_of_each_plane(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        rows = file[f"{FIRST}/rois"]
        for number, part in enumerate(([0, 1], [2, 3, 4])):
            name = f"{FLUORESCENCE}/A_plane{number}"
            series = typed_group(file, name, "RoiResponseSeries")
            data = file[f"{FIRST}/data"][:, part]
            write_samples(series, data, About(start=2.0, rate_hz=10.0))
            series["rois"] = np.array(part)
            series["rois"].attrs["table"] = rows.attrs["table"]
    other = copy(path)
    with h5py.File(other, "a") as file:
        del file[FIRST]
    assert open_session(path).meta["series"] == [f"/{FIRST}"]
    session = open_session(other)
    assert session.units.unit_id.tolist() == [10, 11, 12, 13, 14]
    assert session.units.plane.tolist() == [0, 0, 1, 1, 1]


def test_epochs_of_the_same_regions_are_one_recording_with_a_pause(path):
    write_nwb(path)
    second = add_responses(path, f"{FLUORESCENCE}/evoked", draw(200), start=600.03, rate_hz=10.0)
    session = open_session(path)
    assert session.n_neurons == 5
    assert session.recorded_s == pytest.approx(50.0)
    assert session.duration_s == pytest.approx(618.0)
    rows = session.responses.file
    np.testing.assert_array_equal(rows.read(0, 300), values_of(path, f"{FIRST}/data"))
    np.testing.assert_array_equal(rows.read(5980, 6180), second)
    assert np.isnan(rows.read(300, 5980)).all()
    picked = rows.pick(np.array([299, 300, 5980]), slice(1, 2))[:, 0]
    first = values_of(path, f"{FIRST}/data")[299, 1]
    np.testing.assert_array_equal(picked, [first, np.nan, second[0, 1]])
    starts = session.window_starts() + session.t0
    assert not ((starts + 2 > 31.9) & (starts < 600.0)).any()
    assert "RoiResponseSeries0 and Fluorescence/evoked" in told(session, "epochs")


@pytest.mark.slow
def test_columns_of_an_epoch_are_brought_to_the_order_of_the_first(path):
    write_nwb(path)
    name = f"{FLUORESCENCE}/evoked"
    second = add_responses(path, name, draw(200), start=100.0, rate_hz=10.0)
    order = np.array([3, 1, 0, 4, 2])
    with h5py.File(path, "a") as file:
        file[f"{name}/rois"][:] = order
    rows = open_session(path).responses.file
    np.testing.assert_array_equal(rows.read(980, 1180)[:, order], second)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [15.0, 10.02])
def test_epochs_of_other_rates(path, rate_hz):
    write_nwb(path)
    n = int(rate_hz * 20)
    add_responses(path, f"{FLUORESCENCE}/evoked", draw(n), start=100.0, rate_hz=rate_hz)
    session = open_session(path)
    if rate_hz == 15.0:
        assert session.responses.n_samples == 300
        assert "evoked (15 Hz)" in told(session, "other_rates")
        assert "RoiResponseSeries0 (10 Hz)" in told(session, "other_rates")
    else:
        assert session.recorded_s == pytest.approx(50.0, abs=0.2)
        assert "evoked" in told(session, "epochs")


@pytest.mark.slow
def test_a_faulty_alternative_is_left_out(path):
    write_nwb(path)
    times = np.full(300, np.nan)
    add_responses(path, f"{FLUORESCENCE}/A", draw(300), timestamps=times)
    session = open_session(path)
    assert session.meta["series"] == [f"/{FIRST}"]
    assert "300 of 300 timestamps" in told(session, "left_out_stream")


@pytest.mark.slow
def test_planes_recorded_at_other_times(path):
    later = Plane(n=3, start=17.0, seconds=30.0)
    session = open_session(write_nwb(path, Nwb((Plane(), later))))
    assert (session.n_neurons, session.responses.n_samples) == (8, 300)
    data = session.responses.data
    assert np.isnan(data[:150, 5:]).all()
    stored = values_of(path, f"{FLUORESCENCE}/RoiResponseSeries1/data")
    np.testing.assert_array_equal(data[150:, 5:], stored[:150])
    assert "covers 17–47 s" in told(session, "other_times")
    assert session.recorded_s == pytest.approx(30.0)


@pytest.mark.slow
def test_a_plane_without_cells_is_left_out(path):
    write_nwb(path, Nwb((Plane(), Plane(n=3))))
    with h5py.File(path, "a") as file:
        file[f"{OPHYS}/ImageSegmentation/S1/Accepted"] = np.zeros(3)
    session = open_session(path)
    assert session.n_neurons == 5
    assert "RoiResponseSeries1" in told(session, "no_cells")
    assert open_session(path, cells_only=False).n_neurons == 8


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(300, 0), (0, 300)])
def test_a_plane_without_regions_is_left_out(path, shape):
    write_nwb(path, Nwb((Plane(), Plane(n=3))))
    with h5py.File(path, "a") as file:
        series = file[f"{FLUORESCENCE}/RoiResponseSeries1"]
        table = series["rois"].attrs["table"]
        del series["data"], series["rois"]
        series["data"], series["rois"] = np.zeros(shape), np.zeros(0, int)
        series["rois"].attrs["table"] = table
    session = open_session(path)
    assert session.n_neurons == 5
    assert "RoiResponseSeries1" in told(session, "empty_series")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("indicator", "is_label"), [("tdTomato", True), ("GCaMP6s and tdTomato", False)]
)
def test_a_label_of_cells_is_no_activity(path, indicator, is_label):
    with h5py.File(write_nwb(path), "a") as file:
        file["general/optophysiology/p0/indicator"] = indicator
    if is_label:
        check_refusal(path, "second channel")
    else:
        assert open_session(path).n_neurons == 5


# -- axes ----------------------------------------------------------------------------
def transpose(path: Path) -> np.ndarray:
    with h5py.File(path, "a") as file:
        values, about = file[f"{FIRST}/data"][:], dict(file[f"{FIRST}/data"].attrs)
        del file[f"{FIRST}/data"]
        file.create_dataset(f"{FIRST}/data", data=values.T).attrs.update(about)
    return values


@pytest.mark.parametrize("has_times", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_transposed_responses_are_read_with_a_note(path, has_times):
    times = 2 + np.arange(300) / 10 if has_times else None
    write_nwb(path, Nwb((Plane(timestamps=times),)))
    values = transpose(path)
    with h5py.File(path, "a") as file:
        file[f"{OPHYS}/ImageSegmentation/S0/iscell"] = np.array([1, 1, 0, 1, 1])
    session = open_session(path)
    np.testing.assert_array_equal(session.responses.data, values[:, [0, 1, 3, 4]])
    assert "5 × 300" in told(session, "transposed")


def test_axes_that_contradict_the_times_are_refused_with_both_readings(path):
    write_nwb(path, Nwb((Plane(timestamps=2 + np.arange(300) / 10),)))
    transpose(path)
    with h5py.File(path, "a") as file:
        table = file[f"{FIRST}/rois"].attrs["table"]
        del file[f"{FIRST}/rois"]
        file[f"{FIRST}/rois"] = np.arange(300) % 5
        file[f"{FIRST}/rois"].attrs["table"] = table
    words = "5 samples of 300 regions, or 300 samples of 5 regions"
    assert check_refusal(path, words).code == "axes"


@pytest.mark.slow
def test_data_without_rois_are_regions_with_numbers_if_their_axes_are_plain(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        del file[f"{FIRST}/rois"]
    other = copy(path)
    transpose(other)
    assert check_refusal(other, "neither rois nor times").code == "axes"
    session = open_session(path)
    assert session.units.unit_id.tolist() == [0, 1, 2, 3, 4]
    assert session.units.area.tolist() == ["V1"] * 5
    assert "no rois" in told(session, "no_regions")


@pytest.mark.slow
def test_square_data_are_noted(path):
    write_nwb(path, Nwb((Plane(n=60, seconds=6.0),)))
    assert "60 × 60" in told(open_session(path), "square_axes")


# -- clocks --------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("per_second", [1e3, 1e6, 1 / 60])
def test_times_in_another_unit_are_read_by_the_imaging_rate(path, per_second):
    times = (2.0 + np.arange(300) / 10) * per_second
    write_nwb(path, Nwb((Plane(timestamps=times),)))
    session = open_session(set_imaging_rate(path, 10.0))
    assert session.responses.rate_hz == pytest.approx(10.0)
    assert session.responses.start == pytest.approx(2.0)
    assert "imaging plane" in told(session, "time_unit")


@pytest.mark.slow
def test_a_recording_of_hours_in_milliseconds_is_no_week(path):
    times = 1e3 * np.arange(300) * 40.0
    write_nwb(path, Nwb((Plane(timestamps=times),)))
    session = open_session(set_imaging_rate(path, 0.025))
    assert session.duration_s == pytest.approx(12_000)


@pytest.mark.slow
def test_times_in_milliseconds_without_a_rate_to_compare(path):
    times = 1e3 * (2.0 + np.arange(300) / 10)
    write_nwb(path, Nwb((Plane(timestamps=times),)))
    other = copy(path)
    with h5py.File(other, "a") as file:
        series = typed_group(file, "acquisition/running", "TimeSeries")
        write_samples(series, np.ones(620), About(rate_hz=20.0))
    refused = check_refusal(path, "0.01 per second.*10 per second.*ms")
    assert "rate_hz" in refused.hint
    for rate_hz in (10.0, 12.0):  # in ms; and simply another rate
        session = open_session(path, rate_hz=rate_hz)
        assert session.responses.rate_hz == pytest.approx(rate_hz)
    session = open_session(other)
    assert session.responses.rate_hz == pytest.approx(10.0)
    assert "/acquisition/running lasts 31 s" in told(session, "time_unit")


@pytest.mark.slow
def test_frame_numbers_are_no_seconds(path):
    write_nwb(path, Nwb((Plane(timestamps=np.arange(300.0)),)))
    session = open_session(set_imaging_rate(path, 10.0))
    assert session.responses.rate_hz == pytest.approx(10.0)
    assert "numbers of frames" in told(session, "time_unit")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stated_hz", "words"), [(10.4, ""), (7.0, "7 Hz"), (30.0, "3 times as many")]
)
def test_the_rate_is_compared_with_that_of_the_imaging_plane(path, stated_hz, words):
    session = open_session(set_imaging_rate(write_nwb(path), stated_hz))
    assert session.responses.rate_hz == 10.0
    found = [note for note in session.warnings if note.code == "imaging_rate"]
    assert len(found) == bool(words)
    assert words in told(session, "imaging_rate")


def test_the_user_decides_between_two_rates(path):
    set_imaging_rate(write_nwb(path), 7.0)
    assert open_session(path, rate_hz=7.0).responses.rate_hz == 7.0


@pytest.mark.slow
def test_two_segmentations_of_one_plane_are_the_same_cells(path):
    write_nwb(path, Nwb((Plane(), Plane(), Plane(mask=""))))
    with h5py.File(path, "a") as file:
        tables = [file[f"{OPHYS}/ImageSegmentation/S{k}"] for k in range(3)]
        for table in tables[1:]:
            del table["imaging_plane"]
            table["imaging_plane"] = h5py.SoftLink("/general/optophysiology/p0")
        for name in ("pixel_mask", "pixel_mask_index"):
            del tables[1][name]
            tables[1][name] = tables[0][name][()]
    session = open_session(path)
    assert session.units.unit_id.tolist() == [*range(10, 15), *range(30, 35)]
    notes = told(session, "same_cells")
    assert "RoiResponseSeries1 and Fluorescence/RoiResponseSeries0" in notes
    assert "RoiResponseSeries2 and" in notes


@pytest.mark.slow
def test_the_rate_of_a_volume_of_planes_is_no_fault(path):
    write_nwb(path, Nwb((Plane(n=2), Plane(n=2), Plane(n=2))))
    for plane in range(3):
        set_imaging_rate(path, 30.0, plane)
    session = open_session(path)
    assert "imaging_rate" not in [note.code for note in session.warnings]
    assert "frames of all planes" in told(session, "imaging_rate")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rate", np.nan, "'nan' as its rate .*rate_hz"),
        ("rate", np.array([10.0, 10.0]), "2 values in its rate"),
        ("starting_time", np.zeros(3), "3 values in its starting_time"),
        ("starting_time", np.nan, "the starting_time nan"),
    ],
)
def test_clocks_need_one_start_and_one_rate(path, name, value, words):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        if name == "rate":
            file[f"{FIRST}/starting_time"].attrs["rate"] = value
        else:
            del file[f"{FIRST}/starting_time"]
            file[f"{FIRST}/starting_time"] = value
            file[f"{FIRST}/starting_time"].attrs["rate"] = 10.0
    check_refusal(path, words)


@pytest.mark.slow
def test_one_value_in_an_array_is_a_value(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        del file[f"{FIRST}/starting_time"]
        file[f"{FIRST}/starting_time"] = np.array([4.0])
        file[f"{FIRST}/starting_time"].attrs["rate"] = np.array([10.0])
    assert open_session(path).responses.start == 4.0


def test_a_rate_that_is_none_is_replaced_by_that_of_the_imaging_plane(path):
    set_imaging_rate(write_nwb(path), 10.0)
    with h5py.File(path, "a") as file:
        file[f"{FIRST}/starting_time"].attrs["rate"] = 0.0
    session = open_session(path)
    assert session.responses.rate_hz == 10.0
    assert "'0.0' as its rate: the 10 Hz of its imaging plane" in told(session, "bad_rate")
    assert open_session(path, rate_hz=12.0).responses.rate_hz == 12.0


@pytest.mark.slow
def test_a_rate_stored_as_text_is_a_rate(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        file[f"{FIRST}/starting_time"].attrs["rate"] = "10.0"
    assert open_session(path).responses.rate_hz == 10.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_times_too_coarse_for_their_steps_are_named_so(path, dtype):
    times = (1.7e9 + np.arange(300) / 10).astype(np.float32).astype(dtype)
    check_refusal(write_nwb(path, Nwb((Plane(timestamps=times),))), "float32.* 128 s")


@pytest.mark.slow
def test_regions_of_several_columns_are_counted(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        file[f"{FIRST}/rois"][...] = [0, 0, 1, 2, 2]
    session = open_session(path)
    assert session.units.unit_id.tolist()[:3] == [10, 10, 11]
    assert "2 of 5 columns" in told(session, "repeated_regions")


@pytest.mark.slow
def test_units_beside_traces_are_named(path):
    with h5py.File(write_nwb(path), "a") as file:
        table = typed_group(file, "units", "Units")
        table["id"] = [3, 4]
        table["spike_times"] = [1.5, 2.5, 3.5]
        table["spike_times_index"] = [1, 3]
    session = open_session(path)
    assert "/units (2)" in told(session, "other_units")
    assert open_session(path, series="Units").n_neurons == 2


def test_invalid_times_of_traces_are_missing(path):
    write_nwb(path, Nwb((Plane(start=0.0),)))
    whole = open_session(copy(path)).responses.data
    with h5py.File(path, "a") as file:
        table = typed_group(file, "intervals/invalid_times", "TimeIntervals")
        table["start_time"], table["stop_time"] = [10.0, 29.0], [15.0, 99.0]
    session = open_session(path)
    is_invalid = np.zeros(300, bool)
    is_invalid[100:150] = is_invalid[290:] = True
    rows = session.responses.data
    assert np.isnan(rows[is_invalid]).all()
    np.testing.assert_array_equal(rows[~is_invalid], whole[~is_invalid])
    assert session.recorded_s == pytest.approx(24.0)
    assert "6 s are missing" in told(session, "invalid_times")


@pytest.mark.slow
def test_epochs_that_overlap_in_part_are_named(path):
    write_nwb(path)
    add_responses(path, f"{FLUORESCENCE}/Later", draw(300), rate_hz=10.0, start=31.0)
    message = told(open_session(path), "epochs_left_out")
    assert "Later share 1 s" in message


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_rois_that_are_ids_of_the_table_are_read_so(path, dtype):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        table = file[f"{FIRST}/rois"].attrs["table"]
        rows = file[f"{FIRST}/rois"][()]
        ids = file[table]["id"][()]
        del file[f"{FIRST}/rois"]
        file[f"{FIRST}/rois"] = ids[rows].astype(dtype)
        file[f"{FIRST}/rois"].attrs["table"] = table
    session = open_session(path)
    assert session.units.unit_id.tolist() == ids[rows].tolist()
    assert "read as its ids" in told(session, "rois_are_ids")


@pytest.mark.slow
def test_timestamps_win_over_a_rate_beside_them(path):
    write_nwb(path, Nwb((Plane(timestamps=2 + np.arange(300) / 10),)))
    with h5py.File(path, "a") as file:
        file[f"{FIRST}/starting_time"] = 0.0
        file[f"{FIRST}/starting_time"].attrs["rate"] = 30.0
    session = open_session(path)
    assert session.responses.rate_hz == pytest.approx(10.0)
    assert "rate of 30 " in told(session, "two_clocks")


@pytest.mark.slow
def test_pixels_of_a_meter_have_no_positions(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        file["general/optophysiology/p0/grid_spacing"][...] = 1.2
    session = open_session(path)
    assert "1.2 m per pixel" in told(session, "grid_spacing")
    assert np.isnan(session.units.xyz_um).all()


@pytest.mark.slow
def test_invalid_times_of_all_that_was_recorded_are_left_out(path):
    times = 2.0 + np.arange(300) / 10
    times[150:] += 20.0
    write_nwb(path, Nwb((Plane(timestamps=times),)))
    with h5py.File(path, "a") as file:
        table = typed_group(file, "intervals/invalid_times", "TimeIntervals")
        table["start_time"], table["stop_time"] = [0.0, 37.0], [17.0, 60.0]
    session = open_session(path)
    assert "covers the whole recording" in told(session, "left_out_stream")
    assert session.recorded_s == pytest.approx(30.0)


def test_invalid_times_on_another_clock_are_noted(path):
    write_nwb(path)
    with h5py.File(path, "a") as file:
        table = typed_group(file, "intervals/invalid_times", "TimeIntervals")
        table["start_time"], table["stop_time"] = [1.7e9], [1.7e9 + 5]
    assert "1700000000" in told(open_session(path), "odd_invalid_times")


@pytest.mark.slow
def test_a_faulty_plane_leaves_the_others(path):
    write_nwb(path, Nwb((Plane(), Plane(n=3))))
    with h5py.File(path, "a") as file:
        file[f"{FLUORESCENCE}/RoiResponseSeries0/starting_time"][...] = np.nan
    session = open_session(path)
    assert session.n_neurons == 3
    assert "RoiResponseSeries0" in told(session, "left_out_stream")


@pytest.mark.slow
def test_the_refusal_of_a_series_names_the_others(path):
    write_nwb(path)
    times = np.append(np.arange(299) / 10, np.nan)
    add_responses(path, f"{OPHYS}/DfOverF/dff", draw(300), timestamps=times)
    check_refusal(path, "1 of 300 timestamps .* Fluorescence/RoiResponseSeries0")
    assert open_session(path, series="Fluorescence").n_neurons == 5


@pytest.mark.slow
def test_a_change_of_the_rate_is_noted(path):
    times = np.append(np.arange(200) / 10, 20 + np.arange(100) / 5)
    session = open_session(write_nwb(path, Nwb((Plane(timestamps=times),))))
    assert "33 %" in told(session, "rate_changes")
    assert "5 Hz" in told(session, "rate_changes")


@pytest.mark.slow
def test_a_rate_in_kilohertz_leaves_the_first_time(path):
    set_imaging_rate(write_nwb(path), 10.0)
    with h5py.File(path, "a") as file:
        file[f"{FIRST}/starting_time"].attrs["rate"] = 0.01
    session = open_session(path)
    assert session.responses.rate_hz == pytest.approx(10.0)
    assert session.responses.start == 2.0
