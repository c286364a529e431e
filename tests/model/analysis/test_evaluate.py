import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate import CHANNELS, evaluate, evaluate_all
from omnimouse_model.data.open import open_session
from omnimouse_model.data.window_spec import BehaviorSpec, WindowSpec
from omnimouse_model.errors import MaskError, StoppedError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import DEMO, Condition, half_population_targets
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.evaluation.shard import TRAIN_WINDOWS, ShardScores, centring_starts
from omnimouse_model.evaluation.tier_windows import mean_rates, scored_starts, spread_starts
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Encoded, Needs
from omnimouse_model.progress import CallbackJob, never
from omnimouse_model.simulate import open_truth
from tests.cli.runner import run_command
from tests.model.known_sessions import write_known_session
from tests.predictors import EchoPredictor
from tests.small_sessions import simulate_mouse
from tests.toy_predictors import RECURRENT

pytestmark = pytest.mark.slow  # a simulated recording is evaluated many times

N_NEURONS = 20
STIMULUS, FORECAST = "test/video_behavior", "test/causal_response_25_behavior"
DECODE = "test/all_response_only"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One minute and a half: running drives every neuron, each with its own noise."""
    generator = np.random.default_rng(11)
    samples = 2700
    behavior = np.cumsum(generator.normal(size=(samples * 2 // 3, 5)), axis=0)
    running = np.repeat(behavior[:, 4:], 3, axis=0)[::2]
    running = (running - running.mean()) / running.std()
    noise = generator.normal(size=(samples, N_NEURONS))
    responses = 30 + 6 * (running + noise)
    tiers = ["train", "train", "final_test_1"]
    place = tmp_path_factory.mktemp("world") / "session"
    return write_known_session(place, responses, behavior=behavior, tiers=tiers)


@pytest.fixture(scope="module")
def session(folder):
    return open_session(folder)


@dataclass
class NoisyPredictor(EchoPredictor):
    """The truth with noise added: a predictor whose score can be worked out."""

    name: str = "noisy"
    amount: float = 1.0
    refuses: str = ""
    seed: int = 0
    needs = Needs()

    def prepare(self, session):
        if self.refuses:
            raise UnsupportedRequestError(self.refuses)

    def encode(self, window, mask, cancelled=never):
        encoded = EchoPredictor.encode(self, window, mask)
        generator = np.random.default_rng([self.seed, window.start_index])
        noise = self.amount * generator.normal(size=window.responses.shape)
        return replace(encoded, state=window.responses + noise)


def test_the_pooled_score_is_the_correlation_over_all_windows(session):
    found = evaluate(NoisyPredictor(), session, [STIMULUS]).find(STIMULUS, "noisy")
    windows = [session.window(float(s)) for s in scored_starts(session)]
    everyone = Mask.nothing(session).ask(slice(None))
    rates = [NoisyPredictor().predict(window, everyone) for window in windows]
    prediction = np.concatenate([rate.responses[30:] for rate in rates])
    truth = np.concatenate([window.responses[30:] for window in windows])
    expected = correlation(prediction, truth)
    np.testing.assert_allclose(found.pooled_per_neuron, expected, rtol=1e-6)
    assert found.pooled == pytest.approx(expected.mean())
    assert found.pooled_ci_low < found.pooled < found.pooled_ci_high
    assert found.ci_low < found.value < found.ci_high
    assert found.n_windows == len(windows)
    assert np.isnan(found.ceiling)  # which only a simulation knows


def test_windows_are_those_of_the_test_tier(session):
    trials = session.trials
    for start in scored_starts(session):
        (k,) = np.flatnonzero((trials.t_on <= start) & (start < trials.t_off))
        assert trials.tier[k] == "final_test_1"
    gaps = np.diff(scored_starts(session))
    assert np.median(gaps) == pytest.approx(1.0)
    assert len(scored_starts(session, max_windows=4)) == 4
    with pytest.raises(ValueError, match=r"no window of tier 'oracle'.*final_test_1"):
        evaluate(NoisyPredictor(), session, [STIMULUS], tier="oracle")


def test_only_the_chosen_neurons_are_scored(session):
    chosen = np.array([3, 7, 8])
    whole = evaluate(NoisyPredictor(), session, [STIMULUS]).scores[0]
    some = evaluate(NoisyPredictor(), session, [STIMULUS], neurons=chosen).scores[0]
    np.testing.assert_array_equal(some.neurons, chosen)
    np.testing.assert_allclose(some.per_neuron, whole.per_neuron[chosen])
    for wrong in (np.array("LM"), np.array([session.n_neurons]), np.array([-1])):
        with pytest.raises(MaskError, match=r"neurons: neurons are indices from 0 to .* found"):
            evaluate(NoisyPredictor(), session, [STIMULUS], neurons=wrong)


def test_the_demo_compares_half_visible_on_the_same_neurons(session):
    found = evaluate(NoisyPredictor(), session, DEMO)
    half = found.find("half_population_video_behavior", "noisy")
    alone = found.find("video_behavior on the hidden half", "noisy")
    np.testing.assert_array_equal(half.neurons, alone.neurons)
    np.testing.assert_array_equal(half.neurons, half_population_targets(session))
    assert half.n_windows == alone.n_windows


def test_conditions_with_one_mask_are_asked_once(session):
    mask = Condition.of(STIMULUS).mask
    halves = [
        Condition("first", mask, lambda session: np.arange(10)),
        Condition("second", mask, lambda session: np.arange(10, N_NEURONS)),
    ]
    predictor = NoisyPredictor()
    found = evaluate(predictor, session, halves, max_windows=6, centred=False)
    assert predictor.counters["encodings"] == 6
    (whole,) = evaluate(NoisyPredictor(), session, [STIMULUS], max_windows=6, centred=False).scores
    parts = np.concatenate([score.per_neuron for score in found.scores])
    np.testing.assert_array_equal(parts, whole.per_neuron)


@pytest.mark.parametrize("empty", ["predictor", "sessions", "strategies"])
def test_nothing_to_score_is_refused_in_words(session, empty):
    given = {"predictor": ["mean"], "sessions": session, "strategies": "all_to_all"} | {empty: []}
    with pytest.raises(ValueError, match=f"{empty} is empty: give at least one"):
        evaluate(**given)
    given["predictors"] = given.pop("predictor")
    with pytest.raises(ValueError, match=rf"{empty}s? is empty: give at least one"):
        evaluate_all(**given)


def test_a_number_of_windows_below_one_is_refused(session):
    with pytest.raises(ValueError, match="max_windows is 0: give at least 1"):
        evaluate("mean", session, "causal_response_25_behavior", max_windows=0)


def test_what_is_refused_is_a_row_without_a_value(session):
    found = evaluate([NoisyPredictor(), naive_predictor("last")], session, [STIMULUS])
    refused = found.find(STIMULUS, "last")
    assert np.isnan(refused.value)
    assert "needs visible samples" in refused.refusal
    row = next(row for row in found.rows() if row["predictor"] == "last")
    assert (row["value"], row["ci_low"]) == (None, None)
    stranger = evaluate(NoisyPredictor(refuses="knows no session"), session, [STIMULUS])
    assert stranger.scores[0].refusal == "knows no session"


def test_a_predictor_that_reads_nothing_of_what_is_shown_has_a_note(session):
    class Twin(NoisyPredictor):
        needs = Needs(sees_responses=False, sees_video=True, sees_behavior=True)

    others = Mask.nothing(session).show(range(10)).ask(range(10, 20))
    found = evaluate([Twin(), NoisyPredictor()], session, [others, STIMULUS])
    assert [score.note for score in found.scores] == [
        "noisy reads nothing that is shown (responses)",
        "",
        "",
        "noisy reads nothing that is shown (video, behaviour)",
    ]
    assert found.rows()[0]["note"] == found.scores[0].note


def test_behavior_is_scored_by_channel_or_refused_without_a_value(session):
    found = evaluate(NoisyPredictor(), session, [DECODE])
    assert not found.scores
    assert [row.channel for row in found.behavior] == list(session.behavior_names)
    assert all(row.value > 0.999999 for row in found.behavior)
    rows = evaluate(naive_predictor("mean"), [session], [DECODE]).rows()
    assert [row["name"] for row in rows] == ["behavior"] * 5
    assert [row["channel"] for row in rows] == list(session.behavior_names)
    assert {row["value"] for row in rows} == {None}
    assert all(row["refusal"] for row in rows)


@dataclass
class BehaviorPredictor(NoisyPredictor):
    """Decodes the given channels: the true ones where the window has them."""

    channels: tuple[str, ...] = CHANNELS

    def decode(self, encoded, neurons=None, cancelled=never):
        answer = NoisyPredictor.decode(self, encoded, neurons)
        names, truth = encoded.window.session.behavior_names, encoded.window.behavior
        decoded = np.random.default_rng(0).normal(size=(40, len(self.channels)))
        for column, name in enumerate(self.channels):
            if name in names:
                decoded[:, column] = truth[:, names.index(name)]
        return replace(answer, behavior=decoded)


class NamedBehaviorPredictor(NoisyPredictor):
    """Decodes the channels of a spec that reads behaviour by name."""

    needs = Needs(
        predicts_behavior=True,
        spec=replace(RECURRENT, behavior=BehaviorSpec(20.0, ("running", "licking"))),
    )

    def decode(self, encoded, neurons=None, cancelled=never):
        answer = NoisyPredictor.decode(self, encoded, neurons)
        return replace(answer, behavior=encoded.window.behavior)


def test_channels_of_a_spec_are_scored_by_name(session):
    predictor = NamedBehaviorPredictor()
    mask = Mask.nothing(session, predictor.needs.spec).with_behavior("target")
    decode = Condition("decode", lambda session: mask)
    rows = evaluate(predictor, session, decode).behavior
    assert [row.channel for row in rows] == ["running", "licking"]
    assert rows[0].value > 0.999999
    assert rows[1].refusal == "The session has no 'licking'."
    assert np.isnan(rows[1].value)


def session_without(folder, place, *streams, **options):
    """A copy of the session that lacks streams."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns(*streams))
    return open_session(place, **options)


