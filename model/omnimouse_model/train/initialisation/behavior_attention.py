"""Start values of an attention head: each latent carries one behaviour channel.

Without these start values, every latent receives the same sum of the five channel
tokens and cannot separate them. After 8,500 training steps, a ridge regression from the
latents then explained running (R² 0.99) and pupil size (0.77), but little of the gaze
(0.4 and 0.1).

With them, each latent holds the mean of one channel over the window, and two unused
units of the feed-forward layer per channel give it a direction of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _ChannelFeatures:
    """Features of the head's queries and keys: one per channel, and a constant.

    They are the feature pairs with the lowest frequencies, whose rotation within a
    window is negligible. All other features are 0:

        row                        | channel c | other channels | constant
        key of a behaviour token c | share     | 0              | share
        key of a response token    | 0         | 0              | -sqrt(size)
        query of latent i          | share at channel i modulo n | share

    A query then matches the token of its channel twice as well as those of other
    channels, and is opposite to responses.
    """

    size: int
    n_channels: int

    @property
    def constant(self) -> int:
        return self.size - 1

    @property
    def channels(self) -> Tensor:
        return self.size - 2 - torch.arange(self.n_channels)

    @property
    def share(self) -> float:
        """Value of the two features that are not 0; the length is sqrt(size)."""
        return float((self.size / 2) ** 0.5)


@torch.no_grad()
def set_behavior_attention_head(
    net: OmniMouse, batches: Sequence[FitBatch], head: int, generator: torch.Generator
) -> None:
    """Set one attention head of the encoder to behaviour.

    Latent i carries channel i modulo the number of channels.

    Raises
    ------
    ValueError
        A network whose heads share keys, or a head with fewer features than channels
        need.
    """
    attention, dim = net.enc.attention, net.config.d_model
    size = dim // net.config.num_heads
    features = _ChannelFeatures(size, net.config.behavior_channels)
    is_too_small = size <= 2 * features.n_channels
    if attention.n_kv_heads != net.config.num_heads or is_too_small:
        raise ValueError("Such heads cannot be turned to behaviour one by one.")
    # Orthogonal directions: one for the value of the head, one for each channel.
    random = torch.randn(dim, 1 + features.n_channels, generator=generator)
    output, *directions = torch.linalg.qr(random)[0].T.to(net.behavior_channel_embeddings.device)
    tokens, keys, values, starts = [], [], [], []
    for batch in batches:
        inputs = encoder_inputs(net, batch)
        key, value = _token_targets(batch, inputs, features)
        tokens.append(inputs.flatten(0, 1))
        keys.append(key.flatten(0, 1))
        values.append(value.flatten(0, 1))
        starts += latent_starts(net, net.meta_vector(batch.windows.session))
    x, target_keys = torch.cat(tokens), torch.cat(keys)
    # Five behaviour tokens among tens of thousands of response tokens.
    is_rare = target_keys[:, features.constant] > 0
    latents = net.enc.attn_pre_norm(torch.stack(starts))
    queries = _latent_queries(latents.shape[1], features).to(x)
    rows = slice(head * size, (head + 1) * size)
    attention.wq.weight[rows] = ridge(latents, queries.expand(len(latents), -1, -1), PENALTY / 10)
    attention.wkv.weight[rows] = balanced_ridge(x, target_keys, is_rare)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`. Only the
    # first value of the head is used, and it reaches the latents along `output`.
    first = slice(dim + head * size, dim + head * size + 1)
    attention.wkv.weight[first] = balanced_ridge(x, torch.cat(values), is_rare)
    attention.wo.weight[:, rows] = 0.0
    attention.wo.weight[:, head * size] = output
    _separate_channels(net, batches, output, torch.stack(directions))


def _token_targets(
    batch: FitBatch, inputs: Tensor, features: _ChannelFeatures
) -> tuple[Tensor, Tensor]:
    """Return the target keys (B, token, size) and values (B, token, 1) of all tokens.

    The value of a behaviour token is the mean of its channel over the window.
    """
    keys = torch.zeros(*inputs.shape[:2], features.size).to(inputs)
    values = torch.zeros(*inputs.shape[:2], 1).to(inputs)
    # Responses are opposite to all queries, so that they get no weight.
    keys[..., features.constant] = -(features.size**0.5)
    behavior = batch.windows.behavior
    if batch.layout.behavior == "visible" and behavior is not None:
        # Behaviour tokens are the last ones, in the order of the channels.
        last = torch.arange(-features.n_channels, 0)
        keys[:, last, features.constant] = features.share
        keys[:, last, features.channels] = features.share
        values[:, last, 0] = behavior.nan_to_num().mean(dim=-1)
    return keys, values


def _latent_queries(n_latents: int, features: _ChannelFeatures) -> Tensor:
    """Return the target query of each latent, (latent, size)."""
    latents = torch.arange(n_latents)
    queries = torch.zeros(n_latents, features.size)
    queries[:, features.constant] = features.share
    queries[latents, features.channels[latents % features.n_channels]] = features.share
    return queries


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
