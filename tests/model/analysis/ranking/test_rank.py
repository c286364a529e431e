"""Rankings and curves of models whose worth is known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.ranking.core_runs import (
    HeldBackError,
    Study,
    TaskScore,
    criterion_of,
    task_score,
)
from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING, read_ranking
from omnimouse_model.analysis.ranking.rank import pretrain_curve, rank_sessions
from omnimouse_model.analysis.ranking.rank_table import RANKING, open_results
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import ResultsFileError, StoppedError
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.progress import CallbackJob
from tests.model.analysis.ranking.fake_factory import (
    BEST_FIRST,
    SPEC,
    FakeFactory,
    FakeModel,
    WorthScore,
    opened,
)
from tests.predictors import EchoPredictor

SCORE = WorthScore()


@pytest.fixture(scope="module")
def sessions():
    return [opened(name, 20 + 10 * k) for k, name in enumerate("abcd")]


@pytest.fixture(scope="module")
def heldout():
    return [opened("new"), opened("other")]


@pytest.fixture
def study(sessions, heldout, tmp_path):
    """Arguments of a ranking, and the factory that counts its trainings."""
    factory = FakeFactory(tmp_path / "log")
    options = {"results": tmp_path / "x.ranking.jsonl"}
    return (factory, sessions, heldout, SCORE), options


def ranked(study, **more):
    arguments, options = study
    return rank_sessions(*arguments, **options, **more)


def curve_of(study, ranking, **more):
    (factory, *others), options = study
    return pretrain_curve(factory, ranking, *others, **options, **more)


def test_scores_are_averaged_over_seeds_before_the_ranking(study):
    table = ranked(study)
    assert table.order("new") == table.order("other") == BEST_FIRST
    assert table.mean[:, 0] == pytest.approx([0.1, 0.4, 0.2, 0.3])
    assert table.ranks[:, 1].tolist() == [4, 1, 3, 2]
    # Seed 0 alone says the opposite, and the table says that it is one seed.
    one = ranked(study, seeds=[0])
    assert one.order("new") == BEST_FIRST[::-1]
    assert "one seed (0)" in repr(one)
    assert table.warnings == ()
    assert "seed (0)" not in repr(table)
    assert all("one seed" in row["warnings"][0] for row in one.rows())


def test_lower_is_better_for_some_metrics_and_no_score_comes_last(study):
    (factory, sessions, heldout, _), options = study
    score = WorthScore(is_higher_better=False)
    table = rank_sessions(factory, sessions, heldout, score, **options)
    assert table.order("new") == BEST_FIRST
    table = ranked(study)
    values = table.values.copy()
    values[1, 1] = np.nan
    assert replace(table, values=values).order("new") == ("d", "c", "a", "b")


@pytest.mark.slow
def test_nothing_in_the_file_is_trained_again(study, sessions):
    (factory, *others), options = study
    ranked(study)
    # 4 sessions x 3 seeds, each transferred to two held-out sessions.
    assert len(factory.trainings()) == 12 * 3
    ranked(study)
    assert len(factory.trainings()) == 36
    # Other settings, and another content of a session of the same id, are trained.
    changed = replace(factory, worth=factory.worth | {"a": 0.9})
    table = rank_sessions(changed, *others, **options)
    assert table.order("new")[0] == "a"
    assert len(factory.trainings()) == 72
    again = [opened("a", 50), *sessions[1:]]
    rank_sessions(factory, again, *others[1:], **options)
    assert len(factory.trainings()) == 72 + 9


@pytest.mark.slow
def test_a_stopped_ranking_goes_on(study):
    factory, whole = study[0][0], ranked(study)
    options = {"results": study[1]["results"].with_name("y.ranking.jsonl")}
    n_before = len(factory.trainings())

    def stop_in_the_middle():
        return len(factory.trainings()) >= n_before + 7

    seen = []
    with pytest.raises(StoppedError):
        rank_sessions(*study[0], **options, job=CallbackJob(cancelled=stop_in_the_middle))
    n_stopped = len(factory.trainings())
    again = rank_sessions(
        *study[0], **options, job=CallbackJob(lambda *report: seen.append(report))
    )
    assert np.array_equal(again.values, whole.values)
    # The core of a transfer that was missing is loaded once more.
    assert len(factory.trainings()) - n_before <= 36 + 1
    assert n_stopped == n_before + 7
    done, totals = [row[0] for row in seen], {row[1] for row in seen}
    assert done == sorted(done)
    assert len(totals) == 1
    assert done[-1] <= totals.pop()


@pytest.mark.slow
def test_workers_give_the_same_ranking(study, scheduler):
    table = ranked(study)
    options = {"results": study[1]["results"].with_name("z.ranking.jsonl")}
    again = rank_sessions(*study[0], **options, scheduler=scheduler)
    assert np.array_equal(again.values, table.values)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sessions": []}, "one or more"),
        ({"heldout": ["a"]}, "a: listed twice"),
        ({"sessions": ["a", "a"]}, "a: listed twice"),
        ({"heldout": ["no-validation"]}, "validation"),
    ],
)
def test_wrong_sessions_are_refused_before_any_training(study, change, named):
    (factory, *_), options = study
    lists = {"sessions": ["a"], "heldout": ["new"]} | change
    # Of eight trials, all are train trials.
    named_ids = {name for names in lists.values() for name in names}
    of = {name: opened(name, 8 if "-" in name else 20) for name in named_ids}
    chosen = [[of[name] for name in names] for names in lists.values()]
    with pytest.raises(ValueError, match=named):
        rank_sessions(factory, *chosen, SCORE, **options)
    assert factory.trainings() == []


def test_a_copy_under_another_name_is_no_second_recording(study):
    (factory, *_), options = study
    first = opened("a")
    copy = replace(opened("a"), id="b")
    with pytest.raises(ValueError, match="b is a copy of a: the same recording"):
        rank_sessions(factory, [first], [copy], SCORE, **options)
    assert factory.trainings() == []


@dataclass(frozen=True)
class PeekingScore(WorthScore):
    """A score that reads the first window of the test tier, whatever it is asked."""

    start: float = 0.0

    def score(self, model, session, tier):
        return float(session.responses.count(self.start, 50.0, 20)[0].sum())


def test_a_ranking_cannot_read_the_test_tier(study, heldout):
    (factory, sessions, *_), options = study
    start = heldout[0].window_starts("test", spec=SPEC)[0] + heldout[0].t0
    peeking = PeekingScore(start=float(start))
    assert peeking.score(FakeModel(0.0), heldout[0], "validation") > 0
    with pytest.raises(HeldBackError, match="'new'"):
        rank_sessions(factory, sessions, heldout, peeking, **options)
    assert open_results(options["results"]).rows == {}


def test_the_task_fits_the_metric_and_the_model(heldout):
    with pytest.raises(ValueError, match="fve"):
        TaskScore("forward", "fve")
    with pytest.raises(ValueError, match="neural data transformer"):
        TaskScore("forward", "bits_per_spike").score(FakeModel(0.0), heldout[0], "validation")
    with pytest.raises(ValueError, match="sideways"):
        TaskScore("sideways", "correlation")
    of_any_family = task_score("test/all_response_only", OMNIMOUSE)
    assert of_any_family.unit == "single-trial correlation"
    # Sessions of counts alone have bits per spike.
    with pytest.raises(ValueError, match="only neural data transformers"):
        task_score("forward", OMNIMOUSE)
    with pytest.raises(ValueError, match="decodes behaviour"):
        task_score("test/all_response_only", SPEC)


def test_a_task_that_decodes_behaviour_is_scored_by_its_channels(session):
    task = task_score("test/all_response_only", OMNIMOUSE, max_windows=1)
    decoded = task.score(EchoPredictor(), session, "validation")
    assert decoded == pytest.approx(1.0)
    with pytest.raises(ValueError, match="mean"):
        task.score(load_predictor("mean"), session, "validation")


# -- curves ----------------------------------------------------------------------------
@pytest.mark.slow
def test_curves_follow_the_orders_and_share_cores(study):
    factory, table = study[0][0], ranked(study)
    n_before = len(factory.trainings())
    curve = curve_of(study, table, ks=[1, 2, 9], seeds=[1])
    means = {(m.order, m.k): m for m in curve.means() if m.heldout == "new"}
    assert {k for _, k in means} == {1, 2, 4}  # 9 means all four
    assert means["ranked", 2].mean == pytest.approx(0.7)
    assert means["reverse", 2].mean == pytest.approx(0.3)
    assert means["random", 4].mean == means["ranked", 4].mean == pytest.approx(1.0)
    # Three shuffles of all four sessions are one model.
    assert means["random", 4].n == 1
    assert np.isnan(means["random", 4].sd)
    sets = {p.sessions for p in curve.points if (p.order, p.k) == ("random", 2)}
    assert means["random", 2].n == len(sets)
    assert means["ranked", 2].n == 1
    # 20, 30, 40, 50 trials, of which eight of ten are train trials.
    assert means["ranked", 1].trials == 24
    assert means["ranked", 4].trials == 112
    assert means["ranked", 4].gain == pytest.approx(0.5)
    assert means["ranked", 4].gain_percent == pytest.approx(100.0)
    cores = [tuple(ids) for what, ids, _ in factory.trainings()[n_before:] if what != "transfer"]
    assert len(cores) == len(set(cores))
    assert ("new",) in cores
    assert ("a", "b", "c", "d") in cores


@pytest.mark.slow
def test_curves_that_rest_on_one_order_or_seed_say_so(study):
    table = ranked(study)
    assert curve_of(study, table).warnings == ()
    one = curve_of(study, table, orders=["ranked"], seeds=[1])
    assert [note.split()[0] for note in one.warnings] == ["All", "Recordings"]
    assert "one order (ranked)" in repr(one)
    assert all(row["warnings"] == list(one.warnings) for row in one.rows())
    assert "one shuffle" in " ".join(curve_of(study, table, shuffles=1).warnings)
    of_one = curve_of(study, ranked(study, seeds=[2]))
    assert "ranking rests on one seed (2)" in " ".join(of_one.warnings)


@pytest.mark.slow
def test_a_line_over_log_trials_predicts_all_sessions(study):
    curve = curve_of(study, ranked(study), ks=[1, 2, 3, 4])
    refused = curve.fits(10)[0]
    assert refused.line is None
    assert "found 3" in refused.refusal
    # Exact lines: 0.2 + 0.1 ln(trials), 0.02 higher for one of two seeds.
    points = [
        replace(
            p,
            sessions=tuple(map(str, range(k))),
            trials=10 * k,
            seed=seed,
            value=float(0.2 + 0.1 * np.log(10 * k) + 0.02 * seed),
        )
        for p in curve.points[:1]
        for k in (1, 2, 4, 8, 16)
        for seed in (0, 1)
    ]
    longer = replace(curve, points=tuple(points), n_sessions=16, trials=160)
    fit = longer.fits(200)[0]
    assert fit.line.slope == pytest.approx(0.1)
    assert fit.predicted == pytest.approx(fit.measured) == pytest.approx(0.21 + 0.1 * np.log(160))
    low, high = fit.interval
    assert (low, high) == pytest.approx((fit.predicted - 0.01, fit.predicted + 0.01))
    alone = replace(longer, points=longer.points[::2]).fits(10)[0]
    assert np.isnan(alone.interval).all()
    assert alone.line.slope == pytest.approx(0.1)


@pytest.mark.slow
def test_a_results_file_alone_gives_ranking_and_curve(study):
    results = study[1]["results"]
    open_results(results)
    with pytest.raises(ResultsFileError, match="no complete"):
        read_ranking(results)
    table = ranked(study)
    alone = read_ranking(results)
    assert alone.curve is None
    assert alone.ranking.rows() == table.rows()
    curve = curve_of(study, table, ks=[1, 2, 3], orders=["ranked", "reverse"])
    found = read_ranking(results).curve
    assert found.orders == ("ranked", "reverse")
    assert found.rows() == curve.rows()
    # Random orders are complete now, too.
    curve = curve_of(study, table, ks=[1, 2, 3])
    assert read_ranking(results).curve.rows() == curve.rows()
    other = replace(study[0][0], worth={"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0})
    rank_sessions(other, *study[0][1:], **study[1])
    with pytest.raises(ResultsFileError, match="2 rankings"):
        read_ranking(results)


@pytest.mark.slow
def test_a_changed_session_counts_as_scored_last(study, sessions):
    (factory, _, *others), options = study
    ranked(study)
    again = [opened("a", 50), *sessions[1:]]
    table = rank_sessions(factory, again, *others, **options)
    stored = read_ranking(options["results"]).ranking
    assert stored.rows() == table.rows()
    assert stored.trials[0] == 40


@pytest.mark.slow
def test_a_stopped_curve_keeps_what_is_finished(study):
    table, results = ranked(study), study[1]["results"]
    whole = curve_of(study, table, ks=[1, 2, 3])
    # One size of one order, of one seed; then one more seed.
    curve_of(study, table, ks=[4], orders=["ranked"], seeds=[1])
    assert read_ranking(results).curve.rows() == whole.rows()
    curve_of(study, table, ks=[1], orders=["ranked"], seeds=[3])
    assert read_ranking(results).curve.rows() == whole.rows()


def test_a_ranking_of_other_sessions_is_refused(study):
    table = ranked(study)
    (factory, sessions, *others), options = study
    with pytest.raises(ValueError, match="d differ"):
        pretrain_curve(factory, table, sessions[:3], *others, **options)


def test_scores_that_an_earlier_version_computed_are_those_of_the_same_settings():
    """The demo's file was written by one; its command stands in the documentation."""
    factory = om.model_factory("ndt-forecast-small", transfer_steps=200, transfer_batch=32)
    study = Study(factory, criterion_of("forward", factory.spec), "validation")
    assert {score.study for score in RANKING.read(DEMO_RANKING)[1]} == {study.key}