def test_decoded_channels_are_matched_by_name(folder, tmp_path):
    running_session = session_without(folder, tmp_path / "s", "eye_tracker")
    found = evaluate(BehaviorPredictor(), running_session, [DECODE])
    assert [row.channel for row in found.behavior] == ["running"]
    assert found.behavior[0].value > 0.999999
    assert found.behavior[0].n_windows == len(scored_starts(running_session))
    unknown = BehaviorPredictor(channels=("a", "b", "c"))
    (row,) = evaluate(unknown, running_session, [DECODE]).rows()
    assert (row["channel"], row["value"]) == ("running", None)
    assert "decoded 3 channels" in row["refusal"]


@pytest.mark.parametrize(
    ("missing", "options", "words"),
    [
        (("eye_tracker", "treadmill"), {}, "no behaviour"),
        (("eye_tracker",), {"behavior_names": {"treadmill": ["lick"]}}, "'lick'"),
    ],
)
def test_other_channels_are_not_scored(folder, tmp_path, missing, options, words):
    other = session_without(folder, tmp_path / "s", *missing, **options)
    (row,) = evaluate(BehaviorPredictor(), other, [DECODE]).rows()
    assert row["value"] is None
    assert words in row["refusal"]


def test_samples_without_any_decoded_value_are_not_scored(session):
    class Late(BehaviorPredictor):
        def decode(self, encoded, neurons=None, cancelled=never):
            answer = super().decode(encoded, neurons)
            answer.behavior[:10] = np.nan
            return answer

    found = evaluate(Late(), session, [DECODE]).behavior
    assert all(row.value > 0.999999 for row in found)

    class Broken(BehaviorPredictor):
        def decode(self, encoded, neurons=None, cancelled=never):
            answer = super().decode(encoded, neurons)
            answer.behavior[:10, 0] = np.nan
            return answer

    with pytest.raises(ValueError, match="not finite"):
        evaluate(Broken(), session, [DECODE])


