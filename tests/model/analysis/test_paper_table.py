import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.paper_table import comparable, paper_table
from omnimouse_model.data.window_spec import OMNIMOUSE, BehaviorSpec, WindowSpec
from omnimouse_model.errors import ExportError, UnsupportedRequestError
from omnimouse_model.evaluation.published import DECODING, TASKS
from omnimouse_model.evaluation.sensorium2023 import (
    check_submission,
    predict_clips,
    write_submission,
)
from omnimouse_model.evaluation.tier_windows import scored_starts, shared_starts
from omnimouse_model.inference.families import config_of_run, families, remember, training_plan
from omnimouse_model.predict.compatibility import over_span
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.training.config import write_record
from tests.model.analysis.test_evaluate import NoisyPredictor
from tests.model.context_predictor import world
from tests.toy_predictors import CountPredictor, FramePredictor, RecurrentPredictor

STIMULUS, FORECAST = TASKS["stim"], TASKS["fcst"]
SLOW = WindowSpec(1.0, 20.0, behavior=BehaviorSpec(20.0, ("running", "pupil_x")))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), "1-1-1", n_neurons=12)


@dataclass
class SlowPredictor(NoisyPredictor):
    """Windows of 1 s at 20 Hz."""

    name: str = "slow"
    needs = Needs(spec=SLOW)


@dataclass
class LatePredictor(NoisyPredictor):
    """Cannot compute the first sample that is scored."""

    name: str = "late"

    def decode(self, encoded, neurons=None, cancelled=None):
        found = NoisyPredictor.decode(self, encoded, neurons)
        return replace(found, valid=np.arange(60) != 30)


@dataclass
class ClipsPredictor(NoisyPredictor):
    """Never saw a hidden video in its training."""

    name: str = "clips"
    needs = Needs(always_sees_video=True)


@pytest.fixture(scope="module")
def table(session):
    models = [NoisyPredictor(), RecurrentPredictor(), FramePredictor(), SlowPredictor()]
    clips = ClipsPredictor()
    mean = om.Ensemble((NoisyPredictor("other"), clips))
    asked = [*models, LatePredictor(), CountPredictor(), clips, mean]
    return paper_table(asked, session, [STIMULUS, FORECAST], max_windows=6)


@pytest.mark.parametrize("strategy", [STIMULUS, FORECAST])
def test_rows_share_seconds_and_neurons_whatever_their_windows_are(table, strategy):
    rates_hz = {"noisy": 30, "toy-recurrent": 30, "toy-frames": 30, "slow": 20}
    first = table.scores.find(strategy, "noisy")
    assert first.n_windows == 6
    for name, rate_hz in rates_hz.items():
        score = table.scores.find(strategy, name)
        assert not score.refusal
        assert score.n_windows == 6
        assert np.array_equal(score.neurons, first.neurons)
        # The last second of each window.
        assert np.array_equal(score.counts / rate_hz, np.full(12, 6.0))


def test_rows_that_cannot_share_are_refused_with_the_reason(table):
    late = table.cell("stim", "late")
    assert np.isnan(late.pooled.value)
    assert "96.7 % of the scored time" in late.refusal
    counts = table.cell("stim", "toy-counts")
    assert "predicts counts, and traces are compared" in counts.refusal
    assert np.isnan(table[4].values["stim"])


def test_a_model_that_always_saw_video_is_not_compared_without_it(table, session):
    # Also an ensemble of which one member did, wherever it stands in it.
    for name in ("clips", table[-1].model):
        assert np.isfinite(table.cell("stim", name).pooled.value)
        refused = table.cell("fcst", name)
        assert np.isnan(refused.pooled.value)
        assert "always saw video in its training" in refused.refusal
    # It answers all the same where it is asked alone, as on screen.
    alone = om.evaluate(ClipsPredictor(), session, FORECAST, max_windows=2).scores[0]
    assert np.isfinite(alone.value)
    assert not alone.refusal


def test_differences_are_paired(table):
    cell, score = table.cell("stim", "slow"), table.scores.find(STIMULUS, "slow")
    assert table.baseline == "noisy"
    gain = table.scores.gain(score, "noisy")
    assert cell.centred.value == score.value
    assert (cell.gain.value, cell.gain.low) == pytest.approx((gain.value, gain.low), nan_ok=True)
    assert np.isnan(table.cell("stim", "noisy").gain.value)


def test_where_the_first_predictor_is_refused_the_next_one_is_the_baseline(session):
    models = [ClipsPredictor(), NoisyPredictor(), SlowPredictor()]
    found = paper_table(models, session, [FORECAST, STIMULUS], max_windows=3)
    assert found.cell("stim", "slow").baseline == "clips"
    cell = found.cell("fcst", "slow")
    assert cell.baseline == "noisy"
    assert np.isfinite(cell.gain.value)
    assert np.isnan(found.cell("fcst", "noisy").gain.value)
    # Nor is a task timed that the table refuses, although the model answers it.
    assert found.costs["clips"].strategy == STIMULUS
    assert found.costs["slow"].strategy == FORECAST


