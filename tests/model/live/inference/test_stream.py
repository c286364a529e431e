"""A window that slides forward: the new frames alone are computed."""

import sys
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.data.window_spec import VideoSpec
from omnimouse_model.errors import StoppedError
from omnimouse_model.families.twin.predictor import twin_spec
from omnimouse_model.live.inference.client import apply_stage
from omnimouse_model.live.inference.engine import Answer
from omnimouse_model.live.inference.stages import Stage, StageRunner
from omnimouse_model.live.inference.stream import LiveRequest, Stream
from omnimouse_model.live.results import Results
from omnimouse_model.masks import Mask
from omnimouse_model.predict.devices import Residence
from omnimouse_model.predict.predictor import Needs, Prediction
from omnimouse_model.progress import Cancelled, never
from tests.predictors import EchoPredictor

SPEC = twin_spec(18, 32)


@dataclass
class Counter(EchoPredictor):
    """Predicts the number of frames since the start of its state."""

    frames_read: list[int] = field(default_factory=list)
    is_lost: bool = False
    answered: slice = field(default_factory=lambda: slice(None))

    @property
    def needs(self) -> Needs:
        return replace(EchoPredictor().needs, spec=SPEC, methods=frozenset({"step"}))

    def start(self, session: Any, cancelled: Any) -> int:
        return 0

    def step(self, state: int, inputs: Any, cancelled: Cancelled = never) -> tuple[Prediction, int]:
        if self.is_lost:
            raise om.UnsupportedRequestError("The state is lost: start a new one.")
        n = inputs.spec.n_frames
        self.frames_read.append(n)
        neurons = np.arange(inputs.session.n_neurons)[self.answered]
        counts = np.repeat(state + np.arange(n)[:, None], len(neurons), 1)
        found = Prediction(
            responses=counts.astype(np.float32),
            neurons=neurons,
            behavior=None,
            mask_id="",
            predictor_id="counter",
            times_s=inputs.sample_times_s,
            valid=counts[:, 0] % 7 > 0,
        )
        return found, state + n


@pytest.fixture
def mask(session):
    every = Mask.nothing(session, SPEC).ask([3, 5], slice(30, 60))
    return every.with_frames(True).with_behavior("visible")


def at(session, start_s):
    return session.window(start_s, spec=SPEC)


def test_only_new_frames_are_computed_and_the_numbers_go_on(session, mask):
    stream, counter = Stream(), Counter()
    starts = [8.0, 8.1, 8.2, 8.3, 9.5]
    found = [stream.follow(counter, at(session, start), mask) for start in starts]
    # One move may be a step of the user; the second runs the warm-up.
    assert found[:2] == [None, None]
    assert counter.frames_read == [30, 60, 3, 36]
    for prediction, start, last in zip(found[2:], starts[2:], (89, 92, 128), strict=True):
        others = np.delete(prediction.responses, [3, 5], axis=1)
        assert np.isnan(others).all()
        assert np.isnan(prediction.responses[:30]).all()
        expected = np.arange(last - 29, last + 1)
        np.testing.assert_array_equal(prediction.responses[30:, 3], expected)
        assert prediction.times_s[0] == pytest.approx(start, abs=0.02)
        np.testing.assert_array_equal(prediction.valid[30:], expected % 7 > 0)


def test_columns_are_those_of_the_neurons_in_their_order(session, mask):
    class Own(Counter):
        """Predicts the number of each neuron."""

        def step(self, state, inputs, cancelled=never):
            found, state = super().step(state, inputs)
            numbers = np.broadcast_to(found.neurons.astype(np.float32), found.responses.shape)
            return replace(found, responses=numbers.copy()), state

    stream, turned = Stream(), Own(answered=slice(None, None, -1))
    for start in (8.0, 8.1, 8.2, 8.3):
        found = stream.follow(turned, at(session, start), mask)
    np.testing.assert_array_equal(found.responses[30:, [3, 5]], np.tile([3, 5], (30, 1)))
    assert found.mask_id == mask.mask_id


