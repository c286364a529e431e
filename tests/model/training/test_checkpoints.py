"""Saves of a run: one whose name is damaged is found all the same, each time."""

import pytest

from omnimouse_model.training.checkpoints import LAST, last_state, saved_step


@pytest.mark.parametrize(
    "text", ["", "{", '{"state": "../state"}', '{"state": "state-%s"}' % ("9" * 5000)]
)
def test_a_damaged_name_of_the_last_save_does_not_begin_the_run_anew(tmp_path, text):
    for name in ("state-00000004", "state-00000012", "state-~"):
        (tmp_path / name).mkdir()
    (tmp_path / LAST).write_text(text)
    # A fine-tuning asks for the step first, and its training for the folder after it.
    assert saved_step(tmp_path) == 12
    assert last_state(tmp_path) == tmp_path / "state-00000012"
    assert (tmp_path / f"{LAST}.damaged").read_text() == text
