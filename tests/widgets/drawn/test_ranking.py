"""Tests of the matrix, tables and curves that views draw from a ranking."""

import shlex

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.demo import RANKING
from omnimouse_model.live.models.ranking import RankingOnScreen
from omnimouse_widgets.drawn import ranking as text
from tests.widgets.figures.test_ranking import table

HELDOUT = "unseen-spikes"


@pytest.fixture
def content():
    ranking = RankingOnScreen()
    ranking.open(RANKING)
    assert ranking.wait(60.0)
    yield ranking.content
    ranking.close()


def test_the_matrix_has_the_best_mean_rank_first_and_a_share_for_each_score():
    matrix = text.ranking_matrix(table((0, 1)))
    assert matrix.sessions == ("c", "b", "a")
    assert matrix.texts[0] == ("0.200 (2)", "0.300 (1)")
    assert "rank 2\n0.200 ± 0.000 bits per spike, 2 seeds" in matrix.tips[0][0]
    np.testing.assert_allclose(matrix.shares, [[0.5, 1], [1, 0], [0, 0.5]], atol=1e-9)
    ranking = table()
    ranking.values[0, 0] = np.nan
    assert text.ranking_matrix(ranking).texts[2][0] == "– (3)"


def test_tables_and_curves_have_the_numbers_of_the_file(content):
    stored = content.stored
    ranks = text.shown_table(content, "table", HELDOUT)
    assert ranks.rows[0] == ("1", "spikes-5", "0.348", "0.009", "240")
    assert len(ranks.rows) == len(stored.ranking.sessions)
    gains = text.shown_table(content, "gains", HELDOUT)
    assert gains.rows[0][:4] == ("from scratch", "", "", "0.352")
    ranked = ("ranked", "2", "480", "0.371", "0.005", "3", "+0.019", "+5.5")
    assert gains.rows[2] == ranked
    plot = text.curve_plot(content, HELDOUT, "trials")
    assert [line.order for line in plot.lines] == ["ranked", "random", "reverse"]
    ranked = plot.lines[0]
    means = [mean for mean in stored.curve.means() if mean.order == "ranked"]
    np.testing.assert_allclose(ranked.x, [mean.trials for mean in means])
    np.testing.assert_allclose(ranked.y, [mean.mean for mean in means])
    assert ranked.fit[0][-1] == pytest.approx(stored.curve.trials)
    assert plot.baseline == pytest.approx(np.mean(stored.curve.baseline[HELDOUT]))
    assert text.warnings_of(content) == ()


def test_a_file_that_is_written_is_followed_and_a_wrong_one_is_refused(tmp_path):
    lines = RANKING.read_bytes().splitlines(keepends=True)
    (path := tmp_path / "mine.ranking.jsonl").write_bytes(lines[0])
    ranking = RankingOnScreen()
    ranking.open(path)
    ranking.wait(60.0)
    assert isinstance(ranking.error, om.errors.ResultsFileError)
    assert ranking.content is None
    path.write_bytes(b"".join(lines[:4]))
    ranking.read_again()
    ranking.wait(60.0)
    assert ranking.error is None
    assert len(ranking.content.stored.ranking.sessions) == 3
    (warning,) = text.warnings_of(ranking.content)
    assert "one seed (0)" in warning
    assert text.note(ranking.content, "curves") == text.NO_CURVES
    assert text.curve_plot(ranking.content, HELDOUT, "k") is None
    path.unlink()
    ranking.read_again()
    ranking.wait(60.0)
    assert isinstance(ranking.error, FileNotFoundError)
    assert ranking.content is None
    ranking.close()


def test_the_command_names_the_open_recording(controller, empty_controller):
    words = shlex.split(text.rank_command(controller))
    session = controller.state.session
    assert words[words.index("--heldout") + 1] == str(session.path)
    assert "STRATEGY" in words
    assert "ndt-forecast" in shlex.split(text.rank_command(empty_controller))
