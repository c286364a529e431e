"""Simulation of a session in a separate process: start, progress, stop and errors."""

import multiprocessing
import sys
import time
from pathlib import Path

import pytest

import omnimouse_model.simulate.demo as demo
from omnimouse_model.errors import StoppedError, WorkerError
from omnimouse_model.progress import QUIET, CallbackJob
from omnimouse_model.simulate.demo import SimulatedSession
from omnimouse_model.storage import processes

# A fork has the simulation and the cache of the test.
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the system does not fork processes safely"
)


def simulate(job) -> Path:
    """Write the session in 50 steps; remove what is written after an error."""
    path = demo.session_path("demo")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    try:
        for step in range(50):
            partial.write_text(str(step))
            job.progress(step + 1, 50)
            time.sleep(0.01)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def sample(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMOUSE_CACHE", str(tmp_path))
    monkeypatch.setitem(demo.SESSIONS, "demo", simulate)
    monkeypatch.setattr(processes, "SPAWN", multiprocessing.get_context("fork"))
    return SimulatedSession("demo")


def test_it_is_simulated_once_and_the_share_grows_to_one(sample, tmp_path):
    sample.start()
    sample.start()
    assert len(multiprocessing.active_children()) == 1
    shares: list[float] = []
    path = sample(CallbackJob(lambda share, *_: shares.append(share)))
    assert files(tmp_path) == [path]
    assert shares == sorted(shares)
    assert {shares[0], 0.5, shares[-1]} == {0, 0.5, 1}
    assert multiprocessing.active_children() == []
    # Nothing is simulated when it exists.
    sample.start()
    assert multiprocessing.active_children() == []


def test_a_stop_ends_the_process_and_leaves_nothing(sample, tmp_path):
    def stop(share: float, total: float, step: str) -> None:
        if share > 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        sample(CallbackJob(stop))
    assert multiprocessing.active_children() == []
    assert files(tmp_path) == []


def test_a_termination_leaves_nothing(sample, tmp_path):
    sample.start()
    (child,) = multiprocessing.active_children()
    while not files(tmp_path):
        assert child.is_alive()
    child.terminate()
    with pytest.raises(WorkerError, match="exit code 1"):
        sample(QUIET)
    assert files(tmp_path) == []


def test_an_error_of_the_simulation_is_raised_here(sample, tmp_path):
    (tmp_path / "sessions").write_text("a file where the folder would be")
    with pytest.raises(NotADirectoryError, match="sessions"):
        sample(QUIET)
