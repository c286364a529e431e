"""CEBRA: pairs, neighbours, checkpoints and runs; with the package where it is installed."""

import json
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import omnimouse_model as om
from omnimouse_model.data.open import open_session
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.cebra.model import (
    Bank,
    CebraCheckpoint,
    CebraConfig,
    CebraTraining,
    Pairs,
    Samples,
    embed,
    nearest,
    new_networks,
    new_solver,
    solve,
)
from omnimouse_model.metrics import correlation
from omnimouse_model.training.loop import seeded
from tests.model.known_sessions import write_known_session

N_NEURONS = 20
CONFIG = {
    "family": "cebra",
    "model": {"hidden": 16, "output": 4, "channels": ["running", "pupil_x"]},
    "batch": 64,
    "lr": 0.003,
    "validate_every": 10,
}
needs_package = pytest.mark.skipif(
    find_spec("cebra") is None, reason='the package cebra, of the extra "cebra", is not installed'
)


# -- a stand-in for the package, of the same interface ---------------------------------
class StandIn(nn.Sequential):
    """A model that reads ten samples, with unit vectors."""

    def __init__(self, n_neurons, hidden, output):
        layers = nn.Conv1d(n_neurons, hidden, 10), nn.GELU(), nn.Conv1d(hidden, output, 1)
        super().__init__(*layers)

    def forward(self, values):
        return nn.functional.normalize(super().forward(values), dim=1).squeeze(2)

    def get_offset(self):
        return type("Offset", (), {"left": 5, "right": 5})


@dataclass
class StandInBatch:
    reference: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    index: torch.Tensor
    index_reversed: torch.Tensor


@dataclass
class StandInSolver:
    model: nn.ModuleList
    criterion: float
    optimizer: torch.optim.Optimizer

    def step(self, batches):
        self.optimizer.zero_grad()
        kinds = ("reference", "positive", "negative")
        pairs = list(zip(self.model, batches, strict=True))
        reference, positive, negative = (
            torch.cat([net(getattr(one, kind)) for net, one in pairs]) for kind in kinds
        )
        positive = positive[batches[0].index_reversed]
        near = (reference * positive).sum(1)
        loss = (reference @ negative.T).logsumexp(1).mean() - near.mean()
        loss.backward()
        self.optimizer.step()
        return {"total": loss.item()}


@pytest.fixture(scope="module")
def package():
    """The package, or its stand-in."""
    if find_spec("cebra") is not None:
        yield
        return
    modules = {name: ModuleType(name) for name in ("cebra", *map("cebra.{}".format, _PARTS))}
    for name in _PARTS:
        setattr(modules["cebra"], name, modules[f"cebra.{name}"])
    models, solver, data = (modules[f"cebra.{name}"] for name in _PARTS)
    models.get_options = lambda pattern: ["offset10-model"]
    models.init = lambda name, num_neurons, num_units, num_output: StandIn(
        num_neurons, num_units, num_output
    )
    models.criterions = ModuleType("criterions")
    models.criterions.FixedCosineInfoNCE = lambda temperature: temperature
    solver.init = lambda name, model, criterion, optimizer, tqdm_on: StandInSolver(
        model, criterion, optimizer
    )
    data.Batch = StandInBatch
    sys.modules.update(modules)
    yield
    for name in modules:
        del sys.modules[name]


