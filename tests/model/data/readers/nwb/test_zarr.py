"""NWB as zarr: the same sessions as from HDF5, and folders that attack their reader."""

import json
import pickle
import shutil

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import is_session, open_session
from tests.model.data.refusals import check_refusal
from tests.model.nwb_files import Plane, add_series, add_table, write_nwb
from tests.model.nwb_units import write_units
from tests.model.nwb_zarr import add_link, write_as_zarr, write_texts


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("nwb") / "a.nwb"
    write_nwb(path, Plane(n=6, mask="image_mask"))
    frames = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((8, 10), np.uint8)
    add_series(path, "stimulus/templates/set", frames, "ImageSeries", rate_hz=1.0)
    shown = "stimulus/presentation/shown"
    add_series(path, shown, np.arange(20) % 7, "IndexSeries", start=4.0, rate_hz=1.0)
    with h5py.File(path, "a") as file:
        file[f"{shown}/indexed_timeseries"] = h5py.SoftLink("/stimulus/templates/set")
    add_table(path, "trials", [4.0, 14.0], [13.0, 24.0], tier=np.array([b"train", b"test"]))
    return path


@pytest.fixture
def folder(recording, tmp_path):
    return write_as_zarr(recording, tmp_path / "a.nwb.zarr")


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def series_of(folder):
    """The folder of the responses' values."""
    (place,) = [
        path.parent
        for path in folder.rglob(".zattrs")
        if json.loads(path.read_text()).get("neurodata_type") == "RoiResponseSeries"
    ]
    return place / "data"


@pytest.mark.filterwarnings("ignore:The data type")
@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_gives_the_session_of_its_file(recording, tmp_path, version):
    found = open_session(write_as_zarr(recording, tmp_path / "a.nwb.zarr", version))
    wanted = open_session(recording)
    np.testing.assert_array_equal(found.responses.data, wanted.responses.data)
    assert (found.format, found.id, found.tiers()) == ("nwb", wanted.id, wanted.tiers())
    assert found.units.area.tolist() == wanted.units.area.tolist()
    np.testing.assert_array_equal(found.units.roi.yx, wanted.units.roi.yx)
    for name in ("key", "tier", "stim_id"):
        assert getattr(found.trials, name).tolist() == getattr(wanted.trials, name).tolist()
    np.testing.assert_array_equal(found.window(5.0).video, wanted.window(5.0).video)


def test_spikes_are_read_from_zarr(tmp_path):
    wanted = open_session(write_units(tmp_path / "a.nwb"))
    found = open_session(write_as_zarr(tmp_path / "a.nwb", tmp_path / "b.nwb.zarr"))
    assert found.n_neurons == wanted.n_neurons
    np.testing.assert_array_equal(found.window(5.0).responses, wanted.window(5.0).responses)


def test_rows_read_in_another_process_are_the_same(folder):
    session = open_session(folder)
    rows = pickle.loads(pickle.dumps(session.responses.file))
    np.testing.assert_array_equal(rows.read(5, 9), session.responses.read(5, 9))


@pytest.mark.parametrize("codec", ["pickle", "json2", "categorize"])
def test_arrays_of_objects_are_left_out_and_named(folder, codec):
    change(folder / "intervals/trials/tier/.zarray", filters=[{"id": codec}])
    session = open_session(folder)
    notes = {note.code: note.message for note in session.assumptions}
    assert "/intervals/trials/tier" in notes["objects_left_out"]
    assert "tier" not in session.trials.extra[0]


def test_consolidated_metadata_are_not_trusted(folder):
    fields = {"metadata": {"processing/.zgroup": {"zarr_format": 2}}, "zarr_consolidated_format": 1}
    (folder / ".zmetadata").write_text(json.dumps(fields))
    assert open_session(folder).n_neurons == 6


def test_responses_with_an_unknown_codec_are_refused_by_name(folder):
    change(series_of(folder) / ".zarray", compressor={"id": "run_code"})
    assert "run_code" in str(check_refusal(folder))


def test_a_link_to_another_file_is_named_and_not_followed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "b.nwb.zarr")
    add_link(folder / "processing", "elsewhere", "processing/ophys", str(tmp_path / "b.nwb.zarr"))
    (note,) = [n for n in open_session(folder).assumptions if n.code == "links_left_out"]
    assert "/processing/elsewhere" in note.message


def test_links_in_circles_end(folder):
    link = {"name": "indexed_timeseries", "path": "/x", "source": "."}
    change(folder / "stimulus/presentation/shown/.zattrs", zarr_link=[link])
    add_link(folder, "x", "x")
    assert "too many links" in str(open_session(folder).warnings)


def test_a_reference_that_leads_out_of_the_folder_is_refused(folder):
    for path in folder.rglob(".zattrs"):
        if path.parent.name == "rois":
            about = json.loads(path.read_text())
            about["table"]["value"]["path"] = "/../../../etc"
            path.write_text(json.dumps(about))
    check_refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02\x00\x00\x00\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\x02\x00\x00\x00\x01\x00\x00\x00a",
    ],
)
def test_damaged_texts_cost_the_table_of_trials_alone(folder, content):
    (folder / "intervals/trials/tier/0").write_bytes(content)
    session = open_session(folder)
    (note,) = [n for n in session.warnings if n.code == "left_out_stream"]
    assert "/intervals/trials" in note.message


def test_texts_of_a_hostile_shape_are_refused(folder):
    path = folder / "intervals/trials/tier/.zarray"
    about = json.loads(path.read_text())
    for sizes in ({"shape": [2**40]}, {"chunks": [2**40]}, {"shape": [-1]}, {"chunks": [0]}):
        path.write_text(json.dumps({**about, **sizes}))
        (note,) = [n for n in open_session(folder).warnings if n.code == "left_out_stream"]
        assert "/intervals/trials" in note.message


def test_other_zarr_folders_are_no_sessions(tmp_path):
    write_texts(tmp_path / "a.zarr" / "x", ["a"])
    (tmp_path / "a.zarr/.zgroup").write_text('{"zarr_format": 2}')
    assert not is_session(tmp_path / "a.zarr")


def test_a_folder_without_responses_is_refused_with_its_format(folder):
    for part in ("processing", "stimulus", "intervals"):
        shutil.rmtree(folder / part)
    error = check_refusal(folder, r"NWB in Zarr format\) holds no RoiResponseSeries")
    assert error.code == "no_responses"
