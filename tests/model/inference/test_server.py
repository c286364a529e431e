"""A predictor in a process of its own: what only a process can get wrong."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from multiprocessing.context import SpawnContext
from pathlib import Path

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError, UnsupportedRequestError, WorkerError
from omnimouse_model.inference import client
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.inference.server import portable_error
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.engine import QUIET_S
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import TARGET
from omnimouse_model.predict.devices import full_memory_text
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.progress import stop_if
from omnimouse_model.storage import processes
from tests.model.inference.test_heartbeat import wait_until
from tests.predictors import (
    CrashingPredictor,
    EchoPredictor,
    EndlessPredictor,
    SizeLimitedPredictor,
    example_mask,
    tiny_transformer,
)
from tests.small_sessions import write_session

pytestmark = pytest.mark.process
TIMEOUT = 60.0
MANY = 5000
"""So many that an answer over all goes through shared memory."""
SEGMENTS = Path("/dev/shm")
needs_segments = pytest.mark.skipif(
    not SEGMENTS.is_dir(), reason="shared memory is not listed in /dev/shm"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process") / "many"
    return open_session(write_session(folder, n_neurons=MANY))


@pytest.fixture
def worker_of():
    made: list[WorkerPredictor] = []

    def make(source: object) -> WorkerPredictor:
        made.append(WorkerPredictor(source))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_big_answers_come_whole_also_after_a_refusal(worker_of, many, tmp_path):
    bigger = open_session(write_session(tmp_path / "s", n_neurons=10_001))
    worker = worker_of(SizeLimitedPredictor)
    window, mask = many.window(4.0), example_mask(many)
    here = EchoPredictor().predict(window, mask).responses
    assert here.nbytes > 2**20
    there = worker.predict(window, mask).responses
    other = worker.predict(many.window(6.0), mask).responses
    assert not np.array_equal(there, other, equal_nan=True)
    assert np.array_equal(there, here, equal_nan=True)
    with pytest.raises(UnsupportedRequestError):
        worker.prepare(bigger)
    again = worker.predict(window, mask).responses
    assert np.array_equal(again, here, equal_nan=True)


def test_a_crash_is_told_and_the_next_request_starts_again(worker_of, session):
    worker = worker_of(CrashingPredictor)
    window, mask = session.window(4.0), example_mask(session)
    worker.predict(window, mask)
    first = worker.process_id
    with pytest.raises(WorkerError, match=f"exit code {-signal.SIGABRT}"):
        worker.predict(window, mask.with_behavior("hidden"))
    assert worker.predict(window, mask).mask_id == mask.mask_id
    assert worker.process_id != first


def test_stopping_gives_up_and_the_next_request_is_answered(worker_of, session):
    worker = worker_of(EndlessPredictor)
    window, mask = session.window(4.0), example_mask(session)
    worker.predict(window, mask)
    polls, hidden = iter(range(20)), mask.with_behavior("hidden")
    with pytest.raises(StoppedError):
        worker.predict(window, hidden, cancelled=lambda: next(polls, None) is None)
    changed = mask.paint([20], (0, 60), TARGET)
    assert worker.predict(window, changed).mask_id == changed.mask_id


class EndlessEmbedding(EchoPredictor):
    """Computes vectors until it is cancelled."""

    @property
    def needs(self):
        return Needs(sees_video=True, methods=frozenset({"embeddings"}))

    def embeddings(self, session, cancelled):
        while True:
            stop_if(cancelled)


def test_a_cancel_reaches_an_optional_method(worker_of, session):
    worker = worker_of(EndlessEmbedding)
    with pytest.raises(StoppedError):
        worker.embeddings(session, lambda: True)
    mask = example_mask(session)
    assert worker.predict(session.window(4.0), mask).mask_id == mask.mask_id


def test_closing_leaves_no_process_behind(session):
    worker = WorkerPredictor(EchoPredictor)
    worker.predict(session.window(4.0), example_mask(session))
    process_id = worker.process_id
    worker.close()
    assert worker.process_id is None
    assert process_id not in [child.pid for child in active_children()]
    assert not is_running(process_id)


@needs_segments
def test_shared_memory_is_released_with_the_worker_or_the_process(many):
    worker = WorkerPredictor(EchoPredictor)
    window, mask = many.window(4.0), example_mask(many)
    worker.predict(window, mask)
    first = SEGMENTS / worker._memory.name
    assert first.exists()
    os.kill(worker.process_id, signal.SIGKILL)
    assert "started again" in worker.predict(window, mask).status
    assert not first.exists()
    second = SEGMENTS / worker._memory.name
    assert second.exists()
    worker.close()
    assert not second.exists()
    worker.predict(window, mask)
    third = SEGMENTS / worker._memory.name
    assert third.exists()
    worker._link.close()
    del worker
    assert not third.exists(), "a worker that is forgotten releases it too"


SCRIPT = """
import qtpy, os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
pathlib.Path(sys.argv[3]).open("a").write("run ")
from omnimouse_model.data.open import open_session
from omnimouse_model.inference import client
from omnimouse_model.inference.client import WorkerPredictor
from tests.predictors import EchoPredictor
worker = WorkerPredictor(EchoPredictor)
worker.prepare(open_session(sys.argv[2]))
shared = worker._memory.name
print(worker.predictor_id, worker.process_id, shared, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@needs_segments
def test_a_script_is_run_once_and_its_end_releases_all(many, root, tmp_path):
    script, runs = tmp_path / "script.py", tmp_path / "runs"
    script.write_text(SCRIPT)
    arguments = [script, root, many.path, runs]
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    name, process, shared = done.stdout.split()
    assert (name, runs.read_text()) == ("echo", "run ")
    wait_until(lambda: not (SEGMENTS / shared).exists())
    wait_until(lambda: not is_running(int(process)))


def counted_transformer():
    """A transformer whose vectors of neurons are the number of videos that it has encoded."""
    made = tiny_transformer()
    type(made).embeddings = lambda self, *_: np.array([[self.counters["video_encodings"]]])
    return made


@pytest.fixture
def net(worker_of):
    return worker_of(counted_transformer)


@pytest.fixture
def live_controller(net, session):
    controller = Controller(LiveState(trace_span="window"), load=lambda *_: net)
    controller.loader.open_now(session)
    controller.model.choose("tiny")
    assert controller.requests.wait(TIMEOUT)
    yield controller
    process_id = net.process_id
    controller.close()
    assert not is_running(process_id)


def lasting_count(net: WorkerPredictor, session: Session) -> int:
    """Return the number of encoded videos after the idle work has ended."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 4 * QUIET_S:
        if (found := net.embeddings(session).item()) != count:
            count, since = found, time.monotonic()
        time.sleep(0.02)
    return count


def test_the_windows_beside_are_computed_ahead(live_controller, net, session, monkeypatch):
    # Scores encode further windows.
    live_controller.requests.score_tier(False)
    live_controller.editor.apply_preset("video_behavior")
    assert live_controller.requests.wait(TIMEOUT)
    before = lasting_count(net, session)
    live_controller.navigation.seek(10.1)
    assert live_controller.requests.wait(TIMEOUT)
    assert lasting_count(net, session) == before + 3  # the window and those beside
    monkeypatch.setattr("omnimouse_model.live.inference.engine.QUIET_S", 1000.0)
    for step in (1, -2):
        live_controller.navigation.step_window(step)
        assert live_controller.requests.wait(TIMEOUT)
        assert live_controller.results.population_freshness == "fresh"
    assert net.embeddings(session).item() == before + 3


def echo_of_thread_variables() -> EchoPredictor:
    return EchoPredictor(f"{os.environ['OPENBLAS_NUM_THREADS']} {os.environ['GOMP_SPINCOUNT']}")


def test_in_a_process_numpy_has_one_thread_and_threads_that_wait_leave_the_core(
    worker_of, monkeypatch
):
    for name in ("OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for module in (processes, client):
        monkeypatch.setattr(module, "SPAWN", SpawnContext())
    assert worker_of(echo_of_thread_variables).predictor_id == "1 3000"


@pytest.mark.parametrize("text", ["CUDA error: out of memory", "CUBLAS_ALLOC_FAILED"])
def test_a_full_memory_is_one_line_with_what_to_do(text):
    error = portable_error(RuntimeError(f"{text}\nCompile with …"))
    assert isinstance(error, WorkerError)
    assert "choose the device cpu" in str(error)
    assert "fewer neurons" in str(portable_error(MemoryError()))


def test_a_missing_library_is_no_fault_of_the_code():
    text = "a-model needs no_such, which is not installed."
    assert str(portable_error(ModuleNotFoundError(text, name="no_such"))) == text


@pytest.mark.parametrize(
    ("free", "is_full"),
    [(40, True), (4000, False), (RuntimeError("CUDA error: out of memory"), True)],
)
def test_errors_of_cuda_libraries_on_a_full_gpu_are_a_full_memory(monkeypatch, free, is_full):
    def memory():
        if isinstance(free, Exception):
            raise free
        return free * 2**20, 80 * 2**30

    monkeypatch.setattr("torch.cuda.mem_get_info", memory)
    for text in ("CUDNN_STATUS_INTERNAL_ERROR", "CUBLAS_STATUS_NOT_INITIALIZED"):
        found = full_memory_text(RuntimeError(f"cuDNN error: {text}"))
        assert bool(found) == is_full
