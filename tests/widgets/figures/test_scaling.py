import numpy as np
import pytest

from omnimouse_model.analysis.scaling_fits import (
    RunScore,
    ScalingRun,
    add_rows,
    read_runs,
    scaling_curves,
)
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
                    run = ScalingRun(model, sessions=size, seed=seed, order=f"random {seed}")
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


def test_curves_of_two_axes_are_refused(curves):
    with pytest.raises(ValueError, match="one axis"):
        scaling_figure([])
