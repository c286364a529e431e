"""Training of neural data transformers: resume, stitchers, fine-tuning, scores."""

import logging
from copy import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.data.spike_trains import Observed
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.families.ndt.network import Ndt, NdtConfig
from omnimouse_model.families.ndt.predictor import NdtCheckpoint, one_neuron_out
from omnimouse_model.families.ndt.training import (
    NdtTrainConfig,
    NdtTraining,
    read_trials,
    trial_session,
)
from omnimouse_model.inference.families import training_plan
from omnimouse_model.progress import STARTING, CallbackJob
from omnimouse_model.storage.tensors import write_pickle
from omnimouse_model.training.checkpoints import last_state
from omnimouse_model.training.config import RunSettings, write_record
from omnimouse_model.training.distributed import Team
from omnimouse_model.training.loop import train
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.held_out_bits import bits_of
from tests.model.few_steps import train_some
from tests.model.poisson_world import poisson_arrays

pytestmark = pytest.mark.slow  # almost every test trains
assert_same = partial(torch.testing.assert_close, rtol=0, atol=0)

STOPPED = CallbackJob(cancelled=lambda: True)
SPEC = om.WindowSpec(0.4, 50.0, responses="count", align="trial")
MODEL = NdtConfig(d_token=8, n_bins=20, d_model=16, n_layers=2, n_heads=2, d_inner=24, dropout=0.1)
CONFIG = NdtTrainConfig(
    seed=3, model=MODEL, spec=SPEC, batch=4, steps=8, lr=1e-2, validate_every=3,
    save_every_s=None,
)  # fmt: skip


def opened(name, seed=0, n_neurons=9, **options):
    arrays, _ = poisson_arrays(
        name, seed=seed, n_trials=20, n_bins=20, n_neurons=n_neurons, **options
    )
    return om.open_session(arrays)


@pytest.fixture(scope="module")
def sessions():
    # Of equal size: they must not share stitchers.
    return [trial_session(opened(name, k), SPEC) for k, name in enumerate("ab")]


@pytest.fixture(scope="module")
def trained(sessions, tmp_path_factory):
    """Folder of a complete run over both sessions."""
    out = tmp_path_factory.mktemp("run")
    train(NdtTraining, CONFIG, sessions, out)
    return out


@pytest.fixture(scope="module")
def new():
    return opened("new", 5, n_neurons=7)


def test_a_stopped_run_goes_on_to_the_bit(sessions, trained, tmp_path):
    train_some(NdtTraining, CONFIG, sessions, tmp_path, 2)
    with pytest.raises(StoppedError):
        train(NdtTraining, CONFIG, sessions, tmp_path, job=STOPPED)
    train(NdtTraining, CONFIG, sessions, tmp_path)
    for name in ("model.safetensors", "best.safetensors"):
        assert_same(
            NdtCheckpoint.read(tmp_path / name).state, NdtCheckpoint.read(trained / name).state
        )
    rows, whole = (list(log_rows(out / FILE)) for out in (tmp_path, trained))
    assert [row["step"] for row in rows] == list(range(1, 9))
    for name in ("loss", "norm", "lr"):
        assert [row[name] for row in rows] == [row[name] for row in whole]
    assert {"neuron", "causal", "inter-region", "validation"} <= rows[2].keys()
    assert rows[0]["lr"] == pytest.approx(1e-3)  # a tenth of the highest


class Pair(Team):
    """The first of two ranks, of which each has one session."""

    def gather(self, value):
        return [value, {"b": 9} if isinstance(value, dict) else ["b"]]


