"""NWB files that lead elsewhere, or claim what memory cannot hold."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers.build import neurons
from omnimouse_model.data.readers.nwb import units as nwb_units
from tests.model.data.refusals import check_refusal, check_session
from tests.model.nwb_files import Plane, add_series, edit, write_nwb

SERIES = "processing/ophys/Fluorescence/RoiResponseSeries0"
TABLE = "processing/ophys/ImageSegmentation/S0"
NAME = "general/session_id"
SPECIFIED = "specifications/evil"
DEEP = "general/" + "/".join(f"d{i}" for i in range(30))


@pytest.fixture
def path(tmp_path):
    return write_nwb(tmp_path / "recording.nwb")


@pytest.fixture
def other_file(tmp_path):
    """A file beside it, which nothing may reach."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = "SECRET"
        file["numbers"] = np.arange(5)
        file["table"] = np.zeros((300, 5), int)
    return tmp_path / "other.h5"


@pytest.mark.parametrize("place", [SPECIFIED, DEEP, "scratch/x"])
def test_a_link_to_another_file_is_named_and_not_followed(path, other_file, place):
    # The session's name is what lies in another file.
    edit(path, {place: h5py.ExternalLink(other_file, "/x"), NAME: h5py.SoftLink(f"/{place}")})
    notes = {"links_left_out": f"/{place} (in {other_file})"}
    check_session(path, {"id": "an-identifier"}, notes)


@pytest.mark.parametrize("name", ["data", "rois", "timestamps"])
def test_responses_in_another_file_are_refused(path, other_file, name):
    edit(path, {f"{SERIES}/{name}": h5py.ExternalLink(other_file, "/numbers")})
    refused = check_refusal(path, f"{name} lies in .*other.h5")
    assert refused.code == "outside"


def test_series_in_another_file_are_named(path, other_file):
    edit(path, {"processing/ophys/Fluorescence": h5py.ExternalLink(other_file, "/")})
    assert "other.h5" in check_refusal(path, "processing/ophys/Fluorescence in").message


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [("general/session_id", (1,), "S8"), (f"{SERIES}/data", (300, 5), "f4")],
)
def test_values_in_other_files_are_not_read(path, tmp_path, name, shape, dtype):
    (tmp_path / "raw").write_bytes(b"SECRETS!" * 750)
    with h5py.File(path, "a") as file:
        del file[name]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = [(str(tmp_path / "raw"), 0, size)]
        file.create_dataset(name, shape, dtype, external=raw)
    if name == f"{SERIES}/data":
        assert check_refusal(path).code == "outside"
    else:
        assert open_session(path).id == "an-identifier"


@pytest.mark.parametrize(
    ("name", "shape", "source"),
    [(f"{SERIES}/rois", (5,), "numbers"), (f"{SERIES}/data", (300, 5), "table")],
)
def test_virtual_values_are_refused(path, other_file, name, shape, source):
    layout = h5py.VirtualLayout(shape, "i8")
    layout[:] = h5py.VirtualSource(str(other_file), source, shape)
    with h5py.File(path, "a") as file:
        about = dict(file[name].attrs)
        del file[name]
        file.create_virtual_dataset(name, layout).attrs.update(about)
    assert check_refusal(path).code == "outside"


def test_the_source_of_a_virtual_image_is_not_opened(path, other_file, monkeypatch):
    # An unlimited virtual dataset has the shape of its source.
    def select():
        space = h5py.h5s.create_simple((7, 5), (h5py.h5s.UNLIMITED, 5))
        space.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (1, 1), (1, 5))
        return space

    storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    storage.set_virtual(select(), bytes(other_file), b"table", select())
    with h5py.File(path, "a") as file:
        about = file["processing/ophys"].create_group("Images")
        kind = h5py.h5t.STD_I64LE
        h5py.h5d.create(about.id, b"mean", kind, select(), storage)
        about["mean"].attrs["neurodata_type"] = "GrayscaleImage"
    shape, seen = h5py.Dataset.shape, []

    def shape_of(dataset):
        seen.append(dataset.name)
        return shape.fget(dataset)

    monkeypatch.setattr(h5py.Dataset, "shape", property(shape_of))
    assert open_session(path).n_neurons == 5
    assert seen
    assert "/processing/ophys/Images/mean" not in seen


