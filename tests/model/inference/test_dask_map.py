import multiprocessing
import os
import signal
import socket
import ssl
import time
from http.client import HTTPConnection
from itertools import product
from pathlib import Path

import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_model.errors import WorkerError
from omnimouse_model.evaluation.results_store import ResultsFile, RowFormat
from omnimouse_model.inference import dask_map, registry
from omnimouse_model.progress import CallbackJob
from tests.model.analysis.sweep.test_run import session as session
from tests.model.context_predictor import ContextPredictor, SlowContextPredictor
from tests.model.dask_clusters import cluster_address, worker_process_ids

pytestmark = pytest.mark.slow  # workers import the library

SWEEP = {"neurons": [0, 8, 32], "history_samples": [10], "seeds": 4, "max_windows": 2}


@pytest.fixture(scope="module")
def serial_sweep(session):
    return context_sweep(ContextPredictor(), session, **SWEEP)


@pytest.fixture(scope="module")
def local_cluster():
    with cluster_address(2, scheduler_kwargs={"allowed_failures": 1}) as address:
        yield address


@pytest.mark.process
def test_a_killed_worker_loses_nothing(session, serial_sweep, local_cluster, tmp_path):
    process = worker_process_ids(local_cluster)[0]

    def kill_one(sweep):
        if len(sweep.rows) == 3:
            os.kill(process, signal.SIGKILL)

    path = tmp_path / "rows"
    ask = SWEEP | {"scheduler": local_cluster, "on_part": kill_one}
    sweep = context_sweep(SlowContextPredictor, session, **ask, results=path)
    assert sweep.table() == serial_sweep.table()
    again = context_sweep(ContextPredictor(), session, **SWEEP, results=path)
    assert again.table() == serial_sweep.table()


@pytest.mark.parametrize(
    ("source", "neurons", "refusal"),
    [(ContextPredictor, [0, 8, 60], "fewer than"), ("context-ridge", [0, 8], "needs")],
)
def test_workers_score_and_refuse_alike(session, scheduler, source, neurons, refusal):
    ask = {"neurons": neurons, "seeds": 2, "max_windows": 2}
    there = context_sweep(source, session, **ask, scheduler=scheduler)
    here = context_sweep(registry.resolve_predictor(source, "cpu"), session, **ask)
    assert there.table() == here.table()
    assert any(refusal in row.refusal for row in there.rows)


def test_a_predictor_itself_cannot_travel(session):
    with pytest.raises(ValueError, match="by its name or path"):
        context_sweep(ContextPredictor(), session, **SWEEP, scheduler="local:1")


def square(number, job):
    return number**2


def die(number, job):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number, job):
    raise KeyError(f"no piece {number}")


@pytest.mark.process
def test_a_piece_that_kills_every_worker_ends_the_work(local_cluster):
    with pytest.raises(WorkerError, match="died"):
        list(dask_map.map_pieces(die, [1], local_cluster))
    assert list(dask_map.map_pieces(square, [2], local_cluster)) == [(0, 4)]


def test_an_error_there_is_an_error_here(scheduler):
    with pytest.raises(KeyError, match="no piece 7"):
        list(dask_map.map_pieces(fail, [7], scheduler))


def serve_scheduler(addresses):
    with cluster_address(processes=False) as address:
        addresses.put(address)
        time.sleep(600)


def pause(number, job):
    time.sleep(0.2)
    return number


@pytest.mark.process
def test_a_lost_scheduler_is_one_line(capfd, monkeypatch):
    # As long as Dask waits for its return.
    monkeypatch.setattr(dask_map, "START_TIMEOUT_S", 5)
    context = multiprocessing.get_context("spawn")
    addresses = context.Queue()
    process = context.Process(target=serve_scheduler, args=(addresses,))
    process.start()
    address = addresses.get(timeout=60)
    results = dask_map.map_pieces(pause, list(range(100)), address)
    next(results)
    process.kill()
    process.join()
    with pytest.raises(WorkerError, match="scheduler is lost"):
        list(results)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "local:0", "local:x", "x"])
def test_what_is_no_scheduler_is_refused_at_once(address):
    with pytest.raises(ValueError, match=address):
        dask_map.checked_scheduler(address)


NUMBERS = RowFormat("numbers", "some numbers", lambda row: {"n": row}, lambda f: f["n"])


def squares_file(path: Path) -> ResultsFile[int]:
    return ResultsFile(NUMBERS, path, {"what": "squares"})


def write_squares(path: Path, first: int) -> None:
    file = squares_file(path)
    for n in range(first, first + 60):
        file.add(str(n), n**2)


@pytest.mark.process
def test_several_processes_write_one_file(tmp_path):
    path = tmp_path / "new" / "numbers.jsonl"
    context = multiprocessing.get_context("spawn")
    arguments = [(path, first) for first in (0, 30, 60)]
    writers = [context.Process(target=write_squares, args=one) for one in arguments]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert squares_file(path).rows == {str(n): n**2 for n in range(120)}
    assert len(path.read_bytes().splitlines()) == 121


def test_half_a_line_of_a_dead_writer_is_cut_off_by_the_next(tmp_path):
    path = tmp_path / "numbers.jsonl"
    file = squares_file(path)
    file.add("1", 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "2", "n')
    file.add("3", 9)
    assert path.read_bytes() == whole + NUMBERS.line("3", 9)


def addresses_of_worker(_piece, job):
    from distributed import get_client, get_worker

    worker = get_worker()
    pages = worker.http_server.port, get_client().scheduler_info()["services"]["dashboard"]
    return (worker.address, worker.scheduler.address), pages, Path(worker.local_directory)


@pytest.mark.process
def test_a_local_cluster_is_closed_to_clients_without_its_certificate():
    results = dask_map.map_pieces(addresses_of_worker, [0, 1], "local:1")
    _, (addresses, pages, scratch) = next(results)
    assert scratch.parents[1].stat().st_mode & 0o077 == 0
    for port, page in product(pages, ("health", "info/main/workers.html", "metrics", "")):
        answer = HTTPConnection("127.0.0.1", port, timeout=30)
        answer.request("GET", f"/{page}")
        assert answer.getresponse().status == 404
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for address in addresses:
        host, port = address.removeprefix("tls://").split(":")
        assert host == "127.0.0.1"
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            pytest.raises(ssl.SSLError, match="certificate"),
            context.wrap_socket(plain) as connection,
        ):
            connection.recv(1)
    assert len(list(results)) == 1
    assert not scratch.exists()


def test_pieces_here_report_one_progress_and_stop_at_a_cancel():
    calls: list[tuple[float, float, str]] = []
    job = CallbackJob(lambda *call: calls.append(call), lambda: len(calls) == 2)

    def half(number, job):
        job.progress(1, 2, f"half of {number}")
        return number

    found = list(dask_map.map_pieces(half, [5, 6, 7], None, job, sizes=[2, 6, 2]))
    assert found == [(0, 5), (1, 6)]
    assert calls == [(1, 10, "half of 5"), (5, 10, "half of 6")]