def test_a_run_of_several_processes_is_that_of_all_their_sessions(sessions, tmp_path):
    """As saves of earlier versions say it, which are resumed."""
    run = NdtTraining(CONFIG, sessions[:1], tmp_path, team=Pair(0, 2))
    assert run.identity["sessions"] == {"a": 9, "b": 9}
    for rank in range(2):
        net = {name: torch.full_like(v, rank) for name, v in run.net.state_dict().items()}
        write_pickle(tmp_path / f"rank_{rank}.pt", {"net": net, "sessions": {"a": 9, "b": 9}})
    state = run.model(tmp_path).state
    assert all(bool((state[k] == 1).all()) for k in state if ".b." in k)
    assert not any(torch.equal(v, torch.ones_like(v)) for k, v in state.items() if ".a." in k)


def test_a_save_of_another_training_is_refused(sessions, trained):
    with pytest.raises(ValueError, match="model"):
        train(NdtTraining, replace(CONFIG, model=replace(MODEL, d_inner=8)), sessions, trained)
    with pytest.raises(ValueError, match="sessions"):
        train(NdtTraining, CONFIG, sessions[:1], trained)
    # The learning rate depends on the number of steps.
    with pytest.raises(ValueError, match="steps"):
        train(NdtTraining, replace(CONFIG, steps=9), sessions, trained)
    assert last_state(trained).name == "state-00000008"


