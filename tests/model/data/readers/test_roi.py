"""Cell sets of Inscopix through a stand-in of roiextractors and its reader of the files."""

import json
import shutil
from functools import partial

import h5py
import numpy as np
import pytest
import zarr

from omnimouse_model.data.open import is_session, open_session
from omnimouse_model.data.readers.build import neurons
from omnimouse_model.errors import MISSING_RATE
from tests.model.data.refusals import check_refusal, check_session, left_out
from tests.model.roi_files import (
    HEIGHT,
    N_FRAMES,
    N_REGIONS,
    WIDTH,
    CaimanFile,
    images,
    traces,
    write_cnmfe_results,
    write_cnmfe_signals,
    write_extract,
    write_old_extract,
)

pytestmark = pytest.mark.filterwarnings("ignore:The data type")
WRITERS = {
    "caiman": lambda path: CaimanFile(accepted=None, series={"C": traces()}).write(path),
    "extract": write_extract,
    "old extract": write_old_extract,
    "cnmfe signals": write_cnmfe_signals,
    "cnmfe results": partial(write_cnmfe_results, is_sparse=False),
    "cnmfe sparse results": partial(write_cnmfe_results, is_sparse=True),
}


def replace_dataset(path, name, values):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values


@pytest.fixture
def caiman(tmp_path):
    return CaimanFile().write(tmp_path / "mouse1.hdf5")


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_gives_its_traces_and_masks(tmp_path, name):
    path = WRITERS[name](tmp_path / ("mouse1.hdf5" if name == "caiman" else "mouse1.mat"))
    series = "C" if "results" in name else None
    session = open_session(path, series=series, rate_hz=10.0 if name == "extract" else None)
    np.testing.assert_array_equal(session.responses.data, traces().T)
    assert session.format == name.split()[-1 if name == "old extract" else 0]
    assert session.id == "mouse1"
    for region, mask in enumerate(images()):
        yx, weight = session.units.roi.pixels(region)
        shown = np.zeros((HEIGHT, WIDTH))
        shown[tuple(yx.T)] = weight
        np.testing.assert_array_equal(shown, mask)
    np.testing.assert_array_equal(session.units.xy_px[1], [4.0, 2.5])


@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [("caiman", 10.0), ("old extract", 8.0), ("cnmfe signals", 8.0), ("cnmfe results", 20.0)],
)
def test_the_rate_is_the_stored_one(tmp_path, name, rate_hz):
    path = WRITERS[name](tmp_path / ("mouse1.hdf5" if name == "caiman" else "mouse1.mat"))
    values = {"responses.rate_hz": rate_hz, "recording_rate_hz": rate_hz}
    check_session(path, values, {"stored_rate": f"{rate_hz:g} Hz"})


# -- CaImAn --------------------------------------------------------------------------
def test_caiman_gives_deconvolved_activity_of_accepted_components(caiman):
    notes = {"cells_only": "2 of 5 regions of mouse1.hdf5 (estimates/idx_components)"}
    session = check_session(caiman, {"series": "S", "units.unit_id": [0, 2, 3]}, notes)
    np.testing.assert_array_equal(session.responses.data, traces(1)[[0, 2, 3]].T)
    assert list(session.series_choices) == ["S", "C"]
    image = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(session.images["mean"], image)


def test_all_components_are_read_if_asked_for(caiman):
    session = check_session(caiman, {}, {"no_cells": ""}, cells_only=False, series="C")
    np.testing.assert_array_equal(session.responses.read(10, 20), traces(0)[:, 10:20].T)


@pytest.mark.parametrize("shape", [(0,), (1, 0), (0, 1)])
def test_an_evaluation_that_accepts_nothing_is_refused_with_the_option(tmp_path, shape):
    path = CaimanFile(accepted=[]).write(tmp_path / "a.hdf5")
    replace_dataset(path, "estimates/idx_components", np.zeros(shape))
    error = check_refusal(path, r"accepts none of 5 regions.*cells_only=False")
    assert error.code == "empty"
    assert open_session(path, cells_only=False).n_neurons == N_REGIONS


def test_a_rate_that_is_given_wins_over_the_setting_of_the_program(caiman):
    notes = {"rate_disagrees": "params/data/fr says 10"}
    check_session(caiman, {"responses.rate_hz": 7.5}, notes, rate_hz=7.5)


def test_a_missing_rate_is_asked_for(tmp_path):
    path = CaimanFile(rate_hz=None).write(tmp_path / "a.hdf5")
    error = check_refusal(path, "no frames per second of CaImAn")
    assert error.code == MISSING_RATE
    assert open_session(path, rate_hz=10.0).responses.rate_hz == 10.0


