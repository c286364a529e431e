"""Predictors outlive what asks them, and sessions of one name are not mixed up."""

import gc
import threading
import weakref

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import Mask
from tests.predictors import EchoPredictor, tiny_transformer
from tests.small_sessions import write_session


def test_a_predictor_works_after_the_live_state_let_it_go(session):
    predictor = tiny_transformer()
    controller = Controller()
    controller.loader.open_now(session)
    controller.model.choose(predictor)
    assert controller.requests.wait(60.0)
    controller.requests.cancel()
    controller.close()
    mask = Mask.from_strategy("test/video_behavior", session)
    answer = predictor.predict(session.window(3.0), mask)
    assert np.isfinite(answer.responses[30:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("has_memory", [False, True])
def test_a_closed_live_state_leaves_nothing(session, tmp_path, has_memory):
    before = set(threading.enumerate())
    memory = tmp_path / "live.json" if has_memory else False
    controller = Controller(session_file=memory)
    left = weakref.ref(controller)
    controller.model.choose(EchoPredictor())
    controller.loader.open_now(session)
    assert controller.requests.wait(60.0)
    assert controller.project.save(tmp_path / "a.omnimouse.json")
    controller.close()
    assert set(threading.enumerate()) <= before
    del controller
    gc.collect()
    assert left() is None


@pytest.mark.process
def test_a_worker_tells_reopened_sessions_apart(tmp_path):
    few = write_session(tmp_path / "a" / "mouse", n_neurons=12)
    more = write_session(tmp_path / "b" / "mouse", n_neurons=20)
    worker = WorkerPredictor(EchoPredictor)
    try:
        sessions = [open_session(path) for path in (few, few, more, few)]
        sizes = []
        for session in sessions:
            mask = Mask.from_strategy("causal_response_25_behavior", session)
            answer = worker.predict(session.window(3.0), mask)
            here = EchoPredictor().predict(session.window(3.0), mask)
            assert np.array_equal(answer.responses, here.responses, equal_nan=True)
            sizes.append(answer.responses.shape[1])
        assert sizes == [12, 12, 20, 12]
    finally:
        worker.close()
