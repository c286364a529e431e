"""Small valid files that are no recordings, and how each is read.

A reader returns, or raises a typed error: a `ValueError` that names the file.
"""

import atexit
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

import omnimouse_model as om
from omnimouse_model.analysis.scaling_study import plan_path, read_plan
from omnimouse_model.analysis.sweep.live_sweep import TierCurves
from omnimouse_model.analysis.sweep.table import read_sweep
from omnimouse_model.data.convert import convert
from omnimouse_model.errors import ResultsFileError, StoppedError
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.families.ndt.network import Ndt
from omnimouse_model.families.ndt.predictor import NdtCheckpoint
from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
from omnimouse_model.families.omnimouse.network import OmniMouse, check_size
from omnimouse_model.families.twin.network import TwinNetwork
from omnimouse_model.families.twin.twin import TwinCheckpoint, read_released
from omnimouse_model.inference.families import config_path, training_plan
from omnimouse_model.lab.responses import ResponseStore
from omnimouse_model.live.analysis_file import Analysis, read_analysis, write_analysis
from omnimouse_model.live.inference.stages import StageRunner
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.live.inference.tier_results import ScoreStore
from omnimouse_model.progress import QUIET, CallbackJob
from tests import FIXTURES
from tests.fuzz.outcome import UNFINISHED, network_and_folder
from tests.model.families.ndt.test_predictor import CONFIG as NDT
from tests.model.families.twin.test_predictor import CONFIG as TWIN
from tests.model.small_net import SMALL, save_checkpoint
from tests.small_sessions import write_session

Read = Callable[[Path], object]
_MASK = "causal_response_25_behavior"


