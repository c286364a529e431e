"""Start values with which latents read what a population shares, and behaviour.

From the official start values the animal's vector outweighs a latent's own by three
to one: all groups ask the encoder the same, and after 5,000 steps they still hold one
number between them, the mean activity (a ridge from 7,168 latent values explains 2 %
of the ten leading shared fluctuations, from the responses themselves 26 %). Here each
group asks for neurons with a large positive, or negative, loading on one shared
fluctuation, and neurons ask the latents of their own kind (then 30 %).

Everything is fitted by ridge to what the net holds, so that the other heads go on as
before: the session's neurons must have embeddings that know their loadings.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.attention import CrossAttention, GatedFeedForward
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


@torch.no_grad()
def read_behavior(
    net: OmniMouse, readings: Sequence[Reading], head: int, generator: torch.Generator
) -> None:
    """Turn one head of the encoder to behaviour: latent i reads channel i, modulo.

    A channel's token says the same to every latent, and what a latent hears of all
    five it cannot tell apart: after 8,500 steps without this a ridge found running and
    pupil size in the latents (R² .99, .77) and little of where the eye looks (.4, .1),
    though what the channels do to the neurons explained 2 to 12 % of what was then
    left of the exact rates.

    Here each latent holds the window's mean of one channel, and free units of the
    feed-forward give every channel a direction of its own.

    Raises
    ------
    ValueError
        A net whose heads share keys, or a head with fewer features than channels need.
    """
    attention, dim = net.enc.attention, net.config.d_model
    n_channels = net.config.behavior_channels
    size = dim // net.config.num_heads
    if attention.n_kv_heads != net.config.num_heads or size <= 2 * n_channels:
        raise ValueError("Such heads cannot be turned to behaviour one by one.")
    random = torch.randn(dim, 1 + n_channels, generator=generator)
    told, *directions = torch.linalg.qr(random)[0].T.to(_device(net))
    # the slowest feature pairs: a constant, then one place a channel
    constant, places = size - 1, size - 2 - torch.arange(n_channels)
    share = (size / 2) ** 0.5
    rows = slice(head * size, (head + 1) * size)
    tokens, keys, values, starts = [], [], [], []
    for reading in readings:
        given = _encoder_tokens(net, reading)
        wanted = torch.zeros(*given.shape[:2], size).to(given)
        wanted[..., constant] = -(size**0.5)
        means = torch.zeros(*given.shape[:2], 1).to(given)
        if reading.layout.behavior == "visible" and reading.clip.behavior is not None:
            wanted[:, -n_channels:, constant] = share
            wanted[:, torch.arange(-n_channels, 0), places] = share
            means[:, -n_channels:, 0] = reading.clip.behavior.nan_to_num().mean(dim=-1)
        tokens.append(given.flatten(0, 1))
        keys.append(wanted.flatten(0, 1))
        values.append(means.flatten(0, 1))
        starts += _latent_starts(net, net.meta_vector(reading.clip.session))
    x, wanted = torch.cat(tokens), torch.cat(keys)
    few = wanted[:, constant] > 0
    latents = net.enc.attn_pre_norm(torch.stack(starts))
    asked = torch.zeros(latents.shape[1], size).to(x)
    asked[:, constant] = share
    asked[torch.arange(len(asked)), places[torch.arange(len(asked)) % n_channels]] = (
        share
    )
    attention.wq.weight[rows] = _ridge(
        latents, asked.expand(len(latents), -1, -1), PENALTY / 10
    )
    attention.wkv.weight[rows] = _balanced_ridge(x, wanted, few)
    first = slice(dim + head * size, dim + head * size + 1)
    attention.wkv.weight[first] = _balanced_ridge(x, torch.cat(values), few)
    attention.wo.weight[:, rows] = 0.0
    attention.wo.weight[:, head * size] = told
    _part_channels(net, readings, told, torch.stack(directions))


def _part_channels(
    net: OmniMouse, readings: Sequence[Reading], told: Tensor, directions: Tensor
) -> None:
    """Give every channel a direction: two units say whose it is times what is told.

    silu(z) c + silu(-z)(-c) = c z, so that products are exact.
    """
    block, n_channels = net.enc.feed_forward, len(directions)
    assert isinstance(block, GatedFeedForward)
    xs, owners, contents = [], [], []
    for reading in readings:
        with (
            _outputs_of(net.enc.ffn_pre_norm) as given,
            _outputs_of(net.enc.attention) as read,
        ):
            net.read(reading.clip, reading.layout)
        x = given[0]
        registers = net.config.num_global_latents
        groups = net.config.num_response_latent_groups
        place = torch.arange(x.shape[1] - registers) % groups
        place = torch.cat([place, groups + torch.arange(registers)])
        owner = torch.eye(n_channels).to(x)[place % n_channels]
        xs.append(x.flatten(0, 1))
        owners.append(owner.expand(len(x), -1, -1).flatten(0, 1))
        contents.append((read[0] @ told).flatten())
    x = torch.cat(xs)
    gates = _ridge(x, torch.cat(owners))
    up = _ridge(x, torch.cat(contents)[:, None])[0]
    said = block.down_proj.weight.norm(dim=0) * block.up_proj.weight.norm(dim=1)
    units = said.argsort()[: 2 * n_channels].view(-1, 2)
    for pair, gate, direction in zip(units, gates, directions, strict=True):
        for unit, side in zip(pair.tolist(), (1.0, -1.0), strict=True):
            block.up_proj.weight[unit] = side * up
            block.gate_proj.weight[unit] = side * gate
            block.down_proj.weight[:, unit] = direction


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives out, in order, while inside."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _given, out: found.append(out))
    try:
        yield found
    finally:
        hook.remove()


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
        given = _encoder_tokens(net, reading)
        tokens.append(given.flatten(0, 1))
        keys.append(_wanted_keys(reading, given, own).flatten(0, 1))
        values.append(_wanted_values(net, reading, given).flatten(0, 1))
        starts += _latent_starts(net, net.meta_vector(reading.clip.session))
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


def _encoder_tokens(net: OmniMouse, reading: Reading) -> Tensor:
    """What the encoder's attention reads, after its norm."""
    clip = reading.clip
    meta = net.meta_vector(clip.session, clip.start_times)
    neurons = net._neuron_vectors(clip, meta)
    tokens = net._tokens(clip, reading.layout, meta, neurons)
    given: Tensor = net.enc.attn_pre_norm_context(tokens)
    return given


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
        context = net.encode(clip, layout, video, whole=True)
        x = decoder.attn_pre_norm_context(context.processed)
        count = context.reads[0].latents.shape[1] - net.config.num_global_latents
        given.append(x.flatten(0, 1))
        keys.append(_code_keys(x, count, own).flatten(0, 1))
        asking.append(decoder.attn_pre_norm(context.neuron_vectors).flatten(0, 1))
        loadings = reading.loadings[:, : own.n_components].to(x)[clip.neuron_ids]
        wanted.append(loadings.flatten(0, 1))
        groups.append(x[:, :count].flatten(0, 1))
        heard.append((context.reads[0].latents[:, :count] @ said.T).flatten(0, 1))
    x, target = torch.cat(given), torch.cat(keys)
    attention.wkv.weight[own.rows(head)] = _balanced_ridge(
        x, target, target[:, own.constant] > 0
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


def _balanced_ridge(x: Tensor, y: Tensor, few: Tensor) -> Tensor:
    """`_ridge` with the few rows weighing as much as all others."""
    weight = torch.ones(len(x)).to(x)
    weight[few] = ((~few).sum() / few.sum()).sqrt()
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
