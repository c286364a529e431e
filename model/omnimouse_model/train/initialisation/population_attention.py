"""Start values of two attention heads: latents carry shared fluctuations.

With the released start values, the vector of the animal is three times as long as that
of a latent. All latents then send the encoder the same query, and after 5,000 steps
they still represent one number, the mean activity: a ridge regression from 7,168 latent
values explains 2 % of the ten leading shared fluctuations, one from the responses 26 %.

With these start values, each group of latents attends neurons with a large positive, or
negative, loading on one shared fluctuation, and neurons attend the latents of their own
kind (then 30 %). The embeddings of the neurons must contain their loadings
(`embeddings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnimouse_model.nets.omnimouse.attention import CrossAttention
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.train.initialisation.activations import (
    PENALTY,
    FitBatch,
    balanced_ridge,
    encoder_inputs,
    latent_starts,
    ridge,
)

CODE_LENGTH = 2.0
"""Length of the code added to a latent; the part common to all is about 2.5 long."""
GROUP_VARIATION = 0.2
"""Standard deviation of a group's mean response, in units of one neuron's."""
FIRST_WEIGHT = 0.05
"""Change of a logit per unit of the signal in the latents."""
N_HALVES = 2
"""The window of a token has two values here: the means of its two halves."""


@torch.no_grad()
def set_population_attention_heads(
    net: OmniMouse,
    batches: Sequence[FitBatch],
    encoder_head: int,
    decoder_head: int,
    generator: torch.Generator,
) -> None:
    """Set an attention head of encoder and decoder each to shared fluctuations.

    Group 2c attends neurons with positive loadings on component c, group 2c + 1 those
    with negative ones.

    Raises
    ------
    ValueError
        A network whose heads share keys.
    """
    if net.enc.attention.n_kv_heads != net.config.num_heads:
        raise ValueError("Heads that share keys cannot be turned one by one.")
    dim, features = net.config.d_model, _HeadFeatures.of(net)
    # Orthogonal directions: one code per component, two for the values of the head.
    random = torch.randn(dim, features.n_components + N_HALVES, generator=generator)
    codes, outputs = torch.linalg.qr(random)[0].T.split((features.n_components, N_HALVES))
    device = net.behavior_channel_embeddings.device
    codes, outputs = codes.to(device), outputs.to(device)
    _fit_encoder_head(net, batches, encoder_head, features, codes, outputs)
    _fit_decoder_head(net, batches, decoder_head, features, outputs)


@dataclass(frozen=True, slots=True)
class _HeadFeatures:
    """Features of a head that hold the components, and one that holds a constant.

    They are the feature pairs with the lowest frequencies, whose rotation within a
    window is negligible: queries and keys can be compared at any two times.
    """

    size: int
    slow: Tensor
    constant: int
    component: Tensor
    sign: Tensor

    @property
    def n_components(self) -> int:
        return len(self.slow)

    @property
    def length(self) -> float:
        """Length of a normalised query or key."""
        return float(self.size**0.5)

    @staticmethod
    def of(net: OmniMouse) -> "_HeadFeatures":
        size = net.config.d_model // net.config.num_heads
        groups = torch.arange(net.config.num_response_latent_groups)
        count = min(size // 2, len(groups) // 2)
        return _HeadFeatures(
            size=size,
            slow=torch.arange(size - count, size),
            constant=size - count - 2,
            component=groups // 2 % count,
            sign=1.0 - 2.0 * (groups % 2),
        )

    def rows(self, head: int, first: int = 0, count: int | None = None) -> slice:
        """Rows of a head, or the first `count` of them, after `first` others."""
        start = first + head * self.size
        return slice(start, start + (count or self.size))


def _fit_encoder_head(
    net: OmniMouse,
    batches: Sequence[FitBatch],
    head: int,
    features: _HeadFeatures,
    codes: Tensor,
    outputs: Tensor,
) -> None:
    """Keys are loadings, values deviations from a neuron's mean, queries codes."""
    attention, dim = net.enc.attention, net.config.d_model
    assert isinstance(attention, CrossAttention)
    tokens, keys, values, starts = [], [], [], []
    for batch in batches:
        inputs = encoder_inputs(net, batch)
        tokens.append(inputs.flatten(0, 1))
        keys.append(_loading_keys(batch, inputs, features).flatten(0, 1))
        values.append(_deviation_values(net, batch, inputs).flatten(0, 1))
        starts += latent_starts(net, net.meta_vector(batch.windows.session))
    x, deviations = torch.cat(tokens), torch.cat(values)
    # Rows of `latents` are the groups first, then the registers.
    latents = net.response_latent_embedding._latent_embeddings.weight
    n_groups = len(features.sign)
    added_codes = torch.zeros_like(latents)
    added_codes[:n_groups] = (
        CODE_LENGTH * features.sign.to(codes)[:, None] * codes[features.component]
    )
    without_codes = torch.stack(starts)  # (start, latent, dim)
    # The queries of the other heads are fitted again to their present values, because
    # the codes change the latents from which they are computed.
    queries = attention.wq(net.enc.attn_pre_norm(without_codes))
    queries[..., features.rows(head)] = _group_queries(len(latents), features).to(queries)
    with_codes = net.enc.attn_pre_norm(without_codes + added_codes)
    attention.wq.weight.copy_(ridge(with_codes, queries, PENALTY / 10))
    latents.add_(added_codes)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`.
    attention.wkv.weight[features.rows(head)] = ridge(x, torch.cat(keys))
    spread = deviations.std(dim=0) * GROUP_VARIATION
    attention.wkv.weight[features.rows(head, dim, N_HALVES)] = (
        ridge(x, deviations) / spread[:, None]
    )
    # Of the features of the head only the two values reach the latents.
    attention.wo.weight[:, features.rows(head)] = 0.0
    attention.wo.weight[:, features.rows(head, 0, N_HALVES)] = outputs.T


def _group_queries(n_latents: int, features: _HeadFeatures) -> Tensor:
    """Return the target query of each latent, (latent, size).

    A group looks for loadings of its sign on its component. Registers get a query that
    no loading changes: they attend all neurons alike.
    """
    n_groups = len(features.sign)
    queries = torch.zeros(n_latents, features.size)
    queries[n_groups:, features.constant] = features.length
    slow_feature = features.slow[features.component]
    queries[torch.arange(n_groups), slow_feature] = features.length * features.sign
    return queries


def _loading_keys(batch: FitBatch, inputs: Tensor, features: _HeadFeatures) -> Tensor:
    """Loadings beside a constant; behaviour tokens have the constant only.

    Keys are normalised afterwards. The constant gives all of them about one length,
    so that logits remain proportional to loadings.
    """
    keys = torch.zeros(*inputs.shape[:2], features.size).to(inputs)
    keys[..., features.constant] = features.n_components**0.5
    ids = batch.windows.neuron_ids[:, batch.layout.token_neurons]
    loadings = batch.loadings[:, : features.n_components].to(inputs)[ids]
    keys[:, : ids.shape[1], features.slow] = loadings
    return keys


def _deviation_values(net: OmniMouse, batch: FitBatch, inputs: Tensor) -> Tensor:
    """Means of both halves of each token's window, minus the neuron's mean."""
    windows, layout = batch.windows, batch.layout
    length = net.config.response_window_samples
    samples = windows.responses.unfold(1, length, 1)
    samples = samples[:, layout.token_samples, layout.token_neurons]
    ids = windows.neuron_ids[:, layout.token_neurons]
    deviations = samples - batch.means.to(inputs)[ids][..., None]
    halves = deviations.nan_to_num().unflatten(-1, (N_HALVES, -1)).mean(dim=-1)
    values = torch.zeros(*inputs.shape[:2], N_HALVES).to(inputs)
    values[:, : halves.shape[1]] = halves
    return values


def _decoder_rows(
    net: OmniMouse, batch: FitBatch, features: _HeadFeatures, outputs: Tensor
) -> tuple[Tensor, ...]:
    """Return inputs and targets of the decoder's fits, with one row per item.

    They are pairs: the context and its keys, neurons and their loadings, and latents
    of the groups and their signal.
    """
    decoder, windows = net.decoders()[0], batch.windows
    video = None
    if batch.video is not None:
        video = net.encode_video(batch.video, batch.layout)
    # All rows: the fit also needs those that no query of this layout attends.
    context = net.encode(windows, batch.layout, video, all_rows=True)
    x = decoder.attn_pre_norm_context(context.processed)  # (B, row, dim)
    latents = context.encoded[0].latents
    # The context has the latents of the groups first, then registers and video.
    count = latents.shape[1] - net.config.num_global_latents
    loadings = batch.loadings[:, : features.n_components].to(x)[windows.neuron_ids]
    pairs = (
        (x, _code_keys(x, count, features)),
        (decoder.attn_pre_norm(context.neuron_vectors), loadings),
        (x[:, :count], latents[:, :count] @ outputs.T),
    )
    return tuple(rows.flatten(0, 1) for pair in pairs for rows in pair)


def _fit_decoder_head(
    net: OmniMouse,
    batches: Sequence[FitBatch],
    head: int,
    features: _HeadFeatures,
    outputs: Tensor,
) -> None:
    """Queries are loadings, keys the codes of the latents, values their signal."""
    attention, dim = net.decoders()[0].attention, net.config.d_model
    assert isinstance(attention, CrossAttention)
    parts = [_decoder_rows(net, batch, features, outputs) for batch in batches]
    context, keys, neurons, loadings, latents, signal = (
        torch.cat(rows) for rows in zip(*parts, strict=True)
    )
    # Group latents on one side, registers and video on the other, count equally.
    attention.wkv.weight[features.rows(head)] = balanced_ridge(
        context, keys, keys[:, features.constant] > 0
    )
    queries = torch.zeros(len(neurons), features.size).to(neurons)
    queries[:, features.slow] = loadings
    queries[:, features.constant] = features.n_components**0.5
    attention.wq.weight[features.rows(head)] = ridge(neurons, queries)
    # Unit variance, so that `FIRST_WEIGHT` is the change of a logit per unit.
    signal = (signal - signal.mean(dim=0)) / signal.std(dim=0)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`.
    values = features.rows(head, dim, N_HALVES)
    attention.wkv.weight[values] = ridge(latents, signal)
    # The signal moves the logits of all five samples by the same small amount.
    up = net.response_readout_proj.weight.mean(dim=0)
    attention.wo.weight[:, features.rows(head)] = 0.0
    first = FIRST_WEIGHT * up / up.square().sum()
    attention.wo.weight[:, features.rows(head, 0, N_HALVES)] = first[:, None]


def _code_keys(x: Tensor, n_group_latents: int, features: _HeadFeatures) -> Tensor:
    """Keys of latents: half constant, half code; registers and video are opposite.

    Queries have a positive constant, so they give registers and video no weight.
    """
    keys = torch.zeros(*x.shape[:2], features.size).to(x)
    keys[..., features.constant] = -features.length
    share = features.length / 2**0.5
    keys[:, :n_group_latents, features.constant] = share
    latents = torch.arange(n_group_latents)
    group = latents % len(features.sign)
    keys[:, latents, features.slow[features.component[group]]] = features.sign.to(x)[group] * share
    return keys