def test_a_step_leaves_the_stitchers_of_other_sessions_as_they_are(sessions, tmp_path):
    net = train_some(NdtTraining, replace(CONFIG, steps=None), sessions, tmp_path, 0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for number in range(1, 5):
        net = train_some(NdtTraining, replace(CONFIG, steps=None), sessions, tmp_path, 1)
        after = net.state_dict()
        changed = [name for name, value in after.items() if not torch.equal(value, before[name])]
        moved = {key for key in "ab" if any(f".{key}." in name for name in changed)}
        if number == 1:
            assert len(moved) == 1
        if len(moved) == 2:
            return
    raise AssertionError("one session alone was visited in four steps")


def test_every_trial_is_visited_once_in_an_epoch(sessions, tmp_path):
    config = NdtTraining(replace(CONFIG, steps=None, epochs=3), sessions, tmp_path).settings
    assert config.steps == 3 * 2 * 4  # two sessions of 16 trials, batches of 4
    trials = read_trials(sessions[0], config)
    assert trials.train.dtype == np.uint8
    assert trials.train.shape == (16, 20, 9)
    assert trials.validation.shape == (2, 20, 9)
    rng = np.random.default_rng(0)
    seen = [trials.batch(config, 0, place, rng).counts.numpy() for place in range(4)]
    key = np.concatenate(seen).reshape(16, -1)
    whole = trials.train.reshape(16, -1)
    assert sorted(map(tuple, key)) == sorted(map(tuple, whole.astype(np.float32)))


def test_targets_are_hidden_and_the_recording_is_not_changed(sessions):
    trials = read_trials(sessions[0], CONFIG)
    before, rng = trials.train.copy(), np.random.default_rng(0)
    for place in range(4):
        batch = trials.batch(CONFIG, 1, place, rng)
        assert batch.scored.any()
        assert not batch.seen[batch.scored].any()
    np.testing.assert_array_equal(trials.train, before)
    np.testing.assert_allclose(trials.mean_counts, before.mean(axis=(0, 1)))


def test_counts_of_time_in_which_a_unit_was_not_observed_are_no_targets():
    session = opened("observed")
    responses = session.responses
    whole = (responses.start, responses.end_declared)
    half = (responses.start, (whole[0] + whole[1]) / 2)
    # All units but the first are observed for the whole time.
    spans = np.array([half, *[whole] * 8])
    observed = Observed(spans, np.arange(10))
    trains = copy(responses.file)
    trains.observed = observed
    session = replace(session, responses=replace(responses, file=trains))
    trials = read_trials(trial_session(session, SPEC), CONFIG)
    missing = np.isnan(trials.train)
    assert missing[..., 0].any()
    assert not missing[..., 1:].any()
    rng, n_hidden = np.random.default_rng(0), 0
    for place in range(4):
        batch = trials.batch(CONFIG, 0, place, rng)
        assert torch.isfinite(batch.counts).all()
        n_hidden += int(batch.scored[..., 0].sum())
    of_all = read_trials(trial_session(opened("observed"), SPEC), CONFIG)
    rng, n_whole = np.random.default_rng(0), 0
    for place in range(4):
        n_whole += int(of_all.batch(CONFIG, 0, place, rng).scored[..., 0].sum())
    assert n_hidden < 0.8 * n_whole
    # The mean rate is that of the observed time.
    rate = np.nanmean(trials.train[..., 0])
    assert trials.mean_counts[0] == pytest.approx(rate)


def test_one_region_leaves_inter_region_out_and_says_so(caplog):
    source = trial_session(opened("one", areas=("V1",)), SPEC)
    with caplog.at_level(logging.WARNING):
        trials = read_trials(source, CONFIG)
    assert "one region" in caplog.text
    assert "inter-region" not in trials.schemes
    # Units without a region are no region of their own.
    unplaced = read_trials(trial_session(opened("one", areas=("V1", "")), SPEC), CONFIG)
    assert unplaced.schemes == trials.schemes
    kept = read_trials(source, replace(CONFIG, allow_degenerate=True))
    assert kept.schemes == CONFIG.schemes
    with pytest.raises(ValueError, match="only scheme"):
        read_trials(source, replace(CONFIG, schemes=("inter-region",)))


def test_a_session_with_too_few_trials_is_refused(sessions):
    few = replace(sessions[0], starts=sessions[0].starts[:1])
    with pytest.raises(ValueError, match=r"1 whole trials.*at least 2"):
        read_trials(few, CONFIG)
    with pytest.raises(ValueError, match="same id"):
        train(NdtTraining, CONFIG, [sessions[0]] * 2, few.session.path / "never")


def test_an_export_is_a_predictor_of_its_sessions(sessions, trained, tmp_path):
    tree = {"batch": 4}
    write_record(trained, RunSettings(notes={"renames": {"a": "c"}}, tree=tree))
    path = tmp_path / "small.safetensors"
    NdtTraining.export(trained, path)
    predictor = om.load_predictor(path, device="cpu")
    assert predictor.needs.n_neurons == {"c": 9, "b": 9}
    assert predictor.needs.spec == SPEC
    session = sessions[1].session
    mask = om.Mask.nothing(session, SPEC).show([0, 1, 2, 3]).ask([5], slice(None))
    (score,) = om.evaluate(predictor, session, mask).scores
    assert np.isfinite(score.value)
    assert predictor.checkpoint().card["settings"]["batch"] == 4


# -- fine-tuning -----------------------------------------------------------------------
def test_stitchers_are_fitted_on_a_frozen_transformer(trained, new, tmp_path):
    model = om.load_predictor(trained / "model.safetensors", device="cpu")
    reports = []
    job = CallbackJob(lambda done, total, text: reports.append(text))
    mine = om.finetune(model, new, tmp_path, steps=20, batch=4, device="cpu", job=job)
    before, after = (p.net.state_dict() for p in (model, mine))
    for name, value in before.items():
        if name == "encoder.embedder.embed_session.weight":
            value = torch.cat([value, value.mean(0, keepdim=True)])
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-7, msg=name)
    assert set(after) - set(before) == {
        f"{part}.new.{kind}" for part in ("stitchers", "readouts") for kind in ("weight", "bias")
    }
    card = mine.checkpoint().card["finetuned"]
    assert card["n_trained"] == 7 * (8 + 16 + 1) + 8
    assert card["frozen_hash"]
    assert card["unit"] == "bits per spike"
    assert reports[0] == STARTING
    assert card["validation"] >= card["before"]
    # Known sessions keep their predictions.
    assert mine.needs.n_neurons == {"a": 9, "b": 9, "new": 7}
    with pytest.raises(FinetuneError, match="knows session"):
        om.finetune(mine, new, tmp_path / "again", steps=1, device="cpu")


