"""The notebook's ranking: what the page opens and is told, and what code reads."""

import numpy as np
import pytest

from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from omnimouse_model.errors import ResultsFileError
from omnimouse_widgets.jupyter.jobs import Ranking

LONG_S = 60.0


def items(message):
    """Return the items of a record that a page got, by name."""
    rows = [one for one in message["items"] if one["kind"] == "row"]
    inner = [item for row in rows for item in row["items"]]
    return {item["name"]: item for item in (*message["items"], *inner)}


def shows(kind):
    return lambda message, _: items(message)["content"]["kind"] == kind


def test_a_record_is_sent_and_its_actions_are_pressed(controller, page):
    part = Ranking(controller)
    opened = page(part, "block0")
    opened.say("press", name="refresh")
    assert "Open the results file" in part.problem
    opened.say("press", name="example")
    message, _ = opened.wait_for("block0", shows("matrix"))
    assert part.file == str(DEMO_RANKING)
    assert part.problem == ""
    assert items(message)["warnings"]["text"] == ""
    assert items(message)["content"]["texts"][0] == ["0.348 (1)"]
    part.view, part.axis = "curves", "trials"
    message, arrays = opened.wait_for("block0", shows("curves"))
    message, arrays = opened.wait_for("block0", lambda one, _: "fits" in items(one))
    curves = items(message)["content"]
    assert [line["label"] for line in curves["lines"]] == ["ranked", "random", "reverse"]
    assert np.frombuffer(arrays[0], np.float32).tolist() == [240, 480, 720, 960, 1440]
    opened.say("choose", name="view", value="gains")
    message, _ = opened.wait_for("block0", shows("table"))
    assert part.view == "gains"
    assert items(message)["content"]["rows"][2][0] == "ranked"


def test_a_wrong_file_is_told_and_a_path_is_read(controller, page, tmp_path):
    (wrong := tmp_path / "wrong.ranking.jsonl").write_text("{}\n")
    part = Ranking(controller, file=str(DEMO_RANKING)).wait(LONG_S)
    assert part.stored.ranking.sessions[0] == "spikes"
    opened = page(part, "block0")
    opened.say("press", name="open")
    message, _ = opened.wait_for("open_file")
    assert message["near"] == str(DEMO_RANKING.parent)
    opened.say("read", path=str(wrong))
    message, _ = opened.wait_for("block0", lambda one, _: bool(items(one)["error"]["text"]))
    assert "not the results file" in items(message)["error"]["text"]
    with pytest.raises(ResultsFileError):
        part.wait(LONG_S)
    opened.say("press", name="command")
    message, _ = opened.wait_for("clipboard")
    assert message["text"].startswith("omnimouse rank ")
