"""The transformer as a predictor: the contract that every predictor keeps."""

from copy import deepcopy
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnimouse_model.analysis.contexts import Context, context_mask
from omnimouse_model.analysis.live_sweep import live_draw
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.data.windows import Window
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.masks import TARGET, VISIBLE, Mask, asked_cells, seen_cells
from omnimouse_model.nets.checkpoint import read_checkpoint, save_checkpoint
from omnimouse_model.nets.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse import OmniMouse
from omnimouse_model.nets.start import initialise
from omnimouse_model.predict.loading import load_checkpoint_predictor, resolve_device
from omnimouse_model.predict.transformer import TransformerPredictor
from omnimouse_model.strategies import mask_from_strategy, strategy_names
from omnimouse_model.tokens import clip_from_windows, layout_from_mask
from omnimouse_model.train.finetune import finetune
from tests.model.drawn_masks import masks
from tests.model.small_net import SMALL
from tests.small_sessions import write_session

OFFICIAL = replace(
    SMALL,
    hidden_video="cut",
    ideal_times=False,
    hiera=replace(SMALL.hiera, windows="official", patch_stride=(2, 2, 2)),
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("s") / "mouse", 12))


def predictor_for(session: Session, config: OmniMouseConfig) -> TransformerPredictor:
    counts = {session.id: session.n_neurons}
    net = OmniMouse(config, counts, {session.id: "mouse"})
    initialise(net, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in net.parameters():  # large enough for every path to show
            parameter.mul_(1.5).add_(0.01)
    return TransformerPredictor(net.eval(), "small")


@pytest.fixture(scope="module", params=["ours", "official", "fine-tuned"])
def predictor(session, request, tmp_path_factory):
    if request.param != "fine-tuned":
        return predictor_for(session, SMALL if request.param == "ours" else OFFICIAL)
    other = replace(session, id="other-1-1")
    out = tmp_path_factory.mktemp("fine-tuned")
    return finetune(predictor_for(other, SMALL), session, out, steps=2, batch=2)


@pytest.fixture
def window(session):
    return session.window(3.0)


def with_changes(window: Window, **arrays: np.ndarray) -> Window:
    """The same window with other values: what a leak would show."""
    changed = Window(window.session, window.start_index)
    _ = (changed.responses, changed.video, changed.behavior, changed.valid)
    if "responses" in arrays:
        changed._cache["responses"] = (
            arrays["responses"],
            changed._cache["responses"][1],
        )
    for name in ("video", "behavior"):
        if name in arrays:
            changed._cache[name] = arrays[name]
    return changed


@given(mask=masks(12))
@settings(max_examples=25)
def test_withheld_values_change_nothing(predictor, session, mask):
    window, draw = session.window(3.0), np.random.default_rng(0)
    noise = draw.gamma(2.0, 3.0, window.responses.shape).astype(np.float32)
    responses = np.where(seen_cells(mask), window.responses, noise)
    changes = {"responses": responses}
    if mask.behavior != "visible":
        changes["behavior"] = window.behavior + 5.0
    if predictor.needs.withholds_video:
        video = window.video.copy()
        video[~mask.frames] += 3.0
        changes["video"] = video
    before = predictor.predict(window, mask)
    predictor._kept.clear()
    after = predictor.predict(with_changes(window, **changes), mask)
    assert np.array_equal(before.responses, after.responses, equal_nan=True)
    if mask.behavior == "target":
        assert np.array_equal(before.behavior, after.behavior)
    predictor._kept.clear()


@given(mask=masks(12))
@settings(max_examples=25)
def test_outputs_are_finite_exactly_where_something_was_asked(predictor, session, mask):
    out = predictor.predict(session.window(3.0), mask)
    finite = np.isfinite(out.responses)
    assert np.array_equal(finite, asked_cells(mask)[:, out.neurons])
    assert (out.responses[finite] >= 0).all()
    assert (out.behavior is not None) == (mask.behavior == "target")
    if out.behavior is not None:
        assert out.behavior.shape == (40, 5)
        assert np.isfinite(out.behavior).all()


def test_neurons_whose_targets_are_all_left_out_are_not_answered(predictor, session):
    mask = Mask.nothing(session).with_frames(True)
    mask = mask.ask([1], slice(0, 5)).ask([2], slice(30, 60))  # the first are guarded
    found = predictor.predict(session.window(2.0), mask)
    assert found.neurons.tolist() == [2]
    assert np.isfinite(found.responses[30:]).all()


def test_the_empty_mask_is_answered_with_nothing(predictor, window):
    out = predictor.predict(window, Mask.nothing(12))
    assert out.responses.shape == (60, 0)
    assert out.behavior is None


def test_visible_values_do_matter(predictor, window):
    mask = (
        Mask.nothing(12)
        .show(range(6), slice(0, 60))
        .ask(range(6, 12), slice(30, 60))
        .with_frames(True)
        .with_behavior("visible")
    )
    base = predictor.predict(window, mask).responses
    predictor._kept.clear()
    louder = predictor.predict(
        with_changes(window, responses=window.responses + 2), mask
    )
    assert not np.allclose(base, louder.responses, equal_nan=True)
    predictor._kept.clear()
    moved = predictor.predict(with_changes(window, behavior=window.behavior + 2), mask)
    assert not np.allclose(base, moved.responses, equal_nan=True)
    predictor._kept.clear()
    other = predictor.predict(
        with_changes(window, video=window.video[::-1].copy()), mask
    )
    assert not np.allclose(base, other.responses, equal_nan=True)
    predictor._kept.clear()


def by_hand(mask: Mask) -> Mask:
    """The same cells, order, cuts and span, painted neuron by neuron."""
    painted = Mask.nothing(mask.n_neurons).with_order(mask.order)
    for neuron in range(mask.n_neurons):
        for code in (VISIBLE, TARGET):
            painted = painted.paint(neuron, mask.cells[:, neuron] == code, code)
    painted = painted.with_frames(mask.frames).with_behavior(mask.behavior)
    return painted.with_cuts(*mask.cuts).with_context_span(*mask.context_span)


@given(st.sampled_from(strategy_names()), st.none() | st.integers(0, 99))
@settings(max_examples=20)
def test_a_painted_strategy_is_the_strategy_bit_for_bit(predictor, session, name, seed):
    named = mask_from_strategy(name, session, seed)
    painted = by_hand(named)
    assert painted == named
    one, other = layout_from_mask(named), layout_from_mask(painted)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        assert same, field.name
    window = session.window(3.0)
    a, b = predictor.predict(window, named), predictor.predict(window, painted)
    assert np.array_equal(a.responses, b.responses, equal_nan=True)
    assert (a.behavior is None) == (b.behavior is None)
    if a.behavior is not None:
        assert np.array_equal(a.behavior, b.behavior)


@given(mask=masks(12), seed=st.integers(0, 99))
@settings(max_examples=12)
def test_permuting_neurons_permutes_outputs(predictor, session, mask, seed):
    draw, window = np.random.default_rng(seed), session.window(3.0)
    everyone = np.arange(12)
    before = predictor.predict(window, mask, everyone)
    in_other_order = mask.with_order(mask.order[draw.permutation(len(mask.order))])
    turned = draw.permutation(12)
    permuted = replace(
        mask, cells=mask.cells[:, turned], order=np.argsort(turned)[mask.order]
    )
    relabelled = relabelled_predictor(predictor, session, turned)
    other = with_changes(window, responses=window.responses[:, turned])
    for after, columns in (
        (predictor.predict(window, in_other_order, everyone), everyone),
        (relabelled.predict(other, permuted, everyone), np.argsort(turned)),
    ):
        np.testing.assert_allclose(
            after.responses[:, columns], before.responses, rtol=1e-5, atol=1e-5
        )
        if before.behavior is not None:
            np.testing.assert_allclose(
                after.behavior, before.behavior, rtol=1e-5, atol=1e-5
            )


def relabelled_predictor(
    predictor: TransformerPredictor, session: Session, turned: np.ndarray
) -> TransformerPredictor:
    """The same net, whose neuron i is the other's neuron `turned[i]`."""
    net = deepcopy(predictor.net)
    own = net.session(session.id)
    with torch.no_grad():
        for parameter in own.parameters():
            if parameter.ndim == 2:  # what is kept of each neuron
                parameter.copy_(parameter[torch.from_numpy(turned)].clone())
    return TransformerPredictor(net, "relabelled")


def test_encoding_once_and_decoding_in_parts_is_predicting(predictor, window):
    mask = mask_from_strategy("causal_response_25_video_behavior", 12)
    whole = predictor.predict(window, mask)
    encoded = predictor.encode(window, mask)
    for neurons in ([3, 1], [0, 11, 5]):
        part = predictor.decode(encoded, np.array(neurons))
        assert part.neurons.tolist() == neurons
        assert np.allclose(
            part.responses, whole.responses[:, neurons], atol=1e-5, equal_nan=True
        )


def test_many_requests_equal_single_ones(predictor, session):
    masks = [
        mask_from_strategy("test/video_behavior", 12),
        mask_from_strategy("test/all_response_only", 12),
    ]
    requests = [
        (session.window(float(s)), mask, None) for mask in masks for s in (2, 3, 4)
    ]
    answers = list(predictor.predict_many(requests))
    assert len(answers) == 6
    for (window, mask, _), answer in zip(requests, answers, strict=True):
        alone = predictor.predict(window, mask)
        assert answer.mask_id == mask.mask_id
        assert np.allclose(answer.responses, alone.responses, atol=1e-4, equal_nan=True)
        if alone.behavior is not None:
            assert answer.behavior is not None
            assert np.allclose(answer.behavior, alone.behavior, atol=1e-4)
    assert list(predictor.predict_many(requests, cancelled=lambda: True)) == []


@pytest.mark.parametrize("config", [SMALL, OFFICIAL], ids=["ours", "official"])
def test_masks_computed_together_are_answered_as_alone(session, config):
    one, together = predictor_for(session, config), predictor_for(session, config)
    together.joins_masks = True
    assert (one.at_once, together.at_once) == (1, 8)
    neurons, window = np.array([10, 3]), session.window(3.0)
    draw = live_draw(12, neurons)
    contexts = [
        Context(n, history, video, behavior)
        for behavior in (True, False)
        for video in (False, True)
        for n, history in ((0, 0), (2, 0), (5, 0), (9, 0), (0, 10), (0, 25))
    ]
    masks = [context_mask(context, draw) for context in contexts]
    requests = [(window, mask, neurons) for mask in masks]
    answers = list(together.predict_many(requests))
    assert together.counters["encodings"] == 4 * 3
    for mask, answer in zip(masks, answers, strict=True):
        alone = one.predict(window, mask, neurons)
        assert answer.mask_id == mask.mask_id
        assert answer.neurons.tolist() == neurons.tolist()
        np.testing.assert_allclose(answer.responses, alone.responses, atol=2e-5)
        assert (answer.behavior is None) == (alone.behavior is None)
        if alone.behavior is not None:
            np.testing.assert_allclose(answer.behavior, alone.behavior, atol=2e-5)
    assert together.counters["tokens"] == one.counters["tokens"]


@pytest.mark.parametrize("config", [SMALL, OFFICIAL], ids=["ours", "official"])
@given(mask=masks(12))
@settings(max_examples=15)
def test_what_no_query_may_attend_is_left_out_and_changes_nothing(
    session, config, mask
):
    net = predictor_for(session, config).net
    layout, window = layout_from_mask(mask), session.window(3.0)
    clip = clip_from_windows([window], [mask], config, session.id)
    with torch.inference_mode():
        video = None
        if not layout.video_missing:
            video = net.encode_video(torch.from_numpy(window.video)[None, None], layout)
        whole = net.encode(clip, layout, video, whole=True)
        lean = net.encode(clip, layout, video)
        assert lean.processed.shape[1] <= whole.processed.shape[1]
        if len(layout.query_neurons):
            expected, _ = net.decode_responses(clip, layout, whole)
            found, _ = net.decode_responses(clip, layout, lean)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        if layout.behavior == "target":
            expected, _ = net.decode_behavior(whole)
            found, _ = net.decode_behavior(lean)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_last_second_leaves_the_first_out_of_the_last_layer(session):
    net = predictor_for(session, SMALL).net
    mask = Mask.nothing(12).ask([4], slice(45, 60)).with_frames(True)
    layout, window = layout_from_mask(mask), session.window(3.0)
    clip = clip_from_windows([window], [mask], SMALL, session.id)
    video = net.encode_video(torch.from_numpy(window.video)[None, None], layout)
    whole = net.encode(clip, layout, video, whole=True).processed.shape[1]
    assert net.encode(clip, layout, video).processed.shape[1] < whole / 2


def test_masks_that_ask_otherwise_are_not_computed_together(session):
    together = predictor_for(session, SMALL)
    together.joins_masks = True
    window = session.window(3.0)
    mask = Mask.nothing(12).show([1], slice(0, 60)).ask([4], slice(30, 60))
    others = [
        mask.ask([5], slice(30, 60)),
        mask.ask([4], slice(20, 60)),
        mask.with_order(mask.order[::-1]),
        mask.with_frames(slice(0, 30)),
        mask.with_behavior("visible"),
        mask.with_context_span(0, 30),
    ]
    requests = [(window, asked, None) for asked in (mask, *others)]
    answers = list(together.predict_many(requests))
    assert together.counters["encodings"] == len(requests)
    for (_, asked, _), answer in zip(requests, answers, strict=True):
        alone = together.predict(window, asked).responses
        np.testing.assert_array_equal(answer.responses, alone)


def test_a_new_mask_does_not_encode_the_video_again(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("test/video_behavior", 12)
    window = session.window(3.0)
    predictor.predict(window, mask)
    for neuron in range(5):
        mask = mask.show([neuron], slice(0, 60))
        predictor.predict(window, mask)
    assert predictor.counters["video_encodings"] == 1
    predictor.predict(window, mask.with_frames(slice(0, 30)))
    assert predictor.counters["video_encodings"] == 2
    official = predictor_for(session, OFFICIAL)
    official.predict(window, mask)
    official.predict(window, mask.with_frames(slice(0, 30)))
    assert official.counters["video_encodings"] == 1


def test_cutting_after_one_encoding_equals_encoding_for_the_cut(session):
    official, window = predictor_for(session, OFFICIAL), session.window(3.0)
    mask = mask_from_strategy("test/video_behavior", 12).with_frames(slice(10, 40))
    alone = official.predict(window, mask).responses
    official._kept.clear()
    official.predict(window, mask.with_frames(True))
    assert np.array_equal(
        official.predict(window, mask).responses, alone, equal_nan=True
    )


def test_hidden_frames_inform_official_checkpoints_and_they_say_so(session):
    official, window = predictor_for(session, OFFICIAL), session.window(3.0)
    mask = mask_from_strategy("test/video_behavior", 12).with_frames(slice(30, 60))
    before = official.predict(window, mask).responses
    video = window.video.copy()
    video[:30] += 3.0
    official._kept.clear()
    after = official.predict(with_changes(window, video=video), mask).responses
    assert not np.array_equal(before, after, equal_nan=True)
    assert not official.needs.withholds_video


def test_what_cannot_be_served_is_refused_with_the_reason(predictor, session, tmp_path):
    folder = write_session(tmp_path / "other", 9)
    other = open_session(folder)
    with pytest.raises(UnsupportedRequestError, match="does not know session"):
        predictor.predict(other.window(3.0), Mask.nothing(9))
    with pytest.raises(UnsupportedRequestError, match="mask is for 9 neurons"):
        predictor.predict(session.window(3.0), Mask.nothing(9))
    with pytest.raises(UnsupportedRequestError, match="float64"):
        resolve_device("mps")


def test_a_running_decode_gives_way(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("test/video_behavior", 12)
    encoded = predictor.encode(session.window(3.0), mask)
    polls: list[int] = []

    def outdated() -> bool:
        polls.append(1)
        return len(polls) > 2

    predictor.stop_when(outdated)
    with pytest.raises(StoppedError):
        predictor.decode(encoded)


def test_it_stops_when_told(session):
    predictor = predictor_for(session, SMALL)
    predictor.stop_when(lambda: True)
    mask = mask_from_strategy("test/video_behavior", 12)
    with pytest.raises(StoppedError):
        predictor.encode(session.window(3.0), mask)
    assert predictor.counters["video_encodings"] == 0


def test_a_stop_is_looked_for_between_all_layers(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("causal_response_25_video_behavior", 12)
    polls: list[int] = []
    predictor.stop_when(lambda: bool(polls.append(1)))
    predictor.encode(session.window(3.0), mask)
    layers = [m for m in predictor.net.modules() if isinstance(m, torch.nn.Linear)]
    decoder = [m for m in predictor.net.decs.modules() if m in layers]
    assert len(polls) >= len(layers) - len(decoder) - 4  # four readouts and projections
    for last in range(0, len(polls), 7):
        left = iter(range(last))
        predictor.stop_when(lambda left=left: next(left, None) is None)
        predictor._kept.clear()
        with pytest.raises(StoppedError):
            predictor.encode(session.window(3.0), mask)
    assert not any(module._forward_pre_hooks for module in predictor.net.modules())


def test_an_answer_is_copied_from_the_device_once(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("test/video_behavior", 12).with_behavior("target")
    encoded = predictor.encode(session.window(3.0), mask)
    assert predictor.counters["fetches"] == 0
    answer = predictor.decode(encoded)
    assert answer.behavior is not None
    assert np.isfinite(answer.responses).any()
    assert predictor.counters["fetches"] == 1
    predictor.decode(encoded, np.array([1, 2]))
    assert predictor.counters["fetches"] == 2


def test_a_mask_is_made_to_tokens_once(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("causal_response_25_video_behavior", 12)
    encoded = predictor.encode(session.window(3.0), mask)
    built = predictor.counters["tokens"]
    assert built == 12 * 4  # 25 samples: tokens from 0, 5, 10 and 15
    predictor.decode(encoded, np.array([1, 2]))
    predictor.decode(encoded)
    assert predictor.counters["tokens"] == built


def test_looking_ahead_leaves_nothing_of_the_video_to_do(session):
    predictor = predictor_for(session, SMALL)
    mask = mask_from_strategy("test/video_behavior", 12)
    predictor.predict(session.window(3.0), mask)
    predictor.look_ahead(session.window(5.0), mask)
    assert predictor.counters["video_encodings"] == 2
    found = predictor.predict(session.window(5.0), mask)
    assert predictor.counters["video_encodings"] == 2
    fresh = predictor_for(session, SMALL).predict(session.window(5.0), mask)
    assert np.array_equal(found.responses, fresh.responses, equal_nan=True)
    predictor.stop_when(lambda: True)
    with pytest.raises(StoppedError):
        predictor.look_ahead(session.window(7.0), mask)


def test_a_saved_predictor_answers_the_same(session, tmp_path):
    predictor = predictor_for(session, SMALL)
    path = save_checkpoint(tmp_path / "small", predictor.net)
    loaded = load_checkpoint_predictor(path, device="cpu")
    assert loaded.predictor_id.startswith("small@")
    assert read_checkpoint(path).config == SMALL
    mask = mask_from_strategy("causal_response_25_video_behavior", 12)
    window = session.window(3.0)
    assert np.allclose(
        loaded.predict(window, mask).responses,
        predictor.predict(window, mask).responses,
        atol=1e-5,
        equal_nan=True,
    )
    assert (mask.cells == TARGET).any()
