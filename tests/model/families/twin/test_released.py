"""Files of the release: read strictly, and nothing in them is executed."""

import shutil
from pathlib import Path

import pytest
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.families.twin.predictor import TwinPredictor
from omnimouse_model.families.twin.twin import MEAN, DigitalTwin, read_released
from tests.hostile_pickles import CallingPickle

FOLDER = Path(__file__).parents[3] / "fixtures" / "twin_parity" / "release"


@pytest.fixture
def release(tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(FOLDER, tmp_path / "release"))


def changed(path, change):
    """Apply a change to the tensors of a file."""
    tensors = torch.load(path, weights_only=True)
    change(tensors)
    torch.save(tensors, path)


@pytest.mark.slow
def test_a_scan_has_its_units_and_one_state_dict_is_the_same(release, tmp_path):
    files = read_released(release, "4-7")
    assert files.unit_ids["4-7"][:2] == (5, 6)
    assert len(files.unit_ids["4-7"]) == files.sessions["4-7"] == 7
    path = tmp_path / "state_dict.pth"
    state = files.core | files.part("4-7")
    del state[MEAN]
    torch.save(state, path)
    video = torch.zeros(3, 16, 24, dtype=torch.uint8)
    one, other = (
        DigitalTwin.from_pretrained(*where).predict(video) for where in ((release, "4-7"), (path,))
    )
    assert (one == other).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("core.recurrent.scales.1"), "core.recurrent.scales.1"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected .extra"),
        (
            lambda t: t.update({"core.recurrent.scales.1": torch.zeros(9)}),
            r"core.recurrent.scales.1 \(9,\)",
        ),
        (
            lambda t: t["core.recurrent.proj_x.0.mask"].fill_(True),
            "proj_x.0.mask",
        ),
    ],
)
def test_a_wrong_tensor_is_named(release, change, words):
    changed(release / "params_core.pt", change)
    with pytest.raises(CheckpointError, match=words):
        read_released(release, "4-7").build("4-7")


def test_missing_scans_and_files_are_named(release):
    with pytest.raises(CheckpointError, match="4-7, 5-6"):
        read_released(release)
    with pytest.raises(CheckpointError, match="4-7, 5-6"):
        read_released(release, "../4-7")
    (release / "params_5_6.pt").unlink()
    assert DigitalTwin.from_pretrained(release).net.n_units == 7
    (release / "params_core.pt").unlink()
    with pytest.raises(CheckpointError, match=r"params_core\.pt is missing"):
        read_released(release, "4-7")


def test_units_must_agree_with_the_tables(release):
    path = release / "scans.csv"
    path.write_text(path.read_text().replace("4,7,7", "4,7,8"))
    with pytest.raises(CheckpointError, match="states 8 units"):
        read_released(release, "4-7")


def test_a_file_that_calls_a_function_is_refused(tmp_path):
    called = tmp_path / "called"
    state = {"readout.position.mu": CallingPickle(called.touch)}
    torch.save(state, tmp_path / "state_dict.pth")
    with pytest.raises(CheckpointError, match="unsafe"):
        read_released(tmp_path / "state_dict.pth")
    assert not called.exists()


def test_the_id_of_a_release_names_the_weights_of_all_its_scans(release):
    before = TwinPredictor.load(release, "cpu").predictor_id
    changed(release / "params_5_6.pt", lambda t: next(iter(t.values())).add_(1))
    after = TwinPredictor.load(release, "cpu").predictor_id
    assert before.split()[0] == after.split()[0] == "release"
    assert before != after
