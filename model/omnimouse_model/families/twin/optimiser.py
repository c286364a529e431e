"""Optimiser and learning rates of the digital twin (Wang et al. 2025 and its release).

Gradient descent with Nesterov momentum. Each gradient is first limited in relation to
its weight, unit by unit (adaptive clipping), and weight decay is added to the step
after momentum and clipping.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from omnimouse_model.families.twin.network import GroupMixing, TwinNetwork

NOISE = (
    "perspective.monitor.center_std",
    "perspective.monitor.angle_std",
    "readout.position.sigma",
)
"""Parameters that scale the noise of training."""


class AdaptiveSgd(torch.optim.Optimizer):
    """Nesterov momentum with unit-wise adaptive clipping.

    A parameter without a gradient, such as that of a stream that was not drawn, is left
    as it is, with its momentum.

    Parameters
    ----------
    net
        Its parameters that require a gradient are trained.
    parts
        First names of parameters, such as "core"; all by default.
    lr, momentum, decay
        Learning rate; momentum; weight decay, on weights alone.
    clip, eps
        A gradient may have at most `clip` times the norm of its weight, and always
        `eps` times the square root of the number of values of the parameter.
    """

    def __init__(
        self,
        net: TwinNetwork,
        lr: float = 0.1,
        momentum: float = 0.9,
        decay: float = 1e-4,
        clip: float = 0.01,
        eps: float = 1e-3,
        parts: tuple[str, ...] = ("core", "perspective", "modulation", "readout"),
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "decay": 0.0,
            "clip": clip,
            "eps": eps,
            "dims": None,
            "factor": 1.0,
        }
        groups = [
            {
                "params": [parameter],
                "dims": dims,
                "decay": decay if is_weight else 0.0,
                # The loss is a mean over units, so that each has a small gradient.
                "factor": float(net.n_units) if name.startswith("readout.") else 1.0,
            }
            for name, parameter, dims, is_weight in _rules(net)
            if parameter.requires_grad and name.partition(".")[0] in parts
        ]
        # torch refuses an optimiser without parameters; all may be frozen.
        super().__init__(groups or [{"params": []}], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters with a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = _clipped(parameter.grad * group["factor"], parameter, group)
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                speed = state["momentum"].mul_(group["momentum"]).add_(gradient)
                change = gradient + group["momentum"] * speed
                change += group["decay"] * parameter
                parameter -= group["lr"] * change

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.param_groups:
            group["lr"] = lr


def _clipped(gradient: Tensor, parameter: Tensor, group: dict[str, Any]) -> Tensor:
    dims = group["dims"]
    weight_norm = _norm(parameter, dims)
    norm = _norm(gradient, dims)
    least = group["eps"] * math.sqrt(parameter.numel())
    limit = (group["clip"] * weight_norm).clamp(min=least)
    # A gradient of 0 remains 0.
    share: Tensor = limit / norm.clamp(min=torch.finfo(norm.dtype).tiny)
    return gradient * share.clamp(max=1)


def _norm(x: Tensor, dims: tuple[int, ...] | None) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=dims is not None)
    return norm


def _rules(
    net: TwinNetwork,
) -> Iterator[tuple[str, nn.Parameter, tuple[int, ...] | None, bool]]:
    """Yield name, parameter, dimensions of its norm, and whether it decays."""
    mixing = {
        f"{name}.weights" for name, module in net.named_modules() if isinstance(module, GroupMixing)
    }
    for name, parameter in net.named_parameters():
        kind = name.rpartition(".")[0]
        last = kind.rpartition(".")[2]
        dims: tuple[int, ...] | None = None
        if kind in mixing:
            dims = (1, 3)
        elif name.startswith("readout.feature."):
            dims = (2,)
        elif name.startswith("readout.biases."):
            dims = (0,)
        elif last == "weights":
            dims = (1, 2, 3, 4)
        elif last in ("gains", "biases", "scales"):
            dims = (1,)
        yield name, parameter, dims, last == "weights"


def learning_rate(
    epoch: int,
    cycle: int = 0,
    lr: float = 0.1,
    cycle_size: int = 100,
    warmup_epochs: int = 10,
    warmup_cycles: int = 1,
) -> float:
    """Return the rate of an epoch of a cycle: a linear start, then half a cosine.

    Examples
    --------
    >>> from omnimouse_model.families.twin.optimiser import learning_rate
    >>> [round(learning_rate(epoch), 4) for epoch in (0, 9, 10, 55)]
    [0.005, 0.095, 0.1, 0.05]
    """
    warmup = warmup_epochs if cycle < warmup_cycles else 0
    if epoch < warmup:
        return lr * (epoch + 0.5) / warmup
    share = (epoch - warmup) / (cycle_size - warmup)
    return lr * (math.cos(math.pi * share) + 1) / 2


def freeze(net: TwinNetwork, modules: tuple[str, ...]) -> None:
    """Keep the weights of modules, such as "core"; they remain in evaluation mode."""
    for name in modules:
        net.get_submodule(name).requires_grad_(False).eval()
