"""Records the inputs of the attention layers of an OmniMouse network, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from omnimouse_model.families.omnimouse.attention import AttentionPlan
from omnimouse_model.families.omnimouse.network import OmniMouse


@dataclass(slots=True)
class Attended:
    """Arguments of layers in the calls since the observation began; None without a call.

    Attributes
    ----------
    tokens
        Response and behaviour tokens (B, token, d).
    latents
        Latents before they attend the tokens.
    sequence
        Latents and video tokens, before the first layer.
    plans
        Of "encoder", "processor" (local layers) and "decoder" (responses).
    """

    tokens: Tensor | None = None
    latents: Tensor | None = None
    sequence: Tensor | None = None
    plans: dict[str, AttentionPlan] = field(default_factory=dict)


@contextmanager
def attended(net: OmniMouse) -> Iterator[Attended]:
    """Observe the layers of a network within the block."""
    seen = Attended()

    def tokens(_: Any, given: tuple[Any, ...]) -> None:
        seen.tokens = given[0]

    def encoder(_: Any, given: tuple[Any, ...]) -> None:
        seen.latents, seen.plans["encoder"] = given[0], given[3]

    def first(_: Any, given: tuple[Any, ...]) -> None:
        # Layers that are repeated meet a sequence again.
        if seen.sequence is None:
            seen.sequence = given[0]

    def layer(_: Any, given: tuple[Any, ...]) -> None:
        if given[2] is not None:
            seen.plans["processor"] = given[2]

    def decoder(_: Any, given: tuple[Any, ...]) -> None:
        if given[3] is not None:
            seen.plans["decoder"] = given[3]

    hooks = [
        net.enc.attn_pre_norm_context.register_forward_pre_hook(tokens),
        net.enc.register_forward_pre_hook(encoder),
        net.proc[0].register_forward_pre_hook(first),
        *(block.register_forward_pre_hook(layer) for block in net.proc),
        net.decoders()[0].register_forward_pre_hook(decoder),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def dense(plan: AttentionPlan) -> Tensor:
    """Which queries may attend which keys under a plan, bool (queries, keys)."""
    n_queries = plan.groups[-1].queries.stop if plan.groups else 0
    mask = torch.zeros(n_queries, plan.n_keys, dtype=torch.bool)
    for group in plan.groups:
        for keys in group.keys:
            mask[group.queries, keys] = True
    return mask
