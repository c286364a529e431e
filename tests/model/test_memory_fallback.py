"""Where memory is full a transformer does with less, says so, and goes on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.effort import Effort, first_effort
from omnimouse_model.predict.transformer import TransformerPredictor
from omnimouse_model.strategies import mask_from_strategy
from tests.predictors import tiny_transformer
from tests.small_sessions import write_session


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("memory") / "small"))


@pytest.fixture
def mask(session):
    return mask_from_strategy("test/video_behavior", session)


@pytest.fixture
def small():
    return tiny_transformer()


def with_room_for(
    predictor: TransformerPredictor, most: int, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Let the net run out of memory for more queries at once; lists what was tried."""
    tried: list[int] = []
    decode = predictor.net.decode_responses

    def limited(clip: object, layout: object, context: object) -> object:
        tried.append(len(layout.query_neurons))
        if tried[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(clip, layout, context)

    monkeypatch.setattr(predictor.net, "decode_responses", limited, raising=True)
    return tried


def rungs(effort: Effort | None, **options: bool) -> list[Effort]:
    found = []
    while effort is not None:
        found.append(effort)
        effort = effort.lower(**options)
    return found


# -- the ladder -----------------------------------------------------------------------
def test_a_gpu_gives_up_parts_then_its_own_memory():
    ladder = rungs(first_effort("cuda", "auto"), is_decoding=True, can_move=True)
    assert ladder[0].queries_per_step is None
    assert ladder[0].status == "ok"
    sizes = [e.queries_per_step for e in ladder if e.device == "cuda"]
    assert sizes[1:] == sorted(sizes[1:], reverse=True)
    first_on_cpu = next(e for e in ladder if e.device == "cpu")
    assert not first_on_cpu.is_bf16
    assert "CPU" in first_on_cpu.status


def test_fp32_gives_up_digits_before_it_leaves_the_gpu():
    ladder = rungs(first_effort("cuda", "fp32"), is_decoding=True, can_move=True)
    kinds = list(dict.fromkeys((e.device, e.is_bf16) for e in ladder))
    assert kinds[:3] == [("cuda", False), ("cuda", True), ("cpu", False)]


def test_encoding_has_no_use_for_smaller_parts():
    ladder = rungs(first_effort("cuda", "auto"), is_decoding=False, can_move=True)
    assert [e.device for e in ladder[:2]] == ["cuda", "cpu"]


def test_a_net_that_is_not_its_own_is_never_moved():
    ladder = rungs(first_effort("cuda", "fp32"), is_decoding=True, can_move=False)
    assert {e.device for e in ladder} == {"cuda"}


# -- the predictor --------------------------------------------------------------------
def test_smaller_parts_give_the_same_answer_and_say_so(
    small, session, mask, monkeypatch
):
    window = session.window(3.0)
    whole = small.predict(window, mask)
    assert whole.status == "ok"
    tried = with_room_for(small, 20, monkeypatch)
    with pytest.raises(UnsupportedRequestError, match="fewer neurons"):
        small.predict(window, mask)
    assert max(tried) > 20

    again = tiny_transformer()
    with_room_for(again, 33, monkeypatch)
    parts = again.predict(window, mask)
    assert "memory was full" in parts.status
    assert "32 queries at a time" in parts.status
    np.testing.assert_allclose(parts.responses, whole.responses, atol=1e-5)
    assert again.predict(window, mask).status == parts.status


def test_where_the_encoder_does_not_fit_it_goes_to_bf16(
    small, session, mask, monkeypatch
):
    window = session.window(3.0)
    exact = small.predict(window, mask).responses
    other = tiny_transformer()
    encode: Callable[..., object] = other.net.process

    def limited(*given: object) -> object:
        if not torch.is_autocast_enabled("cpu"):
            raise torch.OutOfMemoryError("out of memory")
        return encode(*given)

    monkeypatch.setattr(other.net, "process", limited)
    found = other.predict(window, mask)
    assert found.status == "memory was full: in bf16"
    np.testing.assert_allclose(found.responses, exact, atol=0.1, rtol=0.1)


def test_the_live_results_tell_it(session, monkeypatch):
    predictor = tiny_transformer()
    with_room_for(predictor, 33, monkeypatch)
    controller = Controller(synchronous=True)
    controller.open_session(session)
    controller.apply_preset("video_behavior")
    controller.choose_predictor(predictor)
    controller.ask_again()
    assert controller.results.freshness == "fresh"
    assert "memory was full" in controller.results.notice
    controller.close()
