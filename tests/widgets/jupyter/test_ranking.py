"""The notebook's ranking: what the page opens and is told, and what code reads."""

import pytest

from omnimouse_model.demo import RANKING
from omnimouse_model.errors import ResultsFileError
from omnimouse_widgets.jupyter.ranking import Ranking

LONG_S = 60.0


def test_a_ranking_is_opened_and_looked_at(controller, page):
    part = Ranking(controller)
    opened = page(part, "view")
    opened.say("example")
    message, _ = opened.wait_for("view", lambda message, _: bool(message["names"]))
    assert part.file == str(RANKING)
    assert not message["warnings"]
    opened.wait_for("figure", lambda message, _: message["points"] == [6])
    (matrix,) = part.widget.children[1:]
    assert matrix.data[0].text[0][0] == "0.348 (1)"
    part.view, part.axis = "curves", "trials"
    # Three orders, and their lines.
    opened.wait_for("figure", lambda message, _: len(message["points"]) == 6)
    (curves,) = part.widget.children[1:]
    assert matrix.comm is None
    assert list(curves.data[0].x) == [240, 480, 720, 960, 1440]
    part.view = "gains"
    message, _ = opened.wait_for("view", lambda message, _: len(message["rows"]) > 10)
    assert message["rows"][2][0] == "ranked"
    assert not message["has_figure"]
    opened.wait_for("view", lambda *_: len(part.widget.children) == 1)


def test_a_wrong_file_is_told(controller, page, tmp_path):
    (wrong := tmp_path / "wrong.ranking.jsonl").write_text("{}\n")
    part = Ranking(controller, file=str(RANKING)).wait(LONG_S)
    assert part.stored.ranking.sessions[0] == "spikes"
    opened = page(part, "view")
    part.file = str(wrong)
    message, _ = opened.wait_for("view", lambda message, _: bool(message["error"]))
    assert "not the results file" in message["error"]
    with pytest.raises(ResultsFileError):
        part.wait(LONG_S)
    opened.say("command")
    message, _ = opened.wait_for("command")
    assert message["text"].startswith("omnimouse rank ")
