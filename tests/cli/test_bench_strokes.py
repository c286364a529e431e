"""`omnimouse bench strokes` on a small recording: a row per quantity and task."""

import pytest

import omnimouse_model as om
from tests.bench import strokes as bench_strokes
from tests.cli.runner import rows_of_command
from tests.small_sessions import write_session

ARGUMENTS = ["bench", "strokes", "--size", "demo", "--neurons", "100"]
ARGUMENTS += ["--repeats", "2", "--device", "cpu"]


@pytest.mark.slow
@pytest.mark.process
def test_every_stroke_begins_with_the_whole_task(monkeypatch, tmp_path):
    folder = write_session(tmp_path / "mouse", n_neurons=100)
    session = om.open_session(folder)
    monkeypatch.setattr(bench_strokes, "simulated_session", lambda count: folder)
    monkeypatch.setattr(bench_strokes, "session_id", lambda count: session.id)
    monkeypatch.setattr(bench_strokes, "PAUSE_S", 0.0)
    rows = rows_of_command(*ARGUMENTS)
    # Without a reset, the second task has too few targets for its six strokes.
    assert len(rows) == 8
    for selected, population in zip(rows[::2], rows[1::2], strict=True):
        assert (selected["name"], population["name"]) == ("selected_ms", "population_ms")
        assert 0 < selected["value"] <= population["value"]
        assert selected["n"] == population["n"] == 2