def test_scores_of_other_windows_or_neurons_are_not_compared(session):
    one = om.evaluate(NoisyPredictor(), session, STIMULUS, max_windows=4)
    other = om.evaluate(NoisyPredictor("other"), session, STIMULUS, max_windows=3)
    few = om.evaluate(NoisyPredictor("few"), session, STIMULUS, max_windows=4, neurons=np.arange(3))
    joined = replace(one, scores=one.scores + other.scores + few.scores)
    reasons = [score.refusal for score in comparable(joined).scores]
    assert reasons[0] == ""
    assert "3 windows, the row above on 4" in reasons[1]
    assert "neurons that are not the 12" in reasons[2]
    assert [row.model for row in paper_table(joined)] == ["noisy", "other", "few"]


def test_windows_without_a_recorded_warm_up_are_left_out_for_all(session):
    spec = replace(RecurrentPredictor.needs.spec, warmup_s=1.0)
    first = scored_starts(session, "train", None, OMNIMOUSE)
    shared = shared_starts(session, "train", None, OMNIMOUSE, [OMNIMOUSE, spec])
    assert first[0] < 1.0 <= shared[0]
    assert set(shared) == {start for start in first if start >= 1.0}


def test_costs_are_measured_and_read_from_the_run(session, tmp_path):
    predictor = om.load_predictor("twin-demo")
    (tmp_path / "metrics.jsonl").write_text('{"step": 3.0, "seconds": 90.0}\n')
    model = NoisyPredictor("of a run")
    remember(model, "classical", tmp_path)
    found = paper_table([model, predictor], session, [STIMULUS], max_windows=3)
    cost = found.costs["of a run"]
    assert (cost.training_minutes, cost.strategy) == (1.5, STIMULUS)
    # Weights of a run are named alike in all folders.
    assert found.label("of a run") == "classical (of a run)"
    assert found.label(predictor.predictor_id) == predictor.predictor_id
    assert len(cost.answer_ms) > 3
    assert min(cost.answer_ms) > 0
    # It does not know the recording: its size is known, and no answer is timed.
    other = found.costs[predictor.predictor_id]
    assert other.parameters > 10_000
    assert other.answer_ms == ()
    rows = {row["name"]: row for row in found.rows() if row["predictor"] == "of a run"}
    assert rows["training_minutes"]["value"] == 1.5
    assert rows["answer_ms"]["n"] == len(cost.answer_ms)
    json.dumps(found.rows(), allow_nan=False)


def test_a_run_is_named_by_its_shipped_config(tmp_path):
    settings, family = training_plan("mtm-small").settings, families()["ndt"]
    write_record(tmp_path, settings)
    assert config_of_run(tmp_path / "best.safetensors", family) == "mtm-small"
    write_record(tmp_path, replace(settings, tree={**settings.tree, "epochs": 9}))
    assert config_of_run(tmp_path, family) == ""


def test_a_predictor_of_the_same_length_is_asked_itself():
    model = NoisyPredictor()
    assert over_span(model, OMNIMOUSE) is model
    odd = SlowPredictor()
    odd.needs = Needs(spec=WindowSpec(0.6, 50 / 3))
    assert "no whole number of samples" in over_span(odd, OMNIMOUSE).refusal


# -- files of the competition ----------------------------------------------------------
def test_models_of_other_windows_write_complete_submissions(session, tmp_path):
    ids = {session.id: session.units.unit_id.tolist()}
    path = tmp_path / "submission.parquet"
    for model in (NoisyPredictor(), RecurrentPredictor(), FramePredictor()):
        write_submission(path, predict_clips(model, session, "test"), ids)
        assert check_submission(path, [session], ["test"]) == 3
    with pytest.raises(UnsupportedRequestError, match="20 samples per second; frames"):
        next(predict_clips(SlowPredictor(), session, "test"))


def test_a_submission_that_is_not_complete_is_told(session, tmp_path):
    ids = {session.id: session.units.unit_id.tolist()}
    clips = list(predict_clips(NoisyPredictor(), session, "test"))
    path = tmp_path / "submission.parquet"
    write_submission(path, iter(clips[1:]), ids)
    with pytest.raises(ExportError, match="0 times, not once"):
        check_submission(path, [session], ["test"])
    holed = replace(clips[0], predicted=np.where(np.arange(12) == 3, np.nan, clips[0].predicted))
    write_submission(path, iter([holed, *clips[1:]]), ids)
    with pytest.raises(ExportError, match=r"predictions \(12, 250\), of which 250 are missing"):
        check_submission(path, [session], ["test"])


def test_a_model_of_windows_without_behaviour_is_refused_in_decoding(session):
    model = SlowPredictor("responses alone")
    model.needs = Needs(spec=WindowSpec(2.0, 30.0))
    both = [model, "linear-gaussian"]
    found = paper_table(both, session, [STIMULUS, DECODING], max_windows=3)
    assert found.baseline == "linear-gaussian"
    cell = found.cell("run", "responses alone")
    assert np.isnan(cell.pooled.value)
    assert cell.refusal
    assert np.isfinite(found.cell("run", "linear-gaussian").pooled.value)
    json.dumps(found.rows(), allow_nan=False)
