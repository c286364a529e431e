"""The transformer as a predictor: what every predictor promises."""

from copy import deepcopy
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnimouse_model.analysis.fit import finetune
from omnimouse_model.analysis.sweep.contexts import Context, context_mask
from omnimouse_model.analysis.sweep.live_sweep import live_draw
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.config import OmniMouseConfig
from omnimouse_model.families.omnimouse.context_part import load_checkpoint_predictor
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.tokens import batch_from_windows, layout_from_mask
from omnimouse_model.masks import TARGET, VISIBLE, Mask, input_cells, scored_cells
from omnimouse_model.masks.strategies import strategy_names
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Prediction
from tests.model.other_windows import window_with
from tests.model.random_masks import masks
from tests.model.small_net import SMALL, save_checkpoint, small_net
from tests.small_sessions import write_session

COARSE = replace(SMALL.hiera, patch_stride=(2, 8, 8), mask_unit_size=(1, 4, 4))
OURS = replace(SMALL, hiera=COARSE)
OFFICIAL = replace(
    OURS, hidden_video="cut", ideal_times=False, hiera=replace(COARSE, windows="official")
)
WITH_VIDEO = Mask.from_strategy("test/video_behavior", 12)
FORECAST = Mask.from_strategy("causal_response_25_video_behavior", 12)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("s") / "mouse", 12))


def predictor_for(session: Session, config: OmniMouseConfig) -> TransformerPredictor:
    return TransformerPredictor(small_net({session.id: session.n_neurons}, config), "small")


@pytest.fixture(scope="module")
def predictors(session, tmp_path_factory):
    other = replace(session, id="other-1-1")
    out = tmp_path_factory.mktemp("fine-tuned")
    start = predictor_for(other, OURS)
    return {
        "ours": predictor_for(session, OURS),
        "official": predictor_for(session, OFFICIAL),
        "fine-tuned": finetune(start, session, out, steps=1, batch=1),
    }


@pytest.fixture(scope="module", params=["ours", "official"])
def predictor(predictors, request):
    return predictors[request.param]


@pytest.fixture(scope="module", params=["ours", "official", "fine-tuned"])
def any_predictor(predictors, request):
    return predictors[request.param]


@pytest.fixture
def ours(session):
    """Has computed nothing yet."""
    return predictor_for(session, OURS)


@pytest.fixture
def official(session):
    return predictor_for(session, OFFICIAL)


@pytest.fixture
def window(session):
    return session.window(3.0)


def assert_same(found: Prediction, expected: Prediction, atol: float = 0.0) -> None:
    """The same rates and behaviour, bit for bit or nearly."""
    close = {"rtol": atol, "atol": atol}
    np.testing.assert_allclose(found.responses, expected.responses, **close)
    assert (found.behavior is None) == (expected.behavior is None)
    if expected.behavior is not None:
        np.testing.assert_allclose(found.behavior, expected.behavior, **close)


@pytest.mark.slow
@given(mask=masks(12))
@settings(max_examples=12)
def test_withheld_values_change_nothing(any_predictor, session, mask):
    window, draw = session.window(3.0), np.random.default_rng(0)
    noise = draw.gamma(2.0, 3.0, window.responses.shape).astype(np.float32)
    changes = {"responses": np.where(input_cells(mask), window.responses, noise)}
    if mask.behavior != "visible":
        changes["behavior"] = window.behavior + 5.0
    if any_predictor.needs.withholds_video:
        hidden = ~mask.frames[:, None, None]
        changes["video"] = window.video + np.float32(3.0) * hidden
    before = any_predictor.predict(window, mask)
    any_predictor.clear_caches()
    after = any_predictor.predict(window_with(window, **changes), mask)
    any_predictor.clear_caches()
    assert_same(after, before)


@given(mask=masks(12))
@settings(max_examples=12)
def test_outputs_are_finite_exactly_where_asked(any_predictor, session, mask):
    out = any_predictor.predict(session.window(3.0), mask)
    finite = np.isfinite(out.responses)
    assert np.array_equal(finite, scored_cells(mask)[:, out.neurons])
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


