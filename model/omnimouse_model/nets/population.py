"""Start values with which latents read what a population shares.

From the official start values the animal's vector outweighs a latent's own by three
to one: all groups ask the encoder the same, and after 5,000 steps they still hold one
number between them, the mean activity (a ridge from 7,168 latent values explains 2 %
of the ten leading shared fluctuations, from the responses themselves 26 %). Here each
group asks for neurons with a large positive, or negative, loading on one shared
fluctuation, and neurons ask the latents of their own kind (then 30 %).

Everything is fitted by ridge to what the net holds, so that the other heads go on as
before: the session's neurons must have embeddings that know their loadings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from omnimouse_model.nets.attention import CrossAttention
from omnimouse_model.nets.layout import Layout
from omnimouse_model.nets.omnimouse import Clip, OmniMouse

CODE_LENGTH = 2.0
"""Length added to a latent; what it shares with the others has about 2.5."""
PENALTY = 1e-3
GROUP_VARIATION = 0.2
"""How much a group's mean response varies, in units of one neuron's."""
FIRST_WEIGHT = 0.05
"""Change of a logit for a unit of what the latents say."""
N_HALVES = 2
"""A token's window is read as two numbers: its first and its second half."""
MISSING = 3


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A batch to fit to.

    `loadings` (N, components) and `means` (N,) are of all neurons of the session, of
    unit variance over neurons and in units of the responses.
    """

    clip: Clip
    layout: Layout
    video: Tensor | None
    loadings: Float[Tensor, "neuron component"]
    means: Float[Tensor, " neuron"]


@torch.no_grad()
def read_population(
    net: OmniMouse,
    readings: Sequence[Reading],
    encoder_head: int,
    decoder_head: int,
    generator: torch.Generator,
) -> None:
    """Turn one head of the encoder and one of the decoder to shared fluctuations.

    Group 2c reads neurons with positive loadings on component c, group 2c + 1 those
    with negative ones. Components and signs lie in feature pairs that hardly rotate
    within a window.

    Raises
    ------
    ValueError
        A net whose heads share keys.
    """
    if net.enc.attention.n_kv_heads != net.config.num_heads:
        raise ValueError("Heads that share keys cannot be turned one by one.")
    dim, own = net.config.d_model, _Places.of(net)
    random = torch.randn(dim, own.n_components + N_HALVES, generator=generator)
    codes, said = torch.linalg.qr(random)[0].T.split((own.n_components, N_HALVES))
    codes, said = codes.to(_device(net)), said.to(_device(net))
    _read_neurons(net, readings, encoder_head, own, codes, said)
    _ask_latents(net, readings, decoder_head, own, said)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where in a head of `size` the components lie, and the constant beside them."""

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
    def of(net: OmniMouse) -> "_Places":
        size = net.config.d_model // net.config.num_heads
        groups = torch.arange(net.config.num_response_latent_groups)
        count = min(size // 2, len(groups) // 2)
        return _Places(
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


def _read_neurons(
    net: OmniMouse,
    readings: Sequence[Reading],
    head: int,
    own: _Places,
    codes: Tensor,
    said: Tensor,
) -> None:
    """Keys are loadings, values the deviation from a neuron's mean, queries codes."""
    attention, dim = net.enc.attention, net.config.d_model
    assert isinstance(attention, CrossAttention)
    tokens, keys, values, starts = [], [], [], []
    for reading in readings:
        clip, layout = reading.clip, reading.layout
        meta = net.meta_vector(clip.session, clip.start_times)
        neurons = net._neuron_vectors(clip, meta)
        given = net.enc.attn_pre_norm_context(net._tokens(clip, layout, meta, neurons))
        tokens.append(given.flatten(0, 1))
        keys.append(_wanted_keys(reading, given, own).flatten(0, 1))
        values.append(_wanted_values(net, reading, given).flatten(0, 1))
        starts += _latent_starts(net, meta)
    x, wanted = torch.cat(tokens), torch.cat(values)
    spread = wanted.std(dim=0) * GROUP_VARIATION
    before = torch.stack(starts)
    latents = net.response_latent_embedding._latent_embeddings.weight
    added = torch.zeros_like(latents)
    n_groups = len(own.sign)
    added[:n_groups] = CODE_LENGTH * own.sign.to(codes)[:, None] * codes[own.component]
    queries = attention.wq(net.enc.attn_pre_norm(before))
    asked = torch.zeros(len(latents), own.size).to(queries)
    asked[n_groups:, own.constant] = own.length
    at = torch.arange(n_groups), own.slow[own.component]
    asked[at] = own.length * own.sign.to(queries)
    queries[..., own.rows(head)] = asked
    moved = net.enc.attn_pre_norm(before + added)
    attention.wq.weight.copy_(_ridge(moved, queries, PENALTY / 10))
    latents.add_(added)
    attention.wkv.weight[own.rows(head)] = _ridge(x, torch.cat(keys))
    attention.wkv.weight[own.rows(head, dim, N_HALVES)] = (
        _ridge(x, wanted) / spread[:, None]
    )
    attention.wo.weight[:, own.rows(head)] = 0.0
    attention.wo.weight[:, own.rows(head, 0, N_HALVES)] = said.T


def _wanted_keys(reading: Reading, given: Tensor, own: _Places) -> Tensor:
    """Loadings at a length that leaves logits of their size; behaviour has none."""
    keys = torch.zeros(*given.shape[:2], own.size).to(given)
    keys[..., own.constant] = own.n_components**0.5
    asked = reading.clip.neuron_ids[:, reading.layout.token_neurons]
    loadings = reading.loadings[:, : own.n_components].to(given)[asked]
    keys[:, : asked.shape[1], own.slow] = loadings
    return keys


def _wanted_values(net: OmniMouse, reading: Reading, given: Tensor) -> Tensor:
    """Both halves of each token's window, less the neuron's mean."""
    clip, layout = reading.clip, reading.layout
    length = net.config.response_window_samples
    windows = clip.responses.unfold(1, length, 1)
    windows = windows[:, layout.token_samples, layout.token_neurons]
    ids = clip.neuron_ids[:, layout.token_neurons]
    deviations = windows - reading.means.to(given)[ids][..., None]
    halves = deviations.nan_to_num().unflatten(-1, (N_HALVES, -1)).mean(dim=-1)
    values = torch.zeros(*given.shape[:2], N_HALVES).to(given)
    values[:, : halves.shape[1]] = halves
    return values


def _latent_starts(net: OmniMouse, meta: Tensor) -> list[Tensor]:
    """All latents before the encoder, for every set of missing modalities."""
    shared = net.response_latent_embedding._latent_embeddings.weight + meta[:1]
    found = []
    for missing in range(2**MISSING):
        rows = [row for row in range(MISSING) if missing >> row & 1]
        found.append(shared + net.missing_modality_embeddings[rows].sum(dim=0))
    return found


def _ask_latents(
    net: OmniMouse,
    readings: Sequence[Reading],
    head: int,
    own: _Places,
    said: Tensor,
) -> None:
    """Queries are loadings, keys the latents' codes; nothing else is looked at."""
    decoder, dim = net._decoders()[0], net.config.d_model
    attention = decoder.attention
    assert isinstance(attention, CrossAttention)
    given, keys, asking, wanted, groups, heard = [], [], [], [], [], []
    for reading in readings:
        clip, layout = reading.clip, reading.layout
        video = None
        if reading.video is not None:
            video = net.encode_video(reading.video, layout)
        context = net.encode(clip, layout, video)
        x = decoder.attn_pre_norm_context(context.processed)
        count = context.latents.shape[1] - net.config.num_global_latents
        given.append(x.flatten(0, 1))
        keys.append(_code_keys(x, count, own).flatten(0, 1))
        asking.append(decoder.attn_pre_norm(context.neuron_vectors).flatten(0, 1))
        loadings = reading.loadings[:, : own.n_components].to(x)[clip.neuron_ids]
        wanted.append(loadings.flatten(0, 1))
        groups.append(x[:, :count].flatten(0, 1))
        heard.append((context.latents[:, :count] @ said.T).flatten(0, 1))
    attention.wkv.weight[own.rows(head)] = _balanced_ridge(
        torch.cat(given), torch.cat(keys), own.constant
    )
    x, loadings = torch.cat(asking), torch.cat(wanted)
    queries = torch.zeros(len(x), own.size).to(x)
    queries[:, own.slow] = loadings
    queries[:, own.constant] = own.n_components**0.5
    attention.wq.weight[own.rows(head)] = _ridge(x, queries)
    signal = torch.cat(heard)
    signal = (signal - signal.mean(dim=0)) / signal.std(dim=0)
    rows = own.rows(head, dim, N_HALVES)
    attention.wkv.weight[rows] = _ridge(torch.cat(groups), signal)
    up = net.response_readout_proj.weight.mean(dim=0)
    attention.wo.weight[:, own.rows(head)] = 0.0
    first = FIRST_WEIGHT * up / up.square().sum()
    attention.wo.weight[:, own.rows(head, 0, N_HALVES)] = first[:, None]


def _code_keys(x: Tensor, n_group_latents: int, own: _Places) -> Tensor:
    """Half of a group's key is its code; registers and video point away."""
    keys = torch.zeros(*x.shape[:2], own.size).to(x)
    keys[..., own.constant] = -own.length
    share = own.length / 2**0.5
    keys[:, :n_group_latents, own.constant] = share
    places = torch.arange(n_group_latents)
    group = places % len(own.sign)
    keys[:, places, own.slow[own.component[group]]] = own.sign.to(x)[group] * share
    return keys


def _balanced_ridge(x: Tensor, y: Tensor, constant: int) -> Tensor:
    """`_ridge` with the few group latents weighing as much as all other keys."""
    is_group = y[:, constant] > 0
    weight = torch.ones(len(x)).to(x)
    weight[is_group] = ((~is_group).sum() / is_group.sum()).sqrt()
    return _ridge(x * weight[:, None], y * weight[:, None], PENALTY / 10)


def _ridge(x: Tensor, y: Tensor, penalty: float = PENALTY) -> Tensor:
    """The map (out, in) from rows of x to rows of y, without intercept."""
    rows, wanted = x.flatten(0, -2).double(), y.flatten(0, -2).double()
    gram = rows.T @ rows
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    found: Tensor = torch.linalg.solve(gram, rows.T @ wanted).T.to(x)
    return found


def _device(net: OmniMouse) -> torch.device:
    return net.behavior_channel_embeddings.device
