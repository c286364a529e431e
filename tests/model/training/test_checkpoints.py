"""Saves of a run: one whose name is damaged is found all the same, each time."""

import pytest

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.tensors import write_pickle
from omnimouse_model.training.checkpoints import LAST, last_state, saved_step


def save(out, step: int, ranks: int = 1, n_files: int | None = None) -> None:
    folder = out / f"state-{step:08d}"
    folder.mkdir()
    for rank in range(ranks if n_files is None else n_files):
        write_pickle(folder / f"rank_{rank}.pt", {"step": step, "ranks": ranks})


@pytest.mark.parametrize(
    "text", ["", "{", '{"state": "../state"}', '{"state": "state-%s"}' % ("9" * 5000)]
)
def test_a_damaged_name_of_the_last_save_does_not_begin_the_run_anew(tmp_path, text):
    save(tmp_path, 4)
    save(tmp_path, 12)
    (tmp_path / "state-~").mkdir()
    (tmp_path / LAST).write_text(text)
    # A fine-tuning asks for the step first, and its training for the folder after it.
    assert saved_step(tmp_path) == 12
    assert last_state(tmp_path) == tmp_path / "state-00000012"
    assert (tmp_path / f"{LAST}.damaged").read_text() == text


def test_with_a_damaged_name_only_a_save_that_is_complete_is_taken(tmp_path):
    save(tmp_path, 4, ranks=2)
    # Killed before the second rank had written, before any had, and while it was removed.
    save(tmp_path, 12, ranks=2, n_files=1)
    save(tmp_path, 16, ranks=2, n_files=0)
    save(tmp_path, 2, ranks=2)
    (tmp_path / "state-00000002" / "rank_0.pt").unlink()
    (tmp_path / LAST).write_text("{")
    assert saved_step(tmp_path) == 4
    # Where none is, the run does not begin anew without a word.
    (tmp_path / "state-00000004" / "rank_1.pt").write_bytes(b"")
    (tmp_path / "state-00000004" / "rank_0.pt").write_bytes(b"")
    (tmp_path / LAST).write_text("{")
    with pytest.raises(CheckpointError, match=r"no save in .* is complete: the same command"):
        last_state(tmp_path)
    assert last_state(tmp_path) is None
