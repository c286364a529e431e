"""Stored sums over blocks of tokens: the numbers of one attention, whatever was before."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnimouse_model.analysis.stimulus_edits import BehaviorSet
from omnimouse_model.data.open import open_session
from omnimouse_model.families.omnimouse import token_sums
from omnimouse_model.families.omnimouse.network import OmniMouse
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.token_sums import NeuronBlocks
from omnimouse_model.families.omnimouse.tokens import (
    batch_from_windows,
    layout_from_mask,
    responses_on,
)
from omnimouse_model.masks import Mask
from tests.model.random_masks import masks
from tests.model.small_net import SMALL, small_net
from tests.small_sessions import write_session

N = 40
COARSE = replace(SMALL.hiera, patch_stride=(2, 8, 8), mask_unit_size=(1, 4, 4))
PLAIN = replace(SMALL, hiera=COARSE)
CONFIGS = {
    "ideal": PLAIN,
    "recorded times": replace(PLAIN, ideal_times=False, hidden_video="cut"),
    "grouped heads": replace(PLAIN, num_kv_heads=1),
    "behaviour needs responses": replace(PLAIN, enable_fallback_sensorium_behavior=True),
    "time of the experiment": replace(PLAIN, add_exp_time_embedding=True),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("s") / "mouse", N))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Eight blocks in a tree of three levels."""
    monkeypatch.setattr(token_sums, "BLOCK", 5)
    monkeypatch.setattr(token_sums, "FAN", 4)


@cache
def net_of(session_id, config) -> OmniMouse:
    return small_net({session_id: N}, config)


def predictor_for(session, config, **options) -> TransformerPredictor:
    return TransformerPredictor(net_of(session.id, config), "small", **options)


