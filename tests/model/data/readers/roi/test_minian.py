import json

import numpy as np
import pytest
import zarr

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import MISSING_RATE
from tests.model.data.refusals import check_refusal, left_out
from tests.model.roi_files import N_FRAMES, N_REGIONS, images, traces

pytestmark = pytest.mark.filterwarnings("ignore:The data type")
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
    assert check_refusal(folder, "Minian stored no frames per second").code == MISSING_RATE
    assert open_session(folder, rate_hz=20.0, series="C").n_neurons == N_REGIONS


def test_times_that_lack_frames_are_left_out_with_a_count(tmp_path):
    folder = write_minian(tmp_path / "minian")
    text = (folder / "timeStamps.csv").read_text()
    (folder / "timeStamps.csv").write_text("\n".join(text.splitlines()[:-10]))
    assert "timeStamps.csv has no increasing times of 400 frames (5 missing)" in left_out(
        folder, rate_hz=20.0
    )


def test_an_array_of_objects_is_refused_by_name(tmp_path):
    folder = write_minian(tmp_path / "minian")
    about = folder / "S.zarr/S/.zarray"
    fields = json.loads(about.read_text())
    fields["dtype"], fields["filters"] = "|O", [{"id": "pickle"}]
    about.write_text(json.dumps(fields))
    error = check_refusal(folder)
    assert "|O" in str(error)


def test_a_link_in_the_folder_is_refused(tmp_path):
    folder = write_minian(tmp_path / "minian")
    (tmp_path / "secret").write_text("{}")
    (folder / "S.zarr/S/0.0").unlink()
    (folder / "S.zarr/S/0.0").symlink_to(tmp_path / "secret")
    assert check_refusal(folder).code == "outside"


def test_masks_of_other_regions_are_left_out(tmp_path):
    folder = write_minian(tmp_path / "minian")
    (folder / "A.zarr").rename(tmp_path / "A.zarr")
    write_result(folder, "A", images()[:2], ("unit_id", "height", "width"))
    message = left_out(folder)
    assert "A.zarr is (2, 12, 20) float64 of unit_id, height, width; 5 images" in message
