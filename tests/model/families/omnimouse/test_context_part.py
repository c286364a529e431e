"""OmniMouse with a context part: no leaks, quick strokes, saved with the weights."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, StoppedError, UnsupportedRequestError
from omnimouse_model.evaluation import stored_fits
from omnimouse_model.families.omnimouse import FAMILY
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.context_part import (
    OmniMouseWithContext,
    fit_context,
    load_checkpoint_predictor,
)
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.masks import scored_cells
from omnimouse_model.progress import CallbackJob
from tests.model.finetune_process import KNOWN, NEW
from tests.model.other_windows import window_with_withheld
from tests.model.random_masks import masks
from tests.model.small_net import save_checkpoint, small_net
from tests.small_sessions import write_session

pytestmark = pytest.mark.slow
STRATEGY = "test/video_only"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return om.open_session(write_session(tmp_path_factory.mktemp("mice") / KNOWN, 12))


@pytest.fixture(scope="module")
def path(session):
    net = small_net({KNOWN: 12, NEW: 9}).requires_grad_(False)
    context = fit_context(TransformerPredictor(net, "plain"), session)
    path = session.path.parent / "both.safetensors"
    return save_checkpoint(path, net, context=context)


@pytest.fixture
def predictor(path):
    return om.load_predictor(path)


@settings(max_examples=15)
@given(mask=masks(12))
def test_withheld_values_change_nothing(session, path, mask):
    if not (mask.target.any() or mask.has_behavior_target):
        return
    predictor, window = om.load_predictor(path), session.window(3.0)
    expected = predictor.predict(window, mask)
    asked = scored_cells(mask)[:, expected.neurons]
    np.testing.assert_array_equal(np.isfinite(expected.responses), asked)
    assert (expected.behavior is not None) == mask.has_behavior_target
    for value in (np.nan, 1e6):
        changed = window_with_withheld(window, mask, value)
        found = om.load_predictor(path).predict(changed, mask)
        np.testing.assert_array_equal(found.responses, expected.responses)
        np.testing.assert_array_equal(found.behavior, expected.behavior)


def test_kept_scores_are_of_one_version_of_linear_gaussian(session, path, tmp_path, monkeypatch):
    """The weights, and so the id, are the same after a change of the posterior."""
    file, n_lines = tmp_path / "kept.jsonl", []
    for version in (1, 1, 2):
        monkeypatch.setattr(stored_fits, "LINEAR_GAUSSIAN", version)
        om.evaluate_all([str(path)], session, [STRATEGY], max_windows=2, results=file)
        n_lines.append(len(file.read_text().splitlines()))
    assert n_lines == [2, 2, 3]
    model = om.load_predictor(path)
    assert model.needs.fits == om.Ensemble([model, model.transformer]).needs.fits == 2
    assert model.transformer.needs.fits == 0


def test_only_the_first_stroke_of_a_window_runs_the_transformer(session, predictor):
    window, counters = session.window(3.0), predictor.transformer.counters
    mask = om.Mask.nothing(session).with_frames(True).ask(range(6, 12))
    alone = predictor.predict(window, mask)
    n_encodings = counters["encodings"]
    half = predictor.predict(window, mask.show(range(6)))
    assert counters["encodings"] == n_encodings == 1
    assert not np.allclose(half.responses[30:], alone.responses[30:])
    predictor.predict(window, mask.with_frames(False))
    assert counters["encodings"] == 1  # the part without video has no such mean
    predictor.predict(window, mask.with_frames(slice(0, 20)))
    assert counters["encodings"] == 2


def test_the_mean_follows_the_transformer(session, predictor):
    """With a gain of 1 and nothing else, predictions are the transformer's."""
    mask = om.Mask.from_strategy(STRATEGY, 12)
    fitted, _, gain = predictor._parts[KNOWN]["video"]
    fitted.weights[:], fitted.intercept[:], gain[:] = 0, 0, 1
    fitted.scale[:], window = 1e-6, session.window(3.0)
    plain = predictor.transformer.predict(window, mask).responses
    found = predictor.predict(window, mask).responses
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_can_be_read_without_the_part(session, path, predictor):
    window, mask = session.window(3.0), om.Mask.from_strategy(STRATEGY, 12)
    plain = load_checkpoint_predictor(path, with_context=False)
    assert plain.predictor_id != predictor.predictor_id
    assert predictor.has_context(session)
    expected = predictor.transformer.predict(window, mask).responses
    np.testing.assert_array_equal(plain.predict(window, mask).responses, expected)


