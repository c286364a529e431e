"""Random edits, and what must be on screen after them.

Every few edits all answers are awaited, and what is shown must be the answer to the
mask, window and selection of the state, computed here as well; in between, whatever
is marked fresh must be so. Afterwards neither memory, threads, open files nor
processes may have grown.
"""

import gc
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import active_children

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Encoded
from omnimouse_model.predict.worker.client import WorkerPredictor
from tests.predictors import EchoPredictor

N_NEURONS = 200
SETTLE_EVERY = 25
PATIENCE_S = 120.0
MAX_GROWTH_MIB = 48.0
LAST_ENCODE = 6
"""In which `CrashingPredictor` dies of age: more than one question takes, so that a
process started anew survives what the one before did not, unless the mask is fatal."""
BEHAVIORS = ("visible", "target", "hidden")


# -- predictors -----------------------------------------------------------------------
class SlowPredictor(EchoPredictor):
    """Takes longer than an edit does."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        time.sleep(0.004)
        return EchoPredictor.encode(self, window, mask)


class FailingPredictor(EchoPredictor):
    """Fails for every third mask, always the same ones."""

    def encode(self, window: Window, mask: Mask) -> Encoded:
        if fails(mask):
            raise ZeroDivisionError("a fault in the model")
        return EchoPredictor.encode(self, window, mask)


class CrashingPredictor(EchoPredictor):
    """Ends its process: always for some masks, and with age for any."""

    def __init__(self) -> None:
        super().__init__()
        self._encodes_left = LAST_ENCODE

    def encode(self, window: Window, mask: Mask) -> Encoded:
        self._encodes_left -= 1
        if crashes(mask) or not self._encodes_left:
            os._exit(3)
        return EchoPredictor.encode(self, window, mask)


def fails(mask: Mask) -> bool:
    """Whether `FailingPredictor` fails for it."""
    return int(mask.mask_id, 16) % 3 == 0


def crashes(mask: Mask) -> bool:
    """Whether `CrashingPredictor` never survives it."""
    return int(mask.mask_id, 16) % 200 == 0


PREDICTORS = {
    "slow": SlowPredictor,
    "failing": FailingPredictor,
    "crashing": CrashingPredictor,
}


def check_numbers(
    controller: Controller, window: Window, mask: Mask, asked: np.ndarray
) -> None:
    """What is shown of selection and population is what is computed here."""
    results = controller.results
    for shown, neurons in (
        (results.selected, np.array(controller.state.selection, np.int64)),
        (results.population, asked),
    ):
        expected = EchoPredictor().predict(window, mask, neurons)
        words = f"{window.start_s=} {controller.state.window.start_s=}"
        assert shown.mask_id == expected.mask_id, words
        assert np.array_equal(shown.neurons, neurons), words
        same = np.array_equal(shown.responses, expected.responses, equal_nan=True)
        assert same, words


# -- the run --------------------------------------------------------------------------
@dataclass
class Soak:
    """One controller under random edits; `counts` is what happened."""

    name: str
    controller: Controller
    worker: WorkerPredictor
    posted: "queue.SimpleQueue[Callable[[], None]]"
    draw: np.random.Generator
    counts: dict[str, int] = field(default_factory=dict)
    processes: set[int] = field(default_factory=set)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def drain(self) -> None:
        """Be the thread that draws."""
        while not self.posted.empty():
            self.posted.get()()
            self.check_what_is_fresh()

    def check_what_is_fresh(self) -> None:
        results, state = self.controller.results, self.controller.state
        if results.freshness == "fresh" and results.selected is not None:
            assert results.selected.mask_id == state.mask.mask_id
            assert results.selected.neurons.tolist() == list(state.selection)
        if results.population_freshness == "fresh" and results.population is not None:
            assert results.population.mask_id == state.mask.mask_id

    def settle(self) -> None:
        """Wait for every answer, and compare what is shown with what it must be."""
        end = time.monotonic() + PATIENCE_S
        self.controller.request_again()
        while not self.controller.wait(0.01) or not self.posted.empty():
            self.drain()
            assert time.monotonic() < end, "The engine does not come to rest."
        self.check_answer(self.controller.results)
        if self.worker.process_id is not None:
            self.processes.add(self.worker.process_id)
        self.count("settled")

    def check_answer(self, results: Results) -> None:
        state = self.controller.state
        mask, window = state.mask, state.window
        asked = np.flatnonzero(scored_cells(mask).any(axis=0))
        if not len(asked) and mask.behavior != "target":
            assert results.freshness == "none", results.freshness
        elif results.freshness == "error":
            self.count("errors")
            self.check_error(mask, results.error)
        else:
            assert not self.is_refused(mask)
            self.count("answers")
            self.count("notices" if results.notice else "plain")
            assert results.freshness == results.population_freshness == "fresh"
            check_numbers(self.controller, window, mask, asked)

    def check_error(self, mask: Mask, words: str) -> None:
        assert self.controller.results.selected is None
        assert self.is_refused(mask), words
        assert ("ZeroDivisionError" in words) == (self.name == "failing")
        assert ("in a row" in words) == (self.name == "crashing")

    def is_refused(self, mask: Mask) -> bool:
        """Whether the predictor has no answer to it, however often it is asked."""
        if self.name == "failing":
            return fails(mask)
        return self.name == "crashing" and crashes(mask)

    # -- edits --------------------------------------------------------------------
    def edit(self) -> None:
        """One random thing that a user does."""
        chosen = EDITS[int(self.draw.integers(len(EDITS)))]
        self.count(chosen.__name__)
        chosen(self)
        self.drain()

    def random_neurons(self) -> np.ndarray:
        size = int(self.draw.integers(1, 40))
        return self.draw.permutation(N_NEURONS)[:size]

    def span(self) -> slice:
        start = int(self.draw.integers(0, 50))
        return slice(start, start + int(self.draw.integers(5, 60)))

    def paint(self) -> None:
        self.controller.paint(self.random_neurons(), int(self.draw.integers(3)))

    def paint_cells(self) -> None:
        code = int(self.draw.integers(3))
        self.controller.paint_cells(self.random_neurons(), self.span(), code)

    def stroke(self) -> None:
        with self.controller.stroke("Paint"):
            for _ in range(int(self.draw.integers(1, 5))):
                self.paint()

    def undo_and_redo(self) -> None:
        before = self.controller.state.mask
        if self.controller.can_undo:
            self.controller.undo()
            self.controller.redo()
            assert self.controller.state.mask == before

    def preset(self) -> None:
        presets = self.controller.presets
        self.controller.apply_preset(presets[int(self.draw.integers(len(presets)))][0])

    def step(self) -> None:
        self.controller.step_window(int(self.draw.choice([-1, 1])))

    def seek(self) -> None:
        self.controller.seek(float(self.draw.uniform(0.0, 18.0)))

    def select(self) -> None:
        self.controller.select(self.random_neurons(), add=bool(self.draw.integers(2)))

    def behavior(self) -> None:
        self.controller.set_behavior(BEHAVIORS[int(self.draw.integers(3))])

    def frames(self) -> None:
        self.controller.set_frames(bool(self.draw.integers(2)))


def controller_check(verb: str) -> Callable[[Soak], None]:
    """An edit without arguments."""

    def edit(run: Soak) -> None:
        getattr(run.controller, verb)()

    edit.__name__ = verb
    return edit


EDITS = (
    *(Soak.paint, Soak.paint, Soak.paint_cells, Soak.stroke),
    *(Soak.undo_and_redo, Soak.preset, Soak.step, Soak.seek),
    *(Soak.select, Soak.behavior, Soak.frames),
    *map(controller_check, ("undo", "redo", "cancel")),
)


def soak(
    name: str,
    session: Session,
    edits: int,
    seed: int = 0,
    settle_every: int = SETTLE_EVERY,
) -> dict[str, float | int | str]:
    """Run random edits against one predictor; raises AssertionError on divergence."""
    since, before = time.monotonic(), None
    for run in running_soak(name, session, seed):
        for number in range(1, edits + 1):
            run.edit()
            is_early = number == max(edits // 10, 1)
            if number % settle_every == 0 or number == edits or is_early:
                run.settle()
            if is_early:
                before = resources(run.worker)
        after = resources(run.worker)
        growth = {key: after[key] - before[key] for key in after}
        same = after["pid"] == before["pid"]
    assert growth["mib"] < MAX_GROWTH_MIB, growth
    assert growth["threads"] <= 0, growth
    assert growth["files"] <= 2, growth
    if same:
        assert growth["worker_mib"] < MAX_GROWTH_MIB, growth
    return {
        "predictor": name,
        "edits": edits,
        "seconds": round(time.monotonic() - since, 1),
        "growth_mib": round(growth["mib"], 1),
        "worker_growth_mib": round(growth["worker_mib"], 1) if same else "restarted",
        **{k: run.counts.get(k, 0) for k in ("settled", "answers", "errors")},
        "notices": run.counts.get("notices", 0),
        "processes": len(run.processes),
    }


def running_soak(name: str, session: Session, seed: int) -> Iterator[Soak]:
    """A controller with a worker; afterwards no process of it is left."""
    posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    worker = WorkerPredictor(PREDICTORS[name], torch_threads=1)
    children = set(active_children())
    with closing(Controller(post=posted.put)) as controller, closing(worker):
        controller.open_session(session)
        controller.choose_predictor(worker)
        run = Soak(name, controller, worker, posted, np.random.default_rng(seed))
        run.settle()
        yield run
    assert set(active_children()) <= children


def resources(worker: WorkerPredictor) -> dict[str, float]:
    """Memory of this process and the worker's, threads and open files."""
    import psutil

    _ = worker.needs  # starts it where it is not there, and would hold nothing open
    gc.collect()
    here, there = psutil.Process(), psutil.Process(worker.process_id)
    return {
        "mib": here.memory_info().rss / 2**20,
        "worker_mib": there.memory_info().rss / 2**20,
        "pid": there.pid,
        "threads": threading.active_count(),
        "files": here.num_fds() if hasattr(here, "num_fds") else here.num_handles(),
    }
