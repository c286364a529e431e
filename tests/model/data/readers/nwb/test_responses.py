"""Series, axes and clocks of responses in NWB files as strangers write them."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from tests.model.data.refusals import check_refusal, check_session
from tests.model.nwb_files import Plane, add_table, edit, typed_group, write_nwb, write_samples
from tests.model.nwb_files import Samples as About

OPHYS = "processing/ophys"
FLUORESCENCE = f"{OPHYS}/Fluorescence"
FIRST = f"{FLUORESCENCE}/RoiResponseSeries0"
SECOND = f"{FLUORESCENCE}/RoiResponseSeries1"
START, RATE = f"{FIRST}/starting_time", f"{FIRST}/starting_time@rate"
IMAGING_RATE = "general/optophysiology/p0/imaging_rate"
SEGMENTATION = f"{OPHYS}/ImageSegmentation"
TIMES = 2 + np.arange(300) / 10
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
    "control": ("Noise", "RoiResponseSeries_405_isosbestic"),
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


def add_responses(path: Path, name: str, data: np.ndarray | int, **about: Any) -> np.ndarray:
    """Add a series of the regions of the first one, of a number of samples; return its data."""
    if isinstance(data, int):
        data = np.random.default_rng(9).random((data, 5)).astype(np.float32)
    with h5py.File(path, "a") as file:
        typed_group(file, name.rsplit("/", 1)[0], "Fluorescence")
        series = typed_group(file, name, "RoiResponseSeries")
        write_samples(series, data, About(**about))
        series["rois"] = file[f"{FIRST}/rois"][()]
        series["rois"].attrs["table"] = file[f"{FIRST}/rois"].attrs["table"]
    return data


# -- alternatives and epochs ---------------------------------------------------------
@pytest.mark.slow
def test_names_tell_the_kinds_of_series(path):
    names = [name for kind in reversed(ALTERNATIVES) for name in ALTERNATIVES[kind]]
    session = check_session(
        write_nwb(path, Plane(series=tuple(names))),
        {"n_neurons": 5, "meta.series": [f"/{FLUORESCENCE}/Deconvolved0"]},
        {"series": "Fluorescence/spks0"},
    )
    kinds = [name for name in session.series_choices if "/" not in name]
    assert kinds == list(ALTERNATIVES)
    for kind, members in ALTERNATIVES.items():
        listed = session.series_choices[kind].split(", ")
        assert set(listed) == {f"Fluorescence/{name}0" for name in members}


def test_series_of_the_same_regions_are_alternatives(path):
    names = ("RoiResponseSeries", "Denoised", "Baseline", "Neuropil")
    check_session(
        write_nwb(path, Plane(series=names)),
        {"n_neurons": 5, "meta.series": [f"/{FIRST}"]},
        {"series": "Fluorescence/Denoised0"},
    )


def test_arrays_of_caiman_keep_their_meaning(path):
    write_nwb(path)
    kinds = {"S": {"Fluorescence"}, "C": {"Fluorescence", "deconvolved", "denoised"}}
    # S or C alone may be a name like others.
    for name, expected in kinds.items():
        add_responses(path, f"{FLUORESCENCE}/{name}", 300, start=2.0, rate_hz=10.0)
        choices = open_session(path).series_choices
        assert {kind for kind in choices if "/" not in kind} == expected
    assert choices["deconvolved"] == "Fluorescence/S"


def test_a_word_of_a_control_in_a_longer_name_is_one_only_beside_activity(path):
    # Epochs that are called after what was shown.
    write_nwb(path)
    later = add_responses(path, f"{FLUORESCENCE}/f_sparse_noise", 600, start=40.0, rate_hz=10.0)
    session = check_session(path, {"meta.series": [f"/{FIRST}", f"/{FLUORESCENCE}/f_sparse_noise"]})
    np.testing.assert_array_equal(session.responses.data[-600:], later)
    # Alternating light: half a sample later.
    name = f"{FLUORESCENCE}/A_405_series"
    other = add_responses(edit(copy(path), {}), name, 300, start=2.05, rate_hz=10.0)
    session = check_session(path.with_name("other.nwb"), {"responses.n_samples": 980})
    assert session.series_choices["control"] == "Fluorescence/A_405_series"
    found = open_session(path.with_name("other.nwb"), series="control").responses.data
    np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize("name", ["dff_sparse_noise", "RoiResponseSeries_405", "Residuals_of_V1"])
def test_a_series_alone_is_activity_whatever_word_its_name_has(path, name):
    check_session(write_nwb(path, Plane(series=(f"{name}_",))), {"n_neurons": 5})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["events", "neuropil", "baseline", "control", "second channel"])
def test_other_kinds_are_never_chosen_by_themselves(path, kind):
    (name, *_) = ALTERNATIVES[kind]
    write_nwb(path, Plane(series=(name,)))
    assert f"Fluorescence/{name}0" in check_refusal(path, kind).message
    check_session(path, {"n_neurons": 5}, series=kind)
    check_session(path, {"series": kind}, series=f"{name}0")


@pytest.mark.slow
def test_a_container_of_the_same_name_in_another_module_is_an_alternative(path):
    name = "processing/ophys_2/Fluorescence/RoiResponseSeries0"
    other = add_responses(write_nwb(path), name, 300, start=2.0, rate_hz=10.0)
    chosen = "ophys_2/Fluorescence/RoiResponseSeries0"
    session = check_session(path, {"n_neurons": 5, "meta.series": [f"/{FIRST}"]})
    assert chosen in session.series_choices
    np.testing.assert_array_equal(open_session(path, series=chosen).responses.data, other)


@pytest.mark.slow
def test_the_series_of_all_planes_holds_those_of_each_plane(path):
    data = values_of(write_nwb(path), f"{FIRST}/data")
    for number, part in enumerate(([0, 1], [2, 3, 4])):
        name = f"{FLUORESCENCE}/A_plane{number}"
        add_responses(path, name, data[:, part], start=2.0, rate_hz=10.0)
        edit(path, {f"{name}/rois": np.array(part)})
    other = edit(copy(path), {FIRST: None})
    check_session(path, {"meta.series": [f"/{FIRST}"]})
    ids, planes = [10, 11, 12, 13, 14], [0, 0, 1, 1, 1]
    check_session(other, {"units.unit_id": ids, "units.plane": planes})


def test_epochs_of_the_same_regions_are_one_recording_with_a_pause(path):
    write_nwb(path)
    second = add_responses(path, f"{FLUORESCENCE}/evoked", 200, start=600.03, rate_hz=10.0)
    session = check_session(
        path,
        {"n_neurons": 5, "recorded_s": 50.0, "duration_s": 618.0},
        {"epochs": "RoiResponseSeries0 and Fluorescence/evoked"},
    )
    rows, first = session.responses.file, values_of(path, f"{FIRST}/data")
    np.testing.assert_array_equal(rows.read(0, 300), first)
    np.testing.assert_array_equal(rows.read(5980, 6180), second)
    assert np.isnan(rows.read(300, 5980)).all()
    picked = rows.pick(np.array([299, 300, 5980]), slice(1, 2))[:, 0]
    np.testing.assert_array_equal(picked, [first[299, 1], np.nan, second[0, 1]])
    starts = session.window_starts() + session.t0
    assert not ((starts + 2 > 31.9) & (starts < 600.0)).any()


@pytest.mark.slow
def test_columns_of_an_epoch_are_brought_to_the_order_of_the_first(path):
    name, order = f"{FLUORESCENCE}/evoked", np.array([3, 1, 0, 4, 2])
    second = add_responses(write_nwb(path), name, 200, start=100.0, rate_hz=10.0)
    rows = open_session(edit(path, {f"{name}/rois": order})).responses.file
    np.testing.assert_array_equal(rows.read(980, 1180)[:, order], second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_hz", "values", "notes"),
    [
        (
            15.0,
            {"responses.n_samples": 300},
            {"other_rates": ("evoked (15 Hz)", "RoiResponseSeries0 (10 Hz)")},
        ),
        (10.02, {"recorded_s": pytest.approx(50.0, abs=0.2)}, {"epochs": "evoked"}),
    ],
)
def test_epochs_of_other_rates(path, rate_hz, values, notes):
    n = int(rate_hz * 20)
    add_responses(write_nwb(path), f"{FLUORESCENCE}/evoked", n, start=100.0, rate_hz=rate_hz)
    check_session(path, values, notes)


@pytest.mark.slow
def test_a_faulty_alternative_is_left_out(path):
    add_responses(write_nwb(path), f"{FLUORESCENCE}/A", 300, timestamps=np.full(300, np.nan))
    notes = {"left_out_stream": "300 of 300 timestamps"}
    check_session(path, {"meta.series": [f"/{FIRST}"]}, notes)


def test_where_all_series_are_faulty_the_fault_of_the_first_is_told(path):
    write_nwb(path, changes={RATE: np.nan})
    add_responses(path, f"{FLUORESCENCE}/RoiResponseSeriesA", 300, timestamps=np.full(300, np.nan))
    check_refusal(path, "RoiResponseSeries0 .*'nan' as its rate")


@pytest.mark.slow
def test_epochs_that_overlap_in_part_are_named(path):
    add_responses(write_nwb(path), f"{FLUORESCENCE}/Later", 300, rate_hz=10.0, start=31.0)
    check_session(path, {}, {"epochs_left_out": "Later share 1 s"})


@pytest.mark.slow
def test_the_refusal_of_a_series_names_the_others(path):
    times = np.append(np.arange(299) / 10, np.nan)
    add_responses(write_nwb(path), f"{OPHYS}/DfOverF/dff", 300, timestamps=times)
    check_refusal(path, "1 of 300 timestamps .* Fluorescence/RoiResponseSeries0")
    check_session(path, {"n_neurons": 5}, series="Fluorescence")


@pytest.mark.slow
def test_planes_recorded_at_other_times(path):
    session = check_session(
        write_nwb(path, Plane(), Plane(n=3, start=17.0, seconds=30.0)),
        {"n_neurons": 8, "responses.n_samples": 300, "recorded_s": 30.0},
        {"other_times": "covers 17–47 s"},
    )
    data = session.responses.data
    assert np.isnan(data[:150, 5:]).all()
    np.testing.assert_array_equal(data[150:, 5:], values_of(path, f"{SECOND}/data")[:150])


@pytest.mark.slow
def test_a_plane_without_cells_is_left_out(path):
    changes = {f"{SEGMENTATION}/S1/Accepted": np.zeros(3)}
    write_nwb(path, Plane(), Plane(n=3), changes=changes)
    check_session(path, {"n_neurons": 5}, {"no_cells": "RoiResponseSeries1"})
    check_session(path, {"n_neurons": 8}, cells_only=False)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(300, 0), (0, 300)])
def test_a_plane_without_regions_is_left_out(path, shape):
    changes = {f"{SECOND}/data": np.zeros(shape), f"{SECOND}/rois": np.zeros(0, int)}
    write_nwb(path, Plane(), Plane(n=3), changes=changes)
    check_session(path, {"n_neurons": 5}, {"empty_series": "RoiResponseSeries1"})


@pytest.mark.slow
def test_a_faulty_plane_leaves_the_others(path):
    write_nwb(path, Plane(), Plane(n=3), changes={START: np.nan})
    check_session(path, {"n_neurons": 3}, {"left_out_stream": "RoiResponseSeries0"})


@pytest.mark.slow
def test_a_label_of_cells_is_no_activity(path):
    indicator = "general/optophysiology/p0/indicator"
    write_nwb(path, changes={indicator: "tdTomato"})
    check_refusal(path, "second channel")
    other = write_nwb(path.with_name("b.nwb"), changes={indicator: "GCaMP6s and tdTomato"})
    check_session(other, {"n_neurons": 5})


@pytest.mark.slow
def test_two_segmentations_of_one_plane_are_the_same_cells(path):
    write_nwb(path, Plane(), Plane(), Plane(mask=""))
    first, second, third = (f"{SEGMENTATION}/S{k}" for k in range(3))
    plane = h5py.SoftLink("/general/optophysiology/p0")
    masks = {
        f"{second}/{name}": values_of(path, f"{first}/{name}")
        for name in ("pixel_mask", "pixel_mask_index")
    }
    edit(path, {f"{second}/imaging_plane": plane, f"{third}/imaging_plane": plane, **masks})
    check_session(
        path,
        {"units.unit_id": [*range(10, 15), *range(30, 35)]},
        {
            "same_cells": (
                "RoiResponseSeries1 and Fluorescence/RoiResponseSeries0",
                "RoiResponseSeries2 and",
            )
        },
    )


# -- axes ----------------------------------------------------------------------------
TURNED = {f"{FIRST}/data": np.transpose}


@pytest.mark.parametrize("has_times", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_transposed_responses_are_read_with_a_note(path, has_times):
    write_nwb(path, Plane(timestamps=TIMES if has_times else None))
    values = values_of(path, f"{FIRST}/data")
    edit(path, {**TURNED, f"{SEGMENTATION}/S0/iscell": np.array([1, 1, 0, 1, 1])})
    session = check_session(path, {}, {"transposed": "5 × 300"})
    np.testing.assert_array_equal(session.responses.data, values[:, [0, 1, 3, 4]])


def test_axes_that_contradict_the_times_are_refused_with_both_readings(path):
    changes = {**TURNED, f"{FIRST}/rois": np.arange(300) % 5}
    write_nwb(path, Plane(timestamps=TIMES), changes=changes)
    words = "5 samples of 300 regions, or 300 samples of 5 regions"
    assert check_refusal(path, words).code == "axes"


@pytest.mark.slow
def test_data_without_rois_are_regions_with_numbers_if_their_axes_are_plain(path):
    write_nwb(path, changes={f"{FIRST}/rois": None})
    assert check_refusal(edit(copy(path), TURNED), "neither rois nor times").code == "axes"
    values = {"units.unit_id": [0, 1, 2, 3, 4], "units.area": ["V1"] * 5}
    check_session(path, values, {"no_regions": "no rois"})


@pytest.mark.slow
def test_square_data_are_noted(path):
    check_session(write_nwb(path, Plane(n=60, seconds=6.0)), {}, {"square_axes": "60 × 60"})


@pytest.mark.slow
def test_regions_of_several_columns_are_counted(path):
    write_nwb(path, changes={f"{FIRST}/rois": np.array([0, 0, 1, 2, 2])})
    session = check_session(path, {}, {"repeated_regions": "2 of 5 columns"})
    assert session.units.unit_id.tolist()[:3] == [10, 10, 11]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_rois_that_are_ids_of_the_table_are_read_so(path, dtype):
    ids = values_of(write_nwb(path), f"{SEGMENTATION}/S0/id")
    ids = ids[values_of(path, f"{FIRST}/rois")]
    edit(path, {f"{FIRST}/rois": ids.astype(dtype)})
    values = {"units.unit_id": ids.tolist()}
    check_session(path, values, {"rois_are_ids": "read as its ids"})


# -- clocks --------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "imaging_hz", "values", "words"),
    [
        *(
            (TIMES * per_second, 10.0, {"responses.start": 2.0}, "imaging plane")
            for per_second in (1e3, 1e6, 1e9, 1 / 60, 1 / 3600)
        ),
        (np.arange(300.0), 10.0, {"responses.rate_hz": 10.0}, "numbers of frames"),
        # A recording of hours in milliseconds is no week.
        (1e3 * np.arange(300) * 40, 0.025, {"duration_s": 12_000.0}, "imaging plane"),
    ],
    ids=["ms", "µs", "ns", "minutes", "hours", "frames", "hours in ms"],
)
def test_times_in_another_unit_are_read_by_the_imaging_rate(path, times, imaging_hz, values, words):
    write_nwb(path, Plane(timestamps=times), changes={IMAGING_RATE: imaging_hz})
    check_session(path, {"responses.rate_hz": imaging_hz, **values}, {"time_unit": words})


@pytest.mark.slow
def test_times_in_milliseconds_without_a_rate_to_compare(path):
    write_nwb(path, Plane(timestamps=1e3 * TIMES))
    other = copy(path)
    with h5py.File(other, "a") as file:
        series = typed_group(file, "acquisition/running", "TimeSeries")
        write_samples(series, np.ones(620), About(rate_hz=20.0))
    refused = check_refusal(path, "0.01 per second.*10 per second.*ms")
    assert "rate_hz" in refused.hint
    for rate_hz in (10.0, 12.0):  # in ms; and simply another rate
        check_session(path, {"responses.rate_hz": rate_hz}, rate_hz=rate_hz)
    notes = {"time_unit": "/acquisition/running lasts 31 s"}
    check_session(other, {"responses.rate_hz": 10.0}, notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stated_hz", "words"), [(10.4, None), (7.0, "7 Hz"), (30.0, "3 times as many")]
)
def test_the_rate_is_compared_with_that_of_the_imaging_plane(path, stated_hz, words):
    write_nwb(path, changes={IMAGING_RATE: stated_hz})
    check_session(path, {"responses.rate_hz": 10.0}, {"imaging_rate": words})


@pytest.mark.slow
def test_the_rate_of_a_volume_of_planes_is_no_fault(path):
    planes = {IMAGING_RATE.replace("p0", f"p{k}"): 30.0 for k in range(3)}
    write_nwb(path, *[Plane(n=2)] * 3, changes=planes)
    session = check_session(path, {}, {"imaging_rate": "frames of all planes"})
    assert "imaging_rate" not in [note.code for note in session.warnings]


def test_the_user_decides_between_two_rates(path):
    write_nwb(path, changes={IMAGING_RATE: 7.0})
    check_session(path, {"responses.rate_hz": 7.0}, rate_hz=7.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({RATE: np.nan}, "'nan' as its rate .*rate_hz"),
        ({RATE: np.array([10.0, 10.0])}, "2 values in its rate"),
        ({START: np.zeros(3)}, "3 values in its starting_time"),
        ({START: np.nan}, "the starting_time nan"),
    ],
)
def test_clocks_need_one_start_and_one_rate(path, changes, words):
    check_refusal(write_nwb(path, changes=changes), words)


CLOCKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "one value in an array": (
        {START: np.array([4.0]), RATE: np.array([10.0])},
        {"responses.start": 4.0},
        {},
    ),
    "a rate of text": ({RATE: "10.0"}, {"responses.rate_hz": 10.0}, {}),
    "a rate in kilohertz": (
        {IMAGING_RATE: 10.0, RATE: 0.01},
        {"responses.rate_hz": 10.0, "responses.start": 2.0},
        {},
    ),
    "seconds between samples": (
        {IMAGING_RATE: 10.0, RATE: 0.1},
        {"responses.rate_hz": 10.0, "responses.start": 2.0},
        {"time_unit": "seconds between samples"},
    ),
    "timestamps in a column": (
        {START: None, f"{FIRST}/timestamps": TIMES[:, None]},
        {"responses.rate_hz": 10.0},
        {},
    ),
    "a rate that is none": (
        {IMAGING_RATE: 10.0, RATE: 0.0},
        {"responses.rate_hz": 10.0},
        {"bad_rate": "'0.0' as its rate: the 10 Hz of its imaging plane"},
    ),
    "a rate beside timestamps": (
        {f"{FIRST}/timestamps": TIMES, START: 0.0, RATE: 30.0},
        {"responses.rate_hz": 10.0},
        {"two_clocks": "rate of 30 "},
    ),
    "a change of the rate": (
        {
            START: None,
            f"{FIRST}/timestamps": np.append(np.arange(200) / 10, 20 + np.arange(100) / 5),
        },
        {},
        {"rate_changes": ("33 %", "5 Hz")},
    ),
}


def test_truth_values_are_numbers(path):
    data = values_of(write_nwb(path), f"{FIRST}/data") > 0.5
    edit(path, {f"{FIRST}/data": data})
    np.testing.assert_array_equal(open_session(path).responses.data, data.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "values", "notes"), CLOCKS.values(), ids=CLOCKS)
def test_odd_clocks_are_read_with_a_note(path, changes, values, notes):
    check_session(write_nwb(path, changes=changes), values, notes)


def test_responses_wider_than_any_store_are_read_as_float64(path):
    wide = values_of(write_nwb(path), f"{FIRST}/data").astype(np.longdouble) + 1e-12
    edit(path, {f"{FIRST}/data": wide})
    responses = open_session(path).responses
    assert responses.dtype == np.float64
    np.testing.assert_array_equal(responses.data, wide.astype(np.float64))


def test_an_imaging_rate_that_is_a_group_states_none(path):
    with h5py.File(write_nwb(path), "a") as file:
        file.create_group(IMAGING_RATE)
    check_session(path, {"responses.rate_hz": 10.0})


def test_a_given_rate_takes_the_place_of_one_that_is_none(path):
    write_nwb(path, changes={IMAGING_RATE: 10.0, RATE: 0.0})
    check_session(path, {"responses.rate_hz": 12.0}, rate_hz=12.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_times_too_coarse_for_their_steps_are_named_so(path, dtype):
    times = (1.7e9 + np.arange(300) / 10).astype(np.float32).astype(dtype)
    check_refusal(write_nwb(path, Plane(timestamps=times)), "float32.* 128 s")


@pytest.mark.slow
def test_pixels_of_a_meter_have_no_positions(path):
    write_nwb(path, changes={"general/optophysiology/p0/grid_spacing": np.full(2, 1.2)})
    session = check_session(path, {}, {"grid_spacing": "1.2 m per pixel"})
    assert np.isnan(session.units.xyz_um).all()


@pytest.mark.slow
def test_units_beside_traces_are_named(path):
    with h5py.File(write_nwb(path), "a") as file:
        table = typed_group(file, "units", "Units")
        table["id"] = [3, 4]
        table["spike_times"] = [1.5, 2.5, 3.5]
        table["spike_times_index"] = [1, 3]
    check_session(path, {}, {"other_units": "/units (2)"})
    check_session(path, {"n_neurons": 2}, series="Units")


# -- invalid times -------------------------------------------------------------------
def test_invalid_times_of_traces_are_missing(path):
    whole = open_session(write_nwb(path.with_name("whole.nwb"), Plane(start=0.0))).responses.data
    add_table(write_nwb(path, Plane(start=0.0)), "invalid_times", [10.0, 29.0], [15.0, 99.0])
    session = check_session(path, {"recorded_s": 24.0}, {"invalid_times": "6 s are missing"})
    is_invalid = np.zeros(300, bool)
    is_invalid[100:150] = is_invalid[290:] = True
    rows = session.responses.data
    assert np.isnan(rows[is_invalid]).all()
    np.testing.assert_array_equal(rows[~is_invalid], whole[~is_invalid])


@pytest.mark.slow
def test_invalid_times_of_all_that_was_recorded_are_left_out(path):
    times = TIMES + 20.0 * (np.arange(300) >= 150)
    write_nwb(path, Plane(timestamps=times))
    add_table(path, "invalid_times", [0.0, 37.0], [17.0, 60.0])
    notes = {"left_out_stream": "covers the whole recording"}
    check_session(path, {"recorded_s": 30.0}, notes)


def test_invalid_times_on_another_clock_are_noted(path):
    add_table(write_nwb(path), "invalid_times", [1.7e9], [1.7e9 + 5])
    check_session(path, {}, {"odd_invalid_times": "1700000000"})
