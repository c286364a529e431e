"""NWB files that lead elsewhere, or claim what memory cannot hold."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import SessionFormatError
from tests.model.nwb_files import write_nwb

SERIES = "processing/ophys/Fluorescence/RoiResponseSeries0"
SPECIFIED = "specifications/evil"
DEEP = "general/" + "/".join(f"d{i}" for i in range(30))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_nwb(tmp_path / "recording.nwb")


@pytest.fixture
def other(tmp_path: Path) -> Path:
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
def test_no_link_leads_to_another_file(path: Path, other: Path, place: str) -> None:
    with h5py.File(path, "a") as file:
        file[place] = h5py.ExternalLink(other, "/x")
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink(f"/{place}")
    assert refused(path).code == "outside"


@pytest.mark.parametrize("is_dataset_linked", [True, False])
def test_groups_of_other_files_are_not_entered(
    path: Path, other: Path, is_dataset_linked: bool
) -> None:
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
def test_a_pipe_behind_a_link_does_not_hang(path: Path, place: str) -> None:
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


def test_values_in_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"SECRETS!")
    with h5py.File(path, "a") as file:
        del file["general/session_id"]
        file["general"].create_dataset(
            "session_id", (1,), "S8", external=[(str(tmp_path / "raw"), 0, 8)]
        )
    assert refused(path).code == "outside"


def test_virtual_values_are_refused(path: Path, other: Path) -> None:
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = h5py.VirtualSource(str(other), "numbers", (5,))
    with h5py.File(path, "a") as file:
        table = file[f"{SERIES}/rois"].attrs["table"]
        del file[f"{SERIES}/rois"]
        file.create_virtual_dataset(f"{SERIES}/rois", layout).attrs["table"] = table
    assert refused(path).code == "outside"


def test_links_in_circles_are_told(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink("/general/other")
        file["general/other"] = h5py.SoftLink("session_id")
    assert "go round in circles" in refused(path).message


def test_links_within_the_file_are_followed(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["general/names/real"] = "88-1-2"
        file["general/one"] = h5py.SoftLink("./names")
        del file["general/session_id"]
        file["general/session_id"] = h5py.SoftLink("one/real")
    assert open_session(path).id == "88-1-2"


# -- sizes ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("general/session_id", "i1"), (f"{SERIES}/starting_time", "f8")],
)
def test_one_value_is_not_a_gigabyte(path: Path, name: str, dtype: str) -> None:
    with h5py.File(path, "a") as file:
        about = dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, (3 * 2**30,), dtype, chunks=(1024,))
        made.attrs.update(about)
    assert refused(path).code == "too_large"


def test_a_factor_is_not_a_table(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file[f"{SERIES}/data"].attrs["conversion"] = np.zeros(4000)
    assert refused(path).code in ("too_large", "bad_series")
