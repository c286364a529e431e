"""A stopped worker is noticed, and time during which nobody looked is not held against it."""

import os
import signal
import threading
from time import monotonic

import pytest

from omnimouse_model.errors import WorkerError
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.server import SILENCE_S, Silence
from omnimouse_model.live.inference.engine import Execution
from omnimouse_model.live.inference.workers import WorkerWatch
from tests.predictors import EchoPredictor

LIMIT_S = 60.0


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_silence_is_the_time_without_a_beat():
    clock = Clock()
    silence = Silence(clock)
    seen = []
    for count in (0, 0, 1, 1, 1, 2, 2):
        clock.now_s += 0.5
        seen.append(silence.look(count))
    assert seen == [0, 0, 0, 0.5, 1.0, 0, 0.5]


def test_time_asleep_does_not_count():
    clock = Clock()
    silence = Silence(clock)
    silence.look(1)
    clock.now_s += 8 * 3600
    assert silence.look(1) <= 1.0 < SILENCE_S


@pytest.fixture
def worker():
    made = WorkerPredictor(EchoPredictor)
    yield made
    made.kill()
    made.close()


@pytest.fixture
def watch(worker):
    """A watch over the worker, which looks when a test says so."""
    made = WorkerWatch(Execution(synchronous=True))
    made.watched(lambda *_: worker)("echo", "cpu")
    return made


def wait_until(condition, look=lambda: None):
    """Look again and again until a condition holds, for at most a minute."""
    end_s, pause = monotonic() + LIMIT_S, threading.Event()
    while not condition():
        assert monotonic() < end_s
        look()
        pause.wait(0.01)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no processes")
def test_a_stopped_worker_is_reported_and_restarted(worker, watch, session):
    first = worker.predictor_id, worker.process_id
    wait_until(lambda: worker._link.beats() > 0)
    os.kill(worker.process_id, signal.SIGSTOP)
    asked = threading.Thread(target=worker.prepare, args=(session,), daemon=True)
    asked.start()
    wait_until(lambda: watch.is_silent, watch.look)
    watch.wait()
    assert not watch.is_silent
    watch.restart()
    asked.join(LIMIT_S)
    assert not asked.is_alive()
    assert worker.predictor_id == first[0]
    assert worker.process_id != first[1]
    watch.look()
    assert not watch.is_silent


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no processes")
def test_a_stopped_worker_does_not_delay_the_end(worker):
    _ = worker.predictor_id
    link, start_s = worker._link, monotonic()
    os.kill(worker.process_id, signal.SIGSTOP)
    worker.close()
    assert not link.is_alive
    assert monotonic() - start_s < 20


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no processes")
def test_after_the_end_work_in_the_background_starts_no_worker_again(worker, watch, session):
    """A window is closed while a sweep waits for its worker."""
    wait_until(lambda: worker.predictor_id and worker._link.beats() > 0)
    os.kill(worker.process_id, signal.SIGSTOP)
    errors = []

    def work():
        try:
            worker.prepare(session)
        except WorkerError as error:
            errors.append(error)

    asked = threading.Thread(target=work, daemon=True)
    asked.start()
    wait_until(lambda: worker._is_asked)
    watch.close()
    asked.join(LIMIT_S)
    assert len(errors) == 1
    with pytest.raises(WorkerError):
        worker.prepare(session)
    assert worker.process_id is None or not worker._link.is_alive


@pytest.mark.process
def test_a_worker_that_is_not_asked_is_never_silent(worker, watch):
    for _ in range(3):
        watch.look()
    assert not watch.is_silent
    assert worker.process_id is None
