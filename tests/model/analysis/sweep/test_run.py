import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.sweep import run as sweep_module
from omnimouse_model.analysis.sweep.contexts import (
    Context,
    Draw,
    SweepPlan,
    context_mask,
    held_out_draw,
    largest_context,
)
from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.analysis.sweep.table import (
    POOLS,
    ContextSweep,
    Point,
    SweepRow,
    bars_text,
    read_sweep,
)
from omnimouse_model.errors import MaskError, ResultsFileError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.tier_windows import scored_starts
from omnimouse_model.masks import TARGET
from omnimouse_model.masks.mask import Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.progress import CallbackJob, never
from tests.model.context_predictor import ASK, N_NEURONS, ContextPredictor, expected_score, world


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), "1-1-1")


@pytest.fixture(scope="module")
def other_session(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), "2-2-2", n_neurons=30)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("population_64_response_behavior", Context(64, 0, False, True)),
        ("population_512_response_video_behavior", Context(512, 0, True, True)),
        ("test/population_64_response", Context(64, 0, False, False)),
        # The others are asked of the targets alone.
        ("test_additional/causal_response_10_behavior", Context(0, 10, False, True)),
        ("video_only", Context(0, 0, True, False)),
        ("responses_from_behavior", Context(0, 0, False, True)),
    ],
)
def test_contexts_are_the_official_masks(name, context):
    everyone = np.arange(4000)
    draw = Draw(targets=everyone[-3072:], others=everyone[:-3072])
    mask = Mask.from_strategy(name, 4000)
    if not context.neurons:
        cells = mask.cells.copy()
        cells[:, :-3072][cells[:, :-3072] == TARGET] = 0
        mask = replace(mask, cells=cells)
    assert context_mask(context, draw) == mask


def test_contexts_of_a_draw_are_nested_and_ask_the_same():
    draw = held_out_draw(500, 256, 3)
    counts = (0, 16, 64, 256)
    masks = [context_mask(Context(count), draw) for count in counts]
    for count, mask in zip(counts, masks, strict=True):
        assert mask.visible.any(axis=0).sum() == count
        np.testing.assert_array_equal(mask.target, masks[0].target)
    for small, large in pairwise(masks):
        assert not (small.visible & ~large.visible).any()
    both = context_mask(Context(16, 10), draw).cells
    history = context_mask(Context(0, 10), draw).cells
    np.testing.assert_array_equal(both, np.maximum(masks[1].cells, history))


@pytest.mark.parametrize(
    ("n_neurons", "wanted", "largest", "n_targets"),
    [
        (8000, (16, 2048), 2048, 3072),
        (4000, (16, 2048), 2048, 1952),
        (1000, (16, 900), 900, 100),
        (1000, (16, 901), 16, 750),
        (3, (), 0, 2),
        (1, (), 0, 1),
    ],
)
def test_targets_fill_what_the_largest_leaves(n_neurons, wanted, largest, n_targets):
    assert largest_context(n_neurons, wanted) == largest
    draw = held_out_draw(n_neurons, largest, 0)
    assert len(draw.targets) == n_targets
    assert sorted([*draw.targets, *draw.others]) == list(range(n_neurons))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs neurons or history_samples"),
        ({"neurons": [16], "video": []}, "at least one value of video"),
        ({"neurons": [16], "seeds": 0}, "at least one value of seeds"),
        ({"neurons": [-1]}, "0 neurons or more"),
        ({"history_samples": [5]}, "0 or 10 to 25, found 5"),
        ({"neurons": [4], "tier": "oracle"}, "no window of tier 'oracle'"),
    ],
)
def test_what_cannot_be_asked_is_named(session, options, message):
    with pytest.raises(ValueError, match=message):
        context_sweep(ContextPredictor(), session, **options)


class WhichPredictor(ContextPredictor):
    """Its noise depends on which neurons are visible, and not on their number alone."""

    def encode(self, window, mask, cancelled=never):
        self.asked.append(mask)
        which = np.flatnonzero(mask.visible[30:].any(axis=0)).sum()
        noise = np.random.default_rng(which).normal(size=window.responses.shape)
        return Encoded(window, mask, window.responses + noise)


@pytest.fixture(scope="module")
def sweep(session):
    return context_sweep(ContextPredictor(), session, **ASK, seeds=2)