def test_everything_can_be_trained_and_a_stopped_run_goes_on(trained, new, tmp_path):
    model = str(trained / "model.safetensors")
    options = {"train": "all", "steps": 4, "batch": 4, "device": "cpu"}
    with pytest.raises(StoppedError):
        om.finetune(model, new, tmp_path, job=STOPPED, **options)
    mine = om.finetune(model, new, tmp_path, **options)
    assert mine.needs.n_neurons == {"new": 7}
    start = NdtCheckpoint.read(trained / "model.safetensors").shared
    assert not torch.equal(
        mine.net.state_dict()["encoder.out_norm.weight"], start["encoder.out_norm.weight"]
    )


def test_only_stitchers_have_gradients_where_the_transformer_is_frozen(new, trained, tmp_path):
    net = train(
        NdtTraining,
        replace(CONFIG, trained="stitchers", steps=2),
        [trial_session(new, SPEC)],
        tmp_path,
        origin=NdtCheckpoint.read(trained / "model.safetensors"),
    )
    have = {name for name, p in net.named_parameters() if p.grad is not None}
    assert have == {
        f"{part}.new.{kind}" for part in ("stitchers", "readouts") for kind in ("weight", "bias")
    }


def test_recordings_without_spikes_or_trials_are_refused(trained, new, tmp_path):
    model = om.load_predictor(trained / "model.safetensors", device="cpu")
    traces = om.open_session({"responses": np.ones((900, 5)), "rate_hz": 30.0, "id": "traces"})
    with pytest.raises(FinetuneError, match="not spike times"):
        om.finetune(model, traces, tmp_path, steps=1)
    for name, problem in (("a.b", "dot"), ("a", "knows session")):
        with pytest.raises(FinetuneError, match=problem):
            om.finetune(model, replace(new, id=name), tmp_path, steps=1)


# -- configs ---------------------------------------------------------------------------
def test_shipped_configs_are_those_of_the_papers():
    jiang, mtm = (training_plan(name).config for name in ("ndt-jiang", "ndt-mtm"))
    assert jiang == NdtTrainConfig()
    assert training_plan("ndt-mtm").family == "ndt"
    assert (mtm.clip, mtm.reduction, mtm.causal_ratio) == (None, "sum", 0.6)
    assert mtm.model.leaks
    with torch.device("meta"):
        net = Ndt(replace(mtm.model, has_session=False), {"s": 2})
    assert sum(p.numel() for _, p in net.shared()) == 12_146_520


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 1\nbatch: 0", "batch: found 0, expected 1"),
        ("seed: 1\nschemes: [temporal]", "schemes"),
        ("seed: 1\nratio: 0.0", "ratio"),
        ("seed: 1\nhorizon: [5, 400]", "horizon"),
        ("seed: 1\nstart: components", "d_token"),
        ("seed: 1\nreduction: median", "reduction"),
        ("seed: 1\nspec: {duration_s: 4.0}", "200 bins"),
        ("seed: 1\nspec: {length: 4.0}", "spec"),
        ("seed: 1\nmodel: {n_heads: 7}", "n_heads is 7"),
        ("seed: 1\nsessions: 3", "sessions"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, text, problem):
    path = tmp_path / "mine.yaml"
    path.write_text(f"family: ndt\n{text}\n")
    with pytest.raises(ValueError, match=problem):
        training_plan(path)