_PARTS = ("models", "solver", "data")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A minute and a half of neurons that running and the pupil drive."""
    generator = np.random.default_rng(4)
    samples = 2700
    slow = generator.normal(size=(samples // 45 + 2, 5))
    times = np.arange(samples * 2 // 3) / 30
    behavior = np.stack(
        [np.interp(times, np.arange(len(slow)), column) for column in slow.T], axis=1
    )
    seen = np.repeat(behavior, 3, axis=0)[::2]
    weights = generator.normal(size=(5, N_NEURONS)) * [[0], [0], [2], [0], [2]]
    noise = generator.normal(size=(samples, N_NEURONS))
    responses = 60 + 8 * np.log1p(np.exp(seen @ weights)) + noise
    tiers = ["train", "train", "validation", "train", "final_test_1"]
    place = tmp_path_factory.mktemp("world") / "session"
    return open_session(write_known_session(place, responses, behavior=behavior, tiers=tiers))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "cebra.yaml"
    path.write_text(json.dumps(CONFIG | {"steps": 30}))
    return path


@pytest.fixture(scope="module")
def fitted(package, session, config, tmp_path_factory):
    return om.fit(str(config), session, tmp_path_factory.mktemp("run") / "out")


def decoding(session, spec):
    return om.Mask.nothing(session, spec).show(slice(None)).with_behavior("target")


# -- pairs and neighbours --------------------------------------------------------------
def samples(count, piece, seed=0, n_neurons=3):
    rng = np.random.default_rng(seed)
    behavior = np.cumsum(rng.normal(size=(count, 2)), axis=0).astype(np.float32)
    return Samples(rng.normal(size=(count, n_neurons)).astype(np.float32), behavior, piece)


def test_no_pair_and_no_change_spans_a_pause():
    piece = np.repeat([0, 1], [40, 60])
    one = samples(100, piece)
    one.behavior[40:] += 1000  # a jump that only the pause has
    pairs = Pairs([one], (5, 5), 5)
    assert np.array_equal(pairs.allowed[0], np.r_[5:36, 45:96])
    assert np.abs(pairs.changes).max() < 100
    references, positives, negatives, order = pairs.indices(500, np.random.default_rng(0))
    for rows in (references[0], positives[0], negatives[0]):
        assert np.isin(rows, pairs.allowed[0]).all()
    partner = positives[0][order]
    assert np.array_equal(piece[references[0]], piece[partner])


def test_partners_have_a_behaviour_that_is_a_recorded_change_away():
    both = [samples(300, np.zeros(300, int), seed) for seed in (0, 1)]
    pairs = Pairs(both, (5, 5), 5)
    references, positives, _, order = pairs.indices(200, np.random.default_rng(1))
    ours = np.concatenate([s.behavior[r] for s, r in zip(both, references, strict=True)])
    theirs = np.concatenate([s.behavior[r] for s, r in zip(both, positives, strict=True)])[order]
    nearer = np.linalg.norm(ours - theirs, axis=1)
    shuffled = np.linalg.norm(ours - np.random.default_rng(2).permutation(theirs), axis=1)
    assert np.median(nearer) < np.median(shuffled) / 2
    again = pairs.indices(200, np.random.default_rng(1))
    assert np.array_equal(again[1][0], positives[0])


def test_neighbours_are_those_of_the_largest_cosine():
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(50, 4)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    found = nearest(bank, bank[:7], 3)
    expected = np.argsort(-(bank[:7] @ bank.T), axis=1)[:, :3]
    assert np.array_equal(found, expected)
    assert nearest(bank, bank[:2], 600).shape == (2, 50)


# -- the predictor ---------------------------------------------------------------------
@pytest.mark.slow
def test_behaviour_is_decoded_on_held_out_time(session, fitted):
    found = om.evaluate(fitted, session, [om.Condition("all", lambda s: decoding(s, None))])
    scores = {row.channel: row.value for row in found.behavior}
    assert set(scores) == {"running", "pupil_x"}
    assert min(scores.values()) > 0.7


@pytest.mark.slow
def test_the_bank_has_train_samples_alone(session, fitted):
    plan = CebraTraining.read({k: v for k, v in CONFIG.items() if k != "family"})
    source = CebraTraining.opened(session, plan)
    windows = [session.window(s, fitted.needs.spec) for s in source.starts.tolist()]
    train = np.concatenate([window.behavior for window in windows])
    labels = fitted.banks[session.id].labels
    assert np.array_equal(labels, train.astype(np.float32))
    trials, grid_s = session.trials, 1 / 30
    for window in windows:
        # Windows are of whole points of the grid, whose last one may lie at an edge.
        inside = (trials.t_on < window.stop_s - grid_s) & (trials.t_off > window.start_s + grid_s)
        assert set(trials.tier[inside]) == {"train"}


@pytest.mark.slow
def test_only_samples_whose_whole_population_is_shown_are_decoded(session, fitted):
    spec = fitted.needs.spec
    window = session.window(float(session.window_starts("test", spec=spec)[0]), spec)
    mask = om.Mask.nothing(session, spec).show(slice(None), slice(0, 20)).with_behavior("target")
    found = fitted.predict(window, mask)
    assert np.isfinite(found.behavior[:20]).all()
    assert np.isnan(found.behavior[20:]).all()
    assert np.isnan(found.responses).all()
    half = om.Mask.nothing(session, spec).show(range(10)).with_behavior("target")
    with pytest.raises(UnsupportedRequestError, match="whole population: show all 20 neurons"):
        fitted.predict(window, half)
    with pytest.raises(UnsupportedRequestError, match="predicts behaviour, not responses"):
        fitted.predict(window, om.Mask.nothing(session, spec).show(slice(None), slice(0, 20)))


@pytest.mark.slow
def test_a_missing_response_does_not_remove_the_window(session, fitted):
    spec = fitted.needs.spec
    window = session.window(20.0, spec)
    before = fitted.predict(window, decoding(session, spec)).behavior
    bank, responses = fitted.banks[session.id], window.responses.copy()
    responses[3, 2] = np.nan
    filled = bank.filled(responses)
    assert filled[3, 2] == bank.mean[2]
    piece = np.zeros(len(filled), int)
    decoded = bank.decoded(embed(fitted.net[0], filled, piece), fitted.neighbours)
    assert np.isfinite(decoded).all()
    assert before.shape == decoded.shape


# -- runs and files --------------------------------------------------------------------
@pytest.mark.slow
def test_a_run_that_was_stopped_continues_with_the_same_numbers(
    package, session, config, fitted, tmp_path
):
    om.fit(str(config), session, tmp_path, steps=13)
    again = om.fit(str(config), session, tmp_path)
    assert again.weights == fitted.weights
    assert again.neighbours == fitted.neighbours


def test_a_step_that_is_not_finite_changes_nothing(package):
    torch.manual_seed(0)
    config = CebraConfig(hidden=8, output=3)
    networks = new_networks(config, [4])
    solver = new_solver(networks, config, 1e-2)
    kinds = [torch.randn(6, 4, 10) for _ in range(3)]
    solve(solver, [tuple(kinds)], np.arange(6))
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    kinds[1][0] = torch.inf
    assert not np.isfinite(solve(solver, [tuple(kinds)], np.arange(6)))
    assert all(torch.equal(value, before[k]) for k, value in networks.state_dict().items())
    assert all(p.grad is None for p in networks.parameters())


@pytest.mark.slow
def test_a_checkpoint_is_loaded_and_described(session, fitted, tmp_path):
    from omnimouse_model.families.cebra import FAMILY
    from omnimouse_model.inference.families import describe

    path = tmp_path / "one.safetensors"
    parts = fitted.net, fitted.config, fitted.banks, fitted.neighbours
    CebraCheckpoint.of_networks(*parts).save(path)
    loaded = om.load_predictor(path)
    spec = loaded.needs.spec
    window, mask = session.window(20.0, spec), decoding(session, spec)
    expected = fitted.predict(window, mask).behavior
    assert np.array_equal(loaded.predict(window, mask).behavior, expected)
    family, found = describe(path)
    assert family is FAMILY
    assert found.sessions == {session.id: N_NEURONS}
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text.replace('"output": 4', '"output": 5'))
    with pytest.raises(CheckpointError, match="has the shapes"):
        om.load_predictor(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bank.0": torch.ones(5, 2, 3)}, "has the shapes"),
        ({"bank.0": torch.ones(())}, r"'bank': \(\),.* expected .*'bank': \(1, 3\)"),
        ({"bank.0": torch.ones(0, 3), "labels.0": torch.ones(0, 2)}, "has the shapes"),
        ({"mean.0": torch.ones(1, 4)}, "has the shapes"),
        ({"labels.0": torch.full((5, 2), torch.nan)}, "labels of session 'a' is not finite"),
        ({"labels.0": torch.full((5, 2), 1e300, dtype=torch.float64)}, "not finite"),
        ({}, "config that makes no net: .*offset10-model"),
    ],
)
def test_a_checkpoint_with_an_odd_embedding_or_network_is_refused(
    package, tmp_path, changes, words
):
    config = CebraConfig(hidden=8, output=3, channels=("running", "pupil_x"))
    bank = Bank(*(np.ones(shape, np.float32) for shape in ((5, 3), (5, 2), 4)))
    found = CebraCheckpoint.of_networks(new_networks(config, [4]), config, {"a": bank}, 2)
    if not changes:
        found = replace(found, config=replace(config, architecture="other"))
    found.state.update(changes)
    found.save(tmp_path / "one.safetensors")
    with pytest.raises(CheckpointError, match=words):
        om.load_predictor(tmp_path / "one.safetensors", device="cpu")


def test_without_weights_and_without_the_package_it_says_what_to_do(session, monkeypatch):
    with pytest.raises(UnsupportedRequestError, match=r"om\.fit\('cebra', session\)"):
        om.load_predictor("cebra").prepare(session)
    monkeypatch.setitem(sys.modules, "cebra", None)
    monkeypatch.setitem(sys.modules, "cebra.models", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "omnimouse-app\[cebra\]"'):
        new_networks(CebraConfig(), [3])


def test_a_recording_without_a_channel_is_refused(package, session, tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text(json.dumps(CONFIG | {"steps": 2, "model": {"channels": ["licking"]}}))
    with pytest.raises(ValueError, match="has no licking, which CEBRA decodes"):
        om.fit(str(path), session, tmp_path / "out")


@needs_package
def test_sessions_with_other_neurons_share_an_embedding():
    """As the acceptance check: 30 and 20 neurons that one behaviour drives."""
    rng = np.random.default_rng(0)
    sessions, tests = [], []
    for count in (30, 20):
        knots = rng.normal(size=(92, 2))
        behavior = np.stack([np.interp(np.arange(900) / 10, range(92), k) for k in knots.T], 1)
        behavior = ((behavior - behavior.mean(0)) / behavior.std(0)).astype(np.float32)
        rates = np.log1p(np.exp(2 * behavior @ rng.normal(size=(2, count))))
        responses = (rates + 0.3 * rng.normal(size=rates.shape)).astype(np.float32)
        piece = np.zeros(900, int)
        sessions.append(Samples(responses[:675], behavior[:675], piece[:675]))
        tests.append(Samples(responses[675:], behavior[675:], piece[675:]))
    config = CebraConfig(hidden=32, output=8)
    with seeded(0):
        nets = new_networks(config, [30, 20])
        solver = new_solver(nets, config, 1e-3)
        pairs = Pairs(sessions, (5, 5), 5)
        for step in range(150):
            solve(solver, *pairs.draw(128, np.random.default_rng(step)))
    for net, train, test in zip(nets, sessions, tests, strict=True):
        bank = embed(net, train.responses, train.piece)
        near = nearest(bank, embed(net, test.responses, test.piece), 9)
        decoded = train.behavior[near].mean(axis=1)
        assert correlation(decoded, test.behavior).mean() > 0.7