@cache
def _made() -> Path:
    """Return a folder that is filled once and removed at the end."""
    folder = Path(mkdtemp(prefix="fuzz-files-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _session() -> om.Session:
    return om.open_session(write_session(_made() / "mouse", n_neurons=8))


def _file(name: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Return a writer that makes a folder once, and copies it."""

    def copied(root: Path) -> Path:
        made = _made() / name
        if not made.exists():
            made.mkdir()
            write(made)
        return Path(shutil.copytree(made, root / "files"))

    return copied


def _mask(folder: Path) -> None:
    mask = om.Mask.nothing(_session()).show(slice(0, 20), [1, 2]).ask(slice(25, 60))
    mask.save(folder / "mask.json")


def _analysis(folder: Path) -> None:
    mask = om.Mask.nothing(_session()).ask(slice(25, 60), [3])
    analysis = Analysis(str(_session().path), "small", "", mask=mask, selection=(1, 2))
    write_analysis(folder / "a.omnimouse.json", analysis)


def _config(folder: Path) -> None:
    shutil.copyfile(config_path("smoke"), folder / "train.yaml")


def _read_config(folder: Path) -> object:
    config = training_plan(folder / "train.yaml").config
    check_size(config.model, {"mouse": 100})
    return config


def _plan(folder: Path) -> None:
    shutil.copyfile(plan_path("simulated"), folder / "plan.yaml")


def _sweep(folder: Path) -> None:
    om.context_sweep(
        "last",
        _session(),
        history_samples=[10],
        seeds=1,
        max_windows=1,
        results=folder / "sweep.jsonl",
        job=QUIET,
    )


def _read_sweep(folder: Path) -> object:
    saved = read_sweep(folder / "sweep.jsonl")
    if saved.problem:
        raise ResultsFileError(f"sweep.jsonl {saved.problem}")
    return saved.sweep


def _predictions(folder: Path) -> None:
    om.predict_session("last", _session(), _MASK, folder / "p.zarr", tier="test")


def _read_predictions(folder: Path) -> object:
    predictor = om.open_predictions(folder / "p.zarr")
    session = _session()
    mask = om.Mask.from_strategy(_MASK, session)
    starts = session.window_starts("test")
    return predictor.predict(session.window(float(starts[0])), mask)


def _checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(folder / "net.safetensors", OmniMouse(SMALL, {"a": 3}, {"a": "m"}))


def _twin(folder: Path) -> None:
    torch.manual_seed(0)
    net = TwinNetwork(TWIN, 3)
    states, means = {"a": net.state_dict()}, {"a": torch.ones(3)}
    twins = TwinCheckpoint.of_networks(states, means, config=net.config, frame_size=(18, 32))
    twins.save(folder / "t.safetensors")


def _read_twin(folder: Path) -> object:
    found = TwinCheckpoint.read(folder / "t.safetensors")
    return [found.build(key) for key in found.sessions]


def _ndt(folder: Path) -> None:
    torch.manual_seed(0)
    net = Ndt(NDT, {"a": 3, "b": 3})
    checkpoint = NdtCheckpoint(config=NDT, sessions=net.sessions, state=net.state_dict())
    checkpoint.save(folder / "n.safetensors")


def _read_ndt(folder: Path) -> object:
    found = NdtCheckpoint.read(folder / "n.safetensors")
    return found.build(), found.spec


def _released(folder: Path) -> None:
    source = FIXTURES / "twin_parity" / "release"
    shutil.copytree(source, folder, dirs_exist_ok=True)


def _ensemble(folder: Path) -> None:
    om.save_ensemble(folder / "both.ensemble.json", ["mean", "last"])


def _stop_after(calls: int) -> CallbackJob:
    """Return a job that stops when it is told its progress once more than that."""
    told = count()

    def stop(*_: object) -> None:
        if next(told) >= calls:
            raise StoppedError

    return CallbackJob(stop)


def _unfinished_predictions(folder: Path) -> None:
    with suppress(StoppedError):
        om.predict_session("last", _session(), _MASK, folder / "p.zarr", job=_stop_after(1))


def _unfinished_store(folder: Path) -> None:
    with suppress(StoppedError):
        convert(_session(), folder / "m.omses.zarr", job=_stop_after(3))


def _continued(work: Callable[[Path], object]) -> Read:
    """Return a reader that continues unfinished work in a copy of its folder."""

    def read(root: Path) -> object:
        _session()
        copy = root.parent / UNFINISHED
        with network_and_folder(copy):
            try:
                shutil.copytree(root, copy, symlinks=True, copy_function=_copy)
                return work(copy)
            finally:
                shutil.rmtree(copy, ignore_errors=True)

    return read


def _copy(source: str, target: str) -> None:
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copyfile(source, target)


_KEY = ("score", "of the fuzzer")


def _task() -> om.Mask:
    return om.Mask.nothing(_session()).show(range(8), range(20)).ask(range(8), range(30, 60))


def _scores(folder: Path) -> None:
    class Named(ScoreStore):
        """Stores under a key that the reader knows."""

        def add(self, key: tuple[str, ...], found: TierScore | TierCurves) -> None:
            super().add(_KEY, found)

    window, model = _session().window(3.0), om.load_predictor("last")
    request = LiveRequest(_session(), window, _task(), (1,), "last", "cpu", sweep=False)
    runner = StageRunner(lambda *_: model, Named(folder))
    list(runner(request, lambda: False))
    list(runner.when_idle(request, lambda: False))


def _read_scores(folder: Path) -> object:
    # A damaged score is computed again.
    found = ScoreStore(folder).score(_KEY, _task())
    if found is None:
        raise ResultsFileError(f"{folder.name}: the score is computed again")
    return found.estimate


_ABOUT = {"experiment": "gratings", "model": "m", "stimulus": {"angles": [0, 90]}}


def _laboratory(folder: Path) -> None:
    _session()  # made before files are watched
    store = ResponseStore(folder / "l.zarr", _ABOUT, (2, 4, 3))
    store.write(0, np.array([0, 1]), np.ones((2, 3), np.float32))
    store.keep_findings({"preferred": np.arange(3.0)}, 1)


def _read_laboratory(folder: Path) -> object:
    store = ResponseStore(folder / "l.zarr", _ABOUT, (2, 4, 3))
    return store.read(np.array([0, 0, 1, 1])), store.findings(1)


OTHER_FILES: dict[str, tuple[Callable[[Path], Path], Read]] = {
    "analysis": (
        _file("analysis", _analysis),
        lambda folder: read_analysis(folder / "a.omnimouse.json"),
    ),
    "checkpoint": (
        _file("checkpoint", _checkpoint),
        lambda folder: read_checkpoint(folder / "net.safetensors").build(),
    ),
    "config": (_file("config", _config), _read_config),
    "ensemble": (
        _file("ensemble", _ensemble),
        lambda folder: om.load_predictor(folder / "both.ensemble.json"),
    ),
    "laboratory": (_file("laboratory", _laboratory), _continued(_read_laboratory)),
    "mask": (
        _file("mask", _mask),
        lambda folder: om.Mask.load(folder / "mask.json"),
    ),
    "ndt": (_file("ndt", _ndt), _read_ndt),
    "plan": (_file("plan", _plan), lambda folder: read_plan(folder / "plan.yaml")),
    "predictions": (_file("predictions", _predictions), _read_predictions),
    "results": (
        _file("results", _sweep),
        _read_sweep,
    ),
    "scores": (_file("scores", _scores), _continued(_read_scores)),
    "unfinished-predictions": (
        _file("unfinished-predictions", _unfinished_predictions),
        _continued(lambda root: om.predict_session("last", _session(), _MASK, root / "p.zarr")),
    ),
    "unfinished-store": (
        _file("unfinished-store", _unfinished_store),
        _continued(lambda root: convert(_session(), root / "m.omses.zarr")),
    ),
    "twin": (_file("twin", _twin), _read_twin),
    "twin-release": (
        _file("twin-release", _released),
        lambda folder: read_released(folder, "4-7").build("4-7"),
    ),
}
"""Kind -> writer of a valid file, and its reader."""