def test_a_session_without_a_part_gets_the_transformers_predictions(path, tmp_path):
    other = om.open_session(write_session(tmp_path / NEW, 9))
    predictor, mask = om.load_predictor(path), om.Mask.from_strategy(STRATEGY, 9)
    found = predictor.predict(other.window(3.0), mask)
    expected = predictor.transformer.predict(other.window(3.0), mask)
    np.testing.assert_array_equal(found.responses, expected.responses)


def test_the_expected_time_of_a_fine_tuning_contains_the_part(session, path, tmp_path):
    seconds, bare = FAMILY.transfer.seconds, read_checkpoint(path).build()
    plain = save_checkpoint(tmp_path / "plain", bare)
    least, longer = (seconds(str(one), 10**6, session, 20) for one in (plain, path))
    assert 0 < least < longer
    # The folder of a fine-tuning also has the weights of its best step, without the part.
    save_checkpoint(tmp_path / "run" / "best.safetensors", bare)
    for suffix in (".safetensors", ".json"):
        shutil.copy(path.with_suffix(suffix), tmp_path / "run" / f"finetuned{suffix}")
    assert seconds(str(tmp_path / "run"), 10**6, session, 20) == longer
    # Of shipped models the file of the name is known; more steps take longer.
    assert seconds("demo-plain", 10**6, session, 20) == least
    assert seconds("demo", 10**6, session, 20) == longer < seconds("demo", 10**6, session, 40)


def test_sources_come_from_one_set_of_sums(session, path, predictor):
    chosen = {"targets": [0, 5], "max_windows": 2}
    names = ["video", "behavior", "history", "other neurons"]
    before = predictor.transformer.counters["encodings"]
    found = om.sources(predictor, session, names, **chosen)
    # Of two windows: with and without the video, each with and without behaviour.
    assert predictor.transformer.counters["encodings"] - before <= 8
    by_masks = om.load_predictor(path)
    by_masks._needs = replace(by_masks.needs, methods=frozenset())
    expected = om.sources(by_masks, session, names, **chosen)
    np.testing.assert_allclose(found.errors.squared, expected.errors.squared, rtol=1e-3)


@pytest.mark.parametrize("fault", ["missing", "shorter"])
def test_a_damaged_part_is_refused(path, tmp_path, fault):
    checkpoint, name = read_checkpoint(path), f"{KNOWN}.video.gain"
    context = dict(checkpoint.context)
    gain = context.pop(name)
    if fault == "shorter":
        context[name] = gain[1:]
    damaged = tmp_path / "damaged.safetensors"
    save_checkpoint(damaged, checkpoint.build(), context=context)
    with pytest.raises(CheckpointError, match=rf"damaged: .*{KNOWN}\.video"):
        om.load_predictor(damaged)


def test_inputs_that_the_part_was_not_fitted_for_are_refused(session, path, tmp_path):
    checkpoint = read_checkpoint(path)
    context = {k: v for k, v in checkpoint.context.items() if ".none." in k}
    blind = tmp_path / "blind"
    save_checkpoint(blind, checkpoint.build(), context=context)
    mask = om.Mask.from_strategy(STRATEGY, 12)
    with pytest.raises(UnsupportedRequestError, match="none, not for video"):
        om.load_predictor(f"{blind}.safetensors").predict(session.window(3.0), mask)


def test_a_fit_can_be_stopped(session, predictor):
    with pytest.raises(StoppedError):
        fit_context(predictor.transformer, session, job=CallbackJob(cancelled=lambda: True))


def test_a_session_with_other_channels_of_behaviour_has_a_part(path, tmp_path):
    folder = write_session(tmp_path / KNOWN, 12)
    shutil.rmtree(folder / "eye_tracker")
    session, transformer = om.open_session(folder), om.load_predictor(path).transformer
    context = fit_context(transformer, session)
    predictor = OmniMouseWithContext(transformer, context, "")
    mask = om.Mask.nothing(session).with_frames(True).ask(slice(None))
    found = [
        predictor.predict(session.window(3.0), mask.with_behavior(visible)).responses
        for visible in (True, False)
    ]
    assert np.isfinite(found[0][30:]).all()
    assert not np.allclose(found[0][30:], found[1][30:])
