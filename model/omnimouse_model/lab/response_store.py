"""Responses to a stimulus in a zarr folder, so that a stopped experiment goes on."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from omnimouse_model.errors import ResultsFileError, SessionFormatError
from omnimouse_model.storage.arrays.zarr_arrays import (
    ZarrArray,
    ZarrGroup,
    array_to_write,
    create_group,
)
from omnimouse_model.storage.journal import check_own, json_line, parsed_line
from omnimouse_model.storage.trees import read_json_mapping
from omnimouse_model.storage.write import temporary_folder

SUFFIX = ".zarr"
FORMAT = "omnimouse-laboratory"
_VERSION = 1
_FINDINGS = "findings"
_UNCOMPARED = ("session", "versions")
"""Entries that are stored, but not compared with those of the next run."""
_ARRAYS = ("responses", "done")


class ResponseStore:
    """Responses to the events of a stimulus, complete video by video.

    A new folder gets the arrays `responses` (event, neuron), NaN where unknown, and
    `done` (video), and later the group `findings`. An existing one goes on if it is of
    the same experiment.

    Parameters
    ----------
    path
        The folder, `x.zarr`.
    about
        What was shown to which model; in the attributes of the folder.
    shape
        Number of videos, of events and of neurons.

    Raises
    ------
    ResultsFileError
        The folder holds something else, or another experiment, or is damaged.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
        n_videos, n_events, n_neurons = shape
        self.path = path
        # As JSON returns it, so that tuples and arrays' numbers are compared alike.
        self.about = parsed_line(json_line(_finite(about)))
        if not path.exists():
            _create(path, self.about, shape)
        check_own(path)
        self._check(path)
        try:
            group = ZarrGroup(path)
            shapes = [group.array(name).shape for name in _ARRAYS]
        except SessionFormatError as error:
            raise self._damage(error) from error
        found = sum(shapes, ())
        if found != (n_events, n_neurons, n_videos):
            raise ResultsFileError(
                f"{path}: arrays of shape {found}; expected "
                f"{(n_events, n_neurons, n_videos)}. Choose another file."
            )

    def read(self) -> tuple[Float32[np.ndarray, "event n"], np.ndarray]:
        """Return the responses, and which videos are finished, bool (video,).

        Raises
        ------
        ResultsFileError
            The folder is damaged.
        """
        try:
            responses, done = (ZarrArray(self.path / name).part() for name in _ARRAYS)
        except SessionFormatError as error:
            raise self._damage(error) from error
        return responses, done

    def write(
        self,
        video: int,
        rows: Int64[np.ndarray, " row"],
        responses: Float32[np.ndarray, "row n"],
    ) -> None:
        """Write the responses to the events of a finished video."""
        if len(rows):
            array_to_write(self.path, "responses").oindex[rows] = responses
        # Last: a video counts when all of it is written.
        array_to_write(self.path, "done")[video] = True

    def findings(self, version: int) -> dict[str, np.ndarray] | None:
        """Return what was found, by name; None if nothing of this version is kept.

        Damaged findings count as none: they follow from the responses again.

        Raises
        ------
        ResultsFileError
            The folder cannot be read, for example for want of permission.
        """
        folder = self.path / _FINDINGS
        if not folder.exists():
            return None
        try:
            group = ZarrGroup(folder)
            if group.attributes.get("version") != version:
                return None
            # In their order: columns of tables have one.
            return {str(name): group.array(str(name)).part() for name in group.attributes["names"]}
        except SessionFormatError as error:
            if error.code != "unreadable":
                return None
            raise ResultsFileError(f"{folder}: {error}") from error
        except (KeyError, TypeError):
            return None

    def keep_findings(self, arrays: Mapping[str, np.ndarray], version: int) -> None:
        """Keep what was found, in place of what was found before.

        Raises
        ------
        OSError
            The folder cannot be written; what was found before is kept.
        """
        with temporary_folder(self.path / _FINDINGS) as new:
            about = {"version": version, "names": list(arrays)}
            group = create_group(new, about)
            for name, values in arrays.items():
                group.create_array(name, data=values)
            # Those of another version go with the temporary folder.
            with suppress(FileNotFoundError):
                (self.path / _FINDINGS).rename(new.with_name("before"))
            _put(new, self.path / _FINDINGS)

    def _damage(self, error: Exception) -> ResultsFileError:
        return ResultsFileError(
            f"{self.path} is damaged: {error}. Delete it, or choose another file."
        )

    def _check(self, path: Path) -> None:
        problem = f"{path} holds no responses of the laboratory: choose another file."
        if not (path / "zarr.json").is_file():
            raise ResultsFileError(problem)
        attributes = read_json_mapping(path / "zarr.json").get("attributes")
        if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
            raise ResultsFileError(problem)
        if attributes.get("version") != _VERSION:
            raise ResultsFileError(
                f"{path}: version {attributes.get('version')!r}; expected {_VERSION}."
            )
        about = attributes.get("about")
        known = about if isinstance(about, dict) else {}
        for name, expected in self.about.items():
            if name not in _UNCOMPARED and known.get(name) != expected:
                raise ResultsFileError(
                    f"{path} is of another experiment: {name} is {known.get(name)!r}; "
                    f"expected {expected!r}. Choose another file."
                )


def cached_store(
    folder: Path, about: Mapping[str, Any], shape: tuple[int, int, int]
) -> ResponseStore:
    """Return the store of an experiment in a cache, named by what it is about.

    Nobody chooses its name: one that is damaged is replaced. Another version of this
    package has a store of its own, because its stimuli can differ.
    """
    path = _cached_path(folder, about)
    try:
        store = ResponseStore(path, about, shape)
        store.read()
        return store
    except ResultsFileError:
        shutil.rmtree(path, ignore_errors=True)
        return ResponseStore(path, about, shape)


def _finite(value: Any) -> Any:
    """Return values with infinity as text, which JSON lacks: gratings can fill the screen."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def existing_store(
    folder: Path, about: Mapping[str, Any], shape: tuple[int, int, int]
) -> ResponseStore | None:
    """Return the store of an experiment in a cache, None if it is not there."""
    path = _cached_path(folder, about)
    return ResponseStore(path, about, shape) if path.exists() else None


def _cached_path(folder: Path, about: Mapping[str, Any]) -> Path:
    compared = {name: value for name, value in about.items() if name != "session"}
    text = json.dumps(compared, sort_keys=True)
    digest = blake2b(text.encode(), digest_size=12).hexdigest()
    return folder / f"{about['experiment']}-{digest}{SUFFIX}"


def _create(path: Path, about: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
    """Create an empty store as a whole: another program may create the same one."""
    n_videos, n_events, n_neurons = shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as new:
        attributes = {"format": FORMAT, "version": _VERSION, "about": about}
        root = create_group(new, attributes)
        # One row per chunk: a video is written without reading others.
        root.create_array(
            "responses",
            shape=(n_events, n_neurons),
            chunks=(1, n_neurons),
            dtype="float32",
            fill_value=np.nan,
        )
        root.create_array("done", shape=(n_videos,), chunks=(1,), dtype="bool", fill_value=False)
        _put(new, path)


def _put(new: Path, path: Path) -> None:
    """Rename a folder to a path where another program may put the same one."""
    try:
        new.rename(path)
    except OSError:
        if not path.exists():
            raise
