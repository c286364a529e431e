"""Commands that `tests.soak.kills` kills, their recordings, and the comparison.

Every file of an output is compared byte by byte, except for what no two runs share:

    all         locks in the cache, which remain by design (removing a lock that another
                process holds is not safe)
    train, finetune, scaling
                durations and speeds in `metrics.jsonl`, in the state of a run and in
                the cards of checkpoints; the random text that ties the two files of a
                checkpoint to each other; events for TensorBoard, which have times
    predict-nwb the random identifier and the date that NWB requires
    fetch       the date in the note about the origin
"""

import json
import multiprocessing
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml

from omnimouse_app.cli import main
from omnimouse_model.families.omnimouse.config import SIZES
from omnimouse_model.families.omnimouse.network import OmniMouse, initialise
from omnimouse_model.inference.families import config_path
from tests.hub_server import Hub, Repository, hub_endpoint
from tests.model.finetune_process import KNOWN, NEW, few_windows
from tests.model.official_shards import ANIMALS, SESSIONS, write_shards
from tests.model.small_net import save_checkpoint, small_net, small_plan
from tests.small_sessions import write_session

IMPORTED = (
    *(f"omnimouse_app.cli.{name}" for name in ("convert", "info", "predict", "sweep", "train")),
    "omnimouse_model.analysis.predictions",
    "omnimouse_model.analysis.scaling_fits",
    "omnimouse_model.analysis.sweep.run",
    "omnimouse_model.data.convert",
    "omnimouse_model.data.open",
    "omnimouse_model.inference.registry",
    "omnimouse_model.families.omnimouse.training",
    "omnimouse_model.analysis.fit",
    "omnimouse_model.families.omnimouse.training",
    "omnimouse_model.analysis.scaling_study",
    "huggingface_hub",
    "torch.utils.tensorboard",
    "zarr",
)
"""Modules that commands import when they run; imported before the forks."""
LOCKS = ("cache/locks",)
IGNORED = (*LOCKS, "/tensorboard/", "/tensorboard")
_OF_TIME = ("seconds", "windows_per_s", "tokens_per_s", "waited_s")
_TASK = "test/causal_response_25_behavior"
_LARGE = 100
"""Neurons of the recording that is converted."""


@dataclass(frozen=True, slots=True)
class Command:
    """Command to kill; its output is in the folder `out` of the folder of the run.

    Attributes
    ----------
    words
        Arguments of `omnimouse`, of the folder of the inputs and of `out`.
    is_forked_only
        Whether no process of `python -m omnimouse_app` is used: start values of a
        fine-tuning are found on fewer windows than usual, to be fast.
    """

    words: Callable[[Path, Path], list[str]]
    is_forked_only: bool = False

    def run(self, inputs: Path, out: Path) -> None:
        """Run the command in this process."""
        if self.is_forked_only:
            with few_windows():
                main(self.words(inputs, out))
        main(self.words(inputs, out))


def _convert(inputs: Path, out: Path) -> list[str]:
    return ["convert", f"{inputs}/large", f"{out}/mouse.zarr"]


def _train(inputs: Path, out: Path) -> list[str]:
    words = ["train", f"{inputs}/train.yaml", "--sessions", f"{inputs}/mice"]
    export = ["--export", f"{out}/export.safetensors"]
    return [*words, "--out", f"{out}/run", "--device", "cpu", *export]


def _finetune(inputs: Path, out: Path) -> list[str]:
    words = ["finetune", f"{inputs}/base.safetensors", f"{inputs}/mice/{NEW}"]
    settings = ["--steps", "4", "--batch", "1", "--device", "cpu"]
    return [*words, "--out", f"{out}/mine", *settings]


def _sweep(inputs: Path, out: Path) -> list[str]:
    words = ["sweep", "--model", "context-ridge", "--session", f"{inputs}/large"]
    axes = ["--neurons", "0,4,16", "--history", "0,10", "--seeds", "3", "--grid"]
    files = ["--out", f"{out}/a.sweep.jsonl", "--csv", f"{out}/a.csv"]
    return [*words, *axes, *files, "--device", "cpu"]


def _scaling(inputs: Path, out: Path) -> list[str]:
    words = ["scaling", f"{out}/a.scaling.jsonl", "--train", f"{inputs}/plan.yaml"]
    return [*words, "--device", "cpu", "--csv", f"{out}/fits.csv"]


def _predict(ending: str, inputs: Path, out: Path) -> list[str]:
    model, session = f"{inputs}/base.safetensors", f"{inputs}/mice/{KNOWN}"
    words = ["predict", session, "--model", model, "--device", "cpu"]
    return [*words, "--out", f"{out}/predictions{ending}"]


def _lab(inputs: Path, out: Path) -> list[str]:
    model, session = f"{inputs}/base.safetensors", f"{inputs}/mice/{KNOWN}"
    words = ["lab", "directions", "--session", session, "--model", model, "--repeats", "1"]
    return [*words, "--results", f"{out}/results.zarr", "--out", f"{out}/t.csv", "--device", "cpu"]


def _fetch(address: str, inputs: Path, out: Path) -> list[str]:
    return ["fetch", address, "--to", str(out)]


