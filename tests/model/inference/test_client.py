"""A predictor elsewhere: same answers, small messages, restarts.

Here a link within this process stands for the process, and ends when told to.
`test_worker_process` has real ones.
"""

import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sweep.contexts import Context, context_mask
from omnimouse_model.analysis.sweep.live_sweep import live_draw, live_sweep
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import (
    CheckpointError,
    StoppedError,
    UnsupportedRequestError,
    WorkerError,
)
from omnimouse_model.inference import server as worker_process
from omnimouse_model.inference.client import Link, LinkEndedError, WorkerPredictor
from omnimouse_model.inference.registry import Source
from omnimouse_model.inference.server import Server
from omnimouse_model.live.inference.stream import Stream
from omnimouse_model.masks import TARGET, VISIBLE, Mask
from omnimouse_model.predict.predictor import Needs, Subset, predicted_subsets
from omnimouse_model.progress import Cancelled
from tests.model.data.readers.test_arrays import session_arrays
from tests.predictors import (
    BatchingPredictor,
    EchoPredictor,
    FaultyPredictor,
    RefusingPredictor,
    batching_transformer,
    example_mask,
    open_controller,
    tiny_transformer,
)
from tests.small_sessions import write_session
from tests.toy_predictors import FRAMES, RECURRENT, FramePredictor, RecurrentPredictor

ENDS, IS_SLOW, IS_SLOW_AND_ENDS = "ends", "is slow", "is slow and ends"
MAX_STARTS = 8
MANY = 10_000


class Script:
    """What happens to messages of a kind, one after the other; else an answer."""

    def __init__(self) -> None:
        self.fates: dict[str, deque[str]] = {}
        self.links: list[ScriptedLink] = []
        self.while_it_starts: Callable[[], None] = list
        self.is_waiting = False
        self.ends_at_every_start = False

    def set(self, verb: str, *fates: str) -> None:
        self.fates[verb] = deque(fates)

    def connect(self, source: Source, device: str) -> "ScriptedLink":
        server = Server(source, device, 1, lambda number: False)
        self.links.append(ScriptedLink(self, server))
        assert self.starts <= MAX_STARTS, "It is started again without an end."
        self.while_it_starts()
        return self.links[-1]

    @property
    def starts(self) -> int:
        return len(self.links)

    def next_fate(self, verb: str) -> str:
        if verb == "info" and self.ends_at_every_start:
            return ENDS
        fates = self.fates.get(verb)
        return fates.popleft() if fates else ""


class ScriptedLink(Link):
    """A link whose predictor computes here; `Link` says what its calls mean."""

    is_alive = True

    def __init__(self, script: Script, server: Server) -> None:
        self.sent: list[tuple[str, int]] = []
        self._script = script
        self._server = server
        self._answers: deque[bytes] = deque()
        self._slow: tuple[str, bytes] | None = None
        self.has_ended = False

    def send(self, message: bytes) -> None:
        if self.has_ended:
            return
        verb = pickle.loads(message)[0]
        self.sent.append((verb, len(message)))
        fate = self._script.next_fate(verb)
        if fate == ENDS:
            self.has_ended = True
        elif fate:
            self._slow = (fate, message)
            self._script.is_waiting = True
        else:
            self._answers.append(self._server.reply(message))

    def receive(self, timeout_s: float) -> bytes | None:
        if self._answers:
            return self._answers.popleft()
        if self.has_ended:
            raise LinkEndedError("The other end is gone.")
        return None

    def cancel(self, number: int) -> None:
        assert self._slow is not None
        next_fate, message = self._slow
        self._script.is_waiting = False
        if next_fate == IS_SLOW:
            self._answers.append(self._server.reply(message))
        else:
            self.has_ended = True

    def close(self) -> None:
        self._answers.clear()
        self.has_ended = True


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker") / "many"
    return open_session(write_session(folder, n_neurons=MANY))


@pytest.fixture(scope="module")
def imaging():
    return om.open_session(session_arrays())


