"""How right the times are that stand on screen before and while long work runs.

usage: python -m tests.acceptance.time_left [sweep|laboratory|fine-tuning|ranking|fit …]
       python -m tests.acceptance.time_left [--busy] twin-demo ndt-demo poyo-calcium
       python -m tests.acceptance.time_left --steady twin-demo ndt-demo poyo-calcium fine-tuning

Runs each kind of work without a screen, reads its message as a panel or a command shows
it, and compares each time left after the first tenth with the time that really was left.
Prints the shares of the messages within a factor of two, and the worst factor. Exits with
1 if fewer than nine in ten are, else with 2 if some work had no message to compare, as it
took a few seconds: it was not judged. Takes about 15 minutes on two cores.

The names of the second line are models: of a fine-tuning to the unseen mouse, also the
time that the form says before the first one is compared with what it needs in all. That
one is of a processor with nothing else to do, and says "at least" where it is busy; the others
hold beside other work that goes on as it is, such as `--busy`: one more process per core that
is never idle, beside which a training has a tenth of the processor. With `--steady`, the clock
is the processor's time of a training on one thread, alone and at a quarter and a tenth of its
speed: a judgement of the estimate that other work on the machine does not change. A training
that ends before its last step, as its scores no longer rise, is compared at the
pace of its steps: with the time that all of them would have taken.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import omnimouse_model as om
from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.inference.registry import predictor_names
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.session_loader import SAMPLES
from omnimouse_model.progress import CallbackJob, TimeLeft, duration_text
from omnimouse_model.simulate import write_session
from omnimouse_model.simulate.specs import UNSEEN
from omnimouse_model.simulate.spiking_laboratory import ANIMALS, write_animal
from tests.acceptance.scripts import wait_for

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
TIME = r"([\d.]+) (s|min|h)"
FACTOR = 2.0
HEAD = "work            took s   messages   within a factor of 2   lowest   highest"
NEARLY_OVER_S = 3.0
"""Times below are rounded to few seconds, and not compared."""
SHORT_STEPS = 60
Message = Callable[[], str]


def opened(controller: Controller, recording: str | Path, model: str) -> None:
    """Open a sample or a folder, and wait for its first prediction."""
    controller.model.choose(model)
    controller.loader.open(SAMPLES.get(str(recording), recording))
    wait_for(lambda: not controller.loader.is_busy, "the recording")


def fit(controller: Controller) -> Message:
    """Fit a baseline to a recording, of which no fit is kept."""
    os.environ["OMNIMOUSE_CACHE"] = str(controller.store.folder)
    opened(controller, "unseen", "linear-gaussian")
    return lambda: controller.workers.fit


def sweep(controller: Controller) -> Message:
    """Compute a context sweep."""
    opened(controller, "demo", "demo")
    wait_for(lambda: not controller.results.is_awaited, "the prediction")
    controller.sweeps.start(
        SweepPlan(neurons=(0, 64, 256), video=(True, False), seeds=(0, 1), max_windows=32)
    )
    return lambda: controller.sweeps.message


def laboratory(controller: Controller) -> Message:
    """Show gratings to a twin."""
    opened(controller, "demo", "twin-demo")
    wait_for(lambda: not controller.results.is_awaited, "the prediction")
    controller.laboratory.set_repeats(3)
    controller.laboratory.start()
    return lambda: controller.laboratory.message


def small_mouse(folder: Path) -> Path:
    """Write a new mouse of few neurons, whose scores rise: a flat run ends early."""
    return write_session(replace(UNSEEN, n_neurons=100), folder / "mouse")


def finetune(controller: Controller) -> Message:
    """Fine-tune the demo, which gets a context part, to a small new mouse."""
    opened(controller, small_mouse(controller.finetuning.folder), "demo")
    wait_for(lambda: controller.finetuning.is_offered, "the model")
    controller.finetuning.start(steps=SHORT_STEPS)
    return lambda: controller.finetuning.message


def ranking(controller: Controller) -> Message:
    """Rank two recordings of spikes for a third one, as `omnimouse rank` does."""
    folder = controller.finetuning.folder
    sessions = [om.open_session(write_animal(name, folder / name)) for name in ANIMALS[:3]]
    said = ["preparing"]

    def show(done: float, total: float, text: str) -> None:
        left_s = time_left.seconds(done / total)
        said[0] = text + ("" if left_s is None else f", about {duration_text(left_s)} left")

    def rank() -> None:
        factory = om.model_factory("ndt-forecast-small", transfer_steps=100, transfer_batch=32)
        results = folder / "time.ranking.jsonl"
        job = CallbackJob(show)
        om.rank_sessions(
            factory, sessions[:2], sessions[2:], seeds=(0, 1), results=results, job=job
        )
        said[0] = ""

    time_left = TimeLeft()
    threading.Thread(target=rank, daemon=True).start()
    return lambda: said[0]


KINDS: dict[str, Callable[[Controller], Message]] = {
    "sweep": sweep,
    "laboratory": laboratory,
    "fine-tuning": finetune,
    "ranking": ranking,
    "fit": fit,  # last: its cache is another one
}


Steps = Callable[[], tuple[int, int]]
"""Return the step of a work, and the number of its steps."""


def all_at_once() -> tuple[int, int]:
    """Return the steps of a work that always does all of them."""
    return 0, 0


@dataclass(frozen=True, slots=True)
class Told:
    """A time left on screen, when it stood there, and the step until then."""

    left_s: float
    at_s: float
    step: int


def factors(message: Message, steps: Steps = all_at_once) -> tuple[float, list[float]]:
    """Return the seconds that some work took, and what `compared` finds of its messages."""
    start_s, told = time.monotonic(), []
    wait_for(lambda: bool(message()), "the first message")
    while text := message():
        found = re.search(f"about {TIME} left", text)
        if found:
            left_s = float(found[1]) * SECONDS[found[2]]
            told.append(Told(left_s, time.monotonic() - start_s, steps()[0]))
        time.sleep(0.1)
    took_s, (step, n_steps) = time.monotonic() - start_s, steps()
    return took_s, compared(told, took_s, step, n_steps)


def compared(told: Sequence[Told], took_s: float, step: int, n_steps: int) -> list[float]:
    """Return estimated by real seconds left of the messages of a work after its first tenth.

    Of one that ended at a step before the last, the real seconds are those of the steps
    after a message, at the pace of those of them that were done.
    """
    found = []
    for one in told:
        left_s, done = took_s - one.at_s, step - one.step
        if one.at_s <= took_s / 10 or left_s <= NEARLY_OVER_S:
            continue
        if step == n_steps:
            found.append(one.left_s / left_s)
        elif done > 0:
            found.append(one.left_s / (left_s * (n_steps - one.step) / done))
    return found


def first_finetune(controller: Controller, name: str) -> tuple[Message, Steps, float, bool]:
    """Start the first fine-tuning of a model.

    Return also the seconds that the form said, and whether it said "at least".
    """
    finetuning, model = controller.finetuning, name
    if name not in predictor_names():
        model = str(finetuning.folder / name)
        om.fit(name, om.open_session("demo"), model, steps=10)
    opened(controller, "unseen-spikes" if name == "ndt-demo" else "unseen", model)
    wait_for(lambda: not controller.results.is_awaited and finetuning.is_offered, "the model")
    said = finetuning.estimate()
    found = re.search(TIME, said)
    assert found is not None, f"{name}: {said!r}"
    finetuning.start()
    told_s = float(found[1]) * SECONDS[found[2]]

    def steps() -> tuple[int, int]:
        return finetuning.step, finetuning.n_steps

    return lambda: finetuning.message, steps, told_s, "at least" in said


SLOWER = (1.0, 4.0, 10.0)
LOADING_S = 3.0
"""Seconds of the processor before the first report of a training in its process."""


def steady(name: str, slower: float, reports: Sequence[tuple[float, float]]) -> bool:
    """Judge the messages of a training, of which each report has processor seconds and share."""
    now_s = 0.0
    time_left = TimeLeft(lambda: now_s)
    ends_s = [slower * (LOADING_S + seconds) for seconds, _ in reports]
    told: list[Told] = []
    for now_s, (_, share), until_s in zip(ends_s, reports, [*ends_s[1:], ends_s[-1]], strict=True):
        left_s = time_left.seconds(share)
        if left_s is not None:
            # A message stands until the next one, and is read ten times per second.
            read = np.arange(ceil(10 * now_s), ceil(10 * until_s)) / 10
            told += [Told(round(left_s), at_s, 0) for at_s in read]
    return show(f"{name} × {slower:g}", ends_s[-1], compared(told, ends_s[-1], 0, 0))


def reports_of(name: str) -> list[tuple[float, float]]:
    """Return processor seconds and share of each report of a first fine-tuning."""
    reports: list[tuple[float, float]] = []
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        model: str = name
        settings: dict[str, Any] = {}
        if name == "fine-tuning":
            model, settings = "demo", {"steps": SHORT_STEPS}
            session = om.open_session(small_mouse(Path(folder)))
        else:
            if name not in predictor_names():
                model = str(Path(folder) / name)
                om.fit(name, om.open_session("demo"), model, steps=10)
            session = om.open_session("unseen-spikes" if name == "ndt-demo" else "unseen")
        begun_s = time.process_time()

        def report(done: float, total: float, _: str) -> None:
            reports.append((time.process_time() - begun_s, done / total))

        job = CallbackJob(report, device="cpu")
        om.finetune(model, session, Path(folder) / "tuned", job=job, **settings)
    return reports


@contextmanager
def busy_processes() -> Iterator[None]:
    """Keep every core busy in the block, and for long enough before that the form knows it."""
    code = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    n_cores = os.cpu_count() or 1
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(n_cores)]
    try:
        # The load is an average of the last minute.
        wait_for(lambda: os.getloadavg()[0] > 0.75 * n_cores, "the load of busy processes")
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> int:
    """Measure the kinds of the command line, all by default."""
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or list(KINDS)
    if "--steady" in sys.argv:
        print(HEAD)
        reports = {name: reports_of(name) for name in names}
        are_right = [steady(name, slower, reports[name]) for name in names for slower in SLOWER]
        return int(not all(are_right))
    with busy_processes() if "--busy" in sys.argv else nullcontext():
        return measure(names)


def show(name: str, took_s: float, found: Sequence[float]) -> bool:
    """Print the line of some work, and return whether its messages were right."""
    share = sum(1 / FACTOR <= factor <= FACTOR for factor in found) / len(found)
    print(
        f"{name:14s} {took_s:7.0f} {len(found):10d} {share:22.0%} {min(found):8.2f} "
        f"{max(found):9.2f}",
        flush=True,
    )
    return share >= 0.9


def measure(names: Sequence[str]) -> int:
    """Print a line for each kind of work, and return the exit status."""
    is_right, not_judged = True, []
    print(HEAD)
    for name in names:
        with TemporaryDirectory() as folder:
            memory = Path(folder) / "live.json"
            with closing(Controller(session_file=memory)) as controller:
                controller.sweeps.folder = controller.finetuning.folder = Path(folder)
                controller.laboratory.folder = Path(folder)
                if name in KINDS:
                    took_s, found = factors(KINDS[name](controller))
                else:
                    message, steps, told_s, is_least = first_finetune(controller, name)
                    took_s, found = factors(message, steps)
                    step, n_steps = steps()
                    all_s = took_s * n_steps / max(step, 1)
                    lowest = 0.0 if is_least else 1 / FACTOR
                    is_right &= lowest <= told_s / all_s <= FACTOR
                    least = "at least " * is_least
                    about = f"before: {least}{told_s:.0f} s   ended at step {step} of {n_steps}"
                    if step < n_steps:
                        about += f", of which all would take {all_s:.0f} s"
                    print(f"{name:14s} {took_s:7.0f}   {about}", flush=True)
        if not found:
            not_judged.append(name)
            print(f"{name:14s} {took_s:7.0f}   not judged: no message to compare", flush=True)
            continue
        is_right &= show(name, took_s, found)
    if not is_right:
        return 1
    return 2 if not_judged else 0


if __name__ == "__main__":
    sys.exit(main())
