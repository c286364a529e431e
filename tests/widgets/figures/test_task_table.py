from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.evaluation.results import BehaviorScore, Score, Scores
from omnimouse_widgets.figures import task_table
from omnimouse_widgets.figures.task_table import task_name

FCST = "test/causal_response_25_behavior"
POP = "test_additional/population_256_response_video_behavior"
DECODE = "test/all_response_only"
NAN = float("nan")


def score(strategy, predictor, value, *, session="a", n=10, **fields):
    neurons = np.arange(n)
    ends = value - 0.1, value + 0.1
    scores = (value, *ends, 0.6, 40, neurons, neurons * value)
    made = Score(session, strategy, predictor, *scores)
    return replace(made, **fields)


def channel(name, value, predictor="big", **fields):
    return BehaviorScore("a", DECODE, predictor, name, value, 40, **fields)


@pytest.fixture
def scores():
    behavior = {"pupil_x": 0.8, "pupil_y": 0.6, "running": 0.3}
    behavior |= {"pupil_size": 0.9, "pupil_dsize": 0.1}
    return Scores(
        (
            score(FCST, "big", 0.3),
            score(FCST, "big", 0.2, session="b", n=30),
            score(FCST, "small", 0.25),
            score(FCST, "small", 0.25, session="b", n=30),
            score(POP, "big", 0.4, note="visible 256 → 60"),
            score(POP, "small", NAN, refusal="reads <no> video."),
        ),
        (
            *(channel(name, value) for name, value in behavior.items()),
            channel("running", NAN, "small", refusal="decodes nothing."),
        ),
        "test",
    )


def test_columns_are_the_papers_tasks(scores):
    names = ("Fcst", "Pop+S (256)", "Avg", "Pupil-loc", "Pupil-size", "Running")
    assert task_table(scores).columns == names
    assert task_name("test/population_1024_response_behavior") == "Pop (1,024)"
    assert task_name("test/video_behavior") == "Stim"
    assert task_name("half of them") == "half of them"


def test_values_are_the_librarys_and_behaviour_is_averaged_in_groups(scores):
    table = task_table(scores)
    row = dict(zip(table.columns, table.rows["big"], strict=True))
    assert row["Fcst"].value == scores.overall(FCST, "big")
    assert row["Pop+S (256)"].value == 0.4
    assert row["Pupil-loc"].value == pytest.approx(0.7)
    assert row["Pupil-size"].value == pytest.approx(0.5)
    assert row["Avg"].value == pytest.approx((0.7 + 0.5 + 0.3) / 3)


def test_what_a_model_cannot_do_is_a_dash_with_its_reason(scores):
    table = task_table(scores)
    small = dict(zip(table.columns, table.rows["small"], strict=True))
    assert small["Pop+S (256)"].text == small["Avg"].text == "–"
    notes = "\n".join(table.notes)
    assert "reads <no> video." in notes
    assert "256 → 60" in notes
    html = table.to_html()
    assert "reads &lt;no&gt; video." in html
    assert "<no>" not in html
    assert html.count("<td") == 1 + 3 * len(table.columns)


def test_a_name_like_html_is_text_in_figure_and_page(scores):
    link = "<a href='file:///x'>big</a>"
    table = task_table(replace(scores, scores=(score(FCST, link, 0.3),), behavior=()))
    assert link not in table.to_html()
    (trace,) = table.to_figure().data
    assert trace.cells.values[0][0] == "&lt;a href='file:///x'&gt;big&lt;/a&gt;"
