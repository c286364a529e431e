import pytest
import torch

from omnimouse_model.errors import CheckpointError
from omnimouse_model.training.checkpoints import read_state


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "run" / "state-00000003" / "rank_0.pt"
    path.parent.mkdir(parents=True)
    torch.save({"step": 3, "net": {"weight": torch.zeros(1000)}}, path)
    return path


@pytest.mark.parametrize("damage", ["missing", "torn", "empty", "other"])
def test_a_damaged_state_is_named(state, damage):
    assert read_state(state)["step"] == 3
    whole = state.read_bytes()
    if damage == "missing":
        state.unlink()
    elif damage == "other":
        torch.save([3], state)
    else:
        state.write_bytes(whole[: len(whole) // 2] if damage == "torn" else b"")
    with pytest.raises(CheckpointError, match=r"rank_0\.pt"):
        read_state(state)
