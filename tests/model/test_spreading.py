"""Work over Dask workers: the same rows as here, whoever dies meanwhile."""

import json
import os
import signal
import subprocess
import sys

import distributed
import pytest

from omnimouse_model.analysis.results_file import Kind, ResultsFile
from omnimouse_model.analysis.spreading import (
    checked_scheduler,
    made_predictor,
    spread,
    travelling,
)
from omnimouse_model.analysis.sweep import context_sweep
from omnimouse_model.errors import WorkerError
from tests.model.contextual import Contextual, Slow, world

ASKED = {"neurons": [0, 8, 32], "history_samples": [10], "seeds": 4, "max_windows": 4}
LAST = {"neurons": [0, 8, 60], "seeds": 2, "max_windows": 2}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), "1-1-1")


@pytest.fixture(scope="module")
def scheduler():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"allowed_failures": 1},
    ) as cluster:
        yield cluster.scheduler_address


def processes(scheduler):
    with distributed.Client(scheduler) as client:
        return set(client.run(os.getpid).values())


# -- sweeps ---------------------------------------------------------------------------
def test_a_killed_worker_loses_nothing(session, scheduler, tmp_path):
    serial = context_sweep(Slow(), session, **ASKED)
    before = processes(scheduler)
    killed = []

    def kill_one(sweep):
        if len(sweep.rows) == 3:
            killed.append(before.pop())
            os.kill(killed[0], signal.SIGKILL)

    found = context_sweep(
        Slow,
        session,
        **ASKED,
        scheduler=scheduler,
        results=tmp_path / "rows",
        on_part=kill_one,
    )
    assert killed
    assert found.table() == serial.table()
    again = context_sweep(Contextual(), session, **ASKED, results=tmp_path / "rows")
    assert again.table() == serial.table()


def test_a_stopped_sweep_goes_on_elsewhere(session, scheduler, tmp_path):
    path, seen = tmp_path / "rows", []
    stop = {"cancelled": lambda: len(seen) >= 2, "on_part": seen.append}
    part = context_sweep(
        Slow, session, **ASKED, scheduler=scheduler, results=path, **stop
    )
    assert 2 <= len(part.rows) < part.n_planned
    whole = context_sweep(Slow, session, **ASKED, scheduler=scheduler, results=path)
    assert whole.table() == context_sweep(Contextual(), session, **ASKED).table()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1 + whole.n_planned
    assert len({json.loads(line)["key"] for line in lines[1:]}) == whole.n_planned


def test_what_is_refused_is_refused_there_too(session, scheduler):
    found = context_sweep(Contextual, session, **LAST, scheduler=scheduler)
    serial = context_sweep(Contextual(), session, **LAST)
    assert found.table() == serial.table()
    assert any("fewer than" in row.refusal for row in found.rows)


def test_a_predictor_by_name_is_loaded_on_the_workers(session, scheduler):
    asked = {"neurons": [0, 8], "seeds": 2, "max_windows": 2}
    found = context_sweep("context-ridge", session, **asked, scheduler=scheduler)
    serial = context_sweep("context-ridge", session, **asked)
    assert found.table() == serial.table()


def test_a_predictor_itself_cannot_travel(session):
    with pytest.raises(ValueError, match="by its name or path"):
        context_sweep(Contextual(), session, **LAST, scheduler="local:1")


# -- pieces ---------------------------------------------------------------------------
def square(number):
    return number**2


def deadly(number):
    os.kill(os.getpid(), signal.SIGKILL)


def broken(number):
    raise KeyError(f"no piece {number}")


def test_a_cluster_of_its_own_ends_with_the_work():
    assert dict(spread(square, [3, 4, 5], "local:1")) == {0: 9, 1: 16, 2: 25}


def test_a_piece_that_kills_every_worker_ends_the_work_in_words(scheduler):
    with pytest.raises(WorkerError, match="died, one after the other"):
        list(spread(deadly, [1], scheduler))
    assert list(spread(square, [2], scheduler)) == [(0, 4)]


def test_an_error_there_is_an_error_here(scheduler):
    with pytest.raises(KeyError, match="no piece 7"):
        list(spread(broken, [7], scheduler))


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "local:0", "local:x", "x"])
def test_what_is_no_scheduler_is_refused_at_once(address):
    with pytest.raises(ValueError, match=r"refused|not like local:4|not the address"):
        checked_scheduler(address)


def test_a_class_is_a_maker_and_an_object_is_not():
    maker = travelling(Contextual)
    assert isinstance(made_predictor(maker, "cpu"), Contextual)
    held = Contextual()
    assert made_predictor(held, "cpu") is held
    assert travelling("demo") == "demo"


# -- several writers ------------------------------------------------------------------
NUMBERS = Kind("numbers", "some numbers", lambda row: {"n": row}, lambda f: f["n"])


WRITER = """
import sys
from pathlib import Path
from omnimouse_model.analysis.results_file import Kind, ResultsFile
kind = Kind("numbers", "some numbers", lambda row: {"n": row}, lambda f: f["n"])
file = ResultsFile(kind, Path(sys.argv[1]), {"what": "squares"})
for n in range(int(sys.argv[2]), int(sys.argv[2]) + 60):
    file.add(str(n), n**2)
"""


def test_several_processes_write_one_file(tmp_path):
    path = tmp_path / "new" / "numbers.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)])
        for first in (0, 30, 60)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = ResultsFile(NUMBERS, path, {"what": "squares"})
    assert found.rows == {str(n): n**2 for n in range(120)}
    assert len(path.read_bytes().splitlines()) == 121


def test_a_row_that_another_has_written_is_not_written_again(tmp_path):
    path = tmp_path / "numbers.jsonl"
    first, second = (ResultsFile(NUMBERS, path, {"what": "a"}) for _ in range(2))
    first.add("1", 1)
    second.add("1", 1)
    second.add("2", 4)
    first.refresh()
    assert first.rows == second.rows == {"1": 1, "2": 4}
    assert len(path.read_bytes().splitlines()) == 3


def test_half_a_line_of_a_dead_writer_is_cut_off_by_the_next(tmp_path):
    path = tmp_path / "numbers.jsonl"
    file = ResultsFile(NUMBERS, path, {"what": "a"})
    file.add("1", 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "2", "n')
    file.add("3", 9)
    assert path.read_bytes() == whole + NUMBERS.line("3", 9)
