"""Calcium POYO+ as a family: what it decodes, training, transfer, published weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

import omnimouse_model as om
from omnimouse_model.analysis.fit import run_steps
from omnimouse_model.errors import CheckpointError, FinetuneError, UnsupportedRequestError
from omnimouse_model.evaluation.conditions import Condition
from omnimouse_model.evaluation.shard import evaluate_predictors
from omnimouse_model.families.poyo_calcium.model import (
    STEADY,
    Lamb,
    PoyoCheckpoint,
    network_of,
    one_cycle,
)
from omnimouse_model.families.poyo_calcium.network import Item, PoyoConfig, Task
from omnimouse_model.inference.families import describe, families, training_plan
from omnimouse_model.predict.compatibility import predict_same_span
from omnimouse_model.progress import QUIET
from tests import FIXTURES
from tests.cli.runner import run_command
from tests.model.other_windows import window_with
from tests.small_sessions import write_session

SIZES = {
    **{"n_latents": 2, "width": 16, "depth": 1, "head": 8},
    **{"cross_heads": 1, "self_heads": 2, "turned": 4},
}
CONFIG = PoyoConfig(**SIZES)
NAMES = CONFIG.spec.behavior.channels


def decoding_mask(session, spec):
    """Return the mask that shows all responses and asks for the behaviour."""
    return om.Mask.nothing(session, spec).show(slice(None)).with_behavior("target")


def small_model(session, folder, config=CONFIG, **fields):
    torch.manual_seed(0)
    units = {session.id: tuple(map(str, range(session.n_neurons)))}
    net = network_of(config, units)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    file = folder / "small.safetensors"
    checkpoint = PoyoCheckpoint(config=config, units=units, state=net.state_dict())
    replace(checkpoint, **fields).save(file)
    return om.load_predictor(file, device="cpu")


@pytest.fixture(scope="module")
def predictor(session, tmp_path_factory):
    return small_model(session, tmp_path_factory.mktemp("poyo"))


@pytest.fixture
def mask(session, predictor):
    shown = om.Mask.nothing(session, predictor.needs.spec).show(range(5, 30), slice(4, None))
    return shown.with_behavior("target")


# -- prediction ------------------------------------------------------------------------


def test_responses_are_never_predicted(predictor, window, mask):
    asked = mask.ask(range(30, 40))
    found = predictor.predict(window, asked)
    assert np.isnan(found.responses).all()
    assert found.responses.shape == (20, 10)
    assert not found.valid.any()
    assert "predicts behaviour, not responses" in found.status
    np.testing.assert_array_equal(found.behavior, predictor.predict(window, mask).behavior)
    assert predictor.predict(window, mask).status == "ok"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda mask: mask.with_behavior("hidden").ask([0]), "not responses"),
        (lambda mask: mask.hide(slice(None)), "shows none"),
    ],
)
def test_what_it_cannot_answer_is_refused_with_a_reason(predictor, window, mask, change, reason):
    with pytest.raises(UnsupportedRequestError, match=reason):
        predictor.predict(window, change(mask))


def test_a_window_without_recorded_responses_is_not_decoded(predictor, window, mask):
    missing = window_with(window, responses=np.full_like(window.responses, np.nan))
    known, unknown = predictor.predict_many([(window, mask, None), (missing, mask, None)])
    assert np.isfinite(known.behavior).all()
    assert np.isnan(unknown.behavior).all()
    assert np.isnan(replace(predictor).predict(missing, mask).behavior).all()


@pytest.mark.parametrize("change", [{"step_s": 1e-9}, {"step_s": 0.0}, {"window_s": 1e9}])
def test_a_description_cannot_ask_for_any_number_of_latents(session, tmp_path, change):
    small_model(session, tmp_path)
    path = tmp_path / "small.json"
    about = json.loads(path.read_text())
    about["config"] |= change
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"config.*step_s"):
        om.load_predictor(tmp_path / "small.safetensors", device="cpu")


# -- beside a model of other windows -----------------------------------------------------
def test_beside_omnimouse_the_same_span_is_decoded(session, predictor):
    window = session.window(10.0)
    shown = om.Mask.nothing(session).show(range(5, 30)).with_behavior("target")
    found = predict_same_span(predictor, window, shown).behavior
    assert found.shape == window.behavior.shape
    spec = predictor.needs.spec
    for number in range(2):
        tile = session.window(10.0 + number, spec)
        own = predictor.predict(tile, shown.at(spec, float(number))).behavior
        columns = [spec.behavior.channels.index(name) for name in window.behavior_names]
        np.testing.assert_array_equal(found[20 * number : 20 * number + 20], own[:, columns])
    visible = shown.with_behavior("visible").ask([0])
    with pytest.raises(UnsupportedRequestError, match="not responses"):
        predict_same_span(predictor, window, visible)


def test_responses_have_a_reason_instead_of_a_score_and_behaviour_has_scores(session, predictor):
    both = Condition("both", lambda s: decoding_mask(s, predictor.needs.spec).hide([0]).ask([0]))
    found = evaluate_predictors([predictor], [session], [both], tier="test", max_windows=3)
    (score,) = found.scores
    assert np.isnan(score.value)
    assert "predicts behaviour, not responses" in score.refusal
    assert all(np.isfinite(one.value) and not one.refusal for one in found.behavior)


def test_the_order_of_neurons_does_not_matter(session, predictor, window, tmp_path):
    order = np.random.default_rng(0).permutation(session.n_neurons)
    checkpoint = predictor.checkpoint()
    rows = torch.from_numpy(np.concatenate([[0], 1 + order]))
    state = {**checkpoint.state, "unit_emb.weight": checkpoint.state["unit_emb.weight"][rows]}
    other = small_model(session, tmp_path, state=state)
    mask = decoding_mask(session, window.spec)
    changed = window_with(window, responses=window.responses[:, order])
    found = other.predict(changed, mask).behavior
    np.testing.assert_allclose(found, predictor.predict(window, mask).behavior, atol=1e-5)


def test_a_model_without_a_task_of_recordings_says_so(session, tmp_path):
    model = small_model(session, tmp_path, PoyoConfig({"gratings": Task(1, 8)}, **SIZES))
    assert not model.needs.predicts_behavior
    mask = om.Mask.nothing(session, model.needs.spec).show(slice(None))
    with pytest.raises(UnsupportedRequestError, match="gratings"):
        model.predict(session.window(10.0, model.needs.spec), mask.with_behavior("target"))


# -- training and transfer -------------------------------------------------------------
def plan_of(**changes):
    small = {"model": SIZES, "batch": 3, "steps": 4, "units": [2, 4, 8], "sessions": []}
    small |= {"start": "random"}
    plan = {**small, "validate_every": 2, "validation_windows": 3, "save_every_s": None}
    return training_plan("poyo_calcium-small", plan | changes)


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["lamb", "adamw"])
def test_a_resumed_training_is_the_uninterrupted_one(session, tmp_path, optimiser):
    plan = plan_of(optimiser=optimiser)
    run_steps(plan, [session], tmp_path / "whole", QUIET, None, device="cpu")
    run_steps(plan, [session], tmp_path / "parts", QUIET, 3, device="cpu")
    run_steps(plan, [session], tmp_path / "parts", QUIET, None, device="cpu")
    whole, parts = (
        PoyoCheckpoint.read(tmp_path / n / "model.safetensors") for n in ("whole", "parts")
    )
    assert all(torch.equal(value, parts.state[name]) for name, value in whole.state.items())
    assert set(whole.units) == {session.id}
    exported = tmp_path / "exported.safetensors"
    families()["poyo_calcium"].export(tmp_path / "whole", exported)
    assert om.load_predictor(exported, device="cpu").needs.sessions == {session.id}
    family, description = describe(exported)
    assert family.name == "poyo_calcium"
    assert description.sessions == {session.id: session.n_neurons}
    assert description.facts["decodes"] == ", ".join(NAMES)


def test_more_steps_go_on_in_the_same_folder(session, tmp_path):
    for steps in (2, 5):
        run_steps(plan_of(steps=steps), [session], tmp_path, QUIET, None, device="cpu")
        assert PoyoCheckpoint.read(tmp_path / "model.safetensors").card["steps"] == steps


@pytest.mark.parametrize("n_steps", [1, 3, 8])
def test_the_learning_rate_is_that_of_one_cycle(n_steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight], lr=0.3)
    cycle = OneCycleLR(optimiser, 0.3, max(3, n_steps), pct_start=STEADY, div_factor=1.0)
    for number in range(n_steps):
        part, momentum = one_cycle(number, n_steps)
        assert 0.3 * part == pytest.approx(optimiser.param_groups[0]["lr"])
        assert momentum == pytest.approx(optimiser.param_groups[0]["betas"][0])
        optimiser.step()
        cycle.step()


@pytest.mark.parametrize("change", [{"units": [9, 4, 8]}, {"model": {"tasks": {}}}])
def test_a_wrong_field_of_a_config_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        plan_of(**change)


def test_published_settings_are_the_defaults():
    plan = training_plan("poyo_calcium")
    assert (plan.config.batch, plan.config.epochs, plan.config.optimiser) == (512, 2000, "lamb")
    with torch.device("meta"):
        net = network_of(plan.config.model, {"mouse": tuple("abc")})
    own = ("unit_emb", "session_emb", "task_emb", "readout")
    sizes = {k: p.numel() for k, p in net.named_parameters() if not k.startswith(own)}
    assert sum(sizes.values()) == 11_717_888 - 5 * 128  # without the rows of five tasks


def test_lamb_leaves_neurons_alone_that_are_in_no_window():
    table = torch.nn.Parameter(torch.ones(4, 3))
    optimiser = Lamb([table], 0.1, 1e-4)
    for _ in range(3):
        table.grad = torch.zeros(4, 3)
        table.grad[1] = 1.0
        optimiser.step()
    assert torch.equal(table[[0, 2, 3]], torch.ones(3, 3))
    assert (table[1] < 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("train", ["embeddings", "all"])
def test_a_new_recording_gets_embeddings_of_its_own(session, tmp_path, train):
    origin = small_model(session, tmp_path, assumed=("30 samples per second",))
    new = om.open_session(write_session(tmp_path / "new", 12, 3))
    with pytest.raises(FinetuneError, match="knows session"):
        om.finetune(origin, session, tmp_path / "known", device="cpu")
    options = {"train": train, "steps": 2, "batch": 2, "device": "cpu"}
    tuned = om.finetune(origin, new, tmp_path / "tuned", **options)
    before, after = origin.checkpoint(), tuned.checkpoint()
    assert after.assumed == before.assumed == ("30 samples per second",)
    is_same = [torch.equal(v, after.core[k]) for k, v in before.core.items()]
    if train == "all":
        assert set(after.units) == {new.id}
        assert not all(is_same)
        return
    assert all(is_same)
    assert list(after.units) == [session.id, new.id]
    window, mask = (f(session, origin.needs.spec) for f in (_window, decoding_mask))
    found = tuned.predict(window, mask).behavior
    np.testing.assert_allclose(found, origin.predict(window, mask).behavior, atol=1e-6)
    assert tuned.embeddings(new).shape == (12, 8)
    decoded = tuned.predict(_window(new, origin.needs.spec), decoding_mask(new, origin.needs.spec))
    assert np.isfinite(decoded.behavior).all()


def _window(session, spec):
    return session.window(10.0, spec)


def _linear_world(is_noise):
    """Return a recording whose running is a mixture of its responses, or independent of them."""
    rng, seconds = np.random.default_rng(1), 150
    slow = np.convolve(rng.normal(size=seconds * 30), np.hanning(20) / 2, "same")[:, None]
    mixed = np.zeros_like(slow) if is_noise else slow
    responses = 3 + mixed * rng.normal(size=(1, 12)) + 0.3 * rng.normal(size=(len(slow), 12))
    arrays = {"responses": responses.astype(np.float32), "running": slow[:, 0]}
    rates = {"rate_hz": 30.0, "running_rate_hz": 30.0}
    return om.open_session({**arrays, **rates, "id": "world"})


TRAINED = {"steps": 250, "base_lr": 5e-4, "validate_every": 250}
STARTED = {"steps": 1, "base_lr": 0.0, "start": "ridge"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_noise", "changes", "least"),
    # The start values of so small a network know little of the time of a response.
    [(False, TRAINED, 0.9), (True, TRAINED, None), (False, STARTED, 0.5)],
)
def test_a_linear_world_is_decoded_and_noise_is_not(tmp_path, is_noise, changes, least):
    world = _linear_world(is_noise)
    plan = plan_of(batch=8, units=None, **changes)
    model = run_steps(plan, [world], tmp_path, QUIET, None, device="cpu")
    mask = decoding_mask(world, model.needs.spec)
    scores = om.evaluate(model, world, mask).behavior
    (running,) = (s for s in scores if s.channel == "running")
    if is_noise:
        assert running.ci_low < 0 < running.ci_high
        assert abs(running.value) < 0.15
    else:
        assert running.value > least
    others = [s for s in scores if s.channel != "running"]
    assert all("no" in s.refusal for s in others)


# -- published weights -----------------------------------------------------------------
@pytest.fixture
def published(tmp_path):
    """A file in the layout of the public training, with what it does not contain."""
    from safetensors.torch import load_file

    folder = FIXTURES / "baselines_parity" / "poyo_calcium"
    config = json.loads((folder / "config.json").read_text())
    state = {f"model.{k}": v for k, v in load_file(folder / "state_dict.safetensors").items()}
    for name in ("unit", "session"):
        words = config[f"{name}_vocab"]
        state[f"model.{name}_emb.vocab"] = {word: row for row, word in enumerate(words)}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "epoch": 3}, path)
    # The first task is decoded: its values are channels of the name of the task.
    first, tasks = next(iter(config["readouts"])), {}
    for name, task in config["readouts"].items():
        channels = [f"{name}_{k}" for k in range(task["dim"])] if name == first else []
        tasks[name] = {"number": task["id"], "size": task["dim"], "channels": channels}
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"config": {"tasks": tasks}}))
    return path, about, config


def test_published_weights_become_a_checkpoint(published, tmp_path):
    source, about, config = published
    target = tmp_path / "poyo.safetensors"
    words = ("--family", "poyo_calcium", "--about", about)
    done = run_command("convert-weights", source, target, *words)
    assert done.exit_code == 0, done.output
    model = om.load_predictor(target, device="cpu")
    found = model.net.config
    assert (found.width, found.depth, found.head) == (
        *(config["dim"], config["depth"], config["dim_head"]),
    )
    assert (found.cross_heads, found.self_heads) == (config["cross_heads"], config["self_heads"])
    assert found.longest_s == pytest.approx(config["t_max"], rel=1e-4)
    words, sessions = config["unit_vocab"][1:], config["session_vocab"][1:]
    counts = {name: sum(w.startswith(f"{name}/") for w in words) for name in sessions}
    assert model.needs.n_neurons == counts
    (first, task), *others = config["readouts"].items()
    assert model.needs.spec.behavior.channels == tuple(f"{first}_{k}" for k in range(task["dim"]))
    description = describe(target)[1]
    assert any("window_s" in text for text in description.assumptions)
    assert description.facts["tasks without a channel"] == ", ".join(sorted(n for n, _ in others))
    # The rows are those of the file.
    tables = {name: model.net.get_parameter(f"{name}_emb.weight") for name in ("unit", "session")}
    state = torch.load(source)["state_dict"]
    for name, table in tables.items():
        assert torch.equal(table, state[f"model.{name}_emb.weight"])
    times_s = np.arange(4) / 20
    item = Item(sessions[0], words[:1], np.ones((4, 1)), times_s, {first: times_s})
    assert model.net(model.net.tokens([item]))[first].isfinite().all()


def test_published_weights_without_their_tasks_are_refused(published, tmp_path):
    source, about, _ = published
    about.write_text("{}")
    words = ("--family", "poyo_calcium", "--about", about)
    done = run_command("convert-weights", source, tmp_path / "poyo.safetensors", *words)
    assert "config.tasks" in str(done.exception)


def test_a_checkpoint_that_does_not_fit_is_refused(session, tmp_path):
    model = small_model(session, tmp_path)
    checkpoint = model.checkpoint()
    units = {session.id: checkpoint.units[session.id][1:]}
    replace(checkpoint, units=units).save(tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match="unit_emb"):
        om.load_predictor(tmp_path / "short.safetensors", device="cpu")