def test_a_series_that_is_not_there_is_refused_with_those_that_are(caiman):
    assert check_refusal(caiman, "no series 'F_dff'; it has S, C", series="F_dff").code == (
        "no_series"
    )


def test_traces_that_differ_in_shape_are_refused_by_field(tmp_path):
    file = CaimanFile(series={"C": traces()[:, :-1], "S": traces()})
    path = file.write(tmp_path / "a.hdf5")
    check_refusal(path, r"a.hdf5: traces differ in shape: estimates/S \(5, 400\), estimates/C")


@pytest.mark.parametrize(
    "accepted",
    [
        [[0], [2], [3]],
        [[0, 2, 3]],
        [0.0, 2.0, 3.0],
        [True, False, True, True, False],
        *(np.array([1, 0, 1, 1, 0], dtype) for dtype in ("u1", "i8", "f8")),
    ],
)
def test_accepted_components_may_be_a_column_a_row_or_flags(caiman, accepted):
    replace_dataset(caiman, "estimates/idx_components", accepted)
    check_session(caiman, {"units.unit_id": [0, 2, 3]})


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        ([[0, 2], [3, 4]], r"is \(2, 2\)"),
        ([True, False], "has 2 flags for 5 regions"),
        ([0, 1.6, 2], "holds numbers that are not whole"),
        ([0, 1, np.nan], "holds numbers that are not whole"),
        ([0, 2, 2], "names 1 region twice"),
        ([np.nan, np.nan, 1], "holds numbers that are not whole"),
        ([1.0, np.inf], "names regions 1.0 to inf"),
    ],
)
def test_accepted_components_of_other_shapes_are_refused_by_field(caiman, accepted, words):
    replace_dataset(caiman, "estimates/idx_components", accepted)
    check_refusal(caiman, f"estimates/idx_components {words}")


def test_accepted_components_that_do_not_exist_are_refused_by_field(tmp_path):
    path = CaimanFile(accepted=[1, N_REGIONS]).write(tmp_path / "a.hdf5")
    check_refusal(path, "idx_components names regions 1 to 5; they are numbers from 0 to 4")


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("indices", [HEIGHT * WIDTH] * 30, "names pixels (of 12 × 20) 240 to 240"),
        ("indptr", [0, 6, 3, 18, 24, 30], "disagree"),
        ("indptr", [0, 30], "has 1 columns; 5 regions expected"),
        ("data", [1.0], "disagree"),
    ],
)
def test_masks_that_contradict_themselves_are_left_out_with_the_reason(caiman, part, values, words):
    with h5py.File(caiman, "r+") as file:
        del file[f"estimates/A/{part}"]
        file[f"estimates/A/{part}"] = np.array(values)
    session = open_session(caiman)
    assert session.units.roi is None
    message = left_out(session)
    assert "the masks is left out: " in message
    assert "mouse1.hdf5: estimates/A" in message
    assert words in message


def test_masks_of_a_volume_are_not_read(tmp_path):
    path = CaimanFile(size=(4, 6, 10)).write(tmp_path / "a.hdf5")
    check_session(path, {"units.roi": None}, {"no_masks": "3-D"})


# -- EXTRACT and CNMF-E --------------------------------------------------------------
def test_extract_needs_a_rate(tmp_path):
    path = write_extract(tmp_path / "a.mat")
    assert check_refusal(path, "no frames per second of EXTRACT").code == MISSING_RATE


def test_regions_that_extract_emptied_are_no_cells(tmp_path):
    masks = images()
    masks[1] = 0.0
    session = open_session(write_extract(tmp_path / "a.mat", masks), rate_hz=10.0)
    np.testing.assert_array_equal(session.units.unit_id, [0, 2, 3, 4])
    np.testing.assert_array_equal(session.responses.data, traces()[[0, 2, 3, 4]].T)


def test_masks_of_another_number_of_regions_are_left_out(tmp_path):
    path = write_extract(tmp_path / "a.mat", images()[:3])
    message = left_out(path, rate_hz=10.0)
    assert "output/spatial_weights is (3, 20, 12) float64" in message
    assert "5 regions expected" in message


