"""Figures over context: their points are the library's, told by colour and by shape."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("plotly")

from omnimouse_model.analysis.contexts import Context
from omnimouse_model.analysis.given import Given
from omnimouse_model.analysis.sweep_plan import SweepPlan
from omnimouse_model.analysis.sweep_table import ContextSweep, SweepRow
from omnimouse_model.live.context_mark import Mark
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.context_spots import dodge, place_on
from omnimouse_widgets.figures import context_grid_figure, context_sweep_figure
from omnimouse_widgets.figures.look import SYMBOLS

NEURONS, HISTORY = (0, 16, 64), (0, 10, 25)


def context_sweep_of_all(*, grid: bool = False, shift: float = 0.0) -> ContextSweep:
    """Every row there is, with scores that say from which context and draw they are."""
    plan = SweepPlan(
        NEURONS, HISTORY, (True, False), (True, False), (0, 1, 2), grid=grid
    )
    draw = np.random.default_rng(5)
    rows = []
    for context in plan.contexts:
        for seed in plan.seeds:
            score = 0.2 + 0.001 * context.neurons + 0.1 * context.video + shift
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
        aside = dodge(curve.label, curve.axis, curve.values)
        places = [place_on(curve.axis, value) + aside for value in curve.values]
        np.testing.assert_allclose(trace.x, places)
        np.testing.assert_allclose(trace.y, [p.score for p in known])
        np.testing.assert_allclose(trace.error_y.array, [p.sem for p in known])
        assert f"{known[0].score:.3f}" in trace.hovertext[0]
        found += 1
    assert found == n_curves


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_condition_has_the_palettes_colour_and_symbol(theme):
    figure = context_sweep_figure(context_sweep_of_all(), theme=theme)
    for label, colour in palette.CONDITION_COLOURS.items():
        (trace,) = traces(figure, label)
        expected = colour if theme == "dark" else palette.ON_PAPER[colour]
        assert trace.line.color == trace.marker.color == expected
        assert trace.marker.symbol == SYMBOLS[palette.CONDITION_SYMBOLS[label]]


def test_kept_sweeps_are_told_apart_by_line_and_open_points_and_named_once():
    figure = context_sweep_figure(
        {"a": context_sweep_of_all(), "b": context_sweep_of_all(shift=0.1)}
    )
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert sorted(named) == sorted([*palette.CONDITION_COLOURS, "a", "b"])
    first, second = traces(figure, "video")
    assert (first.line.dash, second.line.dash) == ("solid", "dash")
    assert second.marker.symbol == f"{first.marker.symbol}-open"
    assert np.mean(second.y) > np.mean(first.y) + 0.05
    with pytest.raises(ValueError, match="At most 5 sweeps"):
        context_sweep_figure({str(n): context_sweep_of_all() for n in range(6)})


def test_the_mark_stands_at_its_context_and_score():
    given = Given(neurons=16.0, history_samples=10.0, video=True, behavior=True)
    mark = Mark(given, 0.31, 12, True, False)
    places = [place_on("neurons", 16), place_on("history_samples", 10)]
    for score in (0.31, float("nan")):
        figure = context_sweep_figure(
            context_sweep_of_all(), mark=replace(mark, score=score)
        )
        stars = [(t.xaxis, t.x[0], t.y[0]) for t in figure.data if is_star(t)]
        expected = [(x, at, score) for x, at in zip(("x", "x2"), places, strict=True)]
        assert sorted(stars) == (expected if score == 0.31 else [])
        assert [shape.x0 for shape in figure.layout.shapes] == places


def is_star(trace):
    return trace.name == "this mask" and bool(trace.x)


def test_a_channel_that_was_not_decoded_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'pupil_x' was not decoded.*running"):
        context_sweep_figure(context_sweep_of_all(), target="pupil_x")


def over_history(history):
    plan = SweepPlan((), history, (True,), (True,), (0,))
    rows = [SweepRow("m", "p", c, 0, 30, 8, 0.2, 0.1, 0.3) for c in plan.contexts]
    return context_sweep_figure(ContextSweep(plan, "p", ("m",), tuple(rows)))


def test_one_axis_alone_fills_the_figure():
    figure = over_history((0, 25))
    assert figure.layout.xaxis2.domain == (0, 1)
    assert {trace.xaxis for trace in figure.data} == {"x2"}


def test_a_grid_has_a_curve_for_each_history():
    sweep = context_sweep_of_all(grid=True)
    figure = context_grid_figure(sweep, video=True, behavior=False)
    assert [trace.name for trace in figure.data] == ["0", "10", "25"]
    for trace, history in zip(figure.data, HISTORY, strict=True):
        points = [sweep.point(Context(n, history, True, False)) for n in NEURONS]
        np.testing.assert_allclose(trace.y, [p.score for p in points])
        np.testing.assert_allclose(trace.error_y.array, [p.sem for p in points])
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    with pytest.raises(ValueError, match="grid=True"):
        context_grid_figure(context_sweep_of_all())


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ((0, 10, 25), ["0<br>0 s", "10<br>0.33 s", "25<br>0.83 s"]),
        ((0, 10, 15, 20, 25), ["0<br>0 s", "10", "15", "20", "25<br>0.83 s"]),
    ],
)
def test_many_ticks_have_their_seconds_at_the_ends_alone(history, told):
    axis = over_history(history).layout.xaxis2
    assert list(axis.ticktext) == told
    assert axis.tickangle == 0
