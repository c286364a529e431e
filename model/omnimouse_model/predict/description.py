"""The JSON file beside the weights of a checkpoint, checked, and strict loading.

It has the version of its form, the family, the config and the sessions. Both files have one
`pair`: weights and a description that were not saved together are refused.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor, nn

from omnimouse_model.errors import CheckpointError
from omnimouse_model.storage.tensors import write_safetensors
from omnimouse_model.storage.trees import read_json
from omnimouse_model.storage.typed import Within, decode, refused_as, shown
from omnimouse_model.storage.write import write_json

# -- weights that are loaded into a network strictly, without memory for a second copy
Net = TypeVar("Net", bound=nn.Module)


def load_strictly(make: Callable[[], Net], state: Mapping[str, Tensor], source: str) -> Net:
    """Make a network and give it the weights of a file, each in its own precision.

    Parameters
    ----------
    make
        Makes the network from its config.
    state
        Name -> tensor.
    source
        Path or name of the file, for messages.

    Raises
    ------
    CheckpointError
        The config makes no network, or entries are missing, unexpected, or of another
        shape or type; the message names them.
    """
    try:
        # On "meta" no memory is allocated: the weights replace the parameters.
        with torch.device("meta"):
            net = make()
    except Exception as error:  # numbers that make no net fail in many ways
        raise CheckpointError(
            f"{source} has a config that makes no net: {repr(error)[:200]}."
        ) from error
    expected = net.state_dict()
    missing = expected.keys() - state.keys()
    extra = state.keys() - expected.keys()
    wrong = [
        f"{key} {_form(state[key])} for {_form(value)}"
        for key, value in expected.items()
        if key in state and not _fits(state[key], value)
    ]
    if missing or extra or wrong:
        raise CheckpointError(
            f"{source} does not fit its config: {_some('missing', missing)}"
            f"{_some('unexpected', extra)}{_some('of another form', wrong)}"
            "Was it saved from another size or version?"
        )
    typed = {k: v.to(expected[k].dtype) for k, v in state.items()}
    net.load_state_dict(typed, strict=True, assign=True)
    return net.requires_grad_(True).eval()


def _fits(value: Tensor, expected: Tensor) -> bool:
    """Return whether a tensor has the expected shape and kind of number."""
    same_kind = value.is_floating_point() == expected.is_floating_point()
    return value.shape == expected.shape and same_kind and not value.is_complex()


def _form(value: Tensor) -> str:
    """Return the shape for an error message, with the type if it is not float32."""
    kind = "" if value.dtype == torch.float32 else f" {value.dtype}"
    return f"{tuple(value.shape)}{kind}".replace("torch.", "")


def _some(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    some = ", ".join(name[:120] for name in listed[:4]) + (", …" if len(listed) > 4 else "")
    return f"{len(listed)} {word} ({some}). "


# -- recording of intermediate maps of a network, for comparisons and for users -------
Record = Callable[[str, Tensor], None]
"""Function that receives the name and value of an intermediate map."""


def no_record(name: str, value: Tensor) -> None:
    """Record nothing."""


# -- the JSON file beside the weights of a checkpoint of this project, checked --------
_log = logging.getLogger(__name__)
_MAX_UNITS = 10**6
MAX_SESSIONS = 10_000
_MAX_SIZE, _MAX_COUNT = 4096, 64
"""Limits: a hostile description must not allocate all memory."""
Config = TypeVar("Config")


def save_described(
    path: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write weights and their description, each atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pair = secrets.token_hex(8)
    # The weights last: with them, the checkpoint is complete.
    write_json(path.with_suffix(".json"), {**description, "pair": pair})
    write_safetensors(path, tensors, {"pair": pair})


def check_pair(description: Mapping[str, Any], notes: Mapping[str, str], path: Path) -> None:
    """Raise `CheckpointError` if weights and description were not saved together.

    Of files that were saved before both had a `pair`, this is not known; the log says so.
    """
    stated, found = description.get("pair"), notes.get("pair")
    described = path.with_suffix(".json").name
    if stated is None and found is None:
        _log.warning(
            "%s and %s were saved before both named each other: whether they belong "
            "together is not checked. Save them anew to check it.",
            path.name,
            described,
        )
    elif stated != found:
        raise CheckpointError(
            f"{path.name} and {described} were not saved together: one of them was "
            "replaced, or saving was cut short. Copy both again, or train on."
        )


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
    with refused_as(CheckpointError):
        description = decode(dict[str, Any], read_json(described), described)
    if description.get(key) != version:
        raise CheckpointError(
            f"{described}: {key} is not {version}: it is no checkpoint of {what}, or a "
            "newer version wrote it."
        )
    return description


def session_counts(description: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return the number of neurons of each session; raise `CheckpointError`."""
    with refused_as(CheckpointError):
        units = Annotated[int, Within(1, _MAX_UNITS)]
        counts = Annotated[dict[str, units], Within(0, MAX_SESSIONS)]
        return decode(counts, description.get("sessions"), path, "sessions")


def config_of(
    kind: type[Config],
    description: Mapping[str, Any],
    path: Path,
    counts: tuple[str, ...] = (),
) -> Config:
    """Return the config.

    Parameters
    ----------
    counts
        Fields of which each unit is a layer or a copy, and which are limited more.

    Raises
    ------
    CheckpointError
        A field is unknown, of another type or out of range; the message names it.
    """
    with refused_as(CheckpointError):
        config = decode(kind, description.get("config"), path, "config")
    # mypy cannot state that `kind` is a dataclass.
    for name in (field.name for field in fields(kind)):  # type: ignore[arg-type]
        value, limit = getattr(config, name), _MAX_COUNT if name in counts else _MAX_SIZE
        parts = value if isinstance(value, tuple) else (value,)
        numbers = [n for n in parts if isinstance(n, int | float)]
        if len(parts) > _MAX_COUNT or any(abs(n) > limit for n in numbers):
            raise CheckpointError(
                f"{path}: config.{name}: found {shown(value)}, expected at most {limit}"
            )
    return config


def weights_hash(state: dict[str, Tensor]) -> str:
    """Return eight hexadecimal digits that identify names and values of weights."""
    # Sorted, because the order of a state dict depends on how it was made.
    digest = blake2b(digest_size=4)
    for key in sorted(state):
        digest.update(key.encode())
        # As bytes: numpy has no bfloat16.
        values = state[key].contiguous().flatten().view(torch.uint8)
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
