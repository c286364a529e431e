import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from tests import SESSIONS
from tests.model.data.refusals import check_refusal, check_session
from tests.model.nwb_files import Plane, add_series, add_table, edit, typed_group, write_nwb

FIXTURE = SESSIONS / "nwb_small.nwb"
OPHYS = "processing/ophys"
SERIES = f"{OPHYS}/Fluorescence/RoiResponseSeries0"
TABLE = f"{OPHYS}/ImageSegmentation/S0"
FRAME = np.full((1, 36, 64), 90, np.uint8)


@pytest.fixture(scope="module")
def session():
    return open_session(FIXTURE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.bin"  # known by what it holds


def values_of(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[name][()]


def test_responses_are_those_of_the_cells(session):
    data = values_of(FIXTURE, f"{OPHYS}/DfOverF/DfOverF0/data")
    cells = values_of(FIXTURE, f"{OPHYS}/ImageSegmentation/PlaneSegmentation0/iscell")
    np.testing.assert_array_equal(session.responses.data, data[:, cells])
    rows = np.array([0, 7, 190])
    picked = session.responses.file.pick(rows, slice(1, 3))
    np.testing.assert_array_equal(picked, data[rows][:, np.flatnonzero(cells)[1:3]])
    assert session.responses.rate_hz == 8.0
    assert session.responses.start == 5.0
    assert (session.id, session.animal_id) == ("synthetic-1-2", "99002")


def test_neurons_have_their_pixels_area_and_place(session):
    group = f"{OPHYS}/ImageSegmentation/PlaneSegmentation0"
    pixels = values_of(FIXTURE, f"{group}/pixel_mask")
    ends = values_of(FIXTURE, f"{group}/pixel_mask_index")
    cells = np.flatnonzero(values_of(FIXTURE, f"{group}/iscell"))
    plane = "general/optophysiology/plane0"
    origin = values_of(FIXTURE, f"{plane}/origin_coords")
    spacing = values_of(FIXTURE, f"{plane}/grid_spacing")
    for neuron, row in enumerate(cells):
        part = pixels[ends[row - 1] if row else 0 : ends[row]]
        yx, weight = session.units.roi.pixels(neuron)
        np.testing.assert_array_equal(yx, np.stack([part["y"], part["x"]], axis=1))
        np.testing.assert_array_equal(weight, part["weight"])
        x = np.average(part["x"], weights=part["weight"])
        y = np.average(part["y"], weights=part["weight"])
        np.testing.assert_allclose(session.units.xy_px[neuron], [x, y], rtol=1e-5)
        place = [*(origin[:2] + spacing * [x, y]), origin[2]]
        np.testing.assert_allclose(session.units.xyz_um[neuron], place, rtol=1e-5)
    assert set(session.units.area.tolist()) == {"V1"}


def test_behaviour_is_what_the_file_holds(session):
    eye, running = session.behavior["eye_tracker"], session.behavior["treadmill"]
    base = "processing/behavior"
    size = values_of(FIXTURE, f"{base}/PupilTracking/pupil_diameter/data")
    np.testing.assert_array_equal(eye.data[:, 0], size)
    np.testing.assert_allclose(eye.data[:, 1], np.gradient(size) * 20, rtol=1e-6)
    place = values_of(FIXTURE, f"{base}/EyeTracking/pupil_position/data")
    np.testing.assert_array_equal(eye.data[:, 2:], place)
    speed = values_of(FIXTURE, f"{base}/BehavioralTimeSeries/running_speed/data")
    np.testing.assert_array_equal(running.data[:, 0], speed)
    assert running.start == 4.8
    assert eye.names == ("pupil_size", "pupil_dsize", "pupil_x", "pupil_y")
    assert np.isnan(eye.data).any(axis=1).sum() == 3


def test_frames_are_shown_when_the_file_says(session):
    base = "stimulus/presentation"
    times = values_of(FIXTURE, f"{base}/movie/timestamps")
    shown, valid = session.stimulus.sample(times + 0.002)
    assert len(valid) == len(times)
    np.testing.assert_array_equal(shown, values_of(FIXTURE, f"{base}/movie/data"))
    order = values_of(FIXTURE, f"{base}/stills/data")
    onset = values_of(FIXTURE, f"{base}/stills/timestamps")
    shown, _ = session.stimulus.sample(onset + 0.01)
    for frame, image in zip(shown, order, strict=True):
        expected = values_of(FIXTURE, f"stimulus/templates/images/img{image}")
        np.testing.assert_array_equal(frame, expected)
    kinds = session.trials.kind.tolist()
    assert (kinds.count("video"), kinds.count("image")) == (1, len(order))


@pytest.mark.slow
def test_other_series_are_read_where_asked():
    session = open_session(FIXTURE, series="Fluorescence", cells_only=False)
    base = f"{OPHYS}/Fluorescence/RoiResponseSeries"
    first, second = (values_of(FIXTURE, f"{base}{plane}/data") for plane in (0, 1))
    assert session.units.plane.tolist() == [0] * 11 + [1] * 6
    assert set(session.units.area.tolist()) == {"V1", "LM"}
    later = values_of(FIXTURE, f"{base}1/timestamps")[0]
    skipped = int(np.ceil((later - 5.0) * 8))  # samples of the first plane before it
    data = session.responses.data
    np.testing.assert_array_equal(data[:, :11], first[skipped : skipped + len(data)])
    np.testing.assert_array_equal(data[:, 11:], second[: len(data)])
    found = open_session(FIXTURE, series="Fluorescence/RoiResponseSeries1")
    again = pickle.loads(pickle.dumps(found))
    for one in (found, again):
        np.testing.assert_array_equal(one.responses.data[: len(second)], second)
    check_refusal(FIXTURE, "DfOverF, Fluorescence", series="spikes")


def test_stored_values_are_scaled_and_reordered(path):
    write_nwb(path, Plane(conversion=0.5, offset=3.0, order=(4, 2, 0, 1, 3)))
    no_behavior = {"eye_tracker": None, "treadmill": None}
    values = {"units.unit_id": [14, 12, 10, 11, 13], "stimulus": None, "behavior": no_behavior}
    session = check_session(path, values)
    data = values_of(path, f"{SERIES}/data")
    np.testing.assert_allclose(session.responses.data, data * 0.5 + 3, rtol=1e-6)
    assert session.window(5.0).responses.shape == (60, 5)
    assert is_session(path)


@pytest.mark.parametrize("conversion", [np.nan, 0.0])
def test_a_conversion_that_is_no_factor_is_left_out(path, conversion):
    edit(write_nwb(path), {f"{SERIES}/data@conversion": conversion})
    session = check_session(path, {}, {"bad_field": f"conversion {conversion}"})
    np.testing.assert_allclose(session.responses.data, values_of(path, f"{SERIES}/data"))
    # MATLAB stores a number as an array of one.
    other = edit(
        write_nwb(path.with_name("other.nwb")), {f"{SERIES}/data@conversion": np.array([2.0])}
    )
    doubled = open_session(other).responses.data
    np.testing.assert_allclose(doubled, 2 * session.responses.data)


def test_voxels_and_missing_masks(path):
    roi = open_session(write_nwb(path, Plane(mask="voxel_mask"))).units.roi
    assert len(roi.weight) == roi.offsets[-1]
    other = write_nwb(path.with_name("other.nwb"), Plane(mask="", origin=False))
    session = check_session(other, {"units.roi": None}, {"no_masks": "", "no_positions": ""})
    assert np.isnan(session.units.xyz_um).all()


def test_planes_that_begin_apart_lie_side_by_side(path):
    write_nwb(path, Plane(start=2.0), Plane(start=2.23, n=3, location="VISl"))
    session = check_session(path, {"responses.start": 2.23})
    series = f"{OPHYS}/Fluorescence/RoiResponseSeries"
    data = [values_of(path, f"{series}{i}/data") for i in (0, 1)]
    n = session.responses.n_samples
    # row 0 is the first of the later plane; the earlier one's next sample is 0.07 s on
    np.testing.assert_array_equal(session.responses.data[:, :5], data[0][3 : 3 + n])
    np.testing.assert_array_equal(session.responses.data[:, 5:], data[1][:n])
    np.testing.assert_allclose(session.responses.shift_s, [0.07] * 5 + [0] * 3)


@pytest.mark.parametrize(
    ("rate_hz", "n", "words"),
    [
        (15.0, 2, "RoiResponseSeries1 (15 Hz)"),
        (10.009, 2, "RoiResponseSeries1 (10.009 Hz)"),
        (10.0001, 3, None),
    ],
)
def test_planes_that_drift_apart_are_named_and_left_out(path, rate_hz, n, words):
    write_nwb(path, Plane(n=2, seconds=600.0), Plane(n=1, rate_hz=rate_hz, seconds=600.0))
    check_session(path, {"n_neurons": n}, {"other_rates": words})


def test_jitter_neither_loses_nor_doubles_a_sample_and_a_gap_is_missing(path):
    times = 2.0 + np.arange(300) / 10
    times[100:] += 1.5
    times += np.random.default_rng(0).uniform(0, 0.02, 300)
    session = check_session(
        write_nwb(path, Plane(timestamps=times)),
        {
            "responses.rate_hz": pytest.approx(10, rel=3e-4),
            "recorded_s": pytest.approx(30.0, abs=0.01),
        },
        {"uneven_times": "1 pause (1.5"},
    )
    expected = np.full((315, 5), np.nan, np.float32)
    data = values_of(path, f"{SERIES}/data")
    expected[:100], expected[115:] = data[:100], data[100:]
    np.testing.assert_array_equal(session.responses.data, expected)


@pytest.mark.parametrize(("n_lost", "words"), [(1, "1 missing sample,"), (2, "2 mis")])
def test_lost_samples_are_counted(path, n_lost, words):
    times = 2.0 + np.delete(np.arange(300), 100 + np.arange(n_lost)) / 10
    check_session(numbered_recording(path, times), {}, {"uneven_times": f"with {words}"})


def test_jitter_of_an_even_clock_is_stated(path):
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, 300)
    write_nwb(path, Plane(timestamps=2.0 + np.arange(300) / 10 + jitter))
    session = check_session(path, {}, {"jitter": "", "uneven_times": None})
    np.testing.assert_array_equal(session.responses.data, values_of(path, f"{SERIES}/data"))


def numbered_recording(path: Path, times: np.ndarray) -> Session:
    """A recording of one region whose samples are their numbers."""
    plane, numbers = Plane(n=1, timestamps=times), np.arange(len(times), dtype=np.float32)
    return open_session(write_nwb(path, plane, changes={f"{SERIES}/data": numbers[:, None]}))


def test_a_clock_that_drifts_by_samples_is_not_even(path):
    n = 40_000
    k = np.arange(n)
    times = 2 + (k + 1.6 * np.sin(2 * np.pi * k / n)) / 10
    session = check_session(numbered_recording(path, times), {}, {"uneven_times": ""})
    grid = times[0] + np.arange(session.responses.n_samples) / 10
    late = np.abs(times[session.responses.data[:, 0].astype(int)] - grid)
    assert late.max() < 0.06  # of a step of 0.1


@pytest.mark.parametrize("gap", [[], [1500, 1501, 1502]])
@pytest.mark.parametrize("start", [0.0, 1.52e9])
def test_rounded_times_are_even_and_a_gap_moves_no_sample(path, start, gap):
    k = np.delete(np.arange(3001), gap)
    session = numbered_recording(path, start + k / 10)
    rate_hz = pytest.approx(10, rel=1e-8)
    check_session(session, {"responses.rate_hz": rate_hz}, {"uneven_times": "" if gap else None})
    expected = np.full(3001, np.nan)
    expected[k] = np.arange(len(k))
    np.testing.assert_array_equal(session.responses.data[:, 0], expected)


@pytest.mark.parametrize(
    ("unit", "factor"), [("cm/s", 1.0), ("m/s", 100.0), ("mm/s", 0.1), ("V", 1.0)]
)
def test_running_is_in_cm_per_second(path, unit, factor):
    speed = np.linspace(0, 1, 640)
    name = "processing/behavior/running_speed"
    add_series(write_nwb(path), name, speed, unit=unit, conversion=2.0)
    session = check_session(path, {}, {"running_unit": "" if unit == "V" else None})
    running = session.behavior["treadmill"].data[:, 0]
    np.testing.assert_allclose(running, speed * 2 * factor)


def test_the_size_of_the_pupil_is_what_is_called_so(path):
    base, size = "processing/behavior/PupilTracking", 42.0 + np.arange(700)
    add_series(write_nwb(path), f"{base}/confidence", np.linspace(0, 1, 700))
    add_series(path, f"{base}/pupil_diameter", size, unit="meters")
    units = {"behavior.eye_tracker.units": ("meters", "meters/s")}
    session = check_session(path, units, {"pupil_source": f"/{base}/pupil_diameter"})
    np.testing.assert_array_equal(session.behavior["eye_tracker"].data[:, 0], size)


def test_a_container_names_the_one_series_that_it_holds(path):
    base, other = "acquisition/PupilTracking", path.with_name("other.nwb")
    for place, names in ((path, ["left"]), (other, ["left", "right"])):
        write_nwb(place)
        for name in names:
            add_series(place, f"{base}/{name}", np.arange(700.0))
    check_session(path, {"behavior.eye_tracker.units": ("px", "px/s")})
    notes = {"pupil_source": (f"{base}/left", f"{base}/right")}
    check_session(other, {"behavior.eye_tracker": None}, notes)


def test_pupil_on_two_clocks_is_brought_to_one(path):
    add_series(write_nwb(path), "acquisition/PupilTracking/pupil_size", np.arange(700.0))
    place = np.stack([np.arange(1600.0), -np.arange(1600.0)], axis=1)
    add_series(path, "acquisition/EyeTracking/eye", place, "SpatialSeries", rate_hz=50.0)
    eye = check_session(path, {}, {"pupil_resampled": ""}).behavior["eye_tracker"].data
    np.testing.assert_allclose(eye[:600, 2], np.arange(600) * 2.5)


def add_film(path: Path, film: np.ndarray, name: str = "film", **about: Any) -> None:
    add_series(path, f"stimulus/presentation/{name}", film, "ImageSeries", **about)


def test_films_of_other_sizes_and_with_pauses(path):
    write_nwb(path)
    draw = np.random.default_rng(1)
    gray = draw.integers(0, 255, (90, 36, 64), dtype=np.uint8)
    colour = draw.integers(0, 255, (60, 72, 128, 3), dtype=np.uint8)
    times = 3.0 + np.concatenate([np.arange(45), np.arange(45) + 75]) / 30
    add_film(path, gray, "a", timestamps=times)
    add_film(path, colour, "b", start=10.0, rate_hz=30.0)
    session = open_session(path)
    assert session.trials.kind.tolist() == ["video", "invalid"] * 3
    assert session.trials.n_slots.tolist() == [45, 1, 45, 1, 60, 1]
    # A window averages each film from its own size; alone, a frame has the largest.
    slots = np.searchsorted(session.stimulus.slot_t, times - 1e-3)
    np.testing.assert_array_equal(session.stimulus.frames(slots, (36, 64)), gray)
    frames, _ = session.stimulus.sample(times + 1e-3)
    np.testing.assert_allclose(frames[:, ::2, 1::2], gray, rtol=1e-6)
    frames, _ = session.stimulus.sample(np.array([10.5]))
    np.testing.assert_allclose(frames[0], colour[15].astype(float).mean(axis=2), rtol=1e-5)
    window = session.window(float(times[60]) - session.t0)
    assert window.frames_u8.shape == (60, 36, 64)
    pause = session.stimulus.sample(np.array([5.2]))[0]
    assert (pause == 113).all()
    starts = session.window_starts() + session.t0
    assert not ((starts < 5.5) & (starts + 2 > 4.55)).any()


def test_a_single_frame_alone_does_not_take_the_recording_away(path):
    add_film(write_nwb(path), FRAME, timestamps=np.array([5.0]))
    session = check_session(path, {"stimulus": None}, {"short_stimulus": ""})
    assert session.window(5.0).responses.shape == (60, 5)


@pytest.mark.slow
def test_trials_divide_a_film(path):
    add_film(write_nwb(path), np.zeros((600, 36, 64), np.uint8), start=3.0, rate_hz=30.0)
    tiers = np.array([b"train", b"test", b"train"])
    session = open_session(add_table(path, "trials", [3, 10, 16], [10, 16, 23], split=tiers))
    trials = session.trials
    assert trials.tier[trials.readable].tolist() == ["train", "test", "train"]
    assert session.tiers()["test"] == pytest.approx(0.1, abs=0.001)
    assert len(session.window_starts("test"))


def show_images(path: Path, images: dict[str, np.ndarray], order: np.ndarray) -> None:
    """Images in datasets of their own, one per second."""
    with h5py.File(path, "a") as file:
        folder = typed_group(file, "stimulus/templates/images", "Images")
        for name, image in images.items():
            folder[name] = image
        shown = typed_group(file, "stimulus/presentation/stills", "IndexSeries")
        shown["data"] = order
        shown["timestamps"] = 2.0 + np.arange(len(order))
        shown["indexed_images"] = h5py.SoftLink(folder.name)


def test_a_collection_of_images_that_is_no_group_is_left_out(path):
    show_images(write_nwb(path), {"a": np.zeros((36, 64))}, np.zeros(3, np.int64))
    edit(path, {"stimulus/templates/images": np.full(3, b"a")})
    check_session(path, {"stimulus": None}, {"left_out_stream": "is not a group"})


def test_images_without_an_order_are_numbered_by_their_names(path):
    images = {f"image{i}": np.full((36, 64), i, np.uint8) for i in range(12)}
    show_images(write_nwb(path), images, np.arange(12))
    session = check_session(path, {}, {"image_order": ""})
    shown = [int(session.stimulus.frame(slot)[0, 0]) for slot in range(12)]
    assert shown == list(range(12))


def test_films_in_other_files_are_named_and_not_read(path):
    with h5py.File(write_nwb(path), "a") as file:
        movie = typed_group(file, "stimulus/presentation/movie", "ImageSeries")
        movie["external_file"] = np.array([b"../movie.mp4"])
    check_session(path, {"stimulus": None}, {"external_stimulus": "../movie.mp4"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rois", np.array([0, 1, 2, 3, 9]), "has rois from 0 to 9"),
        ("rois", np.array([0, 1]), "has 2 rois for 5 columns"),
        ("data", np.zeros((3, 4, 5)), r"has data \(3, 4, 5\)"),
        ("data", np.zeros((0, 5)), r"its data are \(0, 5\)"),
    ],
)
def test_parts_that_do_not_fit_are_named(path, name, value, words):
    write_nwb(path, changes={f"{SERIES}/{name}": value})
    assert "recording.bin" in str(check_refusal(path, words))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pixel_mask_index", np.array([3, 2, 5, 6, 7]), "does not fit 5"),
        ("pixel_mask_index", np.array([1, 2, 3, 4, 900]), "does not fit 5"),
        ("pixel_mask", np.arange(40), "pixel_mask without x, y, weight"),
    ],
)
def test_masks_that_do_not_fit_are_left_out(path, name, value, words):
    write_nwb(path, changes={f"{TABLE}/{name}": value})
    check_session(path, {"units.roi": None}, {"left_out_stream": words})


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.zeros(300), r"299 of 299 steps, first from index 0 \(0 s\) to 1 "),
        (np.where(np.arange(300) % 100 == 7, np.nan, 1.0), "3 of 300 .* at index 7"),
        (np.arange(7.0), "has 7 timestamps for 300"),
        (np.zeros((2, 300)), r"timestamps of shape \(2, 300\); \(300,\) expected"),
        (np.full(300, b"a"), "timestamps of"),
    ],
)
def test_clocks_must_increase(path, times, words):
    check_refusal(write_nwb(path, Plane(timestamps=times)), words)


