"""Whose fault it is that a predictor's process ended, told by a scripted other end."""

import pickle
from collections import deque
from collections.abc import Callable

import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.predict import worker_process
from omnimouse_model.predict.link import LinkEndedError
from omnimouse_model.predict.worker import WorkerPredictor
from omnimouse_model.predict.worker_process import Server, Source
from tests.predictors import EchoPredictor, question
from tests.small_sessions import write_session

ENDS, IS_SLOW, IS_SLOW_AND_ENDS = "ends", "is slow", "is slow and ends"
MOST_STARTS = 8


class World:
    """What happens to messages of a kind, one after the other; else an answer."""

    def __init__(self) -> None:
        self.fates: dict[str, deque[str]] = {}
        self.ends: list[OtherEnd] = []
        self.while_it_starts: Callable[[], None] = lambda: None
        self.is_waiting = False
        self.ends_at_every_start = False

    def script(self, verb: str, *fates: str) -> None:
        self.fates[verb] = deque(fates)

    def connect(self, source: Source, device: str, threads: int | None) -> "OtherEnd":
        server = Server(source, device, threads, self.is_stopped)
        self.ends.append(OtherEnd(self, server))
        assert self.starts <= MOST_STARTS, "It is started again without an end."
        self.while_it_starts()
        return self.ends[-1]

    @property
    def starts(self) -> int:
        return len(self.ends)

    def is_stopped(self, number: int) -> bool:
        return False

    def fate(self, verb: str) -> str:
        if verb == "hello" and self.ends_at_every_start:
            return ENDS
        fates = self.fates.get(verb)
        return fates.popleft() if fates else ""


class OtherEnd:
    """A link whose predictor computes here; `Link` says what its calls mean."""

    shares_memory = False
    process_id = None
    is_alive = True

    def __init__(self, world: World, server: Server) -> None:
        self._world = world
        self._server = server
        self._answers: deque[bytes] = deque()
        self._slow: tuple[str, bytes] | None = None
        self.has_ended = False

    def send(self, message: bytes) -> None:
        if self.has_ended:
            return
        fate = self._world.fate(pickle.loads(message)[0])
        if fate == ENDS:
            self.has_ended = True
        elif fate:
            self._slow = (fate, message)
            self._world.is_waiting = True
        else:
            self._answers.append(self._server.answered(message))

    def receive(self, timeout_s: float) -> bytes | None:
        if self._answers:
            return self._answers.popleft()
        if self.has_ended:
            raise LinkEndedError("The other end is gone.")
        return None

    def stop(self, number: int) -> None:
        assert self._slow is not None
        fate, message = self._slow
        self._world.is_waiting = False
        if fate == IS_SLOW:
            self._answers.append(self._server.answered(message))
        else:
            self.has_ended = True

    def close(self) -> None:
        self._answers.clear()
        self.has_ended = True


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("ends") / "small"))


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(worker_process, "SCREENS", ())  # It is this process's own.
    return World()


@pytest.fixture
def worker(world):
    """Gives up whatever the other end is slow with."""
    made = WorkerPredictor(EchoPredictor, connect=world.connect)
    made.stop_when(lambda: world.is_waiting)
    return made


def ask(worker: WorkerPredictor, session: Session) -> str:
    """A question like no other: what it was answered, and what was told with it."""
    mask = question(session)
    answer = worker.predict(session.window(4.0), mask)
    assert answer.mask_id == mask.mask_id
    return answer.status


def give_up(worker: WorkerPredictor, session: Session) -> None:
    """A question that takes too long."""
    with pytest.raises(StoppedError):
        ask(worker, session)


def test_a_question_that_ends_it_twice_is_refused(world, worker, session):
    ask(worker, session)
    world.script("encode", ENDS, ENDS)
    with pytest.raises(WorkerError, match="twice in a row"):
        ask(worker, session)
    assert world.starts == 2
    assert "started again" in ask(worker, session)
    assert ask(worker, session) == "ok"


def test_the_end_of_a_question_given_up_is_not_that_of_the_next(world, worker, session):
    ask(worker, session)
    world.script("encode", ENDS, IS_SLOW_AND_ENDS, "", ENDS)
    give_up(worker, session)
    # The next question finds it gone; its own first end comes after that.
    assert "started again" in ask(worker, session)
    assert "started again" in ask(worker, session)
    assert world.starts == 4


def test_a_question_after_one_given_up_may_end_it_once(world, worker, session):
    ask(worker, session)
    world.script("encode", ENDS, IS_SLOW_AND_ENDS, ENDS)
    give_up(worker, session)
    assert "started again" in ask(worker, session)


def test_once_what_was_given_up_has_ended_well_the_next_answers_for_itself(
    world, worker, session
):
    ask(worker, session)
    world.script("encode", IS_SLOW)
    give_up(worker, session)
    ask(worker, session)
    world.script("encode", ENDS, ENDS)
    with pytest.raises(WorkerError, match="twice in a row"):
        ask(worker, session)
    assert world.starts == 2


def test_one_that_never_starts_again_is_told_of(world, worker, session):
    ask(worker, session)
    world.script("encode", IS_SLOW_AND_ENDS)
    give_up(worker, session)
    world.ends_at_every_start = True
    with pytest.raises(WorkerError, match="in a row"):
        ask(worker, session)


def test_looking_ahead_may_end_it_at_nobodys_cost(world, worker, session):
    ask(worker, session)
    world.script("look_ahead", ENDS)
    worker.look_ahead(session.window(8.0), question(session))
    world.script("encode", ENDS)
    assert "started again" in ask(worker, session)
    assert world.starts == 3


def test_closed_while_it_starts_it_leaves_nothing_and_the_call_is_refused(
    world, worker, session
):
    world.while_it_starts = worker.close  # as another thread does
    with pytest.raises(WorkerError, match="was closed"):
        ask(worker, session)
    assert [end.has_ended for end in world.ends] == [True]
    world.while_it_starts = lambda: None
    assert ask(worker, session) == "ok"


def test_closed_while_it_answers_the_call_is_refused(world, worker, session):
    ask(worker, session)
    world.script("encode", IS_SLOW)
    worker.stop_when(lambda: world.is_waiting and bool(worker.close()))
    with pytest.raises(WorkerError, match="was closed"):
        ask(worker, session)
    worker.stop_when(lambda: False)
    assert ask(worker, session) == "ok"
    assert world.starts == 2
