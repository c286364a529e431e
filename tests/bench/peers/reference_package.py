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

STREAMS = {
    "screen": (30, 60),
    "responses": (30, 60),
    "eye_tracker": (20, 40),
    "treadmill": (20, 40),
}
"""Samples per second, and samples per window of OmniMouse."""
MAX_LINES = 12
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
        self._log: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(checkout.absolute()), str(session)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # One thread, so that CPU times of both readers can be compared.
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        try:
            facts = self._request({"starts": list(starts)})
        except BaseException:
            self.close()
            raise
        self.revision: str = facts["revision"]

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
        # The process ends when its standard input ends.
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def read_all(self) -> tuple[float, float]:
        """Read every window once; return the CPU seconds and the elapsed seconds."""
        seconds = self._request({"read": True})
        return seconds["cpu"], seconds["wall"]

    def window(self, number: int) -> dict[str, np.ndarray]:
        """Return the package's values of a window, by stream."""
        return self._arrays({"window": number})

    def samples(self, times: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
        """Return the package's stored values at native times, by stream."""
        return self._arrays({"times": {n: list(t) for n, t in times.items()}})

    def _arrays(self, request: dict[str, Any]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="omnimouse-reference-") as folder:
            # Arrays are exchanged in a file; the lines contain JSON only.
            path = Path(folder) / "values.npz"
            self._request({**request, "path": str(path)})
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request as one line of JSON; return the result, also one line."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        # An empty line means that the process has ended.
        if not line:
            self._log.seek(0)
            lines = self._log.read().splitlines()[-MAX_LINES:]
            raise ChildProcessError(f"The reference package failed: {' | '.join(lines)}")
        result: dict[str, Any] = json.loads(line)
        if "missing" in result:
            raise ModuleNotFoundError(
                f"The reference package cannot be imported: {result['reason']}. "
                "Install its dependencies into this environment.",
                name=result["missing"],
            )
        return result


# -- the process ---------------------------------------------------------------------
def main(checkout: str, session: str) -> None:
    """Process requests until standard input ends."""
    # Results are written to a copy of standard output; lines that the package prints
    # go to standard error.
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    dataset: Any = None
    for request in map(json.loads, sys.stdin):
        if dataset is None:
            try:
                kind = _imported(checkout)
            except ImportError as error:
                result = {"missing": error.name or "experanto", "reason": str(error)}
            else:
                dataset, result = _opened(kind, session, request["starts"])
        else:
            result = _result(dataset, request)
        results.write(json.dumps(result) + "\n")
        results.flush()


def _imported(checkout: str) -> Any:
    """Import the dataset class from the checkout; refuse an installed package."""
    # First on the path: an installed version must not be compared by mistake.
    sys.path.insert(0, checkout)
    import torch

    import_module("omegaconf")
    datasets = import_module("experanto.datasets")
    source = Path(str(datasets.__file__)).resolve()
    if not source.is_relative_to(Path(checkout).resolve()):
        raise ImportError(f"it comes from {source}", name="experanto")
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
    config: dict[str, Any] = {}
    for name, (rate, count) in STREAMS.items():
        config[name] = {
            "keep_nans": False,
            "sampling_rate": rate,
            "chunk_size": count,
            "offset": 0,
            "transforms": {"normalization": "normalize"},
            "interpolation": {"interpolation_mode": "nearest_neighbor"},
        }
    scaling = "normalize_variance_only" if is_main else "standardize"
    config["responses"]["transforms"] = {"normalization": scaling}
    config["screen"] |= {
        "valid_condition": [{"tier": "train"}, {"tier": "validation"}],
        "include_blanks": True,
        "sample_stride": 1,
        "interpolation": {"rescale": False},
    }
    return config


def _result(dataset: Any, request: dict[str, Any]) -> dict[str, Any]:
    if "read" in request:
        cpu, wall = process_time(), perf_counter()
        for number in range(len(dataset._valid_screen_times)):
            dataset[number]
        return {"cpu": process_time() - cpu, "wall": perf_counter() - wall}
    if "window" in request:
        window = dataset[request["window"]]
        arrays = {name: window[name].numpy() for name in STREAMS}
    else:
        arrays = dict(_samples(dataset._experiment, request["times"]))
    np.savez(request["path"], **arrays)
    return {}


def _samples(experiment: Any, times: dict[str, list[float]]) -> Iterator[tuple[str, np.ndarray]]:
    for name, native_s in times.items():
        values = experiment.interpolate(np.array(native_s), device=name)
        # One revision also returns the validity of the samples.
        yield name, values[0] if isinstance(values, tuple) else values


if __name__ == "__main__":
    main(*sys.argv[1:])