def test_links_in_circles_are_told(path):
    edit(
        path, {NAME: h5py.SoftLink("/general/other"), "general/other": h5py.SoftLink("session_id")}
    )
    check_refusal(path, "too many links")


def replace_by_sparse(
    path: Path, name: str, shape: tuple[int, ...], dtype: str, rows_at_once: int = 1024
) -> None:
    """A dataset of that shape, of which nothing is stored."""
    with h5py.File(path, "a") as file:
        about = dict(file[name].attrs)
        del file[name]
        chunks = (min(shape[0], rows_at_once), *shape[1:])
        made = file.create_dataset(name, shape, dtype, chunks=chunks)
        made.attrs.update(about)


@pytest.mark.parametrize(
    ("name", "n", "dtype"),
    [
        ("general/session_id", 3 * 2**30, "i1"),
        (f"{SERIES}/starting_time", 3 * 2**30, "f8"),
    ],
)
def test_values_that_are_not_there_take_no_memory(path, name, n, dtype):
    replace_by_sparse(path, name, (n,), dtype)
    assert check_refusal(path).code == "too_large"


def test_masks_that_are_too_large_are_left_out(path):
    replace_by_sparse(path, f"{TABLE}/pixel_mask", (10**12,), "f8")
    words = ("976,562,500 pieces", "; at most 1,000,000")
    check_session(path, {"units.roi": None}, {"left_out_stream": words})


def test_a_factor_is_not_a_table(path):
    edit(path, {f"{SERIES}/data@conversion": np.zeros(4000)})
    assert check_refusal(path).code in ("too_large", "bad_series")


@pytest.mark.parametrize(
    ("n", "rows_at_once", "code"),
    [
        (10**8, 1024, "bad_clock"),
        (10**11, 1024, "too_large"),
        (10**8, 10**8, "too_large"),
    ],
)
def test_a_series_is_of_a_week_and_small_pieces_at_most(path, n, rows_at_once, code):
    replace_by_sparse(path, f"{SERIES}/data", (n, 5), "f4", rows_at_once)
    assert check_refusal(path).code == code


@pytest.mark.parametrize("is_running", [False, True])
def test_one_late_time_makes_no_grid_of_terabytes(tmp_path, is_running):
    path, times = tmp_path / "recording.nwb", np.append(np.arange(299) / 10, 1e12)
    write_nwb(path, Plane() if is_running else Plane(timestamps=2 + times))
    if is_running:
        name = "processing/behavior/running"
        add_series(path, name, np.ones(300), timestamps=times)
        check_session(path, {"behavior.treadmill": None})
    else:
        assert check_refusal(path).code == "bad_clock"


def test_images_of_masks_are_read_in_blocks(tmp_path, monkeypatch):
    order = (4, 0, 1, 0, 3)
    path = write_nwb(tmp_path / "recording.nwb", Plane(mask="image_mask", order=order))
    images = f"{TABLE}/image_mask"
    with h5py.File(path, "a") as file:
        file[images][1, 3, 4] = np.nan
        stored = file[images][()]
    monkeypatch.setattr(nwb_units, "_BLOCK_BYTES", 2 * 8 * 40 * 60)
    roi = open_session(path).units.roi
    assert roi is not None
    for number, row in enumerate(order):
        y, x = np.nonzero(np.nan_to_num(stored[row]))
        yx, weight = roi.pixels(number)
        np.testing.assert_array_equal(yx, np.stack([y, x], axis=1))
        np.testing.assert_array_equal(weight, stored[row][y, x])


@pytest.mark.parametrize("mask", ["image_mask", "pixel_mask"])
def test_masks_have_a_bounded_number_of_pixels(tmp_path, mask, monkeypatch):
    path = write_nwb(tmp_path / "recording.nwb", Plane(mask=mask, order=(0, 0, 0, 0, 0)))
    check_session(path, {"n_neurons": 5})
    for module in (nwb_units, neurons):
        monkeypatch.setattr(module, "MAX_PIXELS", 10)
    check_session(path, {"units.roi": None}, {"left_out_stream": "masks of"})
