"""A window that slides forward: the new frames alone are computed."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.live.inference.stages import LiveRequest, StageRunner
from omnimouse_model.live.inference.stream import Stream
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Needs, Prediction
from omnimouse_model.predict.twin.predictor import twin_spec
from tests.predictors import EchoPredictor

SPEC = twin_spec(18, 32)
SLIDE_S = 0.1


@dataclass
class Counter(EchoPredictor):
    """Predicts the number of frames since the start of its state."""

    frames_read: list[int] = field(default_factory=list)

    @property
    def needs(self) -> Needs:
        return replace(EchoPredictor().needs, spec=SPEC, methods=frozenset({"step"}))

    def start(self, session: Any) -> int:
        return 0

    def step(self, state: int, inputs: Any) -> tuple[Prediction, int]:
        n = inputs.spec.n_frames
        self.frames_read.append(n)
        neurons = np.arange(inputs.session.n_neurons)
        counts = np.repeat(state + np.arange(n)[:, None], len(neurons), 1)
        found = Prediction(
            responses=counts.astype(np.float32),
            neurons=neurons,
            behavior=None,
            mask_id="",
            predictor_id="counter",
            times_s=inputs.sample_times_s,
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
    starts = [8.0, 8.0 + SLIDE_S, 8.0 + 2 * SLIDE_S, 9.2 + 2 * SLIDE_S]
    found = [stream.follow(counter, at(session, start), mask) for start in starts]
    assert found[0] is None
    # The first move runs the warm-up of 30 frames and the window, then 3 and 36.
    assert counter.frames_read == [30, 60, 3, 36]
    for prediction, start, last in zip(
        found[1:], starts[1:], (89, 92, 128), strict=True
    ):
        assert prediction.neurons.tolist() == [3, 5]
        assert np.isnan(prediction.responses[:30]).all()
        expected = np.arange(last - 29, last + 1)
        np.testing.assert_array_equal(prediction.responses[30:, 0], expected)
        assert prediction.times_s[0] == pytest.approx(start, abs=0.02)


def test_a_stroke_keeps_the_state_and_a_jump_ends_it(session, mask):
    stream, counter = Stream(), Counter()
    for start in (8.0, 8.1, 8.1, 8.2, 12.0, 12.1, 11.0):
        stream.follow(counter, at(session, start), mask)
    assert counter.frames_read == [30, 60, 3, 30, 60]


def test_hidden_frames_and_other_predictors_are_not_streamed(session, mask):
    hidden = mask.with_frames(slice(0, 10))
    stream, counter = Stream(), Counter()
    for start in (8.0, 8.1):
        assert stream.follow(counter, at(session, start), hidden) is None
    window = om.Window(session, 240)
    other, asked = Stream(), om.Mask.nothing(session).ask([0])
    for k in range(3):
        moved = session.window(window.start_s + SLIDE_S * k)
        assert other.follow(EchoPredictor(), moved, asked) is None
    assert counter.frames_read == []


def test_the_scored_prediction_of_the_window_follows(session, mask):
    counter = Counter()
    runner = StageRunner(lambda *_: counter)
    stages = []
    for start in (8.0, 8.1):
        request = LiveRequest(session, at(session, start), mask, (3,), counter)
        stages = list(runner(request, lambda: False))
    names = [stage.name for stage in stages]
    assert names[:3] == ["streamed", "selected", "population"]
    assert stages[0].scores is None
    assert stages[2].scores is not None