# -- a world of known rates ------------------------------------------------------------
def test_it_learns_most_of_what_the_true_rates_tell(tmp_path):
    arrays, rates = poisson_arrays(n_trials=200, n_bins=30, n_neurons=30)
    session = om.open_session(arrays)
    spec = om.WindowSpec(0.6, 50.0, responses="count", align="trial")
    model = NdtConfig(
        d_token=32, n_bins=30, d_model=32, n_layers=2, n_heads=2, d_inner=64,
        dropout=0.0, block_dropout=0.0,
    )  # fmt: skip
    config = NdtTrainConfig(
        seed=0, model=model, spec=spec, schemes=("neuron",), steps=200, lr=1e-2,
        mean_rates=True, validate_every=100,
    )  # fmt: skip
    source = trial_session(session, spec)
    starts = session.window_starts("test", spec=spec)
    windows = [session.window(float(start), spec) for start in starts]
    counts = np.stack([window.responses for window in windows])
    of_trial = np.searchsorted(arrays["trial_start"], starts - 1e-6)
    oracle = bits_of(rates[of_trial], counts).pooled

    def co_smoothing(net):
        found = one_neuron_out(net.eval(), session.id, torch.from_numpy(counts))
        return bits_of(found, counts).pooled

    untrained = train_some(NdtTraining, config, [source], tmp_path / "0", 0)
    assert co_smoothing(untrained) < 0.02
    mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
    assert bits_of(mean.astype(float), counts).pooled == pytest.approx(0, abs=1e-12)
    trained = train(NdtTraining, config, [source], tmp_path / "1")
    assert co_smoothing(trained) > 0.65 * oracle


# -- start at a linear forecast --------------------------------------------------------
SLOW = om.WindowSpec(1.0, 30.0)
STARTED = NdtConfig(
    d_token=9, mult=1, n_bins=30, d_model=12, n_layers=2, n_heads=2, d_inner=16, dropout=0.0,
    has_session=False,
)  # fmt: skip


def slow_session():
    """Return a recording whose neurons follow three slow processes."""
    rng = np.random.default_rng(0)
    kernel = np.exp(-np.arange(150) / 30)
    slow = np.stack([np.convolve(one, kernel, "same") for one in rng.normal(size=(3, 9000))], 1)
    drive = slow / slow.std(0) @ rng.normal(size=(3, 20)) * 0.4
    responses = np.maximum(1.5 + drive + 0.3 * rng.normal(size=drive.shape), 0)
    return om.open_session({"responses": responses, "rate_hz": 30.0, "id": "slow"})


def test_a_start_at_components_forecasts(tmp_path):
    source = trial_session(slow_session(), SLOW)
    windows = [source.session.window(float(start), SLOW) for start in source.starts[::4]]
    true = torch.from_numpy(np.stack([window.responses for window in windows]))
    seen = true.clone()
    seen[:, 15:] = 0
    found = {}
    for start in ("components", "random"):
        config = NdtTrainConfig(
            seed=0,
            model=STARTED,
            spec=SLOW,
            schemes=("causal",),
            steps=1,
            mean_rates=True,
            start=start,
        )
        net = train_some(NdtTraining, config, [source], tmp_path / start, 0).eval()
        rates = net(seen, "slow", "causal").exp()[:, 15:25].detach()
        pairs = zip(rates.flatten(0, 1).T, true[:, 15:25].flatten(0, 1).T, strict=True)
        found[start] = torch.stack(
            [torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]
        ).mean()
    assert found["components"] > 0.5 > found["random"] + 0.2


def test_half_of_the_causal_batches_are_forecasts():
    source = trial_session(slow_session(), SLOW, stride_s=0.5)
    assert np.diff(source.starts).min() == pytest.approx(0.5)
    config = NdtTrainConfig(
        seed=0,
        model=STARTED,
        spec=SLOW,
        schemes=("causal",),
        causal_ratio=0.4,
        horizon=(3, 6),
        batch=4,
    )
    trials = read_trials(source, config)
    tails = 0
    for number in range(40):
        batch = trials.batch(config, 0, 0, np.random.default_rng(number))
        assert batch.scheme == "causal"
        hidden = batch.scored.all(2)
        count = int(hidden[0].sum())
        is_tail = bool(hidden[:, 30 - count :].all()) and bool((hidden.sum(1) == count).all())
        tails += is_tail
        assert not is_tail or 3 <= count <= 6
    assert 10 <= tails <= 30
