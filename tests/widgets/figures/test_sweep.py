from dataclasses import replace

import numpy as np
import pytest

from omnimouse_model.analysis.sweep.contexts import Context, SweepPlan
from omnimouse_model.analysis.sweep.table import ContextSweep, SweepRow
from omnimouse_model.display import number_text
from omnimouse_widgets.figures import context_grid_figure, context_sweep_figure
from omnimouse_widgets.views.context.curves import dodge, place_on

NEURONS, HISTORY = (0, 16, 64), (0, 10, 25)


def context_sweep_of_all(*, grid: bool = False) -> ContextSweep:
    """Every row there is, with scores that say from which context and draw they are."""
    plan = SweepPlan(NEURONS, HISTORY, (True, False), (True, False), (0, 1, 2), grid=grid)
    draw = np.random.default_rng(5)
    rows = []
    for context in plan.contexts:
        for seed in plan.seeds:
            score = 0.2 + 0.001 * context.neurons + 0.1 * context.video
            score += 0.02 * draw.normal()
            decoded = {} if context.behavior else {"running": score / 2}
            ends = score - 0.1, score + 0.1
            row = SweepRow("mouse", "model", context, seed, 30, 8, score, *ends)
            rows.append(replace(row, decoded=decoded))
    return ContextSweep(plan, "model", ("mouse",), tuple(rows))


def traces(figure, label, axis="x"):
    return [
        trace
        for trace in figure.data
        if trace.name == label and (trace.xaxis or "x") == axis and trace.error_y.array
    ]


@pytest.mark.parametrize(("target", "n_curves"), [("responses", 8), ("running", 4)])
def test_points_and_bars_are_the_sweeps(target, n_curves):
    sweep = context_sweep_of_all()
    figure = context_sweep_figure(sweep, target=target)
    found = 0
    for curve in sweep.curves(target):
        axis = "x" if curve.axis == "neurons" else "x2"
        known = [p for p in curve.points if np.isfinite(p.score)]
        if not known:
            assert not traces(figure, curve.label, axis)
            continue
        (trace,) = traces(figure, curve.label, axis)
        shown = {one.label for one in sweep.curves(target) if np.isfinite(one.points[0].score)}
        aside = dodge(curve.label, curve.axis, curve.values, shown)
        places = [place_on(curve.axis, value) + aside for value in curve.values]
        np.testing.assert_allclose(trace.x, places)
        np.testing.assert_allclose(trace.y, [p.score for p in known])
        above = [p.ends[1] - p.score for p in known]
        np.testing.assert_allclose(trace.error_y.array, above, atol=1e-9)
        assert number_text(known[0].score, 3) in trace.hovertext[0]
        found += 1
    assert found == n_curves
    # Decoded behaviour has no interval over time.
    kind = "95 % over time" if target == "responses" else "s.e.m. over draws"
    assert figure.layout.legend.title.text == f"bars: {kind}"


def test_a_channel_that_was_not_decoded_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'pupil_x' was not decoded.*running"):
        context_sweep_figure(context_sweep_of_all(), target="pupil_x")


def test_a_grid_has_a_curve_for_each_history():
    sweep = context_sweep_of_all(grid=True)
    figure = context_grid_figure(sweep, video=True, behavior=False)
    assert [trace.name for trace in figure.data] == ["0", "10", "25"]
    for trace, history in zip(figure.data, HISTORY, strict=True):
        points = [sweep.point(Context(n, history, True, False)) for n in NEURONS]
        np.testing.assert_allclose(trace.y, [p.score for p in points])
        np.testing.assert_allclose(trace.error_y.array, 0.1, atol=1e-9)
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    with pytest.raises(ValueError, match="grid=True"):
        context_grid_figure(context_sweep_of_all())


def test_the_name_of_a_sweep_like_html_is_text():
    sweep, link = context_sweep_of_all(), "<a href='file:///x'>old</a>"
    figure = context_sweep_figure({link: sweep, "new": sweep})
    names = {trace.name for trace in figure.data}
    assert "&lt;a href='file:///x'&gt;old&lt;/a&gt;" in names
    assert link not in names
