"""NWB files that lead elsewhere, or claim what memory cannot hold."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.data.hdf5 import Hdf5
from omnimouse_model.data.open import open_session
from omnimouse_model.data.readers import nwb_units
from omnimouse_model.errors import SessionFormatError
from tests.model.nwb_files import Nwb, Plane, add_series, write_nwb

SERIES = "processing/ophys/Fluorescence/RoiResponseSeries0"
TABLE = "processing/ophys/ImageSegmentation/S0"
SPECIFIED = "specifications/evil"
DEEP = "general/" + "/".join(f"d{i}" for i in range(30))


@pytest.fixture
def path(tmp_path):
    return write_nwb(tmp_path / "recording.nwb")


@pytest.fixture
def other(tmp_path):
    """A file beside it, which nothing may reach."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = "SECRET"
        file["numbers"] = np.arange(5)
    return tmp_path / "other.h5"


def refused(path: Path) -> SessionFormatError:
    with pytest.raises(SessionFormatError) as caught:
        open_session(path)
    assert "recording.nwb" in str(caught.value)
    return caught.value


# -- elsewhere -----------------------------------------------------------------------
@pytest.mark.parametrize("place", [SPECIFIED, DEEP, "scratch/x"])
def test_no_link_leads_to_another_file(path, other, place):
    with h5py.File(path, "a") as file:
        file[place] = h5py.ExternalLink(other, "/x")
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink(f"/{place}")
    assert refused(path).code == "outside"


@pytest.mark.parametrize("is_dataset_linked", [True, False])
def test_groups_of_other_files_are_not_entered(path, other, is_dataset_linked):
    with h5py.File(path, "a") as file:
        file[DEEP] = h5py.ExternalLink(other, "/")
        del file[f"{SERIES}/rois"]
        target = f"/{DEEP}/numbers"
        file[f"{SERIES}/rois"] = h5py.SoftLink(target)
        if not is_dataset_linked:
            del file["identifier"], file["general/session_id"]
            file["identifier"] = h5py.SoftLink(f"/{DEEP}/x")
    assert refused(path).code == "outside"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are of POSIX")
@pytest.mark.parametrize("place", [SPECIFIED, DEEP])
def test_a_pipe_behind_a_link_does_not_hang(path, place):
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    with h5py.File(path, "a") as file:
        file[place] = h5py.ExternalLink(pipe, "/x")
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink(f"/{place}")
    code = f"from omnimouse_model import open_session; open_session({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert b"outside the file; refused" in done.stderr


def test_values_in_other_files_are_refused(path, tmp_path):
    (tmp_path / "raw").write_bytes(b"SECRETS!")
    with h5py.File(path, "a") as file:
        del file["general/session_id"]
        file["general"].create_dataset(
            "session_id", (1,), "S8", external=[(str(tmp_path / "raw"), 0, 8)]
        )
    assert refused(path).code == "outside"


def test_virtual_values_are_refused(path, other):
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = h5py.VirtualSource(str(other), "numbers", (5,))
    with h5py.File(path, "a") as file:
        table = file[f"{SERIES}/rois"].attrs["table"]
        del file[f"{SERIES}/rois"]
        file.create_virtual_dataset(f"{SERIES}/rois", layout).attrs["table"] = table
    assert refused(path).code == "outside"


def test_links_in_circles_are_told(path):
    with h5py.File(path, "a") as file:
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink("/general/other")
        file["general/other"] = h5py.SoftLink("session_id")
    assert "go round in circles" in refused(path).message


def test_links_within_the_file_are_followed(path):
    with h5py.File(path, "a") as file:
        file["general/names/real"] = "88-1-2"
        file["general/one"] = h5py.SoftLink("./names")
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink("one/real")
    assert open_session(path).id == "88-1-2"


# -- sizes ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "dtype"), [("general/session_id", "i1"), (f"{SERIES}/starting_time", "f8")]
)
def test_one_value_is_not_a_gigabyte(path, name, dtype):
    with h5py.File(path, "a") as file:
        about = dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, (3 * 2**30,), dtype, chunks=(1024,))
        made.attrs.update(about)
    assert refused(path).code == "too_large"


