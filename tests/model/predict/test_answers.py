"""Answers of predictors of other packages that are none."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import omnimouse_model as om
from omnimouse_model.analysis.paper_table import predictor_cost
from omnimouse_model.analysis.spike_scores import checked_held_out
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.inference import families
from omnimouse_model.inference.server import Server
from omnimouse_model.lab.exciting_search import respond_with
from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import prediction_of, predictions_of
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
        (lambda found: replace(found, behavior=np.zeros((3, 5))), "3 samples of behaviour"),
        (lambda found: replace(found, times_s=np.arange(59) / 30), "another window"),
        (lambda found: replace(found, neurons=found.neurons + 10**6), "does not have"),
        (lambda found: replace(found, neurons=found.neurons * 0), "one twice"),
        (lambda found: replace(found, responses=found.responses[:, :0]), "no column of 30 neurons"),
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
        {"responses": np.ma.zeros((60, 3), np.float32)},
        {"neurons": np.zeros(3)},
        {"behavior": np.zeros(3)},
        {"valid": np.zeros(60)},
        {"times_s": np.zeros((60, 1))},
        {"band": np.zeros((60, 3), np.float32)},
        {"band": np.zeros((1, 2, 3), np.float32)},
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
        lambda p, session, tmp: om.evaluate(p, session, example_mask(session)),
        lambda p, session, tmp: om.evaluate_all([p], session, [example_mask(session)]),
        lambda p, session, tmp: predict_span(p, session, example_mask(session), 3.0, 6.0),
        lambda p, session, tmp: om.sources(p, session, targets=[0]),
        lambda p, session, tmp: om.predict_session(
            p, session, example_mask(session), tmp / "p.zarr"
        ),
    ],
)
def test_a_model_that_fails_as_it_is_prepared_is_one_line(session, tmp_path, use, error):
    predictor = Odd()
    predictor.prepare = raises(error)
    with pytest.raises(WorkerError, match=r"^odd "):
        use(predictor, session, tmp_path)


class Able(Odd):
    """Offers a gradient and rates of hidden spikes, and ends the program in the gradient."""

    needs = replace(
        EchoPredictor().needs,
        spec=twin_spec(18, 32),
        methods=frozenset({"stimulus_gradient", "held_out"}),
    )

    def stimulus_gradient(self, clip, neurons, objective, cancelled=om.progress.never):
        sys.exit(0)

    def held_out_rates(self, condition, session, counts, job):
        raise NotImplementedError

    def trial_features(self, session, counts):
        raise NotImplementedError


@pytest.mark.parametrize(
    "use",
    [
        lambda p, session: predictor_cost(p, session, []),
        checked_held_out,
        lambda p, session: respond_with(p, session, np.array([3, 5])),
    ],
)
def test_an_able_model_that_fails_as_it_is_prepared_is_one_line(session, use):
    predictor = Able()
    predictor.prepare = raises(SystemExit(0))
    with pytest.raises(WorkerError, match=r"^odd ended with SystemExit 0"):
        use(predictor, session)


def test_a_gradient_that_ends_the_program_is_one_line(session):
    respond = respond_with(Able(), session, np.array([3, 5]))
    frames = torch.full((Able.needs.spec.n_frames, 18, 32), 0.5, requires_grad=True)
    with pytest.raises(WorkerError, match="odd ended with SystemExit 0"):
        respond(frames).sum().backward()


def taken(columns):
    """Return a change that keeps some columns of a prediction."""

    def change(found):
        neurons, responses = found.neurons[columns], found.responses[:, columns]
        return replace(found, neurons=neurons, responses=responses)

    return change


@pytest.mark.parametrize("columns", [[1, 0], [0, 2, 1]])
def test_columns_are_those_of_the_neurons_that_were_asked(session, columns):
    window, mask = session.window(5.0), example_mask(session)
    asked = np.arange(3) if len(columns) == 3 else np.array([3, 5])
    plain = EchoPredictor("plain").predict(window, mask, asked)
    turned = Odd(taken(columns))
    both = om.Ensemble((EchoPredictor("plain"), turned))
    for predictor in (turned, both):
        (found,) = predictions_of(predictor, [(window, mask, asked)])
        np.testing.assert_array_equal(found.neurons, asked)
        np.testing.assert_allclose(found.responses, plain.responses, rtol=1e-6)


def test_a_prediction_without_a_neuron_is_none_where_all_are_needed(session):
    window, mask, few = session.window(5.0), example_mask(session), Odd(taken([0]))
    asked = window, mask, np.array([3, 5])
    assert prediction_of(few, *asked).neurons.tolist() == [3]
    assert next(predictions_of(few, [asked])).neurons.tolist() == [3]
    with pytest.raises(WorkerError, match="odd answers with other neurons than"):
        next(predictions_of(few, [asked], is_whole=True))
    with pytest.raises(WorkerError, match="odd answers with other neurons than"):
        om.Ensemble((EchoPredictor("plain"), few)).predict(*asked)


def test_a_factory_that_gives_no_predictor_is_one_line(session):
    class NoNeeds(EchoPredictor):
        needs = None

    with pytest.raises(om.CheckpointError, match="NoNeeds: its family gives a NoNeeds"):
        om.evaluate(NoNeeds, session, example_mask(session))
    assert "gives a NoNeeds" in str(error_of_worker(NoNeeds))


def error_of_worker(source):
    """Return the error with which a worker answers, if the predictor is asked for itself."""
    server = Server(source, "cpu", 1, lambda number: False)
    return unpacked(server.reply(packed(("info", 1, packed(())))))[1]


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