def test_a_step_that_lacks_neurons_or_ends_the_program_is_told(session, mask, caplog):
    for few in (Counter(answered=slice(3)), Counter()):
        if few.answered == slice(None):
            few.start = lambda *_: sys.exit(0)
        stream = Stream()
        found = [stream.follow(few, at(session, start), mask) for start in (8.0, 8.1, 8.2)]
        assert found == [None] * 3
    assert "echo answers with other neurons than those that were asked" in caplog.text
    assert "echo ended with SystemExit 0" in caplog.text


def test_a_stroke_keeps_the_state_and_a_jump_ends_it(session, mask):
    stream, counter = Stream(), Counter()
    for start in (8.0, 8.1, 8.2, 8.2, 8.3, 12.0, 12.1, 12.2, 11.0):
        stream.follow(counter, at(session, start), mask)
    assert counter.frames_read == [30, 60, 3, 30, 60]


def test_hidden_frames_and_other_predictors_are_not_streamed(session, mask):
    hidden = mask.with_frames(slice(0, 10))
    stream, counter = Stream(), Counter()
    for start in (8.0, 8.1, 8.2):
        assert stream.follow(counter, at(session, start), hidden) is None
    other, asked = Stream(), om.Mask.nothing(session).ask([0])
    for k in range(4):
        moved = session.window(8.0 + 0.1 * k)
        assert other.follow(EchoPredictor(), moved, asked) is None
    assert counter.frames_read == []


def test_a_slide_that_is_not_whole_in_every_stream_is_a_jump(session):
    spec = replace(SPEC, video=VideoSpec(10.0, 18, 32, is_raw=True))
    mask = Mask.nothing(session, spec).ask([3], slice(30, 60))
    mask = mask.with_frames(True).with_behavior("visible")
    stream, counter = Stream(), Counter()
    for k in range(4):
        window = session.window(8.0 + k / 30, spec=spec)
        assert stream.follow(counter, window, mask) is None
    assert counter.frames_read == []


def test_a_lost_state_begins_again(session, mask):
    """The state of a worker is lost when it restarts."""
    stream, counter = Stream(), Counter()
    for start in (8.0, 8.1, 8.2):
        stream.follow(counter, at(session, start), mask)
    counter.is_lost = True
    assert stream.follow(counter, at(session, 8.3), mask) is None
    counter.is_lost = False
    found = [stream.follow(counter, at(session, s), mask) for s in (8.4, 8.5)]
    assert found[0] is None
    assert found[1].responses[59, 3] == 89


def test_the_scored_prediction_of_the_window_follows(session, mask):
    counter = Counter()
    runner = StageRunner(lambda *_: counter)
    stages = []
    for start in (8.0, 8.1, 8.2):
        # Neuron 7 is selected, and not predicted.
        request = LiveRequest(session, at(session, start), mask, (3, 7), counter)
        stages = list(runner(request, lambda: False))
    names = [stage.name for stage in stages]
    assert names[:3] == ["streamed", "selected", "population"]
    # A newer request ends it before the whole window is computed.
    stage = runner(replace(request, window=at(session, 8.3)), iter([False, True]).__next__)
    assert next(stage).name == "streamed"
    with pytest.raises(StoppedError):
        next(stage)
    assert stages[0].scores is None
    assert stages[2].scores is not None
    results = Results()
    answer = Answer(1, request, "stage", stages[0])
    apply_stage(results, answer, stages[0])
    assert results.population.neurons.tolist() == [3, 5]
    assert results.selected.neurons.tolist() == [3, 7]
    assert np.isnan(results.selected.responses[:, 1]).all()
    assert results.population_freshness == "streamed"
    assert not results.is_answered


def test_where_a_model_computes_is_known_when_another_is_chosen_by_what_it_needs(session):
    results, seen = Results(), []
    results.events.needs.connect(lambda: seen.append(results.residence))
    residence = Residence("CPU, 1 thread", 8)
    stage = Stage("loaded", None, needs=EchoPredictor().needs, residence=residence)
    window, mask = session.window(start_s=0.0, spec=SPEC), Mask.nothing(session, spec=SPEC)
    request = LiveRequest(session, window, mask, (), EchoPredictor())
    apply_stage(results, Answer(1, request, "stage", stage), stage)
    assert seen == [residence]
