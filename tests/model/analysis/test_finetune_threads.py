"""Threads of a fine-tuning beside other programs, on a simulated processor."""

import pytest
import torch

from omnimouse_model.analysis import finetune_process
from omnimouse_model.analysis.finetune_process import ThreadsByLoad


@pytest.fixture
def four_threads():
    torch.set_num_threads(4)  # each test ends with the usual number, see `tests.conftest`


class Machine:
    """A processor second per second, and lost cores beside other work."""

    def __init__(self, monkeypatch):
        self.now_s, self.lost = 0.0, 0.0
        monkeypatch.setattr(finetune_process, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(finetune_process, "process_time", lambda: self.now_s)
        monkeypatch.setattr(finetune_process, "_lost_cores", lambda: int(self.lost))

    def run(self, threads, seconds, lost_per_s):
        """Return the number of threads after each step of a tenth of a second."""
        used = []
        for _ in range(round(10 * seconds)):
            self.now_s += 0.1
            self.lost += 0.1 * lost_per_s(torch.get_num_threads())
            threads.follow()
            used.append(torch.get_num_threads())
        return used


def test_one_thread_computes_beside_busy_programs_and_all_on_a_quiet_machine(
    monkeypatch, four_threads
):
    machine = Machine(monkeypatch)
    threads = ThreadsByLoad()
    assert set(machine.run(threads, 20, lambda n: 20)) == {4}
    busy = machine.run(threads, 60, lambda n: 400 * n)
    assert set(busy[20:]) == {1}
    quiet = machine.run(threads, 20, lambda n: 20)
    assert set(quiet[40:]) == {4}


def test_threads_that_find_one_core_taken_try_ever_less_often(monkeypatch, four_threads):
    machine = Machine(monkeypatch)
    threads = ThreadsByLoad()
    used = machine.run(threads, 600, lambda n: 0 if n == 1 else 1_500)
    tries = [k for k in range(1, len(used)) if used[k - 1] == 1 < used[k]]
    assert 5 <= len(tries) <= 20
    assert used[-3000:].count(1) > 0.95 * 3000


def test_one_thread_stays_one(monkeypatch):
    torch.set_num_threads(1)
    machine, threads = Machine(monkeypatch), ThreadsByLoad()
    torch.set_num_threads(3)  # a count that only `follow` would change
    assert set(machine.run(threads, 20, lambda n: 1_500)) == {3}
    assert set(machine.run(threads, 20, lambda n: 0)) == {3}