def test_curves_are_those_of_the_predictor(sweep):
    assert sweep.is_complete
    shapes = [(c.axis, c.video, c.values) for c in sweep.curves()]
    axes = (("neurons", (0, 8, 32)), ("history_samples", (10, 25)))
    assert shapes == [(axis, video, at) for axis, at in axes for video in (True, False)]
    for curve in sweep.curves():
        for point in curve.points:
            assert point.score == pytest.approx(expected_score(point.context), abs=0.02)
            assert np.isnan(point.ci_low)  # fewer than 8 windows
            assert 0 < point.sem < 0.02
            assert (point.n_seeds, point.n_sessions) == (2, 1)


def test_the_gain_over_the_smallest_context_is_that_of_the_same_draws(sweep):
    curve = sweep.curves()[0]
    rows = [row for row in sweep.table() if row["axis"] == "neurons" and row["video"]]
    scores = {(row["seed"], row["value"]): row["score"] for row in rows}
    of_draws = np.array([scores[seed, 32] - scores[seed, 0] for seed in (0, 1)])
    gains = sweep.gains(curve)
    assert np.isnan(gains[0].value)
    assert gains[2].value == pytest.approx(of_draws.mean())
    # Student's t of one degree of freedom.
    half = 12.706 * of_draws.std(ddof=1) / np.sqrt(2)
    assert gains[2].ci_high - gains[2].value == pytest.approx(half)
    assert [row["gain"] for row in rows if row["value"] == 32] == pytest.approx(of_draws)
    assert {row["gain"] for row in rows if row["value"] == 0} == {None}
    assert f"gain {gains[2]}" in str(sweep)
    assert "of gains over draws" in str(sweep).splitlines()[0]


def test_a_gain_of_equal_draws_has_no_interval(sweep):
    rows = tuple(replace(row, score=0.1 + row.context.neurons / 100) for row in sweep.rows)
    _, _, gain = replace(sweep, rows=rows).gains(sweep.curves()[0])
    assert gain.value == pytest.approx(0.32)
    assert np.isnan(gain.ci_low)


@pytest.mark.slow
def test_a_grid_is_the_full_product(session):
    ask = ASK | {"behavior": [True, False]}
    found = context_sweep(ContextPredictor(), session, **ask, seeds=1, grid=True)
    assert len(found.rows) == 3 * 2 * 2 * 2
    curves = found.curves()
    assert len(curves) == 2 * 2 * (2 + 3)
    for curve in curves:
        for point in curve.points:
            assert point.score == pytest.approx(expected_score(point.context), abs=0.02)
    assert found.curve("neurons", fixed=25).points[2].context == Context(32, 25)


@pytest.mark.slow
def test_a_row_is_an_ordinary_evaluation(session):
    (row,) = context_sweep(ContextPredictor(), session, neurons=[8], seeds=[7]).rows
    draw = held_out_draw(N_NEURONS, 8, 7)
    condition = Condition("mine", lambda session: context_mask(Context(8), draw))
    score = evaluate(ContextPredictor(), session, condition).scores[0]
    interval = (score.value, score.ci_low, score.ci_high)
    assert (row.score, row.ci_low, row.ci_high) == interval
    assert row.n_windows == len(scored_starts(session))
    assert row.n_neurons == len(draw.targets) == 45


def test_what_cannot_be_computed_is_a_row_that_says_why(session):
    found = context_sweep(ContextPredictor(), session, neurons=[8, 55, 60], seeds=1)
    assert found.is_complete
    fits, *large = found.curve("neurons").points
    assert fits.score == pytest.approx(expected_score(Context(8)), abs=0.02)
    assert all(np.isnan(point.score) for point in large)
    assert "has 60 neurons; a context of 55 leaves fewer than 6" in large[0].refusal
    assert "; gain" not in repr(found)
    ask = ASK | {"max_windows": 1, "seeds": 1}
    found = context_sweep(ContextPredictor(refuses_video=True), session, **ask)
    assert found.curve("neurons", video=True).points[0].refusal == "reads no video."
    assert np.isfinite(found.curve("neurons", video=False).points[0].score)
    # With video, also the smallest context refuses: no gain is over it.
    with_video = [line for line in repr(found).splitlines() if "video" in line]
    assert with_video
    assert not any("; gain" in line for line in with_video)
    refused = [line for line in found.table() if line["video"]]
    assert {line["score"] for line in refused} == {None}