def hand_painted_mask(mask: Mask) -> Mask:
    """The same cells, order, cuts and span, painted neuron by neuron."""
    # At 30 Hz, the guard after a visible run is the official one.
    painted = replace(Mask.nothing(mask.n_neurons), recording_rate_hz=30.0)
    painted = painted.with_attachment(order=mask.attachment.order)
    for neuron in range(mask.n_neurons):
        for code in (VISIBLE, TARGET):
            painted = painted.paint(neuron, mask.cells[:, neuron] == code, code)
    painted = painted.with_frames(mask.frames).with_behavior(mask.behavior)
    return painted.with_attachment(
        cuts=mask.attachment.cuts, context_span=mask.attachment.context_span
    )


@given(st.sampled_from(strategy_names()), st.none() | st.integers(0, 99))
@settings(max_examples=6)
def test_a_painted_strategy_is_the_strategy_bit_for_bit(predictor, session, name, seed):
    named = Mask.from_strategy(name, session, seed)
    painted = hand_painted_mask(named)
    assert painted == named
    one, other = layout_from_mask(named), layout_from_mask(painted)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        assert same, field.name
    window = session.window(3.0)
    assert_same(predictor.predict(window, painted), predictor.predict(window, named))


@pytest.mark.slow
@given(mask=masks(12), seed=st.integers(0, 99))
@settings(max_examples=6)
def test_permuting_neurons_permutes_outputs(any_predictor, session, mask, seed):
    draw, window = np.random.default_rng(seed), session.window(3.0)
    everyone = np.arange(12)
    before = any_predictor.predict(window, mask, everyone)
    in_other_order = mask.with_attachment(
        order=mask.attachment.order[draw.permutation(len(mask.attachment.order))]
    )
    assert_same(any_predictor.predict(window, in_other_order, everyone), before, 1e-5)
    turned = draw.permutation(12)
    back = np.argsort(turned)
    layout = replace(mask.attachment, order=back[mask.attachment.order])
    permuted = replace(mask, cells=mask.cells[:, turned], attachment=layout)
    other = window_with(window, responses=window.responses[:, turned])
    relabelled = relabelled_predictor(any_predictor, session, turned)
    after = relabelled.predict(other, permuted, everyone)
    assert_same(replace(after, responses=after.responses[:, back]), before, 1e-5)


def relabelled_predictor(
    predictor: TransformerPredictor, session: Session, turned: np.ndarray
) -> TransformerPredictor:
    """The same net, whose neuron i is the other's neuron `turned[i]`."""
    net = deepcopy(predictor.net)
    with torch.no_grad():
        for parameter in net.session(session.id).parameters():
            if parameter.ndim == 2:  # what is kept of each neuron
                parameter.copy_(parameter[torch.from_numpy(turned)].clone())
    return TransformerPredictor(net, "relabelled")


@pytest.mark.slow
@pytest.mark.parametrize("config", [OURS, OFFICIAL], ids=["ours", "official"])
def test_masks_computed_together_are_answered_as_alone(session, window, config):
    one, together = predictor_for(session, config), predictor_for(session, config)
    together.batch = 8
    assert (one.at_once, together.at_once) == (4, 8)
    neurons = np.array([10, 3])
    draw = live_draw(12, neurons)
    contexts = [
        Context(n, history, video, behavior)
        for behavior, video in ((True, False), (False, True))
        for n, history in ((0, 0), (2, 0), (5, 0), (9, 0), (0, 10), (0, 25))
    ]
    requests = [(window, context_mask(context, draw), neurons) for context in contexts]
    answers = list(together.predict_many(requests))
    assert together.counters["encodings"] == 2 * 3
    for (_, mask, _), answer in zip(requests, answers, strict=True):
        assert answer.mask_id == mask.mask_id
        assert answer.neurons.tolist() == neurons.tolist()
        assert_same(answer, one.predict(window, mask, neurons), 2e-5)
    assert together.counters["tokens"] == one.counters["tokens"]


def test_the_decoder_of_behaviour_reads_a_context_only_for_a_target(session):
    config = replace(OURS, per_modality_decoders=True)
    predictor, window = predictor_for(session, config), session.window(3.0)
    modes = {"visible": 1, "hidden": 1, "target": 2}
    for mode, count in modes.items():
        state = predictor.encode(window, WITH_VIDEO.with_behavior(mode)).state
        assert len(state.context.keys) == count