@pytest.mark.parametrize("name", WRITERS)
def test_traces_with_the_axes_the_other_way_round_are_read_as_the_masks_show(tmp_path, name):
    path = WRITERS[name](tmp_path / ("a.hdf5" if name == "caiman" else "a.mat"))
    turned: list[str] = []

    def find(place: str, item: object) -> None:
        if sorted(getattr(item, "shape", ())) == [N_REGIONS, N_FRAMES]:
            turned.append(place)

    with h5py.File(path, "r+") as file:
        file.visititems(find)
        for place in turned:
            values = file[place][()].T
            del file[place]
            file[place] = values
    series = "C" if "results" in name else None
    notes = {"transposed": "there are 5 masks"}
    session = check_session(path, {}, notes, series=series, rate_hz=10.0)
    np.testing.assert_array_equal(session.responses.data, traces().T)
    assert session.units.roi is not None


def test_flat_masks_without_the_size_of_the_image_are_left_out(tmp_path):
    path = write_cnmfe_results(tmp_path / "a.mat", is_sparse=False)
    with h5py.File(path, "r+") as file:
        del file["results/Cn"]
    assert "the size of the image is unknown" in left_out(path)


def test_other_files_of_the_same_ending_are_none_of_these(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["output/other"] = np.ones(3)
    (tmp_path / "b.hdf5").write_bytes(b"no HDF5")
    assert not is_session(tmp_path / "a.mat")
    assert not is_session(tmp_path / "b.hdf5")


def test_damaged_names_values_and_sizes_are_refused(tmp_path):
    path = write_cnmfe_signals(tmp_path / "a.mat")
    with h5py.File(path, "r+") as file:
        file[b"\xffname"] = np.ones(3)
    assert open_session(path).n_neurons == N_REGIONS
    path = CaimanFile(series={"C": traces() * 1e300}).write(tmp_path / "b.hdf5")
    check_refusal(path, "holds responses that are too large for traces", cells_only=False)
    path = CaimanFile(accepted=None, series={}).write(tmp_path / "c.hdf5")
    with h5py.File(path, "r+") as file:
        file.create_dataset("estimates/C", (10**9, 400), "f8", chunks=(10, 40))
    check_refusal(path, "400 frames of 1,000,000,000 regions")


def test_windows_read_the_traces(caiman):
    session = open_session(caiman)
    assert session.duration_s == pytest.approx(N_FRAMES / 10.0, abs=0.2)
    window = session.window(5.0)
    assert window.responses.shape == (60, 3)
    assert np.isfinite(window.responses).all()


IDS = np.array([3, 5, 8, 9, 12])


def write_result(folder, name, values, axes, version=2, **coordinates):
    """Write one result as xarray writes it: an array with the names of its axes."""
    group = zarr.create_group(folder / f"{name}.zarr", zarr_format=version)
    fields = {"dimension_names": axes} if version == 3 else {}
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=(2, *values.shape[1:]), **fields
    )
    array[:] = values
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(axes)
    for key, value in coordinates.items():
        group.create_array(key, data=np.asarray(value))
    return folder


def write_minian(folder, version=2, *, axes=("unit_id", "frame"), with_times=True):
    frames = 2 * np.arange(N_FRAMES)
    for name, seed in (("C", 0), ("S", 1)):
        values = traces(seed) if axes[0] == "unit_id" else traces(seed).T
        write_result(folder, name, values, axes, version, unit_id=IDS, frame=frames)
    write_result(folder, "A", images(), ("unit_id", "height", "width"), version, unit_id=IDS)
    write_result(folder, "max_proj", images().max(axis=0), ("height", "width"), version)
    if with_times:
        rows = [f"{k},{25.0 * k + 1000},0" for k in range(2 * N_FRAMES)]
        text = "\n".join(["Frame Number,Time Stamp (ms),Buffer Index", *rows])
        (folder / "timeStamps.csv").write_text(text)
    return folder


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", [("unit_id", "frame"), ("frame", "unit_id")])
def test_a_folder_gives_traces_masks_ids_and_the_rate_of_its_times(tmp_path, version, axes):
    session = open_session(write_minian(tmp_path / "mouse1/minian", version, axes=axes))
    assert (session.format, session.id, session.series) == ("minian", "mouse1", "S")
    # Every second frame of 25 ms.
    assert session.responses.rate_hz == pytest.approx(20.0)
    np.testing.assert_array_equal(session.responses.data, traces(1).T)
    np.testing.assert_array_equal(
        session.responses.file.pick(np.array([3, 7]), slice(1, 3)), traces(1).T[[3, 7], 1:3]
    )
    np.testing.assert_array_equal(session.units.unit_id, IDS)
    yx, weight = session.units.roi.pixels(2)
    np.testing.assert_array_equal(yx[[0, -1]], [[4, 6], [5, 8]])
    assert set(weight.tolist()) == {3.0}
    np.testing.assert_array_equal(session.images["mean"], images().max(axis=0))


