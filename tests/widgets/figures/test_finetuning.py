import json

import pytest

from omnimouse_widgets.figures import finetune_figure

ROWS = (
    {"step": 0, "validation": 0.2, "half": 0.1},
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": 1.0, "validation": 0.3, "half": 0.15},
)


@pytest.fixture
def folder(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "metrics.jsonl").write_text(lines)
    return tmp_path


def test_losses_and_held_out_scores_are_drawn_over_their_steps(folder):
    figure = finetune_figure(folder)
    drawn = {t.name: (list(t.x), list(t.y), t.xaxis) for t in figure.data}
    assert drawn["loss of a step"] == ([1, 2], [2.0, 1.0], "x")
    assert drawn["running mean"] == ([1, 2], [2.0, 1.5], "x")
    assert drawn["mean of all"] == ([0, 2], [0.2, 0.3], "x2")
    assert drawn["half of the neurons"] == ([0, 2], [0.1, 0.15], "x2")
    assert "forecast" not in drawn


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        finetune_figure(tmp_path)
