"""Sizes of a config that make no network, refused before any memory is allocated."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.network import OmniMouse

MAX_SIZE = 10**6
"""Limit of every single number of a config."""
MAX_LAYERS = 1000
_LAYERS = ("num_layers", "hiera.stages")
MAX_PARAMETERS = 10**11


def check_size(config: OmniMouseConfig, sessions: Mapping[str, int], name: str) -> None:
    """Refuse a config that makes no network, or one larger than any machine's memory.

    Parameters
    ----------
    sessions
        Number of neurons by session key.
    name
        Name of the config, for the message.

    Raises
    ------
    ValueError
        A number is too large, or no network can be built.
    """
    check_numbers(config, name)
    try:
        # Without memory for the weights.
        with torch.device("meta"):
            net = OmniMouse(config, dict(sessions), dict.fromkeys(sessions, "animal"))
    except Exception as error:  # numbers that make no net fail in many ways
        raise ValueError(f"{name}: model makes no network: {repr(error)[:200]}.") from error
    count = sum(parameter.numel() for parameter in net.parameters())
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"{name}: model has {count:,} parameters; expected at most {MAX_PARAMETERS:,}."
        )


def check_numbers(config: OmniMouseConfig, name: str) -> None:
    """Refuse single numbers of a config for which even a list of layers is too large.

    Raises
    ------
    ValueError
        The message names the field.
    """
    for field, number in _numbers(config):
        limit = MAX_LAYERS if field in _LAYERS else MAX_SIZE
        if abs(number) > limit:
            raise ValueError(f"{name}: model.{field} is {number:,}; expected at most {limit:,}.")


def _numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the name and value of every whole number of a config."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{field.name}.")
        for one in value if isinstance(value, tuple) else (value,):
            # Sizes are whole numbers; a base of frequencies may be large.
            if isinstance(one, int) and not isinstance(one, bool):
                yield f"{prefix}{field.name}", one