def test_without_times_the_rate_is_asked_for(tmp_path):
    folder = write_minian(tmp_path / "minian", with_times=False)
    assert check_refusal(folder, "no frames per second of Minian").code == MISSING_RATE
    assert open_session(folder, rate_hz=20.0, series="C").n_neurons == N_REGIONS


@pytest.mark.parametrize(("late_s", "note"), [(60.0, "1 pause (60 s)"), (0.1, "2 missing samples")])
def test_time_without_frames_is_missing(tmp_path, late_s, note):
    folder = write_minian(tmp_path / "minian")
    times = 25.0 * np.arange(2 * N_FRAMES) + 1000
    times[N_FRAMES:] += 1000 * late_s
    rows = [f"{k},{time},0" for k, time in enumerate(times)]
    text = "\n".join(["Frame Number,Time Stamp (ms),Buffer Index", *rows])
    (folder / "timeStamps.csv").write_text(text)
    values = {"responses.rate_hz": pytest.approx(20.0), "recorded_s": pytest.approx(20.0, abs=0.2)}
    session = check_session(folder, values, {"uneven_times": note})
    half, late = N_FRAMES // 2, round(20 * late_s)
    np.testing.assert_array_equal(session.responses.data[:half], traces(1).T[:half])
    assert np.isnan(session.responses.data[half : half + late]).all()
    np.testing.assert_array_equal(session.responses.data[half + late :], traces(1).T[half:])


def test_times_that_lack_frames_are_left_out_with_a_count(tmp_path):
    folder = write_minian(tmp_path / "minian")
    text = (folder / "timeStamps.csv").read_text()
    (folder / "timeStamps.csv").write_text("\n".join(text.splitlines()[:-10]))
    assert "timeStamps.csv has no increasing times of 400 frames (5 missing)" in left_out(
        folder, rate_hz=20.0
    )


@pytest.mark.parametrize("text", ["", "Frame Number,Time Stamp (ms)\n0,a\n", "a,b\n1,2\n"])
def test_where_the_rate_is_asked_for_it_is_told_why_the_times_are_none(tmp_path, text):
    folder = write_minian(tmp_path / "minian")
    (folder / "timeStamps.csv").write_text(text)
    problem = check_refusal(folder, "timeStamps.csv is left out: ")
    assert problem.code == MISSING_RATE
    assert open_session(folder, rate_hz=20.0).n_neurons == N_REGIONS


@pytest.mark.parametrize("shape", [[5, 2, 2, 2], [5], [], [5, 20]])
def test_masks_of_other_shapes_are_left_out(tmp_path, shape):
    folder = write_minian(tmp_path / "minian")
    restate(folder, "A", shape=shape, chunks=[max(1, n) for n in shape])
    message = left_out(folder)
    assert "the masks is left out" in message
    assert "5 images (height, width) expected" in message


def restate(folder, name, **fields):
    """Change what the metadata of an array say of it."""
    about = folder / f"{name}.zarr/{name}/.zarray"
    about.write_text(json.dumps(json.loads(about.read_text()) | fields))


def test_sizes_that_are_only_stated_take_no_memory_and_no_time(tmp_path, monkeypatch):
    folder = write_minian(tmp_path / "regions")
    for name in "CS":
        restate(folder, name, shape=[2 * 10**9, 2], chunks=[2 * 10**6, 2])
    check_refusal(folder, "2 frames of 2,000,000,000 regions")
    folder = write_minian(tmp_path / "frames")
    for name in "CS":
        restate(folder, name, shape=[N_REGIONS, 10**8], chunks=[N_REGIONS, 10**6])
    check_refusal(folder, "no frames per second of Minian")
    folder = write_minian(tmp_path / "masks")
    for chunk in (folder / "A.zarr/A").glob("[0-9]*"):
        chunk.unlink()
    restate(folder, "A", shape=[N_REGIONS, 3000, 4000], chunks=[1, 3000, 4000])
    monkeypatch.setattr(neurons, "_MOST_SEEN", 5 * 10**7)
    assert "pixels or more in images of" in left_out(folder)