def test_a_factor_is_not_a_table(path):
    with h5py.File(path, "a") as file:
        file[f"{SERIES}/data"].attrs["conversion"] = np.zeros(4000)
    assert refused(path).code in ("too_large", "bad_series")


def rewritten(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """A dataset of that shape, of which nothing is stored."""
    with h5py.File(path, "a") as file:
        about = dict(file[name].attrs)
        del file[name]
        chunks = (min(shape[0], 1024), *shape[1:])
        made = file.create_dataset(name, shape, dtype, chunks=chunks)
        made.attrs.update(about)


@pytest.mark.parametrize(
    ("n", "code", "words"),
    [(10**8, "bad_clock", "more than a week"), (10**11, "too_large", "at most")],
)
def test_a_series_is_no_longer_than_a_week(path, n, code, words):
    rewritten(path, f"{SERIES}/data", (n, 5), "f4")
    error = refused(path)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize(
    ("n", "rate", "code"), [(3 * 10**7, 30.0, "bad_clock"), (10**9, 1e9, "too_large")]
)
def test_a_film_is_no_longer_than_a_week(path, n, rate, code):
    name = "stimulus/presentation/film"
    add_series(path, name, np.zeros((2, 4, 4), "u1"), "ImageSeries", rate_hz=rate)
    rewritten(path, f"{name}/data", (n, 4, 4), "u1")
    assert refused(path).code == code


def test_one_late_time_makes_no_grid_of_terabytes(tmp_path):
    times = np.append(2 + np.arange(299) / 10, 1e12)
    write_nwb(tmp_path / "recording.nwb", Nwb((Plane(timestamps=times),)))
    assert refused(tmp_path / "recording.nwb").code == "bad_clock"


def test_running_is_no_longer_than_a_week(path):
    times = np.append(np.arange(299) / 10, 1e12)
    add_series(path, "processing/behavior/running", np.ones(300), timestamps=times)
    assert refused(path).code == "bad_clock"


# -- masks ---------------------------------------------------------------------------
def test_images_of_masks_are_read_in_blocks(tmp_path, monkeypatch):
    order = (4, 0, 1, 0, 3)
    plane = Plane(n=5, mask="image_mask", order=order)
    path = write_nwb(tmp_path / "recording.nwb", Nwb((plane,)))
    images = f"{TABLE}/image_mask"
    with h5py.File(path, "a") as file:
        file[images][1, 3, 4] = np.nan
        stored = file[images][()]
    monkeypatch.setattr(nwb_units, "_BLOCK_BYTES", 2 * 8 * 40 * 60)
    reads: list[object] = []
    read = Hdf5.read

    def counted(self: Hdf5, dataset: h5py.Dataset, part: object) -> np.ndarray:
        if dataset.name == f"/{images}":
            reads.append(part)
        return read(self, dataset, part)

    monkeypatch.setattr(Hdf5, "read", counted)
    roi = open_session(path).units.roi
    assert roi is not None
    assert reads == [slice(0, 2), slice(3, 4), slice(4, 5)]
    for number, row in enumerate(order):
        y, x = np.nonzero(np.nan_to_num(stored[row]))
        yx, weight = roi.pixels(number)
        np.testing.assert_array_equal(yx, np.stack([y, x], axis=1))
        np.testing.assert_array_equal(weight, stored[row][y, x])


@pytest.mark.parametrize("mask", ["image_mask", "pixel_mask"])
def test_masks_have_a_bounded_number_of_pixels(tmp_path, mask, monkeypatch):
    plane = Plane(mask=mask, order=(0, 0, 0, 0, 0))
    path = write_nwb(tmp_path / "recording.nwb", Nwb((plane,)))
    assert open_session(path).n_neurons == 5
    monkeypatch.setattr(nwb_units, "MOST_PIXELS", 10)
    assert "masks of" in refused(path).message