def test_hidden_behavior_is_decoded_and_has_curves_of_its_own(session):
    ask = {"neurons": [0, 8], "behavior": [True, False], "max_windows": 2}
    found = context_sweep(ContextPredictor(), session, **ask, seeds=1)
    assert found.channels == session.behavior_names
    given, hidden = found.curves("running")
    assert (given.behavior, hidden.behavior) == (True, False)
    assert np.isnan([point.score for point in given.points]).all()
    np.testing.assert_allclose([point.score for point in hidden.points], 1.0)
    targets = {line["target"] for line in found.table() if not line["behavior"]}
    assert targets == {"responses", *session.behavior_names}


@pytest.mark.slow
def test_rows_are_scored_by_the_metric_of_the_plan(tmp_path):
    session = world(tmp_path, "3-3-3")
    session.trials.stim_id[:] = session.trials.tier
    ask = {"neurons": [8], "seeds": 1, "results": tmp_path / "sweep.jsonl"}
    predictor, draw = ContextPredictor(), held_out_draw(N_NEURONS, 8, 0)
    found = context_sweep(predictor, session, **ask, metric="cc_norm")
    condition = Condition("8", lambda session: context_mask(Context(8), draw))
    (score,) = evaluate(predictor, session, condition, metric="cc_norm").scores
    assert np.isfinite(score.value)
    assert found.rows[0].score == score.value
    assert found.table()[0]["metric"] == "cc_norm"
    assert read_sweep(ask["results"]).sweep.plan == found.plan
    with pytest.raises(ResultsFileError, match="metric"):
        context_sweep(predictor, session, **ask)


@pytest.mark.slow
def test_several_sessions_each_have_their_curve(session, other_session):
    ask = {"neurons": [4, 16], "seeds": 2, "max_windows": 2}
    both = context_sweep(ContextPredictor(), [session, other_session], **ask)
    for one in (session, other_session):
        alone = context_sweep(ContextPredictor(), one, **ask)
        assert both.of_session(one.id).table() == alone.table()
    with pytest.raises(KeyError, match="no session '9'; it has 1-1-1, 2-2-2"):
        both.of_session("9")


def row(session, seed, score, n_neurons=10):
    nothing = (n_neurons, 1, score, score - 0.1, score + 0.1)
    return SweepRow(session, "p", Context(4), seed, *nothing)


def test_a_point_averages_draws_then_sessions():
    plan = SweepPlan(neurons=(4,), seeds=(0, 1))
    rows = (row("a", 0, 0.2), row("a", 1, 0.4), row("b", 0, 0.8, 30))
    found = ContextSweep(plan, "p", ("a", "b"), rows)
    point = found.point(Context(4))
    assert point.score == pytest.approx((10 * 0.3 + 30 * 0.8) / 40)
    assert (point.n_seeds, point.n_sessions) == (1, 2)
    assert np.isnan(point.sem)  # one draw of b says nothing of its spread
    alone = found.of_session("a").point(Context(4))
    assert alone.sem == pytest.approx(0.1)
    assert (alone.ci_low, alone.ci_high) == pytest.approx((0.2, 0.4))


@pytest.mark.slow
def test_many_windows_go_chunk_by_chunk_to_the_same_scores(session, sweep, monkeypatch):
    monkeypatch.setattr(sweep_module, "BATCH", 5)
    parts = []
    ask = ASK | {"seeds": 2, "on_part": parts.append}
    together = context_sweep(ContextPredictor(), session, **ask)
    assert [len(part.rows) for part in parts] == [10, 20]  # the curves of the first draw first
    assert together.table() == sweep.table()


@pytest.mark.slow
def test_a_predictor_that_refuses_every_context_is_named(session):
    with pytest.warns(UserWarning, match="ridge answers none of these contexts"):
        found = context_sweep("ridge", session, neurons=[4], seeds=1, max_windows=1)
    assert all(row.refusal for row in found.rows)


def test_bars_are_intervals_over_time_whatever_the_draws_and_else_their_error():
    one = Point(Context(0), 0.4, float("nan"), 0.3, 0.6, 1, 1, n_windows=40)
    several = replace(one, context=Context(16), sem=0.02)
    assert one.ends == several.ends == (0.3, 0.6)
    assert bars_text([one, several]) == "bars: 95 % over time"
    assert replace(one, n_windows=1).ends == (0.4, 0.4)
    few = replace(several, ci_low=float("nan"), ci_high=float("nan"), n_windows=4)
    assert few.ends == pytest.approx((0.38, 0.42))
    assert bars_text([few]) == "bars: s.e.m. over draws"
    assert bars_text([replace(one, n_windows=1)]) == ""


