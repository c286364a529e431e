"""Answers of predictors of other packages that are none."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.inference import families
from omnimouse_model.inference.server import Server
from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import predictions_of
from omnimouse_model.storage.processes import packed, unpacked
from tests.predictors import EchoPredictor, example_mask


class Odd(EchoPredictor):
    """Changes each prediction, or all of them."""

    def __init__(self, change=None, change_all=list):
        super().__init__("odd")
        self._change, self._change_all = change or (lambda found: found), change_all

    def decode(self, encoded, neurons=None, cancelled=om.progress.never):
        return self._change(super().decode(encoded, neurons, cancelled))

    def predict_many(self, requests, cancelled=om.progress.never):
        return self._change_all(super().predict_many(requests, cancelled))


def answers(predictor, session):
    mask = example_mask(session)
    requests = [(session.window(start), mask, None) for start in (5.0, 6.0)]
    return list(predictions_of(predictor, requests))


class Base(BaseException):
    pass


def raises(error):
    def fail(_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: replace(found, mask_id="other"), "another mask"),
        (lambda found: replace(found, mask_id=""), "another mask"),
        (lambda found: replace(found, mask_id="", mask=om.Mask.nothing(3)), "another mask"),
        (lambda found: replace(found, responses=found.responses[1:], valid=found.valid[1:]), "59"),
        (lambda found: replace(found, times_s=np.arange(60) / 30), "another window"),
        (lambda found: replace(found, times_s=np.arange(59) / 30), "another window"),
        (lambda found: replace(found, neurons=found.neurons + 10**6), "does not have"),
        (lambda found: replace(found, neurons=found.neurons * 0), "one twice"),
        (lambda found: sys.exit(0), "ended with SystemExit 0"),
        (raises(Base("x")), "ended with Base x"),
        (raises(GeneratorExit()), "ended with GeneratorExit"),
        (raises(StoppedError()), "stopped, which nobody asked for"),
    ],
)
def test_an_answer_that_is_none_is_one_line(session, change, words):
    with pytest.raises(WorkerError, match=words):
        answers(Odd(change), session)


@pytest.mark.parametrize(
    ("change_all", "words"),
    [
        (lambda found: list(found)[:1], "does not answer all"),
        (lambda found: [next(found)], "does not answer all"),
        (lambda found: list(found) * 2, "more requests"),
        (lambda found: None, "a NoneType, no predictions"),
        (lambda found: [None for _ in found], "a NoneType; a Prediction expected"),
    ],
)
def test_answers_that_are_too_few_or_too_many_are_one_line(session, change_all, words):
    with pytest.raises(WorkerError, match=words):
        answers(Odd(change_all=change_all), session)


@pytest.mark.parametrize(
    "change",
    [
        {"responses": np.zeros((60, 3, 1), np.float32)},
        {"responses": np.zeros((60, 99), np.float32)},
        {"responses": np.zeros((60, 3), object)},
        {"responses": np.zeros((60, 3), complex)},
        {"neurons": np.zeros(3)},
        {"behavior": np.zeros(3)},
        {"valid": np.zeros(60)},
    ],
)
def test_arrays_that_nobody_can_use_are_named(session, change):
    def changed(found):
        return replace(found, **change)

    with pytest.raises(ValueError, match=f"odd: ({next(iter(change))}|99 columns)"):
        answers(Odd(changed), session)


@pytest.mark.parametrize("error", [SystemExit(0), StoppedError(), Base("x")])
@pytest.mark.parametrize(
    "use",
    [
        lambda predictor, session: om.evaluate(predictor, session, example_mask(session)),
        lambda predictor, session: om.evaluate_all([predictor], session, [example_mask(session)]),
        lambda predictor, session: predict_span(
            predictor, session, example_mask(session), 3.0, 6.0
        ),
    ],
)
def test_a_model_that_fails_as_it_is_prepared_is_one_line(session, use, error):
    predictor = Odd()
    predictor.prepare = raises(error)
    with pytest.raises(WorkerError, match=r"^odd "):
        use(predictor, session)


def test_a_factory_that_gives_no_predictor_is_one_line(session):
    class NoNeeds(EchoPredictor):
        needs = None

    with pytest.raises(om.CheckpointError, match="NoNeeds: its family gives a NoNeeds"):
        om.evaluate(NoNeeds, session, example_mask(session))
    assert "gives a NoNeeds" in str(error_of_worker(NoNeeds))


def error_of_worker(source):
    """Return the error with which a worker answers, if the predictor is asked for itself."""
    server = Server(source, "cpu", 1, lambda number: False)
    return unpacked(server.reply(packed(("info", 1, packed(())))))[2]


def test_a_worker_tells_of_a_stop_that_nobody_asked_for():
    error = error_of_worker(stops)
    assert isinstance(error, WorkerError)
    assert "stop" in str(error)


def stops():
    raise StoppedError


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda device: None, "gives a NoneType"),
        (lambda device: type("NoNeeds", (EchoPredictor,), {"needs": None})(), "gives a NoNeeds"),
    ],
)
def test_a_family_that_builds_no_predictor_is_one_line(monkeypatch, build, words):
    monkeypatch.setattr(families, "families", lambda: {"x": Family("x", names={"x-odd": build})})
    with pytest.raises(om.CheckpointError, match=words):
        om.load_predictor("x-odd")


def test_a_prediction_with_its_mask_has_the_id_of_the_mask(session):
    mask = example_mask(session)
    found = EchoPredictor().predict(session.window(5.0), mask)
    unread = replace(found, mask_id="", mask=mask)
    for one in (unread, pickle.loads(pickle.dumps(unread)), unread.with_remark("slow")):
        assert one.mask_id == mask.mask_id
    assert not hasattr(unread, "mask_name")
