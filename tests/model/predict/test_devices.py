"""Limits of devices: threads of numpy's products."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.families.parts.linear_gaussian import predictor
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import SingleNumpyThread


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
