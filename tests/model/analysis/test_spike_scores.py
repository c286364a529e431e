"""Scores of hidden spikes and decoded labels: values, refusals, the command."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.analysis import spike_scores
from omnimouse_model.analysis.spike_activity import spike_activity
from omnimouse_model.analysis.spike_scores import (
    HELD_OUT,
    read_nlb,
    score_submission,
    trial_counts,
    write_submission,
)
from omnimouse_model.errors import SessionFormatError, StoppedError, UnsupportedRequestError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import (
    TRIALS,
    NdtCheckpoint,
    NdtPredictor,
    one_neuron_out,
)
from omnimouse_model.metrics.information import bits_per_spike
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from tests.cli.runner import rows_of_command, run_command
from tests.held_out_bits import bits_of

CONFIG = NdtConfig(d_token=24, d_model=32, n_layers=3, n_heads=2, d_inner=48)
N_TRIALS = 100


@pytest.fixture(scope="module")
def arrays():
    return spiking_arrays(SpikingSpec(n_trials=N_TRIALS))


@pytest.fixture(scope="module")
def spiking(arrays):
    return om.open_session(arrays)


@pytest.fixture(scope="module")
def path(spiking, tmp_path_factory):
    torch.manual_seed(0)
    net = Ndt(CONFIG, {spiking.id: spiking.n_neurons})
    file = tmp_path_factory.mktemp("ndt") / "ndt.safetensors"
    NdtCheckpoint(config=CONFIG, spec=TRIALS, sessions=net.sessions, state=net.state_dict()).save(
        file
    )
    return file


@pytest.fixture(scope="module")
def model(path):
    return om.load_predictor(path, device="cpu")


@pytest.mark.slow
def test_bits_are_those_of_the_tier_with_intervals_over_trials(spiking, model):
    scores = om.score_held_out(model, spiking)
    assert [score.condition for score in scores] == list(HELD_OUT)
    starts = spiking.window_starts("test", 1, spec=TRIALS)
    counts = np.stack([spiking.window(float(t), TRIALS).responses for t in starts])
    rates = one_neuron_out(model.net, spiking.id, torch.from_numpy(counts).float())
    expected, found = bits_of(rates, counts), scores[0]
    assert found.mean.value == pytest.approx(expected.mean)
    assert found.pooled.value == pytest.approx(expected.pooled)
    np.testing.assert_allclose(found.per_neuron, expected.per_neuron)
    for score in scores:
        assert (score.n_trials, score.n_excluded) == (N_TRIALS // 10, 0)
        for estimate in (score.mean, score.pooled):
            assert estimate.low < estimate.value < estimate.high


@pytest.mark.slow
def test_what_is_not_possible_is_said(spiking, model):
    one = replace(spiking.units, area=np.array(["CA1"] * spiking.n_neurons))
    scores = om.score_held_out(model, replace(spiking, units=one), max_trials=2)
    by_name = {score.condition: score for score in scores}
    assert "All units are in CA1" in by_name["inter-region"].refusal
    assert by_name["inter-region"].row()["value"] is None
    assert by_name["intra-region"].refusal == ""
    one.area[-5:] = ""
    within, between = om.score_held_out(
        *(model, replace(spiking, units=one)), ["intra-region", "inter-region"], max_trials=2
    )
    assert "All units with a region are in CA1" in between.refusal
    assert np.isnan(within.per_neuron[-5:]).all()
    assert np.isfinite(within.mean.value)
    unknown = replace(spiking, units=replace(spiking.units, area=None))
    (score,) = om.score_held_out(model, unknown, ["intra-region"])
    assert "does not state the region" in score.refusal
    with pytest.raises(UnsupportedRequestError, match="predicts no held-out spikes"):
        om.score_held_out(om.load_predictor("mean"), spiking)
    counts = np.zeros((1, model.spec.n_samples, spiking.n_neurons), np.float32)
    with pytest.raises(ValueError, match="no condition 'anything'"):
        model.held_out_rates("anything", spiking, counts)
    with pytest.raises(StoppedError):
        om.score_held_out(model, spiking, ["co-smoothing"], job=CallbackJob(cancelled=lambda: True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"duration_s": 0.6, "trial_offset_s": -0.5}, "have 5 bins from the onset on"),
        ({"trial_offset_s": 0.2}, "begin 0.2 s after the onset"),
    ],
)
def test_trials_without_a_window_after_the_onset_are_refused(spiking, model, change, words):
    other = NdtPredictor(*("other", "", replace(TRIALS, **change), model.net, model.device))
    (score,) = om.score_held_out(other, spiking, ["forward"])
    assert words in score.refusal
    assert score.row()["value"] is None


@pytest.mark.slow
def test_unknown_bins_are_not_scored(spiking, model):
    counts = trial_counts(spiking, model, spiking.window_starts("test", spec=TRIALS))
    silent, unknown = counts.copy(), counts.copy()
    silent[0, -10:], unknown[0, -10:] = 0, np.nan
    for condition in HELD_OUT:
        expected, known = model.held_out_rates(condition, spiking, silent)
        rates, spikes = model.held_out_rates(condition, spiking, unknown)
        np.testing.assert_array_equal(rates, expected)
        is_known = np.isfinite(spikes)
        assert is_known.all() == (condition == "forward")
        np.testing.assert_array_equal(spikes[is_known], known[is_known])


@pytest.mark.slow
def test_labels_of_trials_are_decoded(spiking, model):
    found = om.decode_trial_labels(model, spiking, "stim_id")
    assert found.labels == ("left", "right")
    assert found.accuracy == found.is_right.mean()
    assert found.accuracy > found.chance >= 0.5
    low, high = found.interval
    assert 0 <= low < found.accuracy <= high <= 1
    with pytest.raises(UnsupportedRequestError, match="no trial column 'mood'"):
        om.decode_trial_labels(model, spiking, "mood")
    for tier in ("train", "validation"):
        with pytest.raises(UnsupportedRequestError, match=f"{tier!r} holds nothing"):
            om.decode_trial_labels(model, spiking, "stim_id", tier=tier)


@pytest.mark.slow
def test_all_columns_share_one_encoding(arrays, model, monkeypatch):
    sides = np.where(np.arange(N_TRIALS) % 3, "wide", "narrow")
    hidden = np.where(arrays["trial_tier"] == "validation", "", sides)
    columns = {"trial_side": sides, "trial_choice": hidden}
    session = om.open_session(arrays | columns)
    expected = om.decode_trial_labels(model, session, "side")
    encoded, features = [], NdtPredictor.trial_features

    def counted(model, session, counts):
        encoded.append(len(counts))
        return features(model, session, counts)

    monkeypatch.setattr(NdtPredictor, "trial_features", counted)
    found = spike_scores.decode_every_label(model, session)
    assert len(encoded) == 3
    assert sum(encoded) == N_TRIALS
    assert set(found) == {"stim_id", "side", "choice"}
    assert found["side"].accuracy == expected.accuracy
    assert "validation" in str(found["choice"])


@pytest.mark.slow
def test_a_recording_without_trials_says_so(arrays, model):
    rest = {k: v for k, v in arrays.items() if not k.startswith("trial")}
    session = om.open_session(rest)
    with pytest.raises(UnsupportedRequestError, match=r"has no trials.*need them"):
        om.score_held_out(model, session)


@pytest.mark.slow
def test_few_trials_have_a_wide_interval(model):
    found = om.decode_trial_labels(model, om.open_session(spiking_arrays()), "stim_id")
    row = found.row()
    assert row["windows"] == 6
    assert row["ci_high"] - row["ci_low"] > 0.3


@pytest.mark.slow
def test_the_command_prints_both(arrays, path, tmp_path, monkeypatch):
    recording = tmp_path / "spikes.npz"
    np.savez(recording, **arrays)
    ask = ["evaluate", "--model", path, "--session", recording, "--device", "cpu"]
    ask += ["--held-out", "forward", "--held-out", "choice"]
    forward, choice = rows_of_command(*ask)
    assert (forward["strategy"], forward["windows"]) == ("forward", N_TRIALS // 10)
    assert forward["ci_low"] < forward["value"] < forward["ci_high"]
    assert (choice["column"], choice["labels"]) == ("stim_id", ["left", "right"])
    text = run_command(*ask).stdout
    assert "bits per spike" in text
    assert "stim_id" in text

    def refuse(*_, **__):
        raise AssertionError("hidden spikes were not asked for")

    module = "omnimouse_model.analysis.spike_scores"
    monkeypatch.setattr(f"{module}.score_held_out", refuse)
    assert rows_of_command(*ask[:-4], "--held-out", "choice") == [choice]


@pytest.mark.slow
def test_a_regular_train_follows_itself_at_multiples_of_its_interval(arrays):
    # A spike every 10 ms, off the edges of bins, for the first half of the recording.
    times = np.arange(0.0005, 60, 0.0101)
    session = om.open_session(
        dict(arrays) | {"spike_times": times, "spike_unit": np.zeros(len(times), int)}
    )
    found = spike_activity(session, 0)
    assert found.n_spikes == len(times)
    assert np.flatnonzero(found.follow_hz > 500).tolist() == [10, 20, 30, 40]
    assert found.refractory_share == 0
    early, late = found.rate_hz[found.time_s < 55], found.rate_hz[found.time_s > 65]
    np.testing.assert_allclose(early, 99, atol=2)
    assert not late.any()


# -- files of the Neural Latents Benchmark: round trip, scores, what is wrong --------
NAMES = [f"{tier}_rates_{kind}" for tier in ("train", "eval") for kind in ("heldin", "heldout")]
FORWARD = [f"eval_rates_{kind}_forward" for kind in ("heldin", "heldout")]


@pytest.fixture
def rates():
    draw = np.random.default_rng(0)
    return {name: draw.uniform(0.1, 1, (5, 8, 3)) for name in (*NAMES, *FORWARD)}


@pytest.fixture
def target(rates, tmp_path):
    draw = np.random.default_rng(1)
    path = tmp_path / "target.h5"
    with h5py.File(path, "w") as file:
        for name in ("eval_rates_heldout", *FORWARD):
            counts = draw.poisson(rates[name]).astype(float)
            counts[0, -1] = np.nan  # not recorded
            file[f"mc_maze_20/{name.replace('rates', 'spikes')}"] = counts
        file["mc_maze_20/names"] = "no numbers"
    return path


def test_a_submission_is_scored_as_its_arrays(rates, target, tmp_path):
    path = tmp_path / "submission.h5"
    write_submission(path, {"mc_maze_20": rates})
    for name, values in read_nlb(path)["mc_maze_20"].items():
        np.testing.assert_array_equal(values, rates[name])
    spikes = read_nlb(target)["mc_maze_20"]
    assert "names" not in spikes
    scores = score_submission(target, path)["mc_maze_20"]
    held_out = bits_per_spike(rates["eval_rates_heldout"], spikes["eval_spikes_heldout"])
    assert scores["co-bps"] == pytest.approx(held_out.value)
    later = [
        np.concatenate([part[n] for n in names], axis=-1)
        for part, names in (
            (rates, FORWARD),
            (spikes, [n.replace("rates", "spikes") for n in FORWARD]),
        )
    ]
    assert scores["fp-bps"] == pytest.approx(bits_per_spike(*later).value)


def test_what_is_wrong_is_named(rates, target, tmp_path):
    path = tmp_path / "submission.h5"
    with pytest.raises(ValueError, match="eval_rates_heldout is missing"):
        write_submission(path, {"m": {n: rates[n] for n in NAMES[:-1]}})
    with pytest.raises(ValueError, match="train_rates_heldin has rates"):
        write_submission(path, {"m": rates | {"train_rates_heldin": -rates[NAMES[0]]}})
    assert not path.exists()
    write_submission(path, {"mc_rtt_20": rates})
    with pytest.raises(SessionFormatError, match="no dataset mc_maze_20"):
        score_submission(target, path)
    write_submission(path, {"mc_maze_20": rates | {FORWARD[0]: rates[FORWARD[0]][:4]}})
    with pytest.raises(SessionFormatError, match=r"heldin_forward is \(4, 8, 3\)"):
        score_submission(target, path)
    write_submission(path, {"mc_maze_20": {n: rates[n] for n in NAMES}})
    with pytest.raises(SessionFormatError, match="no mc_maze_20/eval_rates_heldin_f"):
        score_submission(target, path)
    (tmp_path / "torn.h5").write_bytes(path.read_bytes()[:500])
    with pytest.raises(SessionFormatError):
        read_nlb(tmp_path / "torn.h5")
