"""Random edits, and checks of the displayed results.

Every few edits, the run waits for all results. The displayed result must be that of the
current mask, window and selection, which is also computed here. Between these checks,
every result that is marked fresh must belong to the current state. At the end, memory,
threads, open files and processes must not have grown.
"""

import gc
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import active_children

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.results import Results
from omnimouse_model.masks import Mask, scored_cells
from tests.predictors import EchoPredictor
from tests.soak.predictors import PREDICTORS, crashes, fails

N_NEURONS = 200
SETTLE_EVERY = 25
PATIENCE_S = 120.0
MAX_GROWTH_MIB = 48.0
BEHAVIORS = ("visible", "target", "hidden")


def check_numbers(controller: Controller, window: Window, mask: Mask, targets: np.ndarray) -> None:
    """Check that the displayed predictions equal those computed here."""
    results = controller.results
    selection = np.array(controller.state.selection, np.int64)
    both = ((results.selected, selection), (results.population, targets))
    for prediction, neurons in both:
        expected = EchoPredictor().predict(window, mask, neurons)
        message = f"{window.start_s=} {controller.state.window.start_s=}"
        assert prediction.mask_id == expected.mask_id, message
        assert np.array_equal(prediction.neurons, neurons), message
        same = np.array_equal(prediction.responses, expected.responses, equal_nan=True)
        assert same, message


# -- the run --------------------------------------------------------------------------
@dataclass
class Soak:
    """One controller with random edits; `counts` are the numbers of events."""

    name: str
    controller: Controller
    worker: WorkerPredictor
    posted: "queue.SimpleQueue[Callable[[], None]]"
    draw: np.random.Generator
    counts: dict[str, int] = field(default_factory=dict)
    processes: set[int] = field(default_factory=set)

    def count(self, event: str) -> None:
        self.counts[event] = self.counts.get(event, 0) + 1

    def drain(self) -> None:
        """Run the posted calls, as the thread of the user interface does."""
        while not self.posted.empty():
            self.posted.get()()
            self.check_fresh_results()

    def check_fresh_results(self) -> None:
        results, state = self.controller.results, self.controller.state
        if results.freshness == "fresh" and results.selected is not None:
            assert results.selected.mask_id == state.mask.mask_id
            assert results.selected.neurons.tolist() == list(state.selection)
        if results.population_freshness == "fresh" and results.population is not None:
            assert results.population.mask_id == state.mask.mask_id

    def settle(self) -> None:
        """Wait for all results, and check the displayed ones."""
        end = time.monotonic() + PATIENCE_S
        self.controller.requests.send_again()
        while not self.controller.requests.wait(0.01) or not self.posted.empty():
            self.drain()
            assert time.monotonic() < end, "The engine does not come to rest."
        self.check_results(self.controller.results)
        if self.worker.process_id is not None:
            self.processes.add(self.worker.process_id)
        self.count("settled")

    def check_results(self, results: Results) -> None:
        state = self.controller.state
        mask, window = state.mask, state.window
        targets = np.flatnonzero(scored_cells(mask).any(axis=0))
        if not len(targets) and mask.behavior != "target":
            assert results.freshness == "none", results.freshness
        elif results.freshness == "error":
            self.count("errors")
            self.check_error(mask, results.error)
        else:
            assert not self.is_refused(mask)
            self.count("answers")
            self.count("notices" if results.notice else "plain")
            assert results.freshness == results.population_freshness == "fresh"
            check_numbers(self.controller, window, mask, targets)

    def check_error(self, mask: Mask, message: str) -> None:
        assert self.controller.results.selected is None
        assert self.is_refused(mask), message
        assert ("ZeroDivisionError" in message) == (self.name == "failing")
        assert ("in a row" in message) == (self.name == "crashing")

    def is_refused(self, mask: Mask) -> bool:
        """Whether the predictor can never predict this mask."""
        if self.name == "failing":
            return fails(mask)
        return self.name == "crashing" and crashes(mask)

    # -- edits --------------------------------------------------------------------
    def edit(self) -> None:
        """Make one random edit of a user."""
        action = EDITS[int(self.draw.integers(len(EDITS)))]
        self.count(action.__name__)
        action(self)
        self.drain()

    def random_neurons(self) -> np.ndarray:
        size = int(self.draw.integers(1, 40))
        return self.draw.permutation(N_NEURONS)[:size]

    def span(self) -> slice:
        start = int(self.draw.integers(0, 50))
        return slice(start, start + int(self.draw.integers(5, 60)))

    def paint(self) -> None:
        self.controller.editor.paint(self.random_neurons(), int(self.draw.integers(3)))

    def paint_cells(self) -> None:
        code = int(self.draw.integers(3))
        self.controller.editor.paint_cells(self.random_neurons(), self.span(), code)

    def stroke(self) -> None:
        with self.controller.editor.stroke("Paint"):
            for _ in range(int(self.draw.integers(1, 5))):
                self.paint()

    def undo_and_redo(self) -> None:
        before = self.controller.state.mask
        if self.controller.editor.can_undo:
            self.controller.editor.undo()
            self.controller.editor.redo()
            assert self.controller.state.mask == before

    def preset(self) -> None:
        problems = self.controller.editor.preset_problems
        names = [name for name, _ in self.controller.editor.presets if name not in problems]
        self.controller.editor.apply_preset(names[int(self.draw.integers(len(names)))])

    def step(self) -> None:
        self.controller.navigation.step_window(int(self.draw.choice([-1, 1])))

    def seek(self) -> None:
        self.controller.navigation.seek(float(self.draw.uniform(0.0, 18.0)))

    def cancel(self) -> None:
        self.controller.requests.cancel()

    def select(self) -> None:
        self.controller.selection.select(self.random_neurons(), add=bool(self.draw.integers(2)))

    def behavior(self) -> None:
        self.controller.editor.set_behavior(BEHAVIORS[int(self.draw.integers(3))])

    def frames(self) -> None:
        self.controller.editor.set_frames(bool(self.draw.integers(2)))