def test_a_prediction_that_is_missing_where_asked_is_an_error(session):
    class Silent(NoisyPredictor):
        def encode(self, window, mask, cancelled=never):
            return Encoded(window, mask, np.full(window.responses.shape, np.nan))

    with pytest.raises(ValueError, match="not finite"):
        evaluate(Silent(), session, [STIMULUS])


def test_samples_that_a_predictor_cannot_compute_are_not_scored(session):
    class Late(NoisyPredictor):
        def decode(self, encoded, neurons=None, cancelled=never):
            answer = NoisyPredictor.decode(self, encoded, neurons)
            answer.responses[:45] = np.nan
            return replace(answer, valid=np.arange(60) >= 45)

    whole = evaluate(NoisyPredictor(), session, [STIMULUS]).scores[0]
    late = evaluate(Late(), session, [STIMULUS]).scores[0]
    np.testing.assert_array_equal(late.counts, whole.counts // 2)
    assert np.isfinite(late.per_neuron).all()
    window, mask = session.window(3.0), Mask.nothing(session).ask(slice(None))
    scores = window_scores(Late().predict(window, mask), window, "fve")
    assert np.isfinite(scores).all()


def test_overall_weighs_sessions_by_neurons(session):
    found = evaluate(NoisyPredictor(), [session, session], [STIMULUS])
    assert found.overall(STIMULUS, "noisy") == pytest.approx(found.scores[0].value)
    with pytest.raises(KeyError, match="No score of 'other'"):
        found.overall(STIMULUS, "other")


def test_progress_runs_to_its_total(session):
    seen = []
    evaluate(
        [NoisyPredictor(), NoisyPredictor("second")],
        session,
        [STIMULUS, FORECAST],
        max_windows=5,
        job=CallbackJob(lambda done, total, what: seen.append((done, total))),
    )
    dones = [done for done, _ in seen]
    # Each predictor and condition also predicts 16 windows of the train tier.
    total = 2 * 2 * (16 + 5)
    # Prediction by prediction, so that the time left is known soon.
    assert list(dict.fromkeys(dones)) == list(range(total + 1))
    assert seen[-1] == (total, total)


def test_all_conditions_of_some_windows_come_before_other_windows(session):
    """So that a model encodes the video of each window once."""

    class Listing(NoisyPredictor):
        def encode(self, window, mask, cancelled=never):
            asked.append((window.start_s, mask.mask_id))
            return super().encode(window, mask, cancelled)

    asked = []
    evaluate(Listing(), session, [STIMULUS, FORECAST], max_windows=8)
    starts = [start for start, _ in asked]
    batches = [starts[k : k + 8] for k in range(0, len(starts), 8)]
    assert len(batches) == 2 * 3
    assert batches[::2] == batches[1::2]


def test_the_sums_of_train_windows_are_released(session, monkeypatch):
    kept, add = [], ShardScores.add
    monkeypatch.setattr(
        ShardScores, "add", lambda self, number: kept.append(self) or add(self, number)
    )
    assert evaluate(NoisyPredictor(), session, [STIMULUS]).scores[0].is_centred
    assert kept
    assert not kept[-1]._trained


def test_cancelling_stops_at_once(session):
    left, predictor = iter(range(3)), NoisyPredictor()

    def cancelled():
        return next(left, None) is None

    with pytest.raises(StoppedError):
        evaluate(predictor, session, [STIMULUS], job=CallbackJob(cancelled=cancelled))
    assert predictor.counters.get("encodings", 0) < 4


@pytest.fixture(scope="module")
def simulated_session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mice") / "tiny"
    return open_session(simulate_mouse(folder, 12, 1.0, tests=3, times=1))


def test_the_ceiling_is_that_of_the_truth_on_the_same_samples(simulated_session):
    tasks = [STIMULUS, FORECAST]
    found = evaluate(NoisyPredictor(), simulated_session, tasks, centred=False)
    centred = evaluate(NoisyPredictor(), simulated_session, tasks)
    starts = scored_starts(simulated_session)
    windows = [simulated_session.window(float(start)) for start in starts]
    truth = open_truth(simulated_session.path)
    rows = [np.rint(w.timestamps["responses"] * 30).astype(int)[30:] for w in windows]
    responses = np.concatenate([window.responses[30:] for window in windows])
    for strategy, expected in ((STIMULUS, truth.drive.open()), (FORECAST, truth.full.open())):
        best = correlation(expected[np.concatenate(rows)], responses).mean()
        assert found.find(strategy, "noisy").ceiling == pytest.approx(best, abs=0.02)
        score = centred.find(strategy, "noisy")
        assert score.is_centred
        # About the same means as the score, which the truth exceeds or equals.
        assert score.ceiling > 0
        assert score.ceiling != found.find(strategy, "noisy").ceiling


def test_the_ceiling_of_a_refused_score_is_that_of_the_others(simulated_session):
    predictors = [NoisyPredictor(), NoisyPredictor(name="other", refuses="no")]
    found = evaluate(predictors, simulated_session, [STIMULUS])
    served, refused = (found.find(STIMULUS, name) for name in ("noisy", "other"))
    assert served.is_centred
    assert refused.refusal == "no"
    assert refused.ceiling == served.ceiling


def test_a_model_of_few_train_windows_has_no_centred_score(simulated_session):
    """The means of a few of them would be others than those of the same model elsewhere."""
    starts = centring_starts(simulated_session, simulated_session.window(0.0).spec)

    class Stored(NoisyPredictor):
        def encode(self, window, mask, cancelled=never):
            if window.start_s == starts[-1]:
                raise UnsupportedRequestError("It is not in the file.")
            return super().encode(window, mask, cancelled)

    (score,) = evaluate(Stored(), simulated_session, [STIMULUS]).scores
    assert not score.refusal
    assert not score.is_centred
    assert score.value == score.pooled


def test_windows_of_another_model_have_a_ceiling_too(simulated_session):
    twin = naive_predictor("mean", twin_spec(36, 64))
    other = naive_predictor("mean", WindowSpec(2.0, 20.0))
    found = evaluate([twin, other], simulated_session, [STIMULUS])
    ceilings = [score.ceiling for score in found.scores]
    assert 0.1 < ceilings[0] < 1
    assert np.isnan(ceilings[1])  # the exact means are stored at 30 Hz


def test_a_mask_made_by_hand_is_a_condition(simulated_session):
    official = Mask.from_strategy(STIMULUS, simulated_session)
    painted = official.with_attachment(cuts=(30,))  # the cut changes no cell
    scores = evaluate(NoisyPredictor(), simulated_session, [STIMULUS, painted]).scores
    assert scores[0].value == scores[1].value
    with pytest.raises(MaskError, match="13 neurons, and session '80001-1-1' has 12"):
        evaluate(NoisyPredictor(), simulated_session, Mask.nothing(13))


def run(folder, *options):
    return run_command("evaluate", "--session", folder, "--max-windows", 9, *options)


def test_json_rows_carry_what_is_promised(folder):
    chosen = ["--model", "ridge", "--model", "context-ridge", "--no-baselines"]
    done = run(folder, *chosen, "--strategy", FORECAST, "--strategy", DECODE, "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert set(document) == {"machine", "rows"}
    scores = [row for row in document["rows"] if row["name"] == "score"]
    promised = {"name", "value", "unit", "predictor", "strategy", "session"}
    promised |= {"n_neurons", "ci_low", "ci_high", "ceiling", "resampled", "gain"}
    assert all(promised <= set(row) for row in scores)
    ridge = next(row for row in scores if row["predictor"] == "ridge")
    assert ridge["value"] > 0.3
    assert ridge["n_neurons"] == N_NEURONS
    channels = [row["channel"] for row in document["rows"] if row["name"] == "behavior"]
    assert "running" in channels


def test_the_command_fails_if_everything_is_refused(folder):
    done = run(folder, "--model", "last", "--strategy", STIMULUS, "--no-baselines")
    assert done.exit_code == 1
    assert "'last'" in done.stdout
    assert "refused" in done.stderr


def test_the_table_shows_predictors_side_by_side(folder):
    asked = ["--strategy", STIMULUS, "--strategy", "population_1024_response_behavior"]
    lines = run(folder, "--model", "mean", *asked).stdout.splitlines()
    header = next(line for line in lines if "condition" in line)
    for name in ("mean", "ceiling", "last", "ridge", "context-ridge"):
        assert name in header
    assert "–" in next(line for line in lines if line.startswith(STIMULUS))
    assert any("20 neurons" in line for line in lines)


def test_the_table_can_be_markdown_without_baselines(folder):
    asked = ["--model", "mean", "--strategy", FORECAST]
    done = run(folder, *asked, "--no-baselines", "--markdown")
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert lines[0].startswith("| condition |")
    assert lines[2].startswith(f"| {FORECAST} | {N_NEURONS} |")
    assert "ridge" not in done.stdout


def test_centred_scores_are_about_the_means_of_the_train_tier(session):
    predictor, mask = NoisyPredictor(), Mask.from_strategy(STIMULUS, session.n_neurons)

    def pairs(tier, n):
        """Return predictions and recordings (2, sample, neuron) of a tier."""
        starts = spread_starts(scored_starts(session, tier), n).tolist()
        windows = [session.window(start) for start in starts]
        found = [(predictor.predict(w, mask).responses, w.responses) for w in windows]
        joined = np.concatenate(found, axis=1).astype(np.float64)
        return joined[:, np.isfinite(joined[0]).all(axis=1)]

    score = evaluate(predictor, session, STIMULUS).scores[0]
    test, trained = pairs("test", None), pairs("train", TRAIN_WINDOWS)[0]
    n_windows = len(spread_starts(scored_starts(session, "train"), TRAIN_WINDOWS))
    means = trained.reshape(n_windows, -1, trained.shape[1]).mean(axis=1)
    x = test[0] - means.mean(axis=0)
    y = test[1] - mean_rates(session, predictor.needs.spec)
    # The variance of the mean prediction is no variance of the predictions.
    square = (x * x).sum(axis=0) - len(x) * means.var(axis=0, ddof=1) / n_windows
    expected = (x * y).sum(axis=0) / np.sqrt(square * (y * y).sum(axis=0))
    assert score.value == pytest.approx(expected.mean(), abs=1e-6)
    pooled = evaluate(predictor, session, STIMULUS, centred=False).scores[0]
    assert (pooled.value, pooled.is_centred) == (score.pooled, False)
