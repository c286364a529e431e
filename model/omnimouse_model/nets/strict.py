"""Weights that are loaded into a network strictly, without memory for a second copy."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from omnimouse_model.errors import CheckpointError

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