@pytest.mark.slow
@pytest.mark.parametrize("config", [OURS, OFFICIAL], ids=["ours", "official"])
@given(mask=masks(12))
@settings(max_examples=8)
def test_leaving_out_what_no_query_attends_changes_nothing(session, config, mask):
    net = predictor_for(session, config).net
    layout, window = layout_from_mask(mask), session.window(3.0)
    clip = batch_from_windows([window], [mask], config, session.id)
    with torch.inference_mode():
        video = None
        if not layout.video_missing:
            video = net.encode_video(torch.from_numpy(window.video)[None, None], layout)
        whole = net.encode(clip, layout, video, all_rows=True)
        lean = net.encode(clip, layout, video)
        assert lean.processed.shape[1] <= whole.processed.shape[1]
        decoded = []
        for context in (lean, whole):
            parts = {}
            if len(layout.query_neurons):
                parts["responses"] = net.decode_responses(clip, layout, context)[0]
            if layout.behavior == "target":
                parts["behavior"] = net.decode_behavior(context)[0]
            decoded.append(parts)
        torch.testing.assert_close(*decoded, atol=1e-5, rtol=1e-5)


def test_a_last_second_leaves_the_first_out_of_the_last_layer(session, window, ours):
    net = ours.net
    mask = Mask.nothing(12).ask([4], slice(45, 60)).with_frames(True)
    layout = layout_from_mask(mask)
    clip = batch_from_windows([window], [mask], OURS, session.id)
    video = net.encode_video(torch.from_numpy(window.video)[None, None], layout)
    whole = net.encode(clip, layout, video, all_rows=True).processed.shape[1]
    assert net.encode(clip, layout, video).processed.shape[1] < whole / 2


def test_masks_that_ask_otherwise_are_not_computed_together(window, ours):
    ours.batch = 8
    mask = Mask.nothing(12).show([1], slice(0, 60)).ask([4], slice(30, 60))
    others = [
        mask.ask([5], slice(30, 60)),
        mask.ask([4], slice(20, 60)),
        mask.with_attachment(order=mask.attachment.order[::-1]),
        mask.with_frames(slice(0, 30)),
        mask.with_behavior("visible"),
        mask.with_attachment(context_span=(0, 30)),
    ]
    requests = [(window, asked, None) for asked in (mask, *others)]
    answers = list(ours.predict_many(requests))
    assert ours.counters["encodings"] == len(requests)
    for (_, asked, _), answer in zip(requests, answers, strict=True):
        assert_same(answer, ours.predict(window, asked))


def test_a_new_mask_does_not_encode_the_video_again(window, ours, official):
    mask = WITH_VIDEO
    for neuron in range(5):
        mask = mask.show([neuron], slice(0, 60))
        ours.predict(window, mask)
    assert ours.counters["video_encodings"] == 1
    ours.predict(window, mask.with_frames(slice(0, 30)))
    assert ours.counters["video_encodings"] == 2
    official.predict(window, mask)
    official.predict(window, mask.with_frames(slice(0, 30)))
    assert official.counters["video_encodings"] == 1


def test_cutting_after_one_encoding_equals_encoding_for_the_cut(window, official):
    mask = WITH_VIDEO.with_frames(slice(10, 40))
    direct = official.predict(window, mask)
    official.clear_caches()
    official.predict(window, mask.with_frames(True))
    assert_same(official.predict(window, mask), direct)


def test_hidden_frames_inform_official_checkpoints_and_they_say_so(window, official):
    mask = WITH_VIDEO.with_frames(slice(30, 60))
    before = official.predict(window, mask).responses
    video = window.video.copy()
    video[:30] += 3.0
    official.clear_caches()
    after = official.predict(window_with(window, video=video), mask).responses
    assert not np.array_equal(before, after, equal_nan=True)
    assert not official.needs.withholds_video