COMMANDS = {
    "convert": Command(_convert),
    "train": Command(_train),
    "finetune": Command(_finetune, is_forked_only=True),
    "sweep": Command(_sweep),
    "scaling": Command(_scaling),
    "predict": Command(lambda *folders: _predict(".zarr", *folders)),
    "predict-nwb": Command(lambda *folders: _predict(".nwb", *folders)),
    "lab": Command(_lab),
    "fetch": Command(lambda *folders: _fetch("hf://datasets/lab/mice/a.tar", *folders)),
    "fetch-model": Command(lambda *folders: _fetch("hf://lab/model", *folders)),
}


# -- inputs ---------------------------------------------------------------------------
def write_inputs(folder: Path) -> None:
    """Write the recordings, models and plans of all commands."""
    write_session(folder / "large", _LARGE, repeats=8)
    for name, count in ((KNOWN, 12), (NEW, 9)):
        write_session(folder / "mice" / name, count, repeats=2)
    save_checkpoint(folder / "base.safetensors", small_net({KNOWN: 12}))
    text = config_path("smoke").read_text("utf-8")
    settings = yaml.safe_load(text) | {"save_every": 2, "validate_every": 3}
    del settings["sessions"]
    for phase in settings["phases"]:
        phase |= {"steps": 4, "batch": 2}
    settings["phases"][0]["warmup"] = 1
    (folder / "train.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    net = OmniMouse(SIZES["1M"], SESSIONS, ANIMALS)
    initialise(net, torch.Generator().manual_seed(0))
    write_shards(net, folder / "official")
    (folder / "plan.yaml").write_text(yaml.safe_dump(_plan(folder / "mice")), "utf-8")


def _plan(mice: Path) -> dict[str, Any]:
    asked = {"evaluated": [KNOWN], "strategies": [_TASK, "test/video_behavior"]}
    return small_plan(mice, _TASK, 3) | {"collections": [1, 2]} | asked


@contextmanager
def hub_process(inputs: Path) -> Iterator[dict[str, str]]:
    """Serve the hub in a process of its own; yield the environment of its users.

    A process that forks must have no threads.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(inputs, there), daemon=True)
    process.start()
    try:
        yield {"HF_ENDPOINT": here.recv(), "HF_HOME": str(inputs / "hub")}
    finally:
        here.send("end")
        process.join()


def _serve(inputs: Path, there: Any) -> None:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(inputs / "large", "mouse")
    shards = (inputs / "official").iterdir()
    repositories = {
        ("dataset", "lab/mice"): Repository({"a.tar": archive.getvalue()}),
        ("model", "lab/model"): Repository(
            {f"1M/{path.name}": path.read_bytes() for path in shards}
        ),
    }
    # A client that is killed ends its connection, which is no fault of the server.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with hub_endpoint(Hub(repositories)) as hub:
        there.send(hub.endpoint)
        there.recv()


# -- comparison -----------------------------------------------------------------------
def differences(reference: Path, folder: Path) -> list[str]:
    """Return what is different in the output of a run, one text per file."""
    expected, found = _files(reference), _files(folder)
    texts = [f"{name} is missing" for name in sorted(expected - found)]
    texts += [f"{name} remains" for name in sorted(found - expected)]
    for name in sorted(expected & found):
        here, there = folder / name, reference / name
        if here.is_dir() != there.is_dir():
            texts.append(f"{name} is not of the same kind")
        elif not here.is_dir() and here.read_bytes() != there.read_bytes():
            content = _content(here)
            if content is None or content != _content(there):
                texts.append(f"{name} has other bits")
    return texts


def _files(folder: Path) -> set[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name for name in names if not any(part in name for part in IGNORED)}


def _content(path: Path) -> object:
    """Return the content of a file without what no two runs share; None for all."""
    if path.name == "metrics.jsonl":
        rows = map(json.loads, path.read_text("utf-8").splitlines())
        return [{k: v for k, v in row.items() if k not in _OF_TIME} for row in rows]
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        return _bits({k: v for k, v in state.items() if k != "seconds"})
    if path.suffix == ".safetensors":
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        header["__metadata__"].pop("pair")
        return header, data[8 + size :]
    if path.name.endswith(".hub.json"):
        return json.loads(path.read_text("utf-8")) | {"fetched": ""}
    if path.suffix == ".json" and path.with_suffix(".safetensors").exists():
        values = json.loads(path.read_text("utf-8"))
        card = {k: v for k, v in values["card"].items() if k != "hours"}
        if "finetuned" in card:
            card["finetuned"] = card["finetuned"] | {"minutes": 0}
        return values | {"pair": "", "card": card}
    return _nwb_content(path) if path.suffix == ".nwb" else None


def _nwb_content(path: Path) -> object:
    content: dict[str, object] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        values = item[()] if isinstance(item, h5py.Dataset) else None
        attributes = {
            k: v
            for k, v in item.attrs.items()
            # Random, and references, whose numbers are those of the file.
            if k not in ("object_id",) and not isinstance(v, h5py.Reference)
        }
        if name not in ("identifier", "file_create_date"):
            content[name] = _bits([values, attributes])

    with h5py.File(path) as file:
        file.visititems(add)
    return content


def _bits(value: object) -> object:
    """Return values that are equal only if all bits are, for NaN as well."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, dict):
        return {key: _bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a run: an empty cache in its folder, and one thread."""
    return {
        "OMNIMOUSE_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
