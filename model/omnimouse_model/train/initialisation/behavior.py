"""Start values for behaviour: latents that represent one channel each.

The token of a channel has the same effect on every latent, and from the sum of all five
a latent cannot separate the channels. After 8,500 steps without this, a ridge
regression found running and pupil size in the latents (R² .99, .77) and little of the
gaze (.4, .1), though the effects of the channels explained 2 to 12 % of the exact
rates' remaining variance.

Here each latent holds the mean of one channel over the window, and free units of the
feed-forward give every channel a direction of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.layers import GatedFeedForward
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.train.initialisation.activations import (
    PENALTY,
    FitBatch,
    balanced_ridge,
    encoder_inputs,
    latent_starts,
    ridge,
)


@torch.no_grad()
def set_behavior_head(
    net: OmniMouse, batches: Sequence[FitBatch], head: int, generator: torch.Generator
) -> None:
    """Set one head of the encoder to behaviour: latent i gets channel i, modulo.

    Raises
    ------
    ValueError
        A network whose heads share keys, or a head with fewer features than channels
        need.
    """
    attention, dim = net.enc.attention, net.config.d_model
    n_channels = net.config.behavior_channels
    size = dim // net.config.num_heads
    if attention.n_kv_heads != net.config.num_heads or size <= 2 * n_channels:
        raise ValueError("Such heads cannot be turned to behaviour one by one.")
    random = torch.randn(dim, 1 + n_channels, generator=generator)
    output, *directions = torch.linalg.qr(random)[0].T.to(
        net.behavior_channel_embeddings.device
    )
    # The feature pairs with the lowest frequencies: a constant, then one per channel.
    constant, slots = size - 1, size - 2 - torch.arange(n_channels)
    share = (size / 2) ** 0.5
    rows = slice(head * size, (head + 1) * size)
    tokens, keys, values, starts = [], [], [], []
    for batch in batches:
        inputs = encoder_inputs(net, batch)
        targets, means = (
            torch.zeros(*inputs.shape[:2], size + 1).to(inputs).split((size, 1), dim=2)
        )
        # Responses are opposite to all queries, so that they get no weight.
        targets[..., constant] = -(size**0.5)
        behavior = batch.windows.behavior
        if batch.layout.behavior == "visible" and behavior is not None:
            # Behaviour tokens are the last ones.
            targets[:, -n_channels:, constant] = share
            targets[:, torch.arange(-n_channels, 0), slots] = share
            means[:, -n_channels:, 0] = behavior.nan_to_num().mean(dim=-1)
        tokens.append(inputs.flatten(0, 1))
        keys.append(targets.flatten(0, 1))
        values.append(means.flatten(0, 1))
        starts += latent_starts(net, net.meta_vector(batch.windows.session))
    x, targets = torch.cat(tokens), torch.cat(keys)
    # Five behaviour tokens among tens of thousands of response tokens.
    few = targets[:, constant] > 0
    latents = net.enc.attn_pre_norm(torch.stack(starts))
    queries = torch.zeros(latents.shape[1], size).to(x)
    queries[:, constant] = share
    channel = torch.arange(len(queries)) % n_channels
    queries[torch.arange(len(queries)), slots[channel]] = share
    attention.wq.weight[rows] = ridge(
        latents, queries.expand(len(latents), -1, -1), PENALTY / 10
    )
    attention.wkv.weight[rows] = balanced_ridge(x, targets, few)
    first = slice(dim + head * size, dim + head * size + 1)
    attention.wkv.weight[first] = balanced_ridge(x, torch.cat(values), few)
    attention.wo.weight[:, rows] = 0.0
    attention.wo.weight[:, head * size] = output
    _separate_channels(net, batches, output, torch.stack(directions))


def _separate_channels(
    net: OmniMouse, batches: Sequence[FitBatch], output: Tensor, directions: Tensor
) -> None:
    """Give every channel a direction, by two units of the feed-forward.

    The gate of the units is 1 for the latents of the channel, else 0. Their input is
    the value z of the latent: silu(z) c + silu(-z) (-c) = c z, so products are exact.
    """
    block, n_channels = net.enc.feed_forward, len(directions)
    assert isinstance(block, GatedFeedForward)
    xs, owners, contents = [], [], []
    for batch in batches:
        with (
            _outputs_of(net.enc.ffn_pre_norm) as normed,
            _outputs_of(net.enc.attention) as mixed,
        ):
            net.encode_tokens(batch.windows, batch.layout)
        x = normed[0]
        registers = net.config.num_global_latents
        groups = net.config.num_response_latent_groups
        place = torch.arange(x.shape[1] - registers) % groups
        place = torch.cat([place, groups + torch.arange(registers)])
        owner = torch.eye(n_channels).to(x)[place % n_channels]
        xs.append(x.flatten(0, 1))
        owners.append(owner.expand(len(x), -1, -1).flatten(0, 1))
        contents.append((mixed[0] @ output).flatten())
    x = torch.cat(xs)
    gates = ridge(x, torch.cat(owners))
    up = ridge(x, torch.cat(contents)[:, None])[0]
    # The units with the least effect are overwritten.
    effect = block.down_proj.weight.norm(dim=0) * block.up_proj.weight.norm(dim=1)
    units = effect.argsort()[: 2 * n_channels].view(-1, 2)
    for pair, gate, direction in zip(units, gates, directions, strict=True):
        # `up_proj` has the activation, `gate_proj` is linear (see `GatedFeedForward`).
        for unit, side in zip(pair.tolist(), (1.0, -1.0), strict=True):
            block.up_proj.weight[unit] = side * up
            block.gate_proj.weight[unit] = side * gate
            block.down_proj.weight[:, unit] = direction


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs of a module while inside, in order."""
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _args, out: outputs.append(out))
    try:
        yield outputs
    finally:
        hook.remove()
