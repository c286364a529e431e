"""A predictor on a Dask worker: which addresses are taken, and the same messages."""

import os
import signal
import threading
import time

import dask
import distributed
import pytest

from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.inference.dask_map import PLAIN_SCHEDULER, check_address, remote_predictor
from tests.model.dask_clusters import cluster_address
from tests.predictors import EchoPredictor, EndlessPredictor, example_mask

TIMEOUT = 60.0


@pytest.fixture(autouse=True)
def nobody_else_uses_this_machine(monkeypatch):
    monkeypatch.setenv(PLAIN_SCHEDULER, "1")


def test_a_scheduler_without_tls_needs_the_word_of_the_user(monkeypatch):
    monkeypatch.delenv(PLAIN_SCHEDULER)
    for address in ("tcp://127.0.0.1:8786", "localhost:8786"):
        with pytest.raises(ValueError, match=rf"every account .*{PLAIN_SCHEDULER}=1"):
            check_address(address)
    assert check_address("tls://127.0.0.1:8786")


@pytest.mark.parametrize(
    "address",
    [
        "tls://gpu.example.org:8786",
        "tls://10.0.0.5:8786",
        "tcp://127.8.0.1:8786",
        "tcp://localhost:8786",
        "tcp://[::1]:8786",
    ],
)
def test_tls_and_this_machine_are_taken(address):
    assert check_address(address) == address
    assert check_address(address.removeprefix("tcp://")) == address


@pytest.mark.parametrize(
    "address",
    [
        "tcp://10.0.0.5:8786",
        "gpu.example.org:8786",
        "tcp://localhost.example.org:8786",
        "tcp://127.0.0.1.example.org:8786",
        "tcp://[2001:db8::1]:8786",
        "tcp://0.0.0.0:8786",
    ],
)
def test_what_travels_in_the_clear_is_refused_with_the_way_out(address):
    with pytest.raises(ValueError, match=r"tls://.*ssh -L"):
        check_address(address)


@pytest.mark.parametrize(
    "address", ["", "here", "tcp://127.0.0.1", "http://127.0.0.1:80", "ws://127.0.0.1:1"]
)
def test_what_is_no_scheduler_is_told(address):
    with pytest.raises(ValueError, match="Dask scheduler"):
        check_address(address)


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    module = "omnimouse_model.inference.dask_map"
    monkeypatch.setattr(f"{module}.START_TIMEOUT_S", 0.3)
    predictor = remote_predictor("tcp://127.0.0.1:9", EchoPredictor)
    with pytest.raises(WorkerError, match=r"does not answer.*dask worker"):
        _ = predictor.needs


@pytest.fixture(scope="module")
def scheduler():
    # Dask tries to reach a dead worker for this time, 30 s by default.
    with dask.config.set({"distributed.comm.timeouts.connect": "3s"}), cluster_address() as address:
        yield address


@pytest.fixture(scope="module")
def remote(scheduler):
    predictor = remote_predictor(scheduler, EndlessPredictor)
    yield predictor
    predictor.close()


@pytest.mark.process
@pytest.mark.slow
def test_a_cancel_reaches_it_while_it_computes(remote, session):
    window, mask = session.window(4.0), example_mask(session)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(StoppedError):
        remote.predict(window, mask.with_behavior("hidden"), cancelled=stop.is_set)
    assert remote.predict(window, mask).mask_id == mask.mask_id


def kill(scheduler: str, *, is_noticed: bool) -> None:
    """Kill the one worker; where noticed, wait until the scheduler has another."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        (process,) = client.run(os.getpid).values()
        (before,) = client.scheduler_info()["workers"]
        os.kill(process, signal.SIGKILL)
        until = time.monotonic() + TIMEOUT
        while is_noticed and list(client.scheduler_info()["workers"]) in ([before], []):
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_worker_that_dies_is_replaced(remote, scheduler, session, is_noticed):
    window, mask = session.window(6.0), example_mask(session)
    remote.predict(window, mask)
    kill(scheduler, is_noticed=is_noticed)
    if is_noticed:
        remote.prefetch(window, mask)  # raises nothing
    changed = mask.with_behavior("visible")
    answer = remote.predict(window, changed)
    assert "started again" in answer.status
    assert answer.mask_id == changed.mask_id
