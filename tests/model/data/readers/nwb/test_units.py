"""Regions of NWB files: orientation of masks, ids, marks of cells."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from tests.model.data.refusals import check_refusal, check_session
from tests.model.nwb_files import Plane, edit, write_nwb

TABLE = "processing/ophys/ImageSegmentation/S0"
HEIGHT, WIDTH = 40, 60  # of the image masks that `write_nwb` writes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.nwb"


def written(path: Path, mask: str, **changes: Any) -> Path:
    """A file of one plane, with changes of `edit`."""
    return write_nwb(path, Plane(mask=mask, origin=False), changes=changes)


def add_mean_image(path: Path, shape: tuple[int, int]) -> np.ndarray:
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    name = "processing/ophys/Backgrounds/meanImg"
    edit(path, {name: image, f"{name}@neurodata_type": "GrayscaleImage"})
    return image


def orientation(session: Session) -> str:
    notes = {note.code: note.message for note in session.assumptions}
    return notes.get("mask_orientation", "")


def image_rows_and_columns(path: Path, *, is_mirrored: bool) -> list[list[list[int]]]:
    with h5py.File(path) as file:
        masks = file[f"{TABLE}/image_mask"][()]
    places = [np.argwhere(m.T if is_mirrored else m) for m in masks]
    return [sorted(place.tolist()) for place in places]


def regions(session: Session) -> list[list[list[int]]]:
    assert session.units.roi is not None
    n = session.n_neurons
    return [sorted(session.units.roi.pixels(k)[0].tolist()) for k in range(n)]


@pytest.mark.parametrize(
    ("shape", "is_mirrored", "words"),
    [
        pytest.param(None, False, "(height, width), as most", marks=pytest.mark.slow),
        pytest.param((HEIGHT, WIDTH), False, "meanImg", marks=pytest.mark.slow),
        ((WIDTH, HEIGHT), True, "(width, height)"),
    ],
)
def test_image_masks_have_the_axes_of_the_mean_image(path, shape, is_mirrored, words):
    written(path, "image_mask")
    image = None if shape is None else add_mean_image(path, shape)
    session = open_session(path)
    expected = image_rows_and_columns(path, is_mirrored=is_mirrored)
    assert regions(session) == expected
    assert words in orientation(session)
    if image is not None:
        np.testing.assert_array_equal(session.images["mean"], image)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["source_script", "was_generated_by"])
def test_neuroconv_stores_images_and_masks_as_width_and_height(path, name):
    text = "Created using NeuroConv v0.6.1"
    value = text if name == "source_script" else np.array([[b"neuroconv", b"0.6.1"]])
    written(path, "image_mask", **{f"general/{name}": value})
    image = add_mean_image(path, (HEIGHT, WIDTH))  # (width, height), as the masks
    session = open_session(path)
    assert regions(session) == image_rows_and_columns(path, is_mirrored=True)
    np.testing.assert_array_equal(session.images["mean"], image.T)
    assert "neuroconv" in orientation(session)


@pytest.mark.parametrize(
    ("low", "has_image", "is_suite2p", "is_mirrored"),
    [
        pytest.param("x", False, False, False, marks=pytest.mark.slow),
        ("x", False, True, True),
        ("x", True, False, True),
        # The image refutes the program.
        pytest.param("y", True, True, False, marks=pytest.mark.slow),
    ],
)
def test_pixels_are_row_and_column_if_image_or_program_say_so(
    path, low, has_image, is_suite2p, is_mirrored
):
    written(path, "pixel_mask")
    with h5py.File(path, "a") as file:
        pixels = file[f"{TABLE}/pixel_mask"][()]
        pixels[low] %= 20
        file[f"{TABLE}/pixel_mask"][...] = pixels
        if is_suite2p:
            file[TABLE].attrs["description"] = "suite2p output"
    if has_image:
        add_mean_image(path, (20, 60))  # one of both is below 20
    session = open_session(path)
    places = np.concatenate([session.units.roi.pixels(k)[0] for k in range(5)])
    y, x = ("x", "y") if is_mirrored else ("y", "x")
    np.testing.assert_array_equal(places, np.stack([pixels[y], pixels[x]], axis=1))
    assert bool(orientation(session)) == (has_image or is_suite2p)
    assert ("column and row" in orientation(session)) == (low == "y")


@pytest.mark.slow
def test_the_raw_series_of_the_plane_gives_the_size(path):
    written(path, "image_mask")
    with h5py.File(path, "a") as file:
        raw = file.create_group("acquisition/TwoPhotonSeries")
        raw.attrs["neurodata_type"] = "TwoPhotonSeries"
        raw["imaging_plane"] = h5py.SoftLink("/general/optophysiology/p0")
        raw["dimension"] = np.array([WIDTH, HEIGHT])  # (height, width)
        raw["data"] = np.zeros((0, 0, 0), np.uint8)
    session = open_session(path)
    assert regions(session) == image_rows_and_columns(path, is_mirrored=True)
    assert "TwoPhotonSeries has 60 rows" in orientation(session)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "values", "cells"),
    [
        ("Rejected", [0, 1, 0, 0, 1], [0, 2, 3]),
        ("Accepted", [1, np.nan, 0, 1, 1], [0, 3, 4]),
        ("is_cell", [b"True", b"no", b"False", b"yes", b"True"], [0, 3, 4]),
        ("iscell", [0.9, 0.2, 0.4, 0.7, 0.8], [0, 3, 4]),
        ("other", [0, 1, 0, 0, 1], [0, 1, 2, 3, 4]),
    ],
)
def test_marks_of_cells(path, column, values, cells):
    written(path, "", **{f"{TABLE}/{column}": values})
    check_session(path, {"units.unit_id": [10 + cell for cell in cells]})


@pytest.mark.parametrize(
    ("rejected", "cells", "notes"),
    [
        ([0, 0, 0, 0, 0], range(5), {"not_sorted": "Rejected rejects 0 of 5"}),
        ([0, 1, 0, 0, 1], [0, 2, 3], {"not_sorted": "Rejected rejects 2 of 5"}),
    ],
)
def test_regions_that_nobody_sorted_are_cells(path, rejected, cells, notes):
    written(path, "", **{f"{TABLE}/Accepted": np.zeros(5), f"{TABLE}/Rejected": rejected})
    check_session(path, {"units.unit_id": [10 + cell for cell in cells]}, notes)
    edit(path, {f"{TABLE}/Rejected": np.ones(5)})
    check_refusal(path, "no region that is marked as a cell")


@pytest.mark.parametrize(
    ("column", "read_as", "cells"),
    [("is_cell", "cells", [0, 3, 4]), ("rejected", "no cells", [1, 2])],
)
def test_probabilities_are_told_as_what_they_mark(path, column, read_as, cells):
    written(path, "", **{f"{TABLE}/{column}": [0.9, 0.2, 0.4, 0.7, 0.8]})
    values = {"units.unit_id": [10 + cell for cell in cells]}
    notes = {"probabilities": f"the 3 of 5 regions above 0.5 are read as {read_as},"}
    check_session(path, values, notes)


@pytest.mark.parametrize("column", ["brain_area", "Location", "area"])
def test_areas_of_regions_come_before_that_of_their_plane(path, column):
    names = ["VISp", "VISl", "RSP", "CA1", "VISp"]
    written(path, "", **{f"{TABLE}/{column}": [name.encode() for name in names]})
    values = {"units.area": ["V1", "LM", "RSP", "CA1", "V1"], "units.area_source": f"/{TABLE}"}
    check_session(path, values, {"area_names": "of the regions in"})


def test_regions_without_an_area_have_that_of_their_plane(path):
    names = [b"", b" ", b"unknown", b"", b"CA1"]
    written(path, "", **{f"{TABLE}/location": names})
    notes = {"area_names": "and the planes' locations (VISp)"}
    source = f"/{TABLE}, ImagingPlane.location"
    values = {"units.area": ["V1", "V1", "V1", "V1", "CA1"], "units.area_source": source}
    check_session(path, values, notes)


def test_sizes_of_regions_are_no_areas(path):
    areas = open_session(write_nwb(path)).units.area
    written(path, "", **{f"{TABLE}/area": [31.0, 25.0, 40.0, 12.0, 9.0]})
    check_session(path, {"units.area": areas.tolist()})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([7, 9, 11, 13, 2**63 - 1], np.uint64), [7, 9, 11, 13, 2**63 - 1]),
        (np.array([7, 9, 11, 13, 2**64 - 1], np.uint64), [0, 1, 2, 3, 4]),
        ([b"7", b"9", b"11", b"13", b"15"], [7, 9, 11, 13, 15]),
        ([b"a", b"b", b"c", b"d", b"e"], [0, 1, 2, 3, 4]),
        (np.array([1.0, 2.0, 3.0, 4.5, 5.0]), [0, 1, 2, 3, 4]),
    ],
)
def test_ids_are_integers_or_row_numbers(path, ids, expected):
    written(path, "", **{f"{TABLE}/id": ids})
    told = "" if expected == [0, 1, 2, 3, 4] else None
    check_session(path, {"units.unit_id": expected}, {"unit_ids": told})


@pytest.mark.slow
def test_an_unknown_location_is_no_area(path):
    check_session(write_nwb(path, Plane(location="unknown")), {"units.area": None})
