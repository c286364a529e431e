"""Ask between the layers of a network whether its request is cancelled.

Hooks are attached only while a request runs, so the network does not depend on this.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from omnimouse_model.nets.omnimouse.attention import CrossBlock, SelfBlock
from omnimouse_model.nets.omnimouse.encoder import HieraBlock
from omnimouse_model.progress import Cancelled, stop_if

# Between two of these, the demo model computes for less than 50 ms on one core: the
# longest delay of a cancel (contract, "Live engine").
_CHECKED = (nn.Linear, nn.RMSNorm, nn.Conv3d)
# A GPU computes a block in a few ms, and each check delays the start of its kernels.
_CHECKED_ON_GPU = (SelfBlock, CrossBlock, HieraBlock)


def checked_modules(net: nn.Module, device: torch.device) -> list[nn.Module]:
    """Return the modules before which to check, if the network is on a device."""
    checked = _CHECKED_ON_GPU if device.type == "cuda" else _CHECKED
    return [module for module in net.modules() if isinstance(module, checked)]


@contextmanager
def checked_between(modules: Iterable[nn.Module], cancelled: Cancelled) -> Iterator[None]:
    """Raise `StoppedError` before the next of the modules once `cancelled()` is true."""

    # Hooks get the module and its inputs, which the check does not need.
    def call(*_: Any) -> None:
        stop_if(cancelled)

    hooks = [module.register_forward_pre_hook(call) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