def test_what_cannot_be_served_is_refused_with_the_reason(predictor, window, tmp_path):
    other = open_session(write_session(tmp_path / "other", 9))
    with pytest.raises(UnsupportedRequestError, match=r"not know session.*mouse.*om\.finetune"):
        predictor.predict(other.window(3.0), Mask.nothing(9))
    asked = Mask.nothing(window.session).ask(slice(None))
    for neurons in ([-1], [0, window.session.n_neurons]):
        with pytest.raises(UnsupportedRequestError, match="Neurons must be 0 to"):
            predictor.predict(window, asked, np.array(neurons))
    with pytest.raises(UnsupportedRequestError, match="mask is for 9 neurons"):
        predictor.predict(window, Mask.nothing(9))
    with pytest.raises(UnsupportedRequestError, match="No Apple GPU was found"):
        resolve_device("mps")


def test_an_encoding_and_a_running_decode_give_way(window, ours):
    with pytest.raises(StoppedError):
        ours.encode(window, WITH_VIDEO, lambda: True)
    assert ours.counters["video_encodings"] == 0
    encoded = ours.encode(window, WITH_VIDEO)
    polls = iter(range(2))
    with pytest.raises(StoppedError):
        ours.decode(encoded, cancelled=lambda: next(polls, None) is None)


def test_a_stop_is_looked_for_between_all_layers(window, ours):
    polls: list[int] = []
    ours.encode(window, FORECAST, lambda: bool(polls.append(1)))
    layers = [m for m in ours.net.modules() if isinstance(m, torch.nn.Linear)]
    decoder = [m for m in ours.net.decs.modules() if m in layers]
    assert len(polls) >= len(layers) - len(decoder) - 4  # four readouts and projections
    for last in range(0, len(polls), 7):
        left = iter(range(last))
        ours.clear_caches()
        with pytest.raises(StoppedError):
            ours.encode(window, FORECAST, lambda left=left: next(left, None) is None)
    assert not any(module._forward_pre_hooks for module in ours.net.modules())


def test_an_answer_is_copied_from_the_device_once(window, ours):
    encoded = ours.encode(window, WITH_VIDEO.with_behavior("target"))
    assert ours.counters["fetches"] == 0
    answer = ours.decode(encoded)
    assert answer.behavior is not None
    assert np.isfinite(answer.responses).any()
    assert ours.counters["fetches"] == 1
    ours.decode(encoded, np.array([1, 2]))
    assert ours.counters["fetches"] == 2


def test_neurons_are_projected_once_for_queries_in_parts(window, ours):
    mask = Mask.nothing(12).ask(slice(0, 12), slice(30, 60))
    encoded, rows = ours.encode(window, mask), []
    projection = ours.net.decoders()[0].attention.wq
    hook = projection.register_forward_hook(lambda _, x, __: rows.append(x[0].shape[1]))
    whole, limit = ours.decode(encoded), ours._settings
    ours._settings = replace(limit, queries_per_step=5)
    try:
        parts = ours.decode(encoded)
    finally:
        ours._settings = limit
        hook.remove()
    assert rows == [12, 12]
    assert_same(parts, whole, 2e-5)


def test_a_mask_is_made_to_tokens_once(window, ours):
    encoded = ours.encode(window, FORECAST)
    built = 12 * 4  # 25 samples: tokens from 0, 5, 10 and 15
    assert ours.counters["tokens"] == built
    ours.decode(encoded, np.array([1, 2]))
    ours.decode(encoded)
    assert ours.counters["tokens"] == built


def test_looking_ahead_leaves_nothing_of_the_video_to_do(session, window, ours):
    later = session.window(5.0)
    ours.predict(window, WITH_VIDEO)
    ours.prefetch(later, WITH_VIDEO)
    assert ours.counters["video_encodings"] == 2
    found = ours.predict(later, WITH_VIDEO)
    assert ours.counters["video_encodings"] == 2
    assert_same(found, predictor_for(session, OURS).predict(later, WITH_VIDEO))
    with pytest.raises(StoppedError):
        ours.prefetch(session.window(7.0), WITH_VIDEO, lambda: True)


def test_a_saved_predictor_answers_the_same(window, ours, tmp_path):
    path = save_checkpoint(tmp_path / "small", ours.net)
    loaded = load_checkpoint_predictor(path, device="cpu")
    assert loaded.predictor_id.startswith("small@")
    assert read_checkpoint(path).config == OURS
    assert_same(loaded.predict(window, FORECAST), ours.predict(window, FORECAST), 1e-5)
