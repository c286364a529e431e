"""The JSON file beside the weights of a checkpoint of this project, checked.

It has the version of its form, the family, the config and the sessions.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar

from safetensors.torch import save_file
from torch import Tensor

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.write import atomic_path, write_json

_MAX_UNITS = 10**6
_MAX_SIZE, _MAX_COUNT = 4096, 64
"""Limits: a hostile description must not allocate all memory."""
Config = TypeVar("Config")


def save_described(
    path: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write weights and their description, each atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The weights last: with them, the checkpoint is complete.
    write_json(path.with_suffix(".json"), description)
    with atomic_path(path) as temporary:
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)


def read_description(path: Path, key: str, version: int, what: str) -> dict[str, Any]:
    """Read the description of the weights in `path`.

    Parameters
    ----------
    key, version
        Field with the version of the form, and the version that is read.
    what
        The model, for messages.

    Raises
    ------
    CheckpointError
        The file is missing, damaged or of another form.
    """
    described = path.with_suffix(".json")
    try:
        description = json.loads(described.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get(key) != version:
        raise CheckpointError(
            f"{described}: {key} is not {version}: it is no checkpoint of {what}, or a "
            "newer version wrote it."
        )
    return description


def session_counts(description: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return the number of neurons of each session.

    Raises
    ------
    CheckpointError
        The field is no table of counts.
    """
    found = description.get("sessions")
    if not isinstance(found, dict) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 < n <= _MAX_UNITS
        for n in found.values()
    ):
        raise CheckpointError(f"{path}: sessions is no table of neuron counts.")
    return found


def config_of(
    kind: type[Config],
    description: Mapping[str, Any],
    path: Path,
    counts: tuple[str, ...] = (),
) -> Config:
    """Return the config, whose values have the types of its defaults.

    Parameters
    ----------
    counts
        Fields of which each unit is a layer or a copy, and which are limited more.

    Raises
    ------
    CheckpointError
        A field is unknown, of another type or out of range; the message names it.
    """
    found = description.get("config")
    # mypy cannot state that `kind` is a dataclass with defaults for all fields.
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(found, dict) or not found.keys() <= names:
        raise CheckpointError(f"{path}: config has fields that {kind.__name__} does not have.")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    # As above.
    default = asdict(kind())  # type: ignore[call-overload]
    for name, value in plain.items():
        plain[name] = _checked(name, value, default[name], path, name in counts)
    try:
        return kind(**plain)
    except ValueError as error:
        raise CheckpointError(f"{path}: config: {error}") from error


def _checked(name: str, value: Any, wanted: Any, path: Path, is_count: bool) -> Any:
    """Return a value of a config, a float for a whole number where one belongs."""
    if isinstance(value, bool) != isinstance(wanted, bool) or not isinstance(
        value, (int, float) if isinstance(wanted, float) else type(wanted)
    ):
        raise CheckpointError(
            f"{path}: config.{name} is {shortened(value)}; expected a value like {wanted!r}."
        )
    limit = _MAX_COUNT if is_count else _MAX_SIZE
    parts = value if isinstance(value, tuple) else (value,)
    numbers = [n for n in parts if not isinstance(n, str)]
    if len(parts) > _MAX_COUNT or not all(
        isinstance(n, int | float) and abs(n) <= limit for n in numbers
    ):
        raise CheckpointError(
            f"{path}: config.{name} is {shortened(value)}; expected at most {limit}."
        )
    return float(value) if isinstance(wanted, float) else value
