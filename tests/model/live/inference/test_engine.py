"""Live engine: one slot, newest request next, stages, callers, cancel."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omnimouse_model.errors import StoppedError
from omnimouse_model.live.inference.engine import Answer, Engine, Execution
from omnimouse_model.progress import shown_job

TIMEOUT = 60.0


class GatedCall:
    """Call that reports each stage and waits at a gate."""

    def __init__(self, stages: int = 1) -> None:
        self.stages = stages
        self.entered: list[tuple[Any, int]] = []
        self.arrived = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.closed = False
        self.thread: threading.Thread | None = None

    def __call__(self, request: Any, cancelled: Callable[[], bool]) -> Iterator[Any]:
        self.thread = threading.current_thread()
        for stage in range(self.stages):
            self.entered.append((request, stage))
            self.arrived.release()
            while not self.open.acquire(timeout=0.005):
                if cancelled():
                    raise StoppedError
            yield request, stage

    def close(self) -> None:
        self.closed = True

    def wait_inside(self) -> None:
        assert self.arrived.acquire(timeout=TIMEOUT)

    def open_gate(self, n: int = 1) -> None:
        self.open.release(n)


def send(engine: Engine, request: Any, on_answer: Callable[[Answer], None]) -> int:
    number = engine.submit(request, on_answer)
    engine.start()
    return number


@pytest.fixture
def engines():
    made: list[Engine] = []

    def make(call: Any, **options: Any) -> tuple[Engine, list[Answer]]:
        engine = Engine(call, Execution(**options))
        answers: list[Answer] = []
        made.append(engine)
        return engine, answers

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def busy(engines):
    """Gate at which the request "old" waits, its engine, and the answers."""

    def make(stages: int = 1) -> tuple[GatedCall, Engine, list[Answer]]:
        gate = GatedCall(stages)
        engine, answers = engines(gate)
        send(engine, "old", answers.append)
        gate.wait_inside()
        return gate, engine, answers

    return make


def stages_of(answers: list[Answer]) -> list[Any]:
    return [answer.value for answer in answers if answer.kind == "stage"]


def test_a_hundred_requests_while_busy_run_at_most_twice(busy):
    gate, engine, answers = busy()
    for request in range(1, 101):
        send(engine, request, answers.append)
    gate.open_gate(2)
    assert engine.wait(TIMEOUT)
    assert stages_of(answers) == [("old", 0), (100, 0)]


def test_a_newer_request_stops_a_later_stage(busy):
    gate, engine, answers = busy(stages=2)
    gate.open_gate()
    gate.wait_inside()
    send(engine, "new", answers.append)
    gate.wait_inside()
    gate.open_gate(2)
    assert engine.wait(TIMEOUT)
    assert stages_of(answers) == [("old", 0), ("new", 0), ("new", 1)]


def test_cancel_stops_the_running_and_drops_the_waiting(busy):
    gate, engine, answers = busy()
    send(engine, "waiting", answers.append)
    engine.cancel()
    assert engine.wait(TIMEOUT)
    assert stages_of(answers) == []
    assert gate.entered == [("old", 0)]
    send(engine, "next", answers.append)
    gate.open_gate()
    assert engine.wait(TIMEOUT)
    assert stages_of(answers) == [("next", 0)]


def test_a_view_that_cannot_draw_does_not_end_the_engine(engines, caplog):
    engine, answers = engines(immediate_answer)

    def broken(answer: Answer) -> None:
        if answer.value == "first":
            raise RuntimeError("the window is gone")
        answers.append(answer)

    for request in ("first", "second"):
        send(engine, request, broken)
        assert engine.wait(TIMEOUT)
    assert stages_of(answers)[-1] == "second"
    assert "the window is gone" in caplog.text


def immediate_answer(request: Any, _: Callable[[], bool]) -> Iterator[Any]:
    yield request


@pytest.mark.parametrize(("is_cancelled", "values"), [(False, ["new"]), (True, [])])
def test_age_is_checked_again_on_the_thread_that_draws(engines, is_cancelled, values):
    posted: list[Callable[[], None]] = []
    engine, answers = engines(immediate_answer, post=posted.append)
    send(engine, "old", answers.append)
    assert engine.wait(TIMEOUT)
    if is_cancelled:
        engine.cancel()
    else:
        send(engine, "new", answers.append)
    assert engine.wait(TIMEOUT)
    assert not answers
    for draw in reversed(posted):
        draw()
    assert stages_of(answers) == values


def test_each_caller_receives_the_answers_to_its_own_requests(engines):
    posted: list[Callable[[], None]] = []
    engine, mine = engines(immediate_answer, post=posted.append)
    others: list[Answer] = []
    numbers = []
    for request, answers in (("a", mine), ("b", others), ("c", mine)):
        numbers.append(send(engine, request, answers.append))
        assert engine.wait(TIMEOUT)
    # The newest result of one caller does not make an older one of another too old.
    for draw in reversed(posted):
        draw()
    assert [a.number for a in mine if a.kind == "stage"] == [numbers[2]]
    assert [(a.number, a.request) for a in others] == 2 * [(numbers[1], "b")]


def test_a_synchronous_engine_answers_after_the_number_is_known(engines):
    engine, answers = engines(immediate_answer, synchronous=True)
    engine.submit("replaced", answers.append)
    number = engine.submit("newest", answers.append)
    assert not answers
    engine.start()
    told = [(a.number, a.kind) for a in answers]
    assert told == [(number, "stage"), (number, "done")]
    engine.start()
    assert len(answers) == 2


def test_work_that_ends_after_closing_posts_nothing(engines):
    gate, posted = GatedCall(), []

    def fails_late(request, cancelled):
        next(gate(request, lambda: False))
        raise ValueError("the model was closed meanwhile")
        yield

    engine, answers = engines(fails_late, post=posted.append)
    send(engine, "a", answers.append)
    gate.wait_inside()
    engine.close(timeout_s=0.0)
    gate.open_gate()
    engine.close()
    assert posted == []


def test_closing_ends_the_thread_and_closes_the_call(busy):
    gate, engine, answers = busy()
    engine.close()
    gate.thread.join(TIMEOUT)
    assert not gate.thread.is_alive()
    assert gate.closed
    with pytest.raises(RuntimeError, match="closed"):
        send(engine, "late", answers.append)


class ForesightCall:
    """Call whose idle work lasts until it is stopped."""

    def __init__(self) -> None:
        self.looked: list[Any] = []
        self.began = threading.Semaphore(0)
        self.gave_way = threading.Semaphore(0)

    def __call__(self, request: Any, cancelled: Callable[[], bool]) -> Iterator[Any]:
        yield request

    def when_idle(self, request: Any, cancelled: Callable[[], bool]) -> Iterator[Any]:
        self.looked.append(request)
        yield f"{request}, refined"
        self.began.release()
        while not cancelled():
            threading.Event().wait(0.001)
        self.gave_way.release()
        raise StoppedError


@pytest.fixture
def idle(engines):
    """A call whose idle work for the request "first" has begun, its engine, and the answers."""
    call = ForesightCall()
    engine, answers = engines(call)
    send(engine, "first", answers.append)
    assert call.began.acquire(timeout=TIMEOUT)
    return call, engine, answers


def test_it_works_when_idle_and_stops_for_a_request(idle):
    call, engine, answers = idle
    assert engine.wait(TIMEOUT), "idle work must not count as busy"
    send(engine, "second", answers.append)
    assert call.gave_way.acquire(timeout=TIMEOUT)
    assert call.began.acquire(timeout=TIMEOUT)
    stages = ["first", "first, refined", "second", "second, refined"]
    assert stages_of(answers) == stages
    assert call.looked == ["first", "second"]
    assert [a.kind for a in answers] == ["stage", "done", "stage"] * 2


def test_idle_work_waits_for_a_call_of_the_user_and_goes_on_after_it(idle):
    call, *_ = idle
    # A library function that was called without a job.
    with shown_job(None):
        assert call.gave_way.acquire(timeout=TIMEOUT)
        assert not call.began.acquire(timeout=0.1)
    assert call.began.acquire(timeout=TIMEOUT)
    assert call.looked == ["first", "first"]


def test_idle_work_is_for_the_last_request_of_each_caller(engines):
    done = threading.Semaphore(0)

    class Worker:
        def __call__(self, request, cancelled):
            yield request

        def when_idle(self, request, cancelled):
            yield f"{request}, refined"
            done.release()

    engine, mine = engines(Worker())
    others: list[Answer] = []
    for request, answers in (("a", mine), ("b", mine), ("c", others)):
        send(engine, request, answers.append)
        assert engine.wait(TIMEOUT)
    # "a" and "b" may have had idle work before the next request arrived.
    while "b, refined" not in stages_of(mine) or "c, refined" not in stages_of(others):
        assert done.acquire(timeout=TIMEOUT)
    assert stages_of(others) == ["c", "c, refined"]
    assert stages_of(mine)[-1] == "b, refined"


def test_a_cancel_and_closing_stop_idle_work(idle):
    call, engine, answers = idle
    engine.cancel()
    assert call.gave_way.acquire(timeout=TIMEOUT)
    send(engine, "second", answers.append)
    assert call.began.acquire(timeout=TIMEOUT)
    engine.close()
    assert call.gave_way.acquire(timeout=TIMEOUT)


def test_a_dropped_request_ends_and_idle_work_of_others_goes_on(idle):
    call, engine, _ = idle
    others: list[Answer] = []
    number = send(engine, "span", others.append)
    assert call.gave_way.acquire(timeout=TIMEOUT)
    assert call.began.acquire(timeout=TIMEOUT)  # idle work of the span
    engine.drop(number)
    assert call.gave_way.acquire(timeout=TIMEOUT)
    assert call.began.acquire(timeout=TIMEOUT)
    assert call.looked == ["first", "span", "first"]
