"""Limits of devices: threads of numpy's products."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.parts.linear_gaussian import predictor
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import (
    ComputeSettings,
    MemoryCache,
    SingleNumpyThread,
    first_settings,
    resolve_device,
)
from omnimouse_model.predict.predictor import Prediction
from tests.predictors import tiny_transformer


def blas_threads():
    # Of numpy alone: scipy, which other tests import, has a library of its own.
    found = [
        info["num_threads"]
        for info in threadpool_info()
        if info["user_api"] == "blas" and "scipy.libs" not in info["filepath"]
    ]
    return max(found, default=1)


def test_blocks_of_several_threads_end_in_any_order():
    # numpy has loaded its library of products
    assert (np.eye(2) @ np.eye(2)).trace() == 2
    with threadpool_limits(2, user_api="blas"):
        before, limit = blas_threads(), SingleNumpyThread()
        limit.__enter__()
        limit.__enter__()
        assert blas_threads() == 1
        limit.__exit__()
        assert blas_threads() == 1
        limit.__exit__()
        assert blas_threads() == before


def test_a_prediction_uses_one_thread_for_products(session, monkeypatch):
    seen = []

    class Posterior(predictor.Posterior):
        def mean(self, *arguments):
            seen.append(blas_threads())
            return super().mean(*arguments)

    monkeypatch.setattr(predictor, "Posterior", Posterior)
    model = load_predictor("linear-gaussian")
    model.prepare(session)
    mask = Mask.from_strategy("test/all_response_only", session.n_neurons)
    window = session.window(20.0, OMNIMOUSE)
    with threadpool_limits(2, user_api="blas"):
        model.predict(window, mask)
    assert set(seen) == {1}


# -- what is kept between requests is bounded by bytes, and the newest used stays -----
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=40))
def test_it_never_holds_more_than_its_limit_but_for_the_newest(asked):
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    sizes: dict[int, int] = {}
    for key, size in asked:
        if key not in kept:
            sizes[key] = size
        value = kept.get(key, lambda size=size: bytes(size))
        assert len(value) == sizes[key]
        assert key in kept
        assert kept.n_bytes == sum(sizes[k] for k in range(10) if k in kept)
        assert kept.n_bytes <= 100


def test_what_was_used_last_stays_also_alone():
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    for key in ("a", "b"):
        kept.get(key, lambda: bytes(40))
    kept.get("a", lambda: b"made again")
    kept.get("c", lambda: bytes(40))
    assert "a" in kept
    assert "b" not in kept
    kept: MemoryCache[bytes] = MemoryCache(100, len)
    kept.get("small", lambda: bytes(40))
    kept.get("big", lambda: bytes(400))
    assert "small" not in kept
    assert kept.n_bytes == 400
    kept.clear()
    assert (len(kept), kept.n_bytes) == (0, 0)


# -- where memory is full a transformer does with less, says so, and goes on ----------
FULL = torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def net():
    return tiny_transformer()


def limit_queries(
    predictor: TransformerPredictor,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception = FULL,
) -> list[int]:
    """Let the net run out of memory for more queries at once; lists what was tried."""
    tried: list[int] = []
    decode = predictor.net.decode_responses

    def limited(clip: object, layout: object, context: object) -> object:
        tried.append(len(layout.query_neurons))
        if tried[-1] > most:
            raise error
        return decode(clip, layout, context)

    monkeypatch.setattr(predictor.net, "decode_responses", limited)
    return tried


def efforts_down(
    precision: str, is_decoding: bool = True, can_move: bool = True
) -> list[ComputeSettings]:
    """All efforts from the first on a GPU down."""
    effort, found = first_settings("cuda", precision), []
    while effort is not None:
        found.append(effort)
        effort = effort.reduced(is_decoding=is_decoding, can_move=can_move)
    return found


def test_a_gpu_gives_up_parts_then_its_own_memory():
    first, *rest = efforts_down("auto")
    assert (first.queries_per_step, first.status) == (None, "ok")
    sizes = [e.queries_per_step for e in rest if e.device == "cuda"]
    assert sizes == sorted(sizes, reverse=True)
    first_on_cpu = next(e for e in rest if e.device == "cpu")
    assert not first_on_cpu.is_bf16
    assert "CPU" in first_on_cpu.status


def test_what_is_given_up_depends_on_the_task_and_the_net():
    kinds = list(dict.fromkeys((e.device, e.is_bf16) for e in efforts_down("fp32")))
    assert kinds[:3] == [("cuda", False), ("cuda", True), ("cpu", False)]
    # Encoding has no use for smaller parts; a net of others is never moved.
    encoding = [e.device for e in efforts_down("auto", is_decoding=False)]
    assert encoding[:2] == ["cuda", "cpu"]
    assert {e.device for e in efforts_down("fp32", can_move=False)} == {"cuda"}


def answer(predictor: TransformerPredictor, session: object) -> Prediction:
    mask = Mask.from_strategy("test/video_behavior", session)
    return predictor.predict(session.window(3.0), mask)


# CUDA itself, outside of PyTorch's allocator, raises the second one.
@pytest.mark.parametrize("error", [FULL, RuntimeError("CUDA error: out of memory\n…")])
def test_smaller_parts_give_the_same_answer_and_say_so(net, session, monkeypatch, error):
    whole = answer(net, session)
    assert whole.status == "ok"
    limit_queries(net, 33, monkeypatch, error)
    parts = answer(net, session)
    assert "memory was full" in parts.status
    assert "32 queries at a time" in parts.status
    np.testing.assert_allclose(parts.responses, whole.responses, atol=1e-5)
    assert answer(net, session).status == parts.status


def test_where_the_smallest_part_does_not_fit_it_is_refused(net, session, monkeypatch):
    tried = limit_queries(net, 20, monkeypatch)
    with pytest.raises(UnsupportedRequestError, match="fewer neurons"):
        answer(net, session)
    assert max(tried) > 20


@pytest.mark.slow
def test_where_the_encoder_does_not_fit_it_goes_to_bf16(net, session, monkeypatch):
    exact = answer(net, session)
    other = tiny_transformer()
    process = other.net.process

    def limited(*arguments: object) -> object:
        if not torch.is_autocast_enabled("cpu"):
            raise torch.OutOfMemoryError("out of memory")
        return process(*arguments)

    monkeypatch.setattr(other.net, "process", limited)
    found = answer(other, session)
    assert found.status == "memory was full: in bf16"
    np.testing.assert_allclose(found.responses, exact.responses, atol=0.1, rtol=0.1)


def test_a_gpu_without_free_memory_is_not_used(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nCompile with …")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "empty", full)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UnsupportedRequestError, match="choose the device cpu"):
        resolve_device("cuda")