def editor_edit(method: str) -> Callable[[Soak], None]:
    """Return the edit that calls a method of the mask editor without arguments."""

    def edit(run: Soak) -> None:
        getattr(run.controller.editor, method)()

    edit.__name__ = method
    return edit


EDITS = (
    *(Soak.paint, Soak.paint, Soak.paint_cells, Soak.stroke),
    *(Soak.undo_and_redo, Soak.preset, Soak.step, Soak.seek),
    *(Soak.select, Soak.behavior, Soak.frames),
    Soak.cancel,
    *map(editor_edit, ("undo", "redo")),
)


def soak(
    name: str, session: Session, edits: int, seed: int = 0, settle_every: int = SETTLE_EVERY
) -> dict[str, float | int | str]:
    """Run random edits with one predictor; raise AssertionError for a wrong result."""
    start, before = time.monotonic(), None
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
        "seconds": round(time.monotonic() - start, 1),
        "growth_mib": round(growth["mib"], 1),
        "worker_growth_mib": round(growth["worker_mib"], 1) if same else "restarted",
        **{k: run.counts.get(k, 0) for k in ("settled", "answers", "errors")},
        "notices": run.counts.get("notices", 0),
        "processes": len(run.processes),
    }


def running_soak(name: str, session: Session, seed: int) -> Iterator[Soak]:
    """Yield a run with its controller and worker; check that their processes end."""
    posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    worker = WorkerPredictor(PREDICTORS[name])
    children = set(active_children())
    # The controller ends first: its engine would start a closed worker again.
    with closing(worker), closing(Controller(post=posted.put)) as controller:
        controller.loader.open_now(session)
        controller.model.choose(worker)
        run = Soak(name, controller, worker, posted, np.random.default_rng(seed))
        run.settle()
        yield run
    assert set(active_children()) <= children


def resources(worker: WorkerPredictor) -> dict[str, float]:
    """Return memory of this process and the worker, threads and open files."""
    import psutil

    _ = worker.needs  # starts the process if it is not running
    gc.collect()
    own, other = psutil.Process(), psutil.Process(worker.process_id)
    return {
        "mib": own.memory_info().rss / 2**20,
        "worker_mib": other.memory_info().rss / 2**20,
        "pid": other.pid,
        "threads": threading.active_count(),
        "files": own.num_fds() if hasattr(own, "num_fds") else own.num_handles(),
    }
