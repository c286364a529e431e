"""Start of child processes without the user's script."""

import os
import signal
import socket
import stat
import sys
import threading
from multiprocessing.context import SpawnContext
from multiprocessing.shared_memory import SharedMemory

import pytest

from omnimouse_model.storage import processes
from omnimouse_model.storage.processes import without_main_module

THREADS = "OMP_NUM_THREADS"


def send_threads(connection) -> None:
    connection.send(os.environ[THREADS])


@pytest.mark.process
def test_a_process_has_its_variables_from_the_start(monkeypatch):
    monkeypatch.setattr(processes, "SPAWN", SpawnContext())
    for of_user, expected in ((None, "3"), ("2", "2")):
        monkeypatch.delenv(THREADS, raising=False)
        if of_user:
            monkeypatch.setenv(THREADS, of_user)
        child, pipe = processes.spawn("t", send_threads, environment={THREADS: "3"})
        assert pipe.recv() == expected
        processes.end_process(child, 10.0)
        assert os.environ.get(THREADS) == of_user


def send_nothing(connection) -> None:
    connection.recv()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="its pipes have names that nobody can guess")
def test_the_pipe_and_the_shared_memory_of_a_process_are_private():
    child, pipe = processes.spawn("t", send_nothing)
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        assert end.family == socket.AF_UNIX
        assert not end.getsockname()
        assert not end.getpeername()
    processes.end_process(child, 10.0)
    memory = SharedMemory(create=True, size=8)
    try:
        assert stat.S_IMODE(os.fstat(memory._fd).st_mode) == 0o600
    finally:
        memory.close()
        memory.unlink()


def send_mask(connection) -> None:
    connection.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no masks of signals")
def test_an_interrupt_of_the_terminal_does_not_reach_a_process_that_starts(monkeypatch):
    monkeypatch.setattr(processes, "SPAWN", SpawnContext())
    child, pipe = processes.spawn("t", send_mask)
    assert signal.SIGINT in pipe.recv()
    processes.end_process(child, 10.0)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_two_threads_that_start_processes_at_once_leave_the_script_in_its_place():
    script = sys.modules["__main__"]
    has_begun, may_end = threading.Event(), threading.Event()

    def begin() -> None:
        with without_main_module():
            has_begun.set()
            may_end.wait(10.0)

    second = threading.Thread(target=begin)
    try:
        with without_main_module():
            second.start()
            assert sys.modules["__main__"] is not script
            has_begun.wait(0.2)  # It would begin within the first, and end after it.
        may_end.set()
        second.join()
        assert sys.modules["__main__"] is script
    finally:
        sys.modules["__main__"] = script


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_tests_fork_the_processes_of_the_library():
    assert processes.SPAWN.get_start_method() == "forkserver"