@pytest.mark.parametrize("frames", [np.full(N_FRAMES, np.nan), np.zeros((2, 200)), ["a", "b"]])
def test_numbers_of_frames_that_are_none_are_left_out(tmp_path, frames):
    folder = write_minian(tmp_path / "minian")
    for name in "CS":
        shutil.rmtree(folder / f"{name}.zarr/frame")
        zarr.open_group(folder / f"{name}.zarr").create_array("frame", data=np.asarray(frames))
    assert "timeStamps.csv is left out" in left_out(folder, rate_hz=20.0)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (IDS, None),
        (np.array(IDS) + 0.5, "not whole"),
        ([1, 2, np.inf, 4, 5], "not whole"),
        ([1, 2, 1e19, 4, 5], "beyond 64 bits"),
    ],
)
def test_ids_of_regions_may_be_floats_of_whole_numbers(tmp_path, ids, words):
    folder = write_minian(tmp_path / "minian")
    for name in "CS":
        shutil.rmtree(folder / f"{name}.zarr/unit_id")
        values = np.asarray(ids, np.float64)
        zarr.open_group(folder / f"{name}.zarr").create_array("unit_id", data=values)
    if words is not None:
        check_refusal(folder, f"unit_id.*{words}")
        return
    np.testing.assert_array_equal(open_session(folder).units.unit_id, IDS)


def test_masks_of_other_regions_are_left_out(tmp_path):
    folder = write_minian(tmp_path / "minian")
    (folder / "A.zarr").rename(tmp_path / "A.zarr")
    write_result(folder, "A", images()[:2], ("unit_id", "height", "width"))
    message = left_out(folder)
    assert "A.zarr is (2, 12, 20) float64 of unit_id, height, width; 5 images" in message


STAND_IN = '''
from types import SimpleNamespace

import numpy as np


class InscopixSegmentationExtractor:
    """The parts that are used, of a file that is an archive of arrays."""

    def __init__(self, path):
        self.stored = np.load(path)
        images = self.stored["images"]
        self.cell_set = SimpleNamespace(get_cell_image_data=lambda k: images[k])

    def get_roi_ids(self):
        return list(self.stored["names"])

    def get_sampling_frequency(self):
        return self.stored["rate_hz"]

    def get_property(self, key, ids):
        assert key == "cell_status"
        return self.stored["status"]

    def get_traces(self, name):
        return self.stored["traces"]
'''
STATUS = ["accepted", "rejected", "accepted", "undecided", "accepted"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "packages/roiextractors"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def write(path, **changes):
    values = {
        "names": [f"C{2 * k:02d}" for k in range(N_REGIONS)],
        "status": STATUS,
        "rate_hz": 20.0,
        "traces": traces(),
        "images": images(),
        **changes,
    }
    with path.open("wb") as stream:
        np.savez(stream, **values)
    return path


@pytest.mark.process
def test_images_of_a_cell_set_that_are_none_leave_its_traces(package, tmp_path):
    for found in (images()[:2], images().astype(str)):
        session = open_session(write(tmp_path / "cells.isxd", images=found))
        assert "5 images (height, width) expected" in left_out(session)
        assert session.units.roi is None


@pytest.mark.process
def test_a_cell_set_without_frames_is_refused(package, tmp_path):
    path = write(tmp_path / "cells.isxd", traces=traces()[:, :0])
    check_refusal(path, "0 frames of 5 regions")


@pytest.mark.process
def test_accepted_cells_of_a_cell_set_open_with_masks_and_rate(package, tmp_path):
    session = open_session(write(tmp_path / "cells.isxd"))
    assert (session.format, session.responses.rate_hz) == ("inscopix", 20.0)
    np.testing.assert_array_equal(session.units.unit_id, [0, 4, 8])
    np.testing.assert_array_equal(session.responses.data, traces()[[0, 2, 4]].T)
    np.testing.assert_array_equal(session.units.roi.pixels(1)[0][0], [4, 6])
    assert "1 of 5 cells are undecided" in str(session.warnings)


@pytest.mark.process
def test_cells_that_nobody_looked_at_are_read_with_a_note(package, tmp_path):
    path = write(tmp_path / "cells.isxd", status=["undecided"] * N_REGIONS)
    session = open_session(path)
    assert session.n_neurons == N_REGIONS
    assert "accepts no cell" in str(session.assumptions)


@pytest.mark.process
def test_parts_that_disagree_are_refused(package, tmp_path):
    path = write(tmp_path / "cells.isxd", status=STATUS[:3])
    assert check_refusal(path, "they disagree").code == "bad_field"


@pytest.mark.process
def test_a_damaged_cell_set_is_one_line(package, tmp_path):
    (tmp_path / "cells.isxd").write_bytes(b"no cell set")
    error = check_refusal(tmp_path / "cells.isxd", "cannot be read by roiextractors")
    assert error.code == "unreadable"


@pytest.mark.process
def test_a_missing_library_is_named_with_its_extra(package, tmp_path):
    (package / "__init__.py").write_text("import no_such_isx")
    error = check_refusal(write(tmp_path / "cells.isxd"), r"omnimouse-app\[roi\]")
    assert error.code == "missing_package"
