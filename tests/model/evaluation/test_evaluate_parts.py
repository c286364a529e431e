import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest

from omnimouse_model.analysis.evaluate import EVALUATION, evaluate, evaluate_all
from omnimouse_model.analysis.paper_table import paper_table
from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.display import number_text
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import (
    IN_DISTRIBUTION,
    OUT_OF_DISTRIBUTION,
    Condition,
    StimulusGroups,
)
from omnimouse_model.evaluation.published import COLUMNS, PRINTED, STRATEGIES
from omnimouse_model.evaluation.results import Scores, neuron_columns, write_neurons
from omnimouse_model.evaluation.sensorium2023 import (
    clip_starts,
    competition_score,
    predict_clips,
    write_submission,
)
from omnimouse_model.evaluation.tier_windows import mean_rates, scored_starts
from omnimouse_model.families.ensemble import Ensemble, load_ensemble, save_ensemble
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import bits_per_spike_per_neuron, cc_scores, correlation
from omnimouse_model.progress import CallbackJob
from tests.model.analysis.test_evaluate import NoisyPredictor
from tests.model.context_predictor import ContextPredictor
from tests.model.data.readers.test_experanto import recording as recording
from tests.model.known_sessions import write_known_session

STIMULUS = "test/video_behavior"
N_NEURONS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty seconds of noise: a trial to train on, two to test, of which one is odd."""
    responses = 50 + 5 * np.random.default_rng(3).normal(size=(1200, N_NEURONS))
    tiers = ["train", "final_test_1", "final_test_2", "train"]
    place = tmp_path_factory.mktemp("world") / "session"
    write_known_session(place, responses, tiers=tiers)
    path = place / "screen" / "combined_meta.json"
    trials = json.loads(path.read_text())
    kinds = ["stimulus.Clip", "stimulus.Clip", "stimulus.Gabor", "stimulus.Clip"]
    for trial, kind in zip(trials.values(), kinds, strict=True):
        trial |= {"stim_type": kind, "condition_hash": kind, "trial_idx": 7}
    path.write_text(json.dumps(trials))
    return place


@pytest.fixture(scope="module")
def session(folder):
    return open_session(folder)


def seeds(count):
    return [NoisyPredictor(f"seed {k}", seed=k) for k in range(count)]


@pytest.mark.slow
def test_each_kind_of_stimulus_is_scored_on_its_own_samples(session):
    found = evaluate(NoisyPredictor(), session, [STIMULUS], by="kind", centred=False).scores[0]
    groups = StimulusGroups.of(session, "kind")
    predicted, recorded, kinds = [], [], []
    everyone = Mask.nothing(session).ask(slice(None))
    for start in scored_starts(session).tolist():
        window = session.window(start)
        predicted.append(NoisyPredictor().predict(window, everyone).responses[30:])
        recorded.append(window.responses[30:])
        kinds.append(groups.at(window.times("responses") - session.t0)[30:])
    kind = np.concatenate(kinds)
    assert {part.group for part in found.groups} == set(kind.tolist()) - {""}
    assert len(found.groups) == 2
    for part in found.groups:
        rows = kind == part.group
        both = (np.concatenate(values)[rows] for values in (predicted, recorded))
        expected = correlation(*both)
        np.testing.assert_allclose(part.per_neuron, expected, rtol=1e-5)
        assert part.value == pytest.approx(expected.mean(), rel=1e-5)
        assert part.n_samples == rows.sum()
        # Too few blocks of time have no interval.
        assert np.isnan(part.ci_low) or part.ci_low < part.value < part.ci_high


def test_what_training_never_showed_is_out_of_distribution(session):
    found = evaluate(NoisyPredictor(), session, [STIMULUS], by="distribution")
    both = {IN_DISTRIBUTION, OUT_OF_DISTRIBUTION}
    assert {part.group for part in found.scores[0].groups} == both
    rows = [row for row in found.rows() if row["name"] == "stimulus_score"]
    assert {row["stimulus"] for row in rows} == {IN_DISTRIBUTION, OUT_OF_DISTRIBUTION}
    tiers = evaluate(NoisyPredictor(), session, [STIMULUS], by="tier").scores[0].groups
    assert {part.group for part in tiers} == {"final_test_1", "final_test_2"}


def test_conditions_of_the_demo_table_are_asked_by_name(session, tmp_path):
    names = ["video_behavior on the hidden half", "half_population_video_behavior"]
    file = tmp_path / "rows.jsonl"
    found = evaluate_all([NoisyPredictor()], session, names, max_windows=2, results=file)["test"]
    assert [score.strategy for score in found.scores] == names
    hidden, half = (set(score.neurons.tolist()) for score in found.scores)
    assert hidden == half
    assert len(half) == session.n_neurons // 2


# -- ensembles ------------------------------------------------------------------------
def test_an_ensemble_gains_what_averaging_errors_gains(session):
    members = seeds(5)
    found = evaluate([*members, Ensemble(tuple(members))], session, [STIMULUS])
    *singles, together = [score.value for score in found.scores]
    assert np.mean(singles) == pytest.approx(1 / np.sqrt(2), abs=0.03)
    assert together == pytest.approx(1 / np.sqrt(1 + 1 / 5), abs=0.03)


def test_an_ensemble_is_the_mean_of_rates_and_refuses_what_one_does(session):
    window = session.window(12.0)
    mask = Mask.from_strategy(STIMULUS, session)
    members = seeds(3)
    each = [member.predict(window, mask).responses for member in members]
    together = Ensemble(tuple(members))
    found = together.predict(window, mask)
    np.testing.assert_allclose(found.responses, np.mean(each, axis=0), rtol=1e-6)
    (many,) = together.predict_many([(window, mask, None)])
    np.testing.assert_array_equal(many.responses, found.responses)
    assert found.predictor_id == together.predictor_id
    refusing = NoisyPredictor("b", refuses="knows no session")
    odd = Ensemble((NoisyPredictor("a"), refusing))
    with pytest.raises(UnsupportedRequestError, match="knows no session"):
        odd.prepare(session)
    with pytest.raises(ValueError, match="two different members"):
        Ensemble((NoisyPredictor("a"), NoisyPredictor("a")))


def test_an_ensemble_loads_members_by_name():
    found = Ensemble(["mean", NoisyPredictor("a")])
    assert [member.predictor_id for member in found.members] == ["mean", "a"]
    with pytest.raises(CheckpointError, match="no_such_model"):
        Ensemble(["mean", "no_such_model"])
    with pytest.raises(ValueError, match="found mean"):
        Ensemble("mean")


def test_an_ensembles_file_names_its_members(session, tmp_path):
    path = save_ensemble(tmp_path / "two.ensemble.json", ["mean", "ridge"])
    assert json.loads(path.read_text())["omnimouse_ensemble"] == 1
    found = load_predictor(path)
    assert isinstance(found, Ensemble)
    told = json.loads(path.read_text())["members"]
    assert [m["path"] for m in told] == ["mean", "ridge"]
    assert [m["predictor_id"] for m in told] == [m.predictor_id for m in found.members]
    changed = json.loads(path.read_text())
    changed["members"][1]["predictor_id"] = "another"
    path.write_text(json.dumps(changed))
    for long in ("another", "a" * 9999):
        changed["members"][1]["predictor_id"] = long
        path.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match="make the ensemble anew") as refusal:
            load_ensemble(path, load_predictor)
        assert len(str(refusal.value)) < 1000
    changed["members"][1]["path"] = "a" * 9999
    path.write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="There is no predictor") as refusal:
        load_ensemble(path, load_predictor)
    assert len(str(refusal.value)) < 1000
    path.write_bytes(b"\xff" * 9999)
    with pytest.raises(CheckpointError, match="not an ensemble's file") as refusal:
        load_ensemble(path, load_predictor)
    assert len(str(refusal.value)) < 1000
    with pytest.raises(ValueError, match=r"ends in \.ensemble\.json"):
        save_ensemble(tmp_path / "two.json", ["mean", "ridge"])


def test_intervals_are_over_time_or_over_mice_and_gains_are_paired(session):
    names = [f"seed {k}" for k in range(3)]
    found = evaluate(seeds(3), session, [STIMULUS], centred=False)
    one = found.interval(STIMULUS, names)
    assert one.unit == "time"
    assert one.low < one.value < one.high
    assert one.value == pytest.approx(np.mean([s.value for s in found.scores]))
    gain = found.gain(found.scores[0], names[1])
    difference = found.scores[0].left_out - found.scores[1].left_out
    assert gain.value == pytest.approx(found.scores[0].value - found.scores[1].value)
    n = len(difference)
    spread = np.sqrt((n - 1) / n * ((difference - difference.mean()) ** 2).sum())
    assert gain.error == pytest.approx(spread)
    mice = [replace(session, id=f"{mouse}-1-1") for mouse in (11, 12, 13)]
    several = evaluate(seeds(1), mice, [STIMULUS]).interval(STIMULUS, names[:1])
    assert (several.unit, several.n_units) == ("mice", 3)


# -- metrics by name ------------------------------------------------------------------
def test_explained_variance_is_that_of_all_samples(session):
    found = evaluate(NoisyPredictor(), session, STIMULUS, metric="fve")
    everyone = Mask.nothing(session).ask(slice(None))
    windows = [session.window(float(s)) for s in scored_starts(session)]
    rates = [NoisyPredictor().predict(w, everyone).responses[30:] for w in windows]
    truth = np.concatenate([w.responses[30:] for w in windows]).astype(float)
    error = ((truth - np.concatenate(rates)) ** 2).sum(axis=0)
    expected = 1 - error / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.scores[0].per_neuron, expected, rtol=1e-5)
    assert found.rows()[0]["metric"] == "fve"


def test_bits_per_spike_are_gains_over_the_train_mean(recording):
    session = open_session(recording[0])
    start = session.window_starts(None, 30)[:4]
    ask = {"starts": start, "metric": "bits_per_spike"}
    predictors = [NoisyPredictor("exact", amount=0), load_predictor("mean")]
    exact, mean = evaluate(predictors, session, STIMULUS, **ask).scores
    np.testing.assert_allclose(mean.per_neuron[1:], 0, atol=1e-6)
    assert np.isnan(mean.per_neuron[0])  # the silent unit
    spikes = [session.window(float(s)).responses[30:] for s in start]
    counts = np.concatenate(spikes) * session.response_scale
    rates = np.broadcast_to(mean_rates(session, OMNIMOUSE) * session.response_scale, counts.shape)
    gains = [bits_per_spike_per_neuron(r, counts).value for r in (counts, rates)]
    np.testing.assert_allclose(exact.per_neuron, gains[0] - gains[1], rtol=1e-5)


def test_a_metric_that_cannot_be_computed_is_refused(session):
    found = evaluate(NoisyPredictor(), session, STIMULUS, metric="bits_per_spike")
    (row,) = found.rows()
    assert "has traces" in row["refusal"]
    with pytest.raises(ValueError, match="correlation, cc_norm, fve, bits_per_spike"):
        evaluate(NoisyPredictor(), session, STIMULUS, metric="r2")
    (once,) = evaluate(NoisyPredictor(), session, STIMULUS, metric="cc_norm").scores
    assert "needs repeats of a stimulus" in once.refusal


def test_cc_norm_is_that_of_the_repeats_in_the_scored_windows(tmp_path):
    draw, tiers = np.random.default_rng(1), ["train", *["final_test_1"] * 3, "train"]
    signal = np.tile(5 * draw.normal(size=(300, N_NEURONS)), (5, 1))
    signal[:, 0] = 0  # a neuron without a ceiling
    responses = 50 + signal + 5 * draw.normal(size=signal.shape)
    session = open_session(write_known_session(tmp_path / "s", responses, tiers=tiers))
    session.trials.stim_id[:] = ["a", "b", "b", "b", "a"]
    ask = {"metric": "cc_norm", "by": "tier"}
    (score,) = evaluate(NoisyPredictor(), session, STIMULUS, **ask).scores
    predicted = np.full((N_NEURONS, 3, 300), np.nan)
    recorded, everyone = predicted.copy(), Mask.nothing(session).ask(slice(None))
    for start in scored_starts(session).tolist():
        window = session.window(start)
        at = np.rint(30 * (window.times("responses")[30:] - session.t0)).astype(int)
        at -= 300  # the first repeat begins after 10 s
        part = (at >= 0) & (at < 900)
        rates = NoisyPredictor().predict(window, everyone).responses[30:]
        predicted[:, at[part] // 300, at[part] % 300] = rates[part].T
        recorded[:, at[part] // 300, at[part] % 300] = window.responses[30:][part].T
    expected = cc_scores(predicted, recorded).cc_norm
    np.testing.assert_allclose(score.per_neuron, expected, rtol=1e-5)
    assert score.value == pytest.approx(np.nanmean(expected), abs=0.01)
    (group,) = score.groups
    np.testing.assert_array_equal(group.per_neuron, score.per_neuron)


# -- at scale -------------------------------------------------------------------------
ASK = {"max_windows": 4, "by": "tier", "tiers": ("test", "train")}
BOTH = [STIMULUS, "test/all_response_only"]


def table_text(found):
    parts = [(s.per_neuron, s.counts) for f in found.values() for s in f.scores]
    numbers = [array.tolist() for part in parts for array in part]
    return json.dumps([{tier: f.rows() for tier, f in found.items()}, numbers])


@pytest.mark.slow
def test_shards_together_are_one_evaluation(session, tmp_path):
    asked = ["test/population_64_response_behavior", *BOTH]
    predictors = ["mean", ContextPredictor()]
    both = [load_predictor("mean"), ContextPredictor()]
    whole = evaluate(both, session, asked, max_windows=4, by="tier")
    for options in ({}, {"results": tmp_path / "results.jsonl"}):
        found = evaluate_all(predictors, session, asked, **ASK, **options)
        assert table_text({"": found["test"]}) == table_text({"": whole})
    condition = replace(Condition.of(STIMULUS), name="mine")
    with pytest.raises(ValueError, match="'mine' is not the name"):
        evaluate_all(predictors, session, condition, **ASK, **options)


@pytest.mark.slow
def test_kept_pieces_are_not_computed_again(session, tmp_path):
    path = tmp_path / "results.jsonl"

    def evaluated(**options):
        predictor = ContextPredictor()
        found = evaluate_all([predictor, "mean"], session, BOTH, **ASK, **options)
        return found, predictor

    def is_one_saved():
        return path.exists() and path.read_bytes().count(b"\n") > 1

    part, _ = evaluated(results=path, job=CallbackJob(cancelled=is_one_saved))
    assert sum(bool(s.scores) for s in part.values()) > 0
    before = path.read_bytes()
    found, _ = evaluated(results=path)
    assert path.read_bytes().startswith(before)
    assert table_text(found) == table_text(evaluated()[0])
    again, third = evaluated(results=path)
    assert third.asked == []
    assert table_text(again) == table_text(found)


def test_draws_are_conditions_of_their_own(session):
    asked = ["test/population_64_response_behavior"]
    ask = {"seeds": (0, 1), "max_windows": 2}
    found = evaluate_all([ContextPredictor()], session, asked, **ask)
    names = [score.strategy for score in found["test"].scores]
    assert names == [f"{asked[0]}, draw {seed}" for seed in (0, 1)]
    first, second = found["test"].scores
    assert set(first.neurons) != set(second.neurons)


@pytest.mark.slow
@pytest.mark.process
def test_workers_evaluate_exactly_as_it_is_done_here(session, tmp_path):
    path = tmp_path / "results.jsonl"
    ask = ASK | {"scheduler": "local:1", "results": path}
    found = evaluate_all([ContextPredictor, "mean"], session, BOTH, **ask)
    here = evaluate_all([ContextPredictor, "mean"], session, BOTH, **ASK)
    assert table_text(found) == table_text(here)
    lines = path.read_bytes().splitlines(keepends=True)[1:]
    assert len({EVALUATION.parsed_line(line)[0] for line in lines}) == 4


# -- tables ---------------------------------------------------------------------------
def test_the_papers_table_has_a_line_per_predictor(session):
    both = [NoisyPredictor(), ContextPredictor()]
    found = evaluate(both, session, STRATEGIES, max_windows=2)
    rows = {row.model: row.values for row in paper_table(found)}
    assert set(rows) == {"noisy", "contextual"}
    assert set(rows["noisy"]) == set(COLUMNS)
    assert rows["noisy"]["stim"] == found.overall(STIMULUS, "noisy", pooled=True)
    assert rows["noisy"]["behav avg"] == pytest.approx(1)
    refusing = NoisyPredictor("odd", refuses="knows nothing")
    (row,) = paper_table(evaluate(refusing, session, STRATEGIES, max_windows=2))
    assert np.isnan(list(row.values.values())).all()


def test_the_printed_scores_name_the_gain_over_the_baseline(session):
    baseline = NoisyPredictor("linear-gaussian")
    found = evaluate([ContextPredictor, baseline], session, [STIMULUS], max_windows=4)
    model = found.scores[0]
    gain = found.gain(model, "linear-gaussian")
    first, second = str(found).splitlines()[1:]
    assert f"gain over linear-gaussian {number_text(gain.value, 3)}" in first
    assert "gain" not in second


def test_printed_scores_of_behaviour_alone_count_what_was_scored(session):
    found = evaluate(ContextPredictor, session, ["test/all_response_only"], max_windows=4)
    assert not found.scores
    assert "sessions 1; strategies 1; predictors 1" in str(found).splitlines()[0]


def test_the_printed_averages_are_those_of_their_groups():
    for row in PRINTED:
        groups = [row.values[name] for name in ("loc", "size", "run")]
        if np.isfinite(groups).all():
            assert np.mean(groups) == pytest.approx(row.values["behav avg"], abs=0.0051)


@pytest.mark.slow
def test_neurons_are_lines_of_a_parquet_table(session, tmp_path):
    found = evaluate(NoisyPredictor(), session, [STIMULUS], by="tier", max_windows=6)
    path = write_neurons(found, tmp_path / "neurons.parquet")
    table = pyarrow.parquet.read_table(path)
    score = found.scores[0]
    assert table.num_rows == N_NEURONS * (1 + len(score.groups))
    whole = table.filter(pyarrow.compute.equal(table["stimulus"], ""))
    np.testing.assert_array_equal(whole["score"].to_numpy(), score.per_neuron)
    np.testing.assert_array_equal(whole["n_samples"].to_numpy(), score.counts)
    assert set(whole["status"].to_pylist()) == {"ok"}
    assert {"unit_id", "area"} <= set(table.column_names)
    assert b"single-trial" in table.schema.metadata[b"score"]
    frame = found.neurons()
    assert frame["unit_id"].tolist()[:N_NEURONS] == session.units.names.tolist()
    assert frame["score"].tolist()[:N_NEURONS] == score.per_neuron.tolist()


@pytest.mark.slow
def test_the_score_of_a_neuron_has_an_interval_over_time(session):
    frame = evaluate(NoisyPredictor(), session, [STIMULUS]).neurons()
    inside = (frame.ci_low < frame.score) & (frame.score < frame.ci_high)
    assert inside.all()
    few = evaluate(NoisyPredictor(), session, [STIMULUS], max_windows=3).neurons()
    assert few.ci_low.isna().all()


def test_undefined_neurons_are_null_and_say_why(session):
    found = evaluate(NoisyPredictor(), session, [STIMULUS], max_windows=2).scores[0]
    values, counts = found.per_neuron.copy(), found.counts.copy()
    values[:2], counts[1] = np.nan, 0
    odd = replace(found, per_neuron=values, counts=counts)
    columns = neuron_columns(Scores((odd,), (), "test"))
    assert columns["status"][:3].tolist() == ["constant", "empty", "ok"]


# -- the competition ------------------------------------------------------------------
def test_windows_tile_a_clip():
    assert clip_starts(300) == (20, 50, 80, 110, 140, 170, 200, 230, 240)
    assert clip_starts(450) == clip_starts(300)
    assert clip_starts(110) == (20, 50)
    assert clip_starts(60) == (0,)


def test_clips_are_predicted_from_frame_50_on(session):
    clips = list(predict_clips(NoisyPredictor(amount=0), session, "test"))
    assert [clip.predicted.shape for clip in clips] == [(250, N_NEURONS)] * 2
    first = clips[0]
    raw = np.load(session.path / "responses" / "data.npy")[300:600]
    np.testing.assert_allclose(first.recorded, raw[50:], rtol=1e-5)
    assert np.isfinite([clip.predicted for clip in clips]).all()
    # What windows see of samples on the edge between two is the one before.
    same = np.isclose(first.predicted, raw[50:], rtol=1e-5).all(axis=1)
    assert same.mean() > 0.85
    exact = [replace(clip, predicted=clip.recorded) for clip in clips]
    found = competition_score(session.id, iter(exact))
    assert found.n_trials == 2
    assert found.single_trial == pytest.approx(1, abs=1e-5)
    assert found.to_average == pytest.approx(1, abs=1e-5)


def test_repeats_of_a_clip_are_averaged(session):
    (first, _) = predict_clips(NoisyPredictor(amount=0), session, "test")
    draw = np.random.default_rng(0)
    first = replace(first, predicted=first.recorded)
    noise = 5 * draw.normal(size=(20, 250, N_NEURONS))
    repeats = [replace(first, recorded=first.recorded + one) for one in noise]
    found = competition_score("1-1-1", repeats)
    assert found.single_trial == pytest.approx(1 / np.sqrt(2), abs=0.03)
    assert found.to_average == pytest.approx(1 / np.sqrt(1 + 1 / 20), abs=0.02)


def test_withheld_responses_are_left_to_the_server(session):
    clips = [
        replace(clip, recorded=np.full_like(clip.recorded, np.nan))
        for clip in predict_clips(NoisyPredictor(), session, "test")
    ]
    found = competition_score(session.id, clips)
    assert np.isnan(found.single_trial)
    assert "only the server" in found.problem


def test_a_submission_has_a_row_per_trial(session, tmp_path):
    ids = {session.id: session.units.unit_id.tolist()}
    clips = predict_clips(NoisyPredictor(), session, "test")
    path = write_submission(tmp_path / "submission.parquet.brotli", clips, ids)
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["mouse", "trial_indices", "prediction", "neuron_ids"]
    assert table["mouse"].to_pylist() == ["1-1-1"] * 2
    assert table["trial_indices"].to_pylist() == [7, 7]
    assert np.array(table["prediction"][0].as_py()).shape == (N_NEURONS, 250)
    assert table["neuron_ids"][0].as_py() == ids[session.id]
    meta = pyarrow.parquet.ParquetFile(path).metadata
    assert meta.row_group(0).column(2).compression == "BROTLI"


def test_a_tier_without_clips_is_told(session):
    with pytest.raises(ValueError, match="no clip of 60 frames in tier 'oracle'"):
        next(predict_clips(NoisyPredictor(), session, "oracle"))
