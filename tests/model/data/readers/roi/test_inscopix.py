"""Cell sets of Inscopix through a stand-in of roiextractors and its reader of the files."""

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from tests.model.data.refusals import check_refusal
from tests.model.roi_files import N_REGIONS, images, traces

pytestmark = pytest.mark.process

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


def test_accepted_cells_of_a_cell_set_open_with_masks_and_rate(package, tmp_path):
    session = open_session(write(tmp_path / "cells.isxd"))
    assert (session.format, session.responses.rate_hz) == ("inscopix", 20.0)
    np.testing.assert_array_equal(session.units.unit_id, [0, 4, 8])
    np.testing.assert_array_equal(session.responses.data, traces()[[0, 2, 4]].T)
    np.testing.assert_array_equal(session.units.roi.pixels(1)[0][0], [4, 6])
    assert "1 of 5 cells are undecided" in str(session.warnings)


def test_cells_that_nobody_looked_at_are_read_with_a_note(package, tmp_path):
    path = write(tmp_path / "cells.isxd", status=["undecided"] * N_REGIONS)
    session = open_session(path)
    assert session.n_neurons == N_REGIONS
    assert "accepts no cell" in str(session.assumptions)


def test_parts_that_disagree_are_refused(package, tmp_path):
    path = write(tmp_path / "cells.isxd", status=STATUS[:3])
    assert check_refusal(path, "they disagree").code == "bad_field"


def test_a_damaged_cell_set_is_one_line(package, tmp_path):
    (tmp_path / "cells.isxd").write_bytes(b"no cell set")
    error = check_refusal(tmp_path / "cells.isxd", "roiextractors cannot read it")
    assert error.code == "unreadable"


def test_a_missing_library_is_named_with_its_extra(package, tmp_path):
    (package / "__init__.py").write_text("import no_such_isx")
    error = check_refusal(write(tmp_path / "cells.isxd"), r"omnimouse-app\[roi\]")
    assert error.code == "missing_package"