def test_the_pool_alone_is_shown_and_the_targets_are_predicted(session):
    predictor = ContextPredictor()
    group = NeuronGroup.of(session, "painted", [30, 4, 5])
    sweep = context_sweep(
        predictor,
        session,
        neurons=[0, 8],
        history_samples=[10],
        targets=group,
        pool=range(20),
        seeds=2,
        max_windows=1,
        centred=False,
    )
    assert (sweep.plan.targets_name, sweep.plan.pool_name) == ("painted", "20 chosen neurons")
    assert {row.n_neurons for row in sweep.rows} == {3}
    assert {row["targets"] for row in sweep.table()} == {"painted"}
    for mask in predictor.asked:
        assert np.flatnonzero(mask.target.any(axis=0)).tolist() == [4, 5, 30]
        assert not mask.visible[:, 20:].any()
        # Targets in the pool have a history, but no visible sample beside the others.
        assert not mask.visible[30:, [4, 5]].any()
    assert any(mask.visible[:30, 4].any() for mask in predictor.asked)
    outside = context_sweep(
        predictor, session, neurons=[1], pool=range(20), seeds=1, max_windows=1, centred=False
    )
    assert outside.rows[0].n_neurons == session.n_neurons - 20


def test_a_context_of_which_nothing_is_drawn_is_computed_once(session, tmp_path):
    predictor, told = WhichPredictor(), []
    job = CallbackJob(lambda done, total, _: told.append((done, total)))
    ask = {"neurons": [0, 8], "history_samples": [10], "targets": [1, 2], "max_windows": 2}
    ask |= {"seeds": 3, "centred": False}
    path = tmp_path / "one.sweep.jsonl"
    sweep = context_sweep(predictor, session, **ask, results=path, job=job)
    # Two windows of three draws with neurons, and of one draw of the other two contexts.
    assert len(predictor.asked) == 2 * (3 + 1 + 1)
    assert told[-1] == (10, 10)
    assert sweep.is_complete
    counts = [point.n_seeds for curve in sweep.curves() for point in curve.points]
    assert counts == [1, 3, 1]
    nothing = [row for row in sweep.rows if row.context == Context()]
    assert [row.seed for row in nothing] == [0, 1, 2]
    assert len({row.score for row in nothing}) == 1
    assert np.isnan(sweep.point(Context()).sem)
    gains = sweep.gains(sweep.curve("neurons"))
    assert np.isfinite(gains[1].ci_low)
    assert [line["seed"] for line in sweep.table() if line["value"] == 8] == [0, 1, 2]
    assert [line["seed"] for line in sweep.table() if line["value"] == 0] == [0]
    assert sweep.point_counts() == (5, 5)
    assert replace(sweep, rows=sweep.rows[:4]).point_counts() == (3, 5)
    # A file of an older version, or of a stop, has some of the draws: none is asked again.
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"seed":1' not in line.replace(" ", "")))
    predictor.asked.clear()
    again = context_sweep(predictor, session, **ask, results=path)
    assert len(predictor.asked) == 2
    assert again.table() == sweep.table()
    # Older versions computed each draw, which can differ by rounding.
    rows = [replace(row, score=np.nextafter(row.score, row.seed)) for row in sweep.rows]
    rounded = replace(sweep, rows=tuple(rows))
    assert len({row.score for row in rounded.rows if row.context == Context()}) > 1
    assert [point.n_seeds for curve in rounded.curves() for point in curve.points] == counts
    assert rounded.point_counts() == (5, 5)
    # Held-out targets are drawn anew: each draw is its own.
    drawn = context_sweep(predictor, session, neurons=[0], seeds=2, max_windows=1, centred=False)
    assert drawn.point(Context()).n_seeds == drawn.point_counts()[1] == 2


def test_a_pool_of_all_neurons_is_that_of_held_out_targets(session, tmp_path, monkeypatch):
    predictor = WhichPredictor()
    ask = {"neurons": [0, 8], "history_samples": [10], "seeds": 3, "max_windows": 1}
    every = range(session.n_neurons)
    sweep = context_sweep(predictor, session, **ask, pool=every, centred=False)
    assert len(predictor.asked) == sweep.point_counts()[1] == 9
    assert sweep.plan.asked == "held-out neurons from all others"
    assert sweep.point(Context()).n_seeds == sweep.plan.n_draws(Context()) == 3
    # Beside chosen targets, it is a pool like any other.
    chosen = context_sweep(predictor, session, **ask, targets=[1], pool=every, centred=False)
    assert chosen.plan.pool is not None
    assert chosen.point_counts() == (5, 5)
    # Files of older versions, which name such a pool, are continued.
    ask |= {"pool": every, "centred": False, "results": tmp_path / "one.sweep.jsonl"}
    with monkeypatch.context() as older:
        older.setattr(SweepPlan, "of", lambda plan, sessions: plan)
        context_sweep(predictor, session, **ask)
    predictor.asked.clear()
    assert context_sweep(predictor, session, **ask).table() == sweep.table()
    assert not predictor.asked
    with pytest.raises(ResultsFileError, match="neurons"):
        context_sweep(predictor, session, **ask | {"neurons": [4]})


