"""Searches in a tiny twin: the response rises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.exciting_search import SEARCH, respond_with, search_starts
from omnimouse_model.progress import CallbackJob
from tests.model.families.twin.test_predictor import path as path

pytestmark = pytest.mark.slow  # every search predicts many times
NEURONS = np.array([2, 5])


@pytest.fixture(scope="module")
def predictor(path):
    return om.load_predictor(path, device="cpu")


def search(predictor, session, seeds=(1, 2), **settings):
    # Without the penalty, which outweighs the small changes of a random network.
    settings |= {"penalty": 0.0}
    return search_starts(
        predictor,
        session,
        NEURONS,
        replace(SEARCH, **settings),
        n_steps=3,
        seeds=seeds,
    )


@pytest.fixture(scope="module")
def found(predictor, session):
    return search(predictor, session)


def test_the_gradient_is_that_of_the_predictor(predictor, session):
    respond = respond_with(predictor, session, NEURONS)
    frames = torch.full((60, 18, 32), 0.5, requires_grad=True)
    respond(frames)[30:].sum().backward()
    change = torch.zeros(60, 18, 32)
    change[:, 4:12, 8:24] = 8 / 255
    with torch.no_grad():
        rise = respond(frames + change)[30:].sum() - respond(frames - change)[30:].sum()
    assert float((frames.grad * 2 * change).sum()) == pytest.approx(float(rise), rel=0.1)


def test_responses_rise_and_the_best_start_is_first(found):
    assert (found.courses.max(axis=1) > found.courses[:, 0]).all()
    assert found.responses[0] >= found.responses[1]
    assert found.best_response == pytest.approx(found.courses.max())
    assert -1 <= found.agreement <= 1
    assert (found.videos == found.videos[:, :1]).all()  # an image


def test_an_inhibiting_input_lowers_the_response(predictor, session, found):
    lowest = search(predictor, session, seeds=(1,), temperature=-0.5)
    assert lowest.best_response < found.best_response
    assert (lowest.courses.min(axis=1) < lowest.courses[:, 0]).all()


def test_a_stop_ends_the_search_and_other_models_are_refused(predictor, session):
    def stopped():
        return True

    with pytest.raises(StoppedError):
        search_starts(predictor, session, NEURONS, job=CallbackJob(cancelled=stopped))
    with pytest.raises(UnsupportedRequestError, match="digital twin"):
        search_starts(om.load_predictor("mean"), session, NEURONS)