def latents(predictor, window, mask) -> torch.Tensor:
    (encoded,) = predictor.encode(window, mask).state.context.encoded
    return encoded.latents


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@given(mask=masks(N), at=st.sampled_from([1.0, 6.0]))
@settings(max_examples=12)
def test_sums_of_blocks_are_the_attention_to_all_tokens(session, config, mask, at):
    predictor, window = predictor_for(session, config), session.window(at)
    layout = layout_from_mask(mask, window.missing)
    batch = batch_from_windows([window], [mask], config, session.id)
    with torch.inference_mode():
        expected = predictor.net.encode_tokens(batch, layout)[0].latents
    torch.testing.assert_close(latents(predictor, window, mask), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def windows(session):
    """Two windows, one with edited behaviour, and one of a recording with gaps."""
    values = np.abs(np.random.default_rng(2).normal(size=(600, N))).astype("f4")
    values[100:112, 3:5] = np.nan
    gaps = open_session({"responses": values, "rate_hz": 30.0, "id": session.id})
    found = session.window(1.0), session.window(6.0)
    return *found, found[1].with_edits((BehaviorSet("running", 3.0),)), gaps.window(2.5)


@given(
    strokes=st.lists(masks(N), min_size=2, max_size=5),
    limit=st.sampled_from([0, 30_000, None]),
    config=st.sampled_from(sorted(CONFIGS)),
)
@settings(max_examples=10)
def test_latents_have_the_bits_of_a_fresh_encoding(session, windows, strokes, limit, config):
    predictor = predictor_for(session, CONFIGS[config], sums_bytes=limit)
    # Forth and back, as strokes and their undo.
    for mask in [*strokes, *strokes[::-1]]:
        fresh = predictor_for(session, CONFIGS[config])
        for window in windows:
            if window.session is session or not reads_streams(mask):
                found, expected = (latents(one, window, mask) for one in (predictor, fresh))
                assert torch.equal(found, expected)
    if limit is not None:
        assert predictor._encoder.n_bytes <= limit


def reads_streams(mask: Mask) -> bool:
    return bool(mask.frames.any()) or mask.has_visible_behavior


def test_missing_and_edited_values_are_tokens_of_their_own(session, windows):
    mask = Mask.nothing(session).show(slice(0, 30)).with_behavior(True)
    _, plain, edited, gaps = windows
    one = predictor_for(session, PLAIN)
    assert not torch.equal(latents(one, plain, mask), latents(one, edited, mask))
    without = mask.with_behavior(False)
    n_tokens = one.counters["tokens"]
    latents(one, gaps, without)
    layout = layout_from_mask(without, gaps.missing)
    assert gaps.missing is not None
    assert one.counters["tokens"] - n_tokens == len(layout.token_neurons) < 30 * 11


def test_tokens_of_another_query_are_computed_once(session):
    mask, window = Mask.nothing(session).show(slice(0, 30)), session.window(1.0)
    predictor = predictor_for(session, PLAIN)
    latents(predictor, window, mask)
    n_tokens = predictor.counters["tokens"]
    assert n_tokens == len(layout_from_mask(mask, window.missing).token_neurons)
    latents(predictor, window, mask.with_frames(True))
    assert predictor.counters["tokens"] == n_tokens


def test_keys_of_behaviour_serve_contexts_with_and_without_video(session):
    predictor, window = predictor_for(session, PLAIN), session.window(1.0)
    mask = Mask.nothing(session).show(slice(0, 5)).with_behavior("visible")
    contexts = [mask, mask.with_frames(True)]
    calls: list[object] = []
    hook = predictor.net.behavior_featx.register_forward_hook(lambda *_: calls.append(1))
    try:
        found = [latents(predictor, window, context) for context in contexts]
    finally:
        hook.remove()
    assert len(calls) == 1
    for one, context in zip(found, contexts, strict=True):
        assert torch.equal(one, latents(predictor_for(session, PLAIN), window, context))


def test_blocks_are_those_of_the_recording_that_is_asked(session):
    mask = Mask.nothing(session).show(slice(0, 30))
    values = np.abs(np.random.default_rng(2).normal(size=(600, N))).astype("f4")
    places = np.random.default_rng(3).uniform(0, 900, (N, 3))
    other = open_session({"responses": values, "rate_hz": 30.0, "id": session.id, "xyz_um": places})
    one = predictor_for(session, PLAIN)
    latents(one, session.window(1.0), mask)
    fresh = latents(predictor_for(session, PLAIN), other.window(1.0), mask)
    assert torch.equal(latents(one, other.window(1.0), mask), fresh)


@pytest.mark.parametrize("count", [2, 8])
def test_latents_of_a_batch_have_the_bits_of_each_window_alone(session, count):
    mask = Mask.nothing(session).show(slice(0, 30)).ask(slice(30, N), slice(30, 60))
    windows = [session.window(1.0 + 2 * number) for number in range(count)]
    state = predictor_for(session, PLAIN)._encoded([(w, mask) for w in windows], lambda: False)
    for window, encoded in zip(windows, state.context.encoded, strict=True):
        assert torch.equal(encoded.latents, latents(predictor_for(session, PLAIN), window, mask))


def test_a_stroke_computes_the_tokens_of_its_blocks_only(session):
    predictor, window = predictor_for(session, PLAIN), session.window(1.0)
    mask = Mask.nothing(session).show(slice(0, 30)).ask(slice(30, N), slice(30, 60))
    predictor.encode(window, mask)
    assert predictor.counters["tokens"] == 30 * 11
    blocks = NeuronBlocks.of(session.units.plane, session.units.xyz_um)
    stroke = mask.hide([3])
    predictor.encode(window, stroke)
    members = blocks.members(0, int(blocks.block_of[3]))
    touched = 11 * (np.count_nonzero(members < 30) - 1)
    assert predictor.counters["tokens"] == 30 * 11 + touched
    # Undo, other frames' steps and other targets change no token.
    predictor.encode(window, mask)
    predictor.encode(window, mask.ask([35], slice(10, 20)))
    assert predictor.counters["tokens"] == 30 * 11 + touched


def test_few_tokens_are_summed_at_once(session):
    predictor, window = predictor_for(session, PLAIN), session.window(1.0)
    blocks = NeuronBlocks.of(session.units.plane, session.units.xyz_um)
    neurons = [int(blocks.members(0, number)[0]) for number in range(0, blocks.count, 2)]
    found = latents(predictor, window, Mask.nothing(session).show(neurons))
    (store,) = predictor._encoder._windows.values()
    assert len(store.sums) == 1
    # Shown one after the other, as by strokes.
    other, mask = predictor_for(session, PLAIN), Mask.nothing(session)
    for neuron in neurons:
        mask = mask.show([neuron])
        shown = latents(other, window, mask)
    assert torch.equal(shown, found)


def test_beyond_the_limit_the_sums_above_blocks_stay(session):
    mask = Mask.nothing(session).show(slice(0, N))
    windows = [session.window(1.0), session.window(6.0)]
    one = predictor_for(session, PLAIN)
    one.encode(windows[0], mask)
    predictor = predictor_for(session, PLAIN, sums_bytes=int(1.5 * one._encoder.n_bytes))
    for window in windows:
        predictor.encode(window, mask)
    before = predictor.counters["tokens"]
    found = latents(predictor, windows[0], mask)
    assert predictor.counters["tokens"] == before
    # A stroke computes the other blocks of one sum again, not those of the window.
    stroke = mask.hide([3])
    predictor._encoder.unit_keys.clear()  # kept keys of tokens are not counted
    found = latents(predictor, windows[0], stroke)
    blocks = NeuronBlocks.of(session.units.plane, session.units.xyz_um)
    parent = blocks.block_of[3] // token_sums.FAN
    siblings = np.count_nonzero(blocks.block_of // token_sums.FAN == parent)
    assert predictor.counters["tokens"] - before == 11 * (siblings - 1)
    assert torch.equal(found, latents(predictor_for(session, PLAIN), windows[0], stroke))


def test_values_outside_of_tokens_are_not_read(session):
    predictor, window = predictor_for(session, PLAIN), session.window(1.0)
    mask = Mask.nothing(session).show(slice(0, 30), slice(0, 25)).ask(slice(0, 30), slice(30, 60))
    before = latents(predictor, window, mask)
    values = responses_on(window, "cpu").clone()
    values[torch.from_numpy(~mask.visible)] = torch.nan
    predictor.clear_caches()
    predictor._cache.get(("responses", window.key), lambda: values)
    assert torch.equal(latents(predictor, window, mask), before)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_blocks_are_neighbours_and_hold_each_neuron_once(monkeypatch, count):
    monkeypatch.setattr(token_sums, "BLOCK", 64)
    draw = np.random.default_rng(1)
    positions = draw.uniform(0, 1000, (count, 3))
    positions[::50] = np.nan
    plane = draw.integers(0, 2, count)
    blocks = NeuronBlocks.of(plane, positions)
    assert sorted(blocks.neurons.tolist()) == list(range(count))
    sizes = [len(blocks.members(0, number)) for number in range(blocks.count)]
    assert all(size == 64 for size in sizes[:-1])
    assert blocks.block_of[blocks.members(0, 0)].tolist() == [0] * len(blocks.members(0, 0))
    if count == 1000:
        first = positions[blocks.members(0, 0)]
        assert np.nanmean(np.linalg.norm(first - np.nanmean(first, axis=0), axis=1)) < 300