def test_the_whole_pool_is_one_draw_and_its_gain_is_over_all_draws_of_a_part(session, tmp_path):
    predictor, path = WhichPredictor(), tmp_path / "one.sweep.jsonl"
    ask = {"neurons": [2, 8], "targets": [1, 2], "pool": range(10, 18), "seeds": 3}
    sweep = context_sweep(predictor, session, **ask, max_windows=1, centred=False, results=path)
    assert len(predictor.asked) == 3 + 1
    part, whole = sweep.curve("neurons").points
    assert (part.n_seeds, whole.n_seeds) == (3, 1)
    assert np.isfinite(part.sem)
    assert np.isnan(whole.sem)
    assert sweep.is_complete
    # Before the first row, too, also of a file.
    for same in (sweep, read_sweep(path).sweep):
        assert same.pools == ((session.id, 8),)
        assert same.point_counts() == (4, 4)
        assert replace(same, rows=()).point_counts() == (0, 4)
    # A file of an older version has no size of the pool: it is told before the first prediction.
    header, seen = json.loads(path.read_text().splitlines()[0]), []
    del header["about"][POOLS]
    ask |= {"max_windows": 1, "centred": False, "results": tmp_path / "older.sweep.jsonl"}
    ask["results"].write_text(json.dumps(header) + "\n")
    predictor.asked.clear()
    ask["on_part"] = lambda part: seen.append((part.point_counts(), len(predictor.asked)))
    context_sweep(predictor, session, **ask)
    assert seen[0] == ((0, 4), 0)
    gain = sweep.gains(sweep.curve("neurons"))[1]
    assert gain.value == pytest.approx(whole.score - part.score)
    # All rows are stored, and the table has as many as there are draws.
    table = sweep.to_dataframe()
    assert (len(sweep.rows), table.neurons.tolist()) == (6, [2, 8, 2, 2])
    assert table.gain[1] == pytest.approx(gain.value)
    assert table.gain.isna().tolist() == [True, False, True, True]
    assert np.isfinite(gain.ci_low)


def test_more_neurons_than_a_chosen_pool_has_are_refused_before_the_first_prediction(session):
    predictor, ask = ContextPredictor(), {"seeds": 1, "max_windows": 1}
    for chosen, n, words in (
        ({"targets": range(10)}, 51, "The recording has 50 neurons that are no targets"),
        ({"targets": [4, 5, 30], "pool": range(20)}, 19, "The pool has 18 neurons that are no"),
        ({"pool": range(20)}, 21, "The pool has 20 neurons that are no targets, fewer than the 21"),
    ):
        with pytest.raises(MaskError, match=f"neurons: {words}"):
            context_sweep(predictor, session, neurons=[0, n], **chosen, **ask)
        assert not predictor.asked
    largest = context_sweep(predictor, session, neurons=[50], targets=range(10), **ask)
    assert not largest.rows[0].refusal


def test_targets_and_pool_return_with_the_saved_sweep(session, tmp_path):
    path = tmp_path / "one.sweep.jsonl"
    chosen = {"targets": [1, 2], "pool": NeuronGroup("others", (7, 8, 9)), "neurons": [2]}
    sweep = context_sweep("mean", session, seeds=1, max_windows=1, results=path, **chosen)
    saved = read_sweep(path).sweep
    assert saved.plan == sweep.plan
    assert saved.plan.targets.ids == (1, 2)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"targets": [60]}, "indices from 0 to 59"),
        ({"targets": []}, "there are no targets"),
        ({"pool": "V9"}, "has no brain areas"),
        ({"pool": NeuronGroup("far", (1, 999))}, "lacks 1 of 2 neurons"),
    ],
)
def test_targets_and_pools_that_a_session_lacks_are_refused(session, chosen, message):
    with pytest.raises(MaskError, match=message):
        context_sweep("mean", session, neurons=[0], seeds=1, max_windows=1, **chosen)