def test_a_file_without_responses_says_what_is_inside(path):
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file.create_group("acquisition/e").attrs["neurodata_type"] = "ElectricalSeries"
    check_refusal(path, "it holds ElectricalSeries")


def test_damaged_and_foreign_files_are_refused(path):
    write_nwb(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    check_refusal(path, f"cut off after {len(whole) // 2:,} of {len(whole):,} bytes")
    path.write_bytes(whole[:8] + bytes(len(whole) - 8))
    check_refusal(path, "not a valid HDF5 file")
    path.write_bytes(b"not hdf5")
    check_refusal(path, "is not a recording")


def test_a_file_that_changes_while_open_is_a_clear_error(path):
    session = open_session(write_nwb(path))
    session.window(3.0)
    path.write_bytes(path.read_bytes() + b"x")
    assert session.is_stale
    with pytest.raises(SessionFormatError, match="changed while the session was open"):
        _ = session.window(4.0).responses


@pytest.mark.parametrize(
    ("version", "is_attribute", "words"),
    [
        ("NWB-1.0.6", False, "is NWB 1 .*NWB-1.0.6"),
        ("1.0.5_beta", True, "is NWB 1 "),
        ("2.0b", True, "a pre-release of NWB 2"),
        ("2.0.0-beta", True, "a pre-release of NWB 2"),
    ],
)
def test_old_versions_say_how_to_convert(path, version, is_attribute, words):
    with h5py.File(path, "w") as file:
        file["epochs/a"] = 1
        if is_attribute:
            file.attrs["nwb_version"] = version
        else:
            file["nwb_version"] = version
    refused = check_refusal(path, words)
    assert refused.code == "old_version"
    assert "pynwb" in refused.hint


@pytest.mark.slow
def test_releases_of_version_2_are_read(path):
    check_session(write_nwb(path, changes={"/@nwb_version": "2.0.1"}), {"n_neurons": 5})


@pytest.mark.slow
def test_a_folder_of_nwb_files_is_its_only_file_or_lists_them(tmp_path):
    folder = tmp_path / "sub-1"
    folder.mkdir()
    (folder / "._a.nwb").write_bytes(b"macOS")
    first = write_nwb(folder / "a.nwb")
    assert open_session(folder).path == first
    assert is_session(folder)
    write_nwb(folder / "b.NWB")
    assert "open one of them" in check_refusal(folder, "2 NWB files: a.nwb, b.NWB").hint
    assert not is_session(folder)


def test_a_folder_with_another_recording_is_not_its_one_nwb_file(tmp_path):
    write_nwb(tmp_path / "a.nwb")
    np.savez(tmp_path / "b.npz", responses=np.ones((600, 3)), rate_hz=30.0)
    assert not is_session(tmp_path)