@pytest.fixture(scope="module", autouse=True)
def no_screens():
    """Toolkits that other tests have imported here are not the worker's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "SCREENS", ())
        yield


def worker_of(source: Source) -> WorkerPredictor:
    return WorkerPredictor(source, connect=Script().connect)


def counters_of(worker: WorkerPredictor) -> dict[str, int]:
    """Return what the predictor of a worker has counted."""
    return worker._link._server._predictor.counters


def encode_bytes(worker: WorkerPredictor) -> int:
    """Return the size of the newest message that encodes."""
    return next(size for verb, size in reversed(worker._link.sent) if verb == "encode")


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def worker(script):
    return WorkerPredictor(EchoPredictor, connect=script.connect)


@pytest.fixture
def window(session):
    return session.window(4.0)


@pytest.fixture
def mask(session):
    return example_mask(session)


# -- answers ----------------------------------------------------------------------
def test_a_worker_answers_as_the_predictor_it_holds(worker, window, mask):
    here, there = EchoPredictor().predict(window, mask), worker.predict(window, mask)
    assert np.array_equal(there.responses, here.responses, equal_nan=True)
    assert np.array_equal(there.behavior, here.behavior)
    assert np.array_equal(there.neurons, here.neurons)
    assert np.array_equal(there.to_session_units(), here.to_session_units(), True)
    assert (there.mask_id, there.predictor_id) == (mask.mask_id, "echo")
    assert worker.needs == EchoPredictor().needs


def test_parts_of_a_question_are_encoded_and_prepared_once(worker, window, mask):
    encoded = worker.encode(window, mask)
    first = worker.decode(encoded, np.array([12, 11]))
    worker.prepare(window.session)
    worker.decode(encoded)
    assert (counters_of(worker)["encodings"], counters_of(worker)["prepared"]) == (1, 1)
    assert first.neurons.tolist() == [12, 11]


def test_an_earlier_question_can_still_be_decoded(worker, session, window, mask):
    early = worker.encode(window, mask)
    worker.encode(session.window(6.0), mask)
    expected = EchoPredictor().predict(window, mask)
    found = worker.decode(early)
    assert np.array_equal(found.responses, expected.responses, equal_nan=True)


def test_masks_arrive_exactly_after_any_strokes(worker, window, mask):
    draw = np.random.default_rng(1)
    for _ in range(10):
        chosen = draw.permutation(40)[: draw.integers(1, 40)]
        first = int(draw.integers(0, 50))
        mask = mask.paint(chosen, (first, first + 10), int(draw.integers(0, 3)))
        assert worker.predict(window, mask, np.array([0])).mask_id == mask.mask_id


@pytest.mark.parametrize("share", [0.0, 0.004, 0.5, 1.0])
def test_a_stroke_sends_less_than_100_kb(worker, many, share):
    window, mask = many.window(4.0), example_mask(many)
    worker.predict(window, mask)
    n_sent = len(worker._link.sent)
    chosen = np.random.default_rng(0).permutation(MANY)[: max(1, int(share * MANY))]
    encoded = worker.encode(window, mask.paint(chosen, (30, 60), VISIBLE))
    worker.decode(encoded, np.arange(16))
    worker.decode(encoded, np.arange(MANY))
    assert sum(size for _, size in worker._link.sent[n_sent:]) <= 100_000


def test_a_preset_sends_less_than_100_kb(worker, many):
    worker.encode(many.window(4.0), example_mask(many))
    preset = Mask.from_strategy("video_behavior", many, seed=3)
    worker.encode(many.window(4.0), preset)
    assert encode_bytes(worker) <= 100_000


def test_a_stroke_does_not_send_the_frames_of_a_clip_again(imaging):
    worker, frames = worker_of(FramePredictor), np.zeros((16, 144, 256), np.uint8)
    clip = om.Clip(session=imaging, frames=frames, rate_hz=30.0, spec=FRAMES)
    mask = om.Mask.nothing(imaging, FRAMES).ask([1]).with_frames(True)
    worker.predict(clip, mask)
    assert encode_bytes(worker) > frames.nbytes
    found = worker.predict(clip, mask.ask([2]))
    assert encode_bytes(worker) < 1000
    expected = FramePredictor().predict(clip, mask.ask([2]))
    assert np.array_equal(found.responses, expected.responses, equal_nan=True)


def test_masks_of_one_window_are_computed_together_there_too(session):
    worker, here = worker_of(batching_transformer), tiny_transformer()
    window, neurons = session.window(3.0), np.array([30, 35])
    draw = live_draw(session.n_neurons, neurons)
    masks = [context_mask(Context(count), draw) for count in (1, 3, 16, 37)]
    masks += [context_mask(Context(history_samples=10), draw)]
    answers = list(worker.predict_many([(window, mask, neurons) for mask in masks]))
    assert counters_of(worker)["encodings"] == 2
    for mask, answer in zip(masks, answers, strict=True):
        expected = here.predict(window, mask, neurons)
        assert answer.mask_id == mask.mask_id
        np.testing.assert_allclose(answer.responses, expected.responses, atol=1e-4)


# -- optional methods ---------------------------------------------------------------
def test_a_stream_goes_on_in_the_worker(imaging):
    worker, here = worker_of(RecurrentPredictor), RecurrentPredictor()
    window = imaging.window(14.0, RECURRENT)
    _, state = worker.step(worker.start(imaging), window.warmup)
    stepped, _ = worker.step(state, window)
    _, expected = here.step(here.start(imaging), window.warmup)
    expected, _ = here.step(expected, window)
    assert np.array_equal(stepped.responses, expected.responses, equal_nan=True)
    again, _ = worker.step(state, window)
    assert np.array_equal(again.responses, stepped.responses, equal_nan=True)
    worker.close()
    with pytest.raises(UnsupportedRequestError, match="start a new one"):
        worker.step(state, window)


def test_playback_goes_on_after_the_worker_was_killed(imaging):
    script, here, stream = Script(), RecurrentPredictor(), Stream()
    worker = WorkerPredictor(RecurrentPredictor, connect=script.connect)
    every = om.Mask.nothing(imaging, RECURRENT).ask(slice(None), slice(None))
    mask = every.with_frames(True).with_behavior("visible").with_guard(False)
    frames = [imaging.window(12 + 0.1 * k, RECURRENT) for k in range(5)]
    for window in frames[:3]:
        stream.follow(worker, window, mask)
    script.set("step", ENDS)
    # The frame during which it is killed has its warm-up, the next one continues.
    shown = [stream.follow(worker, window, mask) for window in frames[3:]]
    assert script.starts == 2
    _, state = here.step(here.start(imaging), frames[3].warmup)
    expected, state = here.step(state, frames[3])
    np.testing.assert_array_equal(shown[0].responses, expected.responses)
    new, _ = here.step(state, frames[4].last_samples(3))
    np.testing.assert_array_equal(shown[1].responses[-3:], new.responses)
    np.testing.assert_array_equal(shown[1].responses[:-3], expected.responses[3:])


def test_a_gradient_is_computed_in_the_worker(imaging):
    worker, frames = worker_of(FramePredictor), np.full((16, 36, 64), 90, np.uint8)
    clip = om.Clip(session=imaging, frames=frames, rate_hz=30.0, spec=FRAMES)
    objective = np.zeros((16, 2), np.float32)
    objective[8] = 1.0
    value, gradient = worker.stimulus_gradient(clip, np.array([3, 1]), objective)
    mask = om.Mask.nothing(imaging, FRAMES).ask([1, 3]).with_frames(True)
    found = worker.predict(clip, mask).responses[8]
    assert value == pytest.approx(found.sum(), rel=1e-5)
    assert gradient.shape == frames.shape
    # the convolution of sample 8 reaches two frames before and after it
    assert np.flatnonzero(gradient.any(axis=(1, 2))).tolist() == [6, 7, 8, 9, 10]


def test_optional_methods_are_announced_and_refused_elsewhere(session, imaging):
    worker = worker_of(tiny_transformer)
    assert worker.needs.methods == {"embeddings"}
    assert worker.embeddings(session).shape == (40, 16)
    with pytest.raises(UnsupportedRequestError, match="offers no step"):
        worker.start(session)
    with pytest.raises(UnsupportedRequestError, match="offers no embeddings"):
        worker_of(FramePredictor).embeddings(imaging)


def test_many_subsets_are_predicted_in_the_worker(session, window, mask):
    neurons = np.array([1, 5])
    shown = Mask.nothing(session).ask(neurons, slice(35, 60)).show([7, 8])
    subsets = [Subset(shown, neurons), Subset(shown.show([9]), neurons, (0, 25))]
    here, there = (
        predicted_subsets(one, [window, window], subsets)
        for one in (om.load_predictor("linear-gaussian"), worker_of("linear-gaussian"))
    )
    for parts, others in zip(here, there, strict=True):
        for part, other in zip(parts, others, strict=True):
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("is_served", [False, True])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "a NoneType; 2 windows expected"),
        ([[np.zeros((60, 2))]], "1; 2 windows expected"),
        ([[np.zeros((60, 2))], []], "0; 1 subsets expected"),
        (
            [[np.zeros((60, 2))], [np.zeros((2, 60))]],
            r"float64 \(2, 60\); numbers \(60, 2\)",
        ),
        ([[np.zeros((60, 2))], [[1, [2]]]], "a subset with list"),
        ([[np.zeros((60, 2))], [np.zeros((60, 2), "U1")]], "a subset with ndarray <U1"),
    ],
)
def test_what_does_not_answer_the_subsets_is_refused(session, window, answer, problem, is_served):
    class Foreign(EchoPredictor):
        @property
        def needs(self):
            return Needs(methods=frozenset({"predict_subsets"}))

        def predict_subsets(self, windows, subsets, cancelled=None):
            return answer

    predictor = worker_of(Foreign) if is_served else Foreign()
    mask = Mask.nothing(session).ask([2, 5]).show([7])
    with pytest.raises(WorkerError, match=f"echo.* answers.*{problem}") as refusal:
        predicted_subsets(predictor, [window, window], [Subset(mask, np.array([2, 5]))])
    assert "\n" not in str(refusal.value)


# -- refusals and faults ------------------------------------------------------------
def test_refusals_and_faults_keep_their_type_and_reason(window, mask):
    worker = worker_of(RefusingPredictor)
    with pytest.raises(UnsupportedRequestError, match="needs video"):
        worker.predict(window, mask.with_frames(False))
    assert worker.predict(window, mask).status == "ok"
    with pytest.raises(WorkerError, match=r"ZeroDivisionError.*predictors"):
        worker_of(FaultyPredictor).predict(window, mask)
    with pytest.raises(CheckpointError, match="demo"):
        _ = worker_of("no-such-predictor").needs


class ColumnlessPredictor(EchoPredictor):
    def decode(self, *request):
        found = super().decode(*request)
        return replace(found, responses=found.responses[:, :0])


def test_an_answer_without_its_columns_is_not_sought_in_the_memory(window, mask):
    with pytest.raises(WorkerError, match="echo answers with no column of 30 neurons"):
        worker_of(ColumnlessPredictor).predict(window, mask)


def test_a_refusal_among_several_comes_in_its_turn(window, mask):
    worker = worker_of(BatchingPredictor)
    dark = mask.with_frames(False)
    answers = worker.predict_many([(window, m, None) for m in (mask, mask, dark, mask)])
    assert next(answers).mask_id == mask.mask_id
    assert next(answers).mask_id == mask.mask_id
    with pytest.raises(UnsupportedRequestError, match="needs video"):
        next(answers)
    *_, sweep = live_sweep(worker, window, np.array([3, 11]))
    for row in sweep.rows:
        assert ("needs video" in row.refusal) == (not row.context.video)
        assert np.isfinite(row.score) == row.context.video


def test_a_process_with_a_screen_is_refused(worker, monkeypatch):
    monkeypatch.setattr(worker_process, "SCREENS", ("no-such", "tests.predictors"))
    with pytest.raises(WorkerError, match=r"imported tests\.predictors;"):
        _ = worker.needs


def test_a_session_that_is_gone_is_told(worker, script, window, mask, tmp_path):
    worker.predict(window, mask)
    gone = open_session(write_session(tmp_path / "gone"))
    (gone.path / "responses" / "meta.yml").unlink()
    with pytest.raises(WorkerError, match=r"meta\.yml"):
        worker.predict(gone.window(4.0), example_mask(gone))
    assert worker.predict(window, mask).status == "ok"
    assert script.starts == 1


# -- whose fault it is that it ended --------------------------------------------------
def ask(worker: WorkerPredictor, session: Session, cancelled: Cancelled | None = None) -> str:
    """A question like no other: what it was answered, and what was told with it."""
    mask = example_mask(session)
    script = worker._connect.__self__
    answer = worker.predict(
        session.window(4.0), mask, cancelled=cancelled or (lambda: script.is_waiting)
    )
    assert answer.mask_id == mask.mask_id
    return answer.status


def give_up(worker: WorkerPredictor, session: Session) -> None:
    """A question that takes too long."""
    with pytest.raises(StoppedError):
        ask(worker, session)


def test_where_it_ends_it_is_asked_the_same_again(worker, script, window, mask):
    mask = mask.paint([3, 4], (0, 60), TARGET)
    script.set("decode", ENDS)
    answer, expected = worker.predict(window, mask), EchoPredictor()
    expected = expected.predict(window, mask)
    assert np.array_equal(answer.responses, expected.responses, equal_nan=True)
    assert answer.mask_id == mask.mask_id
    assert answer.status == "started again: The other end is gone."
    assert worker.predict(window, mask).status == "ok"


def test_one_that_ends_again_and_again_says_what_to_do(worker, script, session):
    ask(worker, session)
    script.set("encode", ENDS, ENDS)
    with pytest.raises(WorkerError, match=r"gone.*twice in a row.*omnimouse doctor"):
        ask(worker, session)
    assert script.starts == 2
    # It has spent its second try; only an answer earns it another.
    script.set("encode", ENDS)
    with pytest.raises(WorkerError, match="3 times in a row"):
        ask(worker, session)
    assert "started again" in ask(worker, session)
    assert ask(worker, session) == "ok"
    script.set("encode", ENDS, ENDS)
    with pytest.raises(WorkerError, match="twice in a row"):
        ask(worker, session)


@pytest.mark.parametrize(("fates", "n_answers"), [(("", ENDS), 2), ((ENDS,), 1)])
def test_an_end_belongs_to_its_own_question(worker, script, session, fates, n_answers):
    ask(worker, session)
    script.set("encode", ENDS, IS_SLOW_AND_ENDS, *fates)
    give_up(worker, session)
    # The next question finds it gone; its own first end comes after that.
    for _ in range(n_answers):
        assert "started again" in ask(worker, session)
    assert script.starts == 4


def test_after_a_good_end_the_next_answers_for_itself(worker, script, session):
    ask(worker, session)
    script.set("encode", IS_SLOW)
    give_up(worker, session)
    ask(worker, session)
    script.set("encode", ENDS, ENDS)
    with pytest.raises(WorkerError, match="twice in a row"):
        ask(worker, session)
    assert script.starts == 2


def test_one_that_never_starts_again_is_told_of(worker, script, session):
    ask(worker, session)
    script.set("encode", IS_SLOW_AND_ENDS)
    give_up(worker, session)
    script.ends_at_every_start = True
    with pytest.raises(WorkerError, match="in a row"):
        ask(worker, session)


def test_looking_ahead_may_end_it_at_nobodys_cost(worker, script, session):
    ask(worker, session)
    script.set("prefetch", ENDS)
    worker.prefetch(session.window(8.0), example_mask(session))
    script.set("encode", ENDS)
    assert "started again" in ask(worker, session)
    assert script.starts == 3


def test_closed_while_it_starts_it_leaves_nothing(worker, script, session):
    script.while_it_starts = worker.close  # as another thread does
    with pytest.raises(WorkerError, match="was closed"):
        ask(worker, session)
    assert [link.has_ended for link in script.links] == [True]
    script.while_it_starts = list
    assert ask(worker, session) == "ok"


def test_ended_for_ever_while_it_starts_it_answers_nothing(worker, script, session):
    script.while_it_starts = partial(worker.kill, is_last=True)  # as a closed window does
    with pytest.raises(WorkerError, match="was closed"):
        ask(worker, session)
    assert [link.has_ended for link in script.links] == [True]


def test_closed_while_it_answers_the_call_is_refused(worker, script, session):
    ask(worker, session)
    script.set("encode", IS_SLOW)
    with pytest.raises(WorkerError, match="was closed"):
        ask(worker, session, lambda: script.is_waiting and bool(worker.close()))
    assert ask(worker, session) == "ok"
    assert script.starts == 2


def test_every_preset_is_answered_by_a_transformer(session):
    with open_controller(session, worker_of(tiny_transformer)) as live:
        for name, _ in live.editor.presets:
            live.editor.apply_preset(name)
            assert live.state.preset == name
            assert live.results.error is None, name
            decodes = live.state.mask.behavior == "target"
            assert (live.results.behavior is not None) == decodes
