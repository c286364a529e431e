"""The figure of a scaling analysis: its marks, lines and bands are the library's."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("plotly")

from omnimouse_model.analysis.scaling import scaling_curves
from omnimouse_model.analysis.scaling_runs import Run, RunScore, add_rows, read_runs
from omnimouse_widgets.figures import scaling_figure

MICE = {"a": 40, "b": 60, "c": 50}
TASKS = ("test/causal_response_25_behavior", "test/video_behavior")


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    draw = np.random.default_rng(3)
    rows = []
    for task in TASKS:
        for model, sizes in {"1M": (8, 16, 32), "5M": (8, 16, 32, 64, 128)}.items():
            for size in sizes:
                for seed in range(2):
                    run = Run(model, sessions=size, seed=seed, order=f"random {seed}")
                    score = 0.4 - 0.5 * size**-0.5 + 0.002 * draw.normal()
                    scores = {name: score + 0.0005 * n for name, n in MICE.items()}
                    rows.append(RunScore(run, str(len(rows)), task, scores, MICE))
    path = tmp_path_factory.mktemp("curves") / "runs.scaling.jsonl"
    add_rows(path, rows)
    return scaling_curves(read_runs(path), n_resamples=40)


def traces_of(figure, name, mode, axis="x"):
    wanted = (name, mode, axis)
    return [t for t in figure.data if (t.name, t.mode, t.xaxis or "x") == wanted]


def test_marks_are_the_runs_and_their_means(curves):
    figure = scaling_figure(curves)
    runs, means = traces_of(figure, "5M", "markers")
    curve = next(c for c in curves if (c.name, c.condition) == ("5M", TASKS[0]))
    np.testing.assert_allclose(runs.y, curve.y)
    np.testing.assert_allclose(runs.x, curve.x, rtol=0.03)
    np.testing.assert_allclose(means.y, [size.mean for size in curve.sizes])
    low = np.array(means.y) - means.error_y.arrayminus
    np.testing.assert_allclose(low, [size.low for size in curve.sizes])
    for size in curve.sizes:
        assert size.n == 2
        assert size.low < size.mean < size.high


def test_the_fit_lies_in_its_band(curves):
    figure = scaling_figure(curves)
    band, line = traces_of(figure, "5M", "lines")
    n = len(line.y)
    high, low = np.array(band.y[:n]), np.array(band.y[n:])[::-1]
    assert (low <= np.array(line.y)).all()
    assert (np.array(line.y) <= high).all()
    assert "exponent" in line.hovertext


def test_too_few_sizes_are_marks_and_a_reason(curves):
    def told(some):
        *_, last = scaling_figure(some).layout.annotations
        return last.text

    figure = scaling_figure(curves)
    assert len(traces_of(figure, "1M", "markers")) == 2
    assert traces_of(figure, "1M", "lines") == []
    assert told(curves).startswith("No fit of 1M: A fit needs 4")
    (refused,) = [c for c in curves if c.condition == TASKS[0] and c.refusal]
    some = [c for c in curves if c.name == "5M"]
    assert told([refused, *some]).startswith("No fit of 1M:")
    fitted = replace(some[0], name="1M", condition=TASKS[1])
    assert told([refused, fitted]).startswith("No fit of 1M (Fcst):")


def test_each_condition_has_its_panel_and_each_model_one_entry(curves):
    figure = scaling_figure(curves, theme="dark")
    words = [note.text for note in figure.layout.annotations]
    assert "<b>Fcst</b>" in words
    assert "<b>Stim</b>" in words
    assert len(traces_of(figure, "5M", "markers", "x2")) == 2
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(named) == ["1M", "5M"]
    symbols = {t.name: t.marker.symbol for t in figure.data if t.showlegend}
    colours = {t.name: t.marker.color for t in figure.data if t.showlegend}
    assert len(set(symbols.values())) == len(set(colours.values())) == 2


def test_curves_of_two_axes_are_refused(curves):
    with pytest.raises(ValueError, match="one axis"):
        scaling_figure([])
