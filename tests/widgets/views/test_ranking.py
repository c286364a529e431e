"""The panel *Ranking* without a toolkit: its matrix, tables, curves, texts and actions."""

import shlex

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from omnimouse_model.errors import ResultsFileError
from omnimouse_widgets.views import ranking as text
from omnimouse_widgets.views.ranking import RankingView
from omnimouse_widgets.views.record import Curves, Matrix, Message, Table, choose, press, record
from tests.widgets.figures.test_ranking import table

HELDOUT = "unseen-spikes"


@pytest.fixture
def view(controller):
    return RankingView.of(controller)


@pytest.fixture
def opened(view, controller):
    press(view, "example")
    assert controller.ranking.wait(60.0)
    return view


def test_the_matrix_has_the_best_mean_rank_first_and_a_share_for_each_score():
    matrix = text.ranking_matrix(table((0, 1)))
    assert matrix.rows == ("c", "b", "a")
    assert matrix.texts[0] == ("0.200 (2)", "0.300 (1)")
    assert "rank 2\n0.200 bits per spike, s.d. 0.000, 2 seeds" in matrix.tips[0][0]
    np.testing.assert_allclose(matrix.shares, [[0.5, 1], [1, 0], [0, 0.5]], atol=1e-9)
    ranking = table()
    ranking.values[0, 0] = np.nan
    assert text.ranking_matrix(ranking).texts[2][0] == "– (3)"


def test_before_a_file_is_open_the_panel_says_what_to_do(view):
    items = record(view)
    assert items["content"] == Message("content", "Ranking", text.NO_FILE)
    assert "view" not in items
    with pytest.raises(ValueError, match="Open the results file"):
        press(view, "refresh")


def test_matrix_tables_and_curves_have_the_numbers_of_the_file(opened, controller):
    stored = controller.ranking.content.stored
    items = record(opened)
    assert isinstance(items["content"], Matrix)
    assert items["content"].texts[0] == ("0.348 (1)",)
    assert "spikes-5 for unseen-spikes: rank 1" in items["content"].tips[0][0]
    assert items["content"].rows[1] == "spikes"
    assert items["warnings"].text == ""
    assert items["task"].text == f"forward: {text.TASKS['forward']}"
    assert "heldout" not in items
    choose(opened, "view", "table")
    ranks = record(opened)["content"]
    assert isinstance(ranks, Table)
    assert ranks.rows[0] == ("1", "spikes-5", "0.348", "0.009", "240")
    assert len(ranks.rows) == len(stored.ranking.sessions)
    choose(opened, "view", "gains")
    gains = record(opened)["content"]
    assert gains.rows[0][:4] == ("from scratch", "", "", "0.352")
    ranked = ("ranked", "2", "480", "0.371", "0.005", "3", "+0.019", "+5.5")
    assert gains.rows[2] == ranked
    choose(opened, "view", "curves")
    assert record(opened)["fits"].text == ""
    choose(opened, "axis", "trials")
    plot = record(opened)["content"]
    assert isinstance(plot, Curves)
    assert "trials" in plot.across
    assert [line.label for line in plot.lines] == ["ranked", "random", "reverse"]
    ranked = plot.lines[0]
    means = [mean for mean in stored.curve.means() if mean.order == "ranked"]
    np.testing.assert_allclose(ranked.x, [mean.trials for mean in means])
    np.testing.assert_allclose(ranked.y, [mean.mean for mean in means])
    assert ranked.fit_x[-1] == pytest.approx(stored.curve.trials)
    assert plot.baseline[0] == pytest.approx(np.mean(stored.curve.baseline[HELDOUT]))
    assert "slope" in record(opened)["fits"].text


def test_a_file_that_is_written_is_followed_and_a_wrong_one_is_refused(view, controller, tmp_path):
    lines, ranking = DEMO_RANKING.read_bytes().splitlines(keepends=True), controller.ranking
    (path := tmp_path / "mine.ranking.jsonl").write_bytes(lines[0])
    press(view, "open").read(path)
    ranking.wait(60.0)
    assert isinstance(ranking.error, om.errors.ResultsFileError)
    assert "no complete ranking" in record(view)["error"].text
    assert isinstance(record(view)["content"], Message)
    path.write_bytes(b"".join(lines[:4]))
    press(view, "refresh")
    ranking.wait(60.0)
    assert record(view)["error"].text == ""
    assert len(ranking.content.stored.ranking.sessions) == 3
    assert "one seed (0)" in record(view)["warnings"].text
    choose(view, "view", "curves")
    assert record(view)["content"].text == text.NO_CURVES
    assert press(view, "open").near == tmp_path
    path.unlink()
    press(view, "refresh")
    ranking.wait(60.0)
    assert isinstance(ranking.error, ResultsFileError)
    assert "missing" in str(ranking.error)
    assert ranking.content is None


def test_the_command_names_the_open_recording(view, controller, empty_controller):
    words = shlex.split(press(view, "command").text)
    session = controller.state.session
    assert words[:2] == ["omnimouse", "rank"]
    assert words[words.index("--heldout") + 1] == str(session.path)
    assert "STRATEGY" in words
    other = press(RankingView.of(empty_controller), "command").text
    assert "ndt-forecast" in shlex.split(other)
