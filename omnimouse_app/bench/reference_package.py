"""The reference package, run from a checkout in its own process, for comparison.

The process runs this module as a program: it imports the package from the checkout,
opens a session as in the training of the released models, and answers requests line by
line on standard output. All output of the package itself goes to standard error.
"""

import contextlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import IO, Any

import numpy as np

_STREAMS = {
    "screen": (30, 60),
    "responses": (30, 60),
    "eye_tracker": (20, 40),
    "treadmill": (20, 40),
}
"""Samples per second, and samples per window."""

_LINES = 12
"""Number of lines of the process's output that an error shows."""


class ReferencePackage:
    """A session opened by the reference package; close it, or use it as a context.

    Parameters
    ----------
    checkout
        A source folder that contains `experanto/`.
    session
        An experanto folder.
    starts
        Native times at which the windows to read begin.

    Attributes
    ----------
    revision
        "main" or "foundation_model", identified by its interface.

    Raises
    ------
    ModuleNotFoundError
        The checkout does not contain the package, or a dependency is not installed.
    ChildProcessError
        The package cannot open the session.
    """

    def __init__(self, checkout: Path, session: Path, starts: Sequence[float]) -> None:
        if not (checkout / "experanto" / "__init__.py").is_file():
            raise ModuleNotFoundError(
                f"{checkout} holds no experanto/__init__.py: give the folder of a "
                "checkout of the reference package.",
                name="experanto",
            )
        # A file instead of a pipe: a full pipe would block the process.
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(checkout.absolute()), str(session)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            # One thread, so that CPU times of both readers can be compared.
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        try:
            about = self._asked({"starts": list(starts)})
        except BaseException:
            self.close()
            raise
        self.revision: str = about["revision"]

    def __enter__(self) -> "ReferencePackage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def read_all(self) -> tuple[float, float]:
        """Read every window once; return the CPU seconds and the elapsed seconds."""
        took = self._asked({"read": True})
        return took["cpu"], took["wall"]

    def window(self, number: int) -> dict[str, np.ndarray]:
        """Return the package's values of a window, by stream."""
        return self._arrays({"window": number})

    def samples(self, times: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
        """Return the package's stored values at native times, by stream."""
        return self._arrays({"times": {n: list(t) for n, t in times.items()}})

    def _arrays(self, question: dict[str, Any]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="omnimouse-reference-") as made:
            # Arrays are exchanged in a file; the lines carry JSON only.
            path = Path(made) / "values.npz"
            self._asked({**question, "path": str(path)})
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        # An empty line means that the process has ended.
        if not line:
            self._said.seek(0)
            said = self._said.read().splitlines()[-_LINES:]
            raise ChildProcessError(f"The reference package failed: {' | '.join(said)}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise ModuleNotFoundError(
                f"The reference package cannot be imported: {answer['why']}. Install "
                "what it needs into this environment.",
                name=answer["missing"],
            )
        return answer


# -- the process ---------------------------------------------------------------------
def main(checkout: str, session: str) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Answers have a copy of standard output; what the package prints goes to standard
    # error.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    dataset: Any = None
    for question in map(json.loads, sys.stdin):
        if dataset is None:
            try:
                kind = _imported(checkout)
            except ImportError as error:
                answer = {"missing": error.name or "experanto", "why": str(error)}
            else:
                dataset, answer = _opened(kind, session, question["starts"])
        else:
            answer = _answered(dataset, question)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _imported(checkout: str) -> Any:
    """Import the dataset class from the checkout; refuse one from elsewhere."""
    sys.path.insert(0, checkout)
    import torch

    import_module("omegaconf")
    datasets = import_module("experanto.datasets")
    found = Path(str(datasets.__file__)).resolve()
    if not found.is_relative_to(Path(checkout).resolve()):
        raise ImportError(f"it comes from {found}", name="experanto")
    torch.set_num_threads(1)
    return datasets.ChunkDataset


def _opened(kind: Any, session: str, starts: list[float]) -> tuple[Any, dict[str, Any]]:
    is_main = "interpolate_precision" in inspect.signature(kind).parameters
    dataset = kind(
        session,
        global_sampling_rate=None,
        global_chunk_size=None,
        modality_config=import_module("omegaconf").OmegaConf.create(_config(is_main)),
    )
    # Replace the window starts chosen by the package with those of the comparison.
    dataset._valid_screen_times = np.array(starts)
    return dataset, {"revision": "main" if is_main else "foundation_model"}


def _config(is_main: bool) -> dict[str, Any]:
    """Return the configuration with which the released models were trained.

    The scaling of responses has another name in each revision.
    """
    found: dict[str, Any] = {}
    for name, (rate, count) in _STREAMS.items():
        found[name] = {
            "keep_nans": False,
            "sampling_rate": rate,
            "chunk_size": count,
            "offset": 0,
            "transforms": {"normalization": "normalize"},
            "interpolation": {"interpolation_mode": "nearest_neighbor"},
        }
    scaled = "normalize_variance_only" if is_main else "standardize"
    found["responses"]["transforms"] = {"normalization": scaled}
    found["screen"] |= {
        "valid_condition": [{"tier": "train"}, {"tier": "validation"}],
        "include_blanks": True,
        "sample_stride": 1,
        "interpolation": {"rescale": False},
    }
    return found


def _answered(dataset: Any, question: dict[str, Any]) -> dict[str, Any]:
    if "read" in question:
        cpu, wall = process_time(), perf_counter()
        for number in range(len(dataset._valid_screen_times)):
            dataset[number]
        return {"cpu": process_time() - cpu, "wall": perf_counter() - wall}
    if "window" in question:
        given = dataset[question["window"]]
        found = {name: given[name].numpy() for name in _STREAMS}
    else:
        found = dict(_sampled(dataset._experiment, question["times"]))
    np.savez(question["path"], **found)
    return {}


def _sampled(
    experiment: Any, times: dict[str, list[float]]
) -> Iterator[tuple[str, np.ndarray]]:
    for name, asked in times.items():
        values = experiment.interpolate(np.array(asked), device=name)
        yield name, values[0] if isinstance(values, tuple) else values


if __name__ == "__main__":
    main(*sys.argv[1:])
