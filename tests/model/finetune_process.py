"""A small fine-tuning: here, in a process that is killed, or a scripted one."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import omnimouse_model as om
from omnimouse_model.analysis.finetune_process import Arguments, ReportRows, spawn_finetune
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation import shard
from omnimouse_model.families.omnimouse import transfer as start
from omnimouse_model.progress import QUIET, STARTING, TRAINING, Job
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.model.small_net import save_checkpoint, small_net
from tests.small_sessions import write_session

STEPS = 5
KNOWN, NEW = "a-1-1", "b-1-1"
"""Sessions of `write_mouse_folder`."""
PATIENCE_S = 300.0
Stopped = Callable[[], bool]


def write_mouse_folder(root: Path) -> Path:
    """Recordings of a known mouse and of a new one, and a model of the first."""
    for name, count in ((KNOWN, 12), (NEW, 9)):
        write_session(root / name, count)
    save_checkpoint(root / "base.safetensors", small_net({KNOWN: 12}))
    return root


@contextmanager
def few_windows() -> Iterator[None]:
    """Start values and the means of centred scores are found on few windows.

    They take most of a small fine-tuning's time.
    """
    with patch.object(start, "WINDOWS", 2), patch.object(shard, "TRAIN_WINDOWS", 1):
        yield


def run_finetune(place: Path, out: Path, session: str = NEW, **options: Any) -> Path:
    """Fine-tune PLACE's model to one of its recordings; the folder of the run."""
    settings = {"steps": STEPS, "batch": 1, "device": "cpu"} | options
    with few_windows():
        recording = om.open_session(place / session)
        om.finetune(place / "base.safetensors", recording, out, **settings)
    return out


class ScriptedFinetuning:
    """Stands for `spawn_finetune`: logs and tells known numbers, up to step `last`.

    The loss of step k is 1 / k, the held-out score k / 100. A run that ends leaves a
    model that knows the new mouse of PLACE.
    """

    def __init__(self, place: Path) -> None:
        self.last = 0
        self.fault: Exception | None = None
        self.hurried: Stopped = lambda: False
        self.result = place / "result"
        if not self.result.exists():
            run_finetune(place, self.result, steps=0)

    def __call__(self, arguments: Arguments, job: Job, tell: ReportRows, hurried: Stopped) -> None:
        """Go on from the rows of the folder; see `spawn_finetune`."""
        self.hurried, fault, self.fault = hurried, self.fault, None
        if fault is not None:
            raise fault
        settings, log = arguments.settings or {}, arguments.out / FILE
        steps, about = settings["steps"], {"model": arguments.model, "session": NEW}
        arguments.out.mkdir(parents=True, exist_ok=True)
        facts = about | {"train": settings["train"], "steps": steps}
        (arguments.out / "finetune.json").write_text(json.dumps(facts))
        log.touch()
        rows = list(log_rows(log))
        tell(rows)
        job.progress(0.0, 1.0, STARTING)
        for step in range(len(rows), steps + 1):
            while step > self.last and not job.cancelled():
                time.sleep(0.005)
            if job.cancelled():
                raise StoppedError
            row = {"step": float(step), "validation": step / 100}
            row |= {"seconds": 30.0 * step} | ({"loss": 1 / step} if step else {})
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            tell([row])
            job.progress(step, steps, TRAINING)
        self._finish(arguments.out, steps)

    def _finish(self, out: Path, steps: int) -> None:
        for path in self.result.glob("finetuned.*"):
            shutil.copy(path, out)
        facts = json.loads((out / "finetuned.json").read_text())
        said = {"steps": steps, "before": 0.0, "validation": steps / 100, "best_step": steps}
        facts["card"]["finetuned"] |= said | {"minutes": steps / 2}
        (out / "finetuned.json").write_text(json.dumps(facts))


def long_run(place: Path, out: Path) -> Arguments:
    """A fine-tuning that needs no start values, of steps that nobody waits for."""
    settings = {"train": "all", "steps": 4000, "batch": 1}
    session = om.open_session(place / KNOWN)
    return Arguments(str(place / "base.safetensors"), session, out, "cpu", settings)


def finetune_until_owner_dies(place: Path, out: Path, pipe: Connection) -> None:
    """Own a process that fine-tunes, and die at its second step; sends its number."""

    def report(rows: Sequence[dict[str, float]]) -> None:
        if rows and rows[-1]["step"] >= 2:
            pipe.send(multiprocessing.active_children()[0].pid)
            os.kill(os.getpid(), signal.SIGKILL)

    spawn_finetune(long_run(place, out), QUIET, report)
