"""Stop a network between two layers if its request is outdated.

Hooks are attached only while a request runs, so the network does not depend on this.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

# Between two of these, the demo model computes for less than 50 ms on one core: the
# longest delay of a cancel (contract, "Live engine").
_CHECKED = (nn.Linear, nn.RMSNorm, nn.Conv3d)


@contextmanager
def checked_between_layers(net: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before every linear map, norm and convolution; it may raise."""

    # Hooks get the module and its inputs, which the check does not need.
    def call(*_: Any) -> None:
        check()

    hooks = [
        module.register_forward_pre_hook(call)
        for module in net.modules()
        if isinstance(module, _CHECKED)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
