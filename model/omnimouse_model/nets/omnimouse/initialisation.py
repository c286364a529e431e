"""Start values for training from scratch.

1. values drawn as in the released models: `initialise`
2. what is known of the neurons before training, and quiet residual branches
3. the video encoder: smooth position codes, motion energy
4. the population: latents that represent shared fluctuations, from the first step
5. behaviour: latents that represent one channel each

Only the first is part of OmniMouse. The others are ours, each optional, and each
shortens training on few sessions. The file is long because 4 and 5 are fits that
share their inputs, their ridge regression and the reasons for it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.layers import GatedFeedForward
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.nets.omnimouse.trunk import CrossAttention, SessionParameters

# -- 1. the values of the released models ---------------------------------------------


def initialise(net: OmniMouse, generator: torch.Generator) -> None:
    """Draw every parameter as the released models did.

    Truncated normals cut at 2: linear layers with in_features^-1/2, embeddings and
    free parameters with (last dimension)^-1/2, the response convolution and Hiera's
    backbone with 0.02; norms 1, biases 0 (0.02 in Hiera's linear layers).
    """
    backbone = net.hiera.backbone
    for module in net.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, module.in_features**-0.5, generator)
            _fill_bias(module, 0.0)
        elif isinstance(module, nn.Embedding):
            _draw(module.weight, module.embedding_dim**-0.5, generator)
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
    # Hiera's linear layers are drawn a second time, with its own values. The first
    # draw stays: it determines the random numbers that follow.
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, 0.02, generator)
            _fill_bias(module, 0.02)
    patches = backbone.patch_embed["proj"]
    assert isinstance(patches, nn.Conv3d)
    _draw(patches.weight, 0.02, generator)
    _uniform_bias(patches, generator)
    for position in (backbone.pos_embed_spatial, backbone.pos_embed_temporal):
        _draw(position, 0.02, generator)
    _draw(net.response_featx._feature_proj.weight, 0.02, generator)
    _fill_bias(net.response_featx._feature_proj, 0.0)
    free = (
        net.behavior_channel_embeddings,
        net.missing_modality_embeddings,
        net.behavior_readout_proj,
        *net.animal_params.parameters(),
    )
    for parameter in free:
        _draw(parameter, parameter.shape[-1] ** -0.5, generator)
    for session in net.sess_params.values():
        assert isinstance(session, SessionParameters)
        _draw(session.vector, session.vector.shape[-1] ** -0.5, generator)
        nn.init.zeros_(session._neuron_biases)


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(parameter, std=std, a=-2, b=2, generator=generator)


def _fill_bias(module: nn.Linear | nn.Conv1d, value: float) -> None:
    if module.bias is not None:
        nn.init.constant_(module.bias, value)


def _uniform_bias(conv: nn.Conv3d, generator: torch.Generator) -> None:
    """Torch's own default for convolutions, but from the generator."""
    assert conv.bias is not None
    fan_in = conv.weight[0].numel()
    nn.init.uniform_(
        conv.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator
    )


# -- 2. neurons and residual branches -------------------------------------------------


def set_mean_rates(net: OmniMouse, session: str, rates: np.ndarray) -> None:
    """Set the biases so that a zero logit gives each neuron's mean rate (N,).

    The inverse of the Softplus. From zero the readout would need thousands of steps
    to come down (measured: first loss 0.77 instead of 6.2).
    """
    beta = net.config.softplus_beta
    # A silent neuron has no finite logit.
    rates = np.maximum(np.asarray(rates, np.float64), 1e-3)
    logits = np.log(np.expm1(rates * beta)) / beta
    with torch.no_grad():
        net.session(session)._neuron_biases.copy_(
            torch.from_numpy(logits).float()[:, None]
        )


def set_neuron_embeddings(net: OmniMouse, session: str, values: np.ndarray) -> None:
    """Set the embeddings of one session's neurons (N, e)."""
    with torch.no_grad():
        net.session(session)._neuron_embeddings.weight.copy_(torch.from_numpy(values))


def quiet_residuals(net: OmniMouse) -> None:
    """Set the last layer of every residual branch of the transformer to zero.

    From the official values the random outputs of the branches are as large as the
    tokens. They hide the identity of the neurons and the places of the video tokens.
    """
    for block in (net.enc, *net.proc, *net.decs):
        for name, parameter in block.named_parameters():
            if name in ("attention.wo.weight", "feed_forward.down_proj.weight"):
                nn.init.zeros_(parameter)


# -- 3. the video encoder -------------------------------------------------------------

FRAMES_PER_S = 30.0
PLACE_SCALE_PATCHES = 2.5
"""Distance in patches at which two smooth position codes become dissimilar."""
ORIENTATIONS = 4
WAVELENGTHS_PX = (13.0, 17.0, 23.0)
SPEED_HZ = 3.0
N_ENERGIES = 2 * ORIENTATIONS * len(WAVELENGTHS_PX)


def set_smooth_positions(net: OmniMouse, generator: torch.Generator) -> None:
    """Set the spatial codes of the video encoder to smooth codes of unit variance.

    From 0.02 the codes are a thousandth of the variance of the video tokens, and
    neurons need thousands of steps to find their receptive fields. Random Fourier
    features (Rahimi & Recht, 2007) make neighbouring places similar: a neuron can
    approach its receptive field by small steps.
    """
    codes = net.hiera.backbone.pos_embed_spatial
    _, rows, columns = net.config.hiera.grid
    place = torch.cartesian_prod(
        torch.arange(rows, dtype=torch.float32),
        torch.arange(columns, dtype=torch.float32),
    )
    dim = codes.shape[-1]
    waves = torch.randn(2, dim, generator=generator) / PLACE_SCALE_PATCHES
    phase = torch.rand(dim, generator=generator) * 2 * math.pi
    with torch.no_grad():
        # The mean square of a cosine is 1/2.
        codes.copy_(math.sqrt(2) * torch.cos(place @ waves + phase)[None])


def set_motion_energy(net: OmniMouse, clips: Tensor) -> None:
    """Start the video encoder as motion energy (Adelson & Bergen, 1985).

    The first channels of its patches become drifting Gabors in quadrature, in both
    directions. The feed-forward of the first block squares each and adds the pairs
    into the channels after them. All of these weights remain trainable.

    Parameters
    ----------
    clips
        (B, 1, frames, height, width) normalised video, to give every channel unit
        variance.

    Raises
    ------
    ValueError
        The encoder has too few channels or feed-forward units.
    """
    backbone = net.hiera.backbone
    patches, block = backbone.patch_embed["proj"], backbone.blocks[0]
    assert isinstance(patches, nn.Conv3d)
    assert patches.bias is not None
    gabors = drifting_gabors(patches.kernel_size)
    n_gabors, n_free = len(gabors), patches.out_channels - len(gabors)
    up, gate, down = (
        getattr(block.mlp, f"{name}_proj").weight for name in ("up", "gate", "down")
    )
    if n_free < N_ENERGIES or len(up) < 2 * n_gabors:
        raise ValueError(
            f"A start from motion energy needs {n_gabors + N_ENERGIES} channels and "
            f"{2 * n_gabors} hidden units; found {patches.out_channels}, {len(up)}."
        )
    energies = slice(n_gabors, n_gabors + N_ENERGIES)
    codes = backbone.pos_embed_spatial, backbone.pos_embed_temporal
    with torch.no_grad():
        patches.weight[:n_gabors, 0] = gabors
        # The energies come from the feed-forward alone.
        patches.weight[energies] = 0
        patches.bias[: energies.stop] = 0
        # The spectrum of natural video falls with frequency: without unit variance
        # fine Gabors would be weak.
        size = patches(clips)[:, :n_gabors].std(dim=(0, 2, 3, 4))
        patches.weight[:n_gabors] /= size[:, None, None, None, None]
        # Position codes in these channels would be squared with the Gabors.
        for code in codes:
            code[..., : energies.stop] = 0
        # Two units per Gabor give its exact square: silu(z) z + silu(-z) (-z) = z².
        for unit in range(2 * n_gabors):
            sign = 1.0 if unit < n_gabors else -1.0
            channel = unit % n_gabors
            for weight in (up, gate, down.T):
                weight[unit] = 0
            up[unit, channel] = gate[unit, channel] = sign
            # Neighbouring channels are a pair, whose squares are added.
            down[n_gabors + channel // 2, unit] = 0.5


def drifting_gabors(size: tuple[int, ...]) -> Tensor:
    """Gabors (48, frames, height, width); neighbours are quadrature pairs."""
    t, y, x = (torch.arange(n) - (n - 1) / 2 for n in size)
    # Tapered: otherwise a Gabor would respond to the edge of its patch.
    window = torch.einsum(
        "t,y,x->tyx", *(torch.cos(math.pi * a / (len(a) + 1)) ** 2 for a in (t, y, x))
    )
    y, x = y[None, :, None], x[None, None, :]
    found = []
    for wavelength in WAVELENGTHS_PX:
        # Twice as many angles as orientations: both directions of motion.
        for angle in torch.arange(2 * ORIENTATIONS) * (math.pi / ORIENTATIONS):
            along = x * angle.cos() + y * angle.sin()
            phase = (
                2
                * math.pi
                * (along / wavelength - SPEED_HZ * t[:, None, None] / FRAMES_PER_S)
            )
            envelope = window * torch.exp(-(x**2 + y**2) / (0.84 * wavelength) ** 2 * 2)
            for wave in (phase.cos(), phase.sin()):
                gabor = envelope * wave
                # The mean is removed: a Gabor must not respond to luminance.
                found.append(gabor - envelope * (gabor.sum() / envelope.sum()))
    return torch.stack(found)


# -- 4. shared fluctuations of the population -----------------------------------------
# From the official values the vector of the animal is three times as long as that of a
# latent. All latents then ask the encoder for the same, and after 5,000 steps together
# they still represent one number, the mean activity: a ridge regression from 7,168
# latent values explains 2 % of the ten leading shared fluctuations, one from the
# responses explains 26 %. Here each group of latents starts by attending neurons with a
# large positive, or negative, loading on one shared fluctuation, and neurons attend the
# latents of their own kind (then 30 %). All weights are ridge fits to what the network
# computes already, so that the other heads are not disturbed. The embeddings of the
# neurons must contain their loadings (`set_neuron_embeddings`).

CODE_LENGTH = 2.0
"""Length of the code added to a latent; the part common to all is about 2.5 long."""
PENALTY = 1e-3
GROUP_VARIATION = 0.2
"""Standard deviation of a group's mean response, in units of one neuron's."""
FIRST_WEIGHT = 0.05
"""Change of a logit per unit of the signal in the latents."""
N_HALVES = 2
"""The window of a token has two values here: the means of its two halves."""
N_MODALITIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A batch for the fits.

    `loadings` (N, components) and `means` (N,) are of all neurons of the session, of
    unit variance over neurons and in units of the responses.
    """

    windows: WindowBatch
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
    """Set one head of the encoder and one of the decoder to shared fluctuations.

    Group 2c attends neurons with positive loadings on component c, group 2c + 1 those
    with negative ones.

    Raises
    ------
    ValueError
        A network whose heads share keys.
    """
    if net.enc.attention.n_kv_heads != net.config.num_heads:
        raise ValueError("Heads that share keys cannot be turned one by one.")
    dim, places = net.config.d_model, _Places.of(net)
    # Orthogonal directions: one code per component, two for the values of the head.
    random = torch.randn(dim, places.n_components + N_HALVES, generator=generator)
    codes, outputs = torch.linalg.qr(random)[0].T.split((places.n_components, N_HALVES))
    codes, outputs = codes.to(_device(net)), outputs.to(_device(net))
    _fit_encoder_head(net, readings, encoder_head, places, codes, outputs)
    _fit_decoder_head(net, readings, decoder_head, places, outputs)


@dataclass(frozen=True, slots=True)
class _Places:
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


def _fit_encoder_head(
    net: OmniMouse,
    readings: Sequence[Reading],
    head: int,
    places: _Places,
    codes: Tensor,
    outputs: Tensor,
) -> None:
    """Keys are loadings, values deviations from a neuron's mean, queries codes."""
    attention, dim = net.enc.attention, net.config.d_model
    assert isinstance(attention, CrossAttention)
    tokens, keys, values, starts = [], [], [], []
    for reading in readings:
        inputs = _encoder_inputs(net, reading)
        tokens.append(inputs.flatten(0, 1))
        keys.append(_loading_keys(reading, inputs, places).flatten(0, 1))
        values.append(_deviation_values(net, reading, inputs).flatten(0, 1))
        starts += _latent_starts(net, net.meta_vector(reading.windows.session))
    x, deviations = torch.cat(tokens), torch.cat(values)
    spread = deviations.std(dim=0) * GROUP_VARIATION
    before = torch.stack(starts)
    latents = net.response_latent_embedding._latent_embeddings.weight
    added = torch.zeros_like(latents)
    n_groups = len(places.sign)
    added[:n_groups] = (
        CODE_LENGTH * places.sign.to(codes)[:, None] * codes[places.component]
    )
    # The queries of the other heads are fitted again to their present values, because
    # the codes change the latents from which they are computed.
    queries = attention.wq(net.enc.attn_pre_norm(before))
    own = torch.zeros(len(latents), places.size).to(queries)
    # Registers get a query that no loading changes: they attend all neurons alike.
    own[n_groups:, places.constant] = places.length
    at = torch.arange(n_groups), places.slow[places.component]
    own[at] = places.length * places.sign.to(queries)
    queries[..., places.rows(head)] = own
    moved = net.enc.attn_pre_norm(before + added)
    attention.wq.weight.copy_(_ridge(moved, queries, PENALTY / 10))
    latents.add_(added)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`.
    attention.wkv.weight[places.rows(head)] = _ridge(x, torch.cat(keys))
    attention.wkv.weight[places.rows(head, dim, N_HALVES)] = (
        _ridge(x, deviations) / spread[:, None]
    )
    # Of the features of the head only the two values reach the latents.
    attention.wo.weight[:, places.rows(head)] = 0.0
    attention.wo.weight[:, places.rows(head, 0, N_HALVES)] = outputs.T


def _encoder_inputs(net: OmniMouse, reading: Reading) -> Tensor:
    """Tokens as the encoder's attention gets them, after its norm."""
    windows = reading.windows
    meta = net.meta_vector(windows.session, windows.start_times)
    neurons = net.neuron_vectors(windows, meta)
    tokens = net.tokens(windows, reading.layout, meta, neurons)
    inputs: Tensor = net.enc.attn_pre_norm_context(tokens)
    return inputs


def _loading_keys(reading: Reading, inputs: Tensor, places: _Places) -> Tensor:
    """Loadings beside a constant; behaviour tokens have the constant only.

    Keys are normalised afterwards. The constant gives all of them about one length,
    so that logits remain proportional to loadings.
    """
    keys = torch.zeros(*inputs.shape[:2], places.size).to(inputs)
    keys[..., places.constant] = places.n_components**0.5
    ids = reading.windows.neuron_ids[:, reading.layout.token_neurons]
    loadings = reading.loadings[:, : places.n_components].to(inputs)[ids]
    keys[:, : ids.shape[1], places.slow] = loadings
    return keys


def _deviation_values(net: OmniMouse, reading: Reading, inputs: Tensor) -> Tensor:
    """Means of both halves of each token's window, minus the neuron's mean."""
    windows, layout = reading.windows, reading.layout
    length = net.config.response_window_samples
    samples = windows.responses.unfold(1, length, 1)
    samples = samples[:, layout.token_samples, layout.token_neurons]
    ids = windows.neuron_ids[:, layout.token_neurons]
    deviations = samples - reading.means.to(inputs)[ids][..., None]
    halves = deviations.nan_to_num().unflatten(-1, (N_HALVES, -1)).mean(dim=-1)
    values = torch.zeros(*inputs.shape[:2], N_HALVES).to(inputs)
    values[:, : halves.shape[1]] = halves
    return values


def _latent_starts(net: OmniMouse, meta: Tensor) -> list[Tensor]:
    """All latents before the encoder, for every set of missing modalities."""
    shared = net.response_latent_embedding._latent_embeddings.weight + meta[:1]
    found = []
    for missing in range(2**N_MODALITIES):
        rows = [row for row in range(N_MODALITIES) if missing >> row & 1]
        found.append(shared + net.missing_modality_embeddings[rows].sum(dim=0))
    return found


def _fit_decoder_head(
    net: OmniMouse,
    readings: Sequence[Reading],
    head: int,
    places: _Places,
    outputs: Tensor,
) -> None:
    """Queries are loadings, keys the codes of the latents, values their signal."""
    decoder, dim = net.decoders()[0], net.config.d_model
    attention = decoder.attention
    assert isinstance(attention, CrossAttention)
    contexts, keys, neurons, wanted, groups, signals = [], [], [], [], [], []
    for reading in readings:
        windows, layout = reading.windows, reading.layout
        video = None
        if reading.video is not None:
            video = net.encode_video(reading.video, layout)
        # All rows: the fit also needs those that no query of this layout attends.
        context = net.encode(windows, layout, video, whole=True)
        x = decoder.attn_pre_norm_context(context.processed)
        count = context.reads[0].latents.shape[1] - net.config.num_global_latents
        contexts.append(x.flatten(0, 1))
        keys.append(_code_keys(x, count, places).flatten(0, 1))
        neurons.append(decoder.attn_pre_norm(context.neuron_vectors).flatten(0, 1))
        loadings = reading.loadings[:, : places.n_components].to(x)[windows.neuron_ids]
        wanted.append(loadings.flatten(0, 1))
        groups.append(x[:, :count].flatten(0, 1))
        signals.append((context.reads[0].latents[:, :count] @ outputs.T).flatten(0, 1))
    # Group latents on one side, registers and video on the other, count equally.
    x, target = torch.cat(contexts), torch.cat(keys)
    attention.wkv.weight[places.rows(head)] = _balanced_ridge(
        x, target, target[:, places.constant] > 0
    )
    x, loadings = torch.cat(neurons), torch.cat(wanted)
    queries = torch.zeros(len(x), places.size).to(x)
    queries[:, places.slow] = loadings
    queries[:, places.constant] = places.n_components**0.5
    attention.wq.weight[places.rows(head)] = _ridge(x, queries)
    signal = torch.cat(signals)
    # Unit variance, so that `FIRST_WEIGHT` is the change of a logit per unit.
    signal = (signal - signal.mean(dim=0)) / signal.std(dim=0)
    rows = places.rows(head, dim, N_HALVES)
    attention.wkv.weight[rows] = _ridge(torch.cat(groups), signal)
    # The signal moves the logits of all five samples by the same small amount.
    up = net.response_readout_proj.weight.mean(dim=0)
    attention.wo.weight[:, places.rows(head)] = 0.0
    first = FIRST_WEIGHT * up / up.square().sum()
    attention.wo.weight[:, places.rows(head, 0, N_HALVES)] = first[:, None]


def _code_keys(x: Tensor, n_group_latents: int, places: _Places) -> Tensor:
    """Keys of latents: half constant, half code; registers and video are opposite.

    Queries have a positive constant, so they give registers and video no weight.
    """
    keys = torch.zeros(*x.shape[:2], places.size).to(x)
    keys[..., places.constant] = -places.length
    share = places.length / 2**0.5
    keys[:, :n_group_latents, places.constant] = share
    latents = torch.arange(n_group_latents)
    group = latents % len(places.sign)
    keys[:, latents, places.slow[places.component[group]]] = (
        places.sign.to(x)[group] * share
    )
    return keys


# -- 5. behaviour ---------------------------------------------------------------------


@torch.no_grad()
def read_behavior(
    net: OmniMouse, readings: Sequence[Reading], head: int, generator: torch.Generator
) -> None:
    """Set one head of the encoder to behaviour: latent i gets channel i, modulo.

    The token of a channel has the same effect on every latent, and from the sum of
    all five a latent cannot separate the channels. After 8,500 steps without this, a
    ridge regression found running and pupil size in the latents (R² .99, .77) and
    little of the gaze (.4, .1), though the effects of the channels explained 2 to 12 %
    of the exact rates' remaining variance.

    Here each latent holds the mean of one channel over the window, and free units of
    the feed-forward give every channel a direction of its own.

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
    output, *directions = torch.linalg.qr(random)[0].T.to(_device(net))
    # The feature pairs with the lowest frequencies: a constant, then one per channel.
    constant, places = size - 1, size - 2 - torch.arange(n_channels)
    share = (size / 2) ** 0.5
    rows = slice(head * size, (head + 1) * size)
    tokens, keys, values, starts = [], [], [], []
    for reading in readings:
        inputs = _encoder_inputs(net, reading)
        wanted = torch.zeros(*inputs.shape[:2], size).to(inputs)
        # Responses are opposite to all queries, so that they get no weight.
        wanted[..., constant] = -(size**0.5)
        means = torch.zeros(*inputs.shape[:2], 1).to(inputs)
        if (
            reading.layout.behavior == "visible"
            and reading.windows.behavior is not None
        ):
            wanted[:, -n_channels:, constant] = share
            wanted[:, torch.arange(-n_channels, 0), places] = share
            means[:, -n_channels:, 0] = reading.windows.behavior.nan_to_num().mean(
                dim=-1
            )
        tokens.append(inputs.flatten(0, 1))
        keys.append(wanted.flatten(0, 1))
        values.append(means.flatten(0, 1))
        starts += _latent_starts(net, net.meta_vector(reading.windows.session))
    x, wanted = torch.cat(tokens), torch.cat(keys)
    # Five behaviour tokens among tens of thousands of response tokens.
    few = wanted[:, constant] > 0
    latents = net.enc.attn_pre_norm(torch.stack(starts))
    queries = torch.zeros(latents.shape[1], size).to(x)
    queries[:, constant] = share
    channel = torch.arange(len(queries)) % n_channels
    queries[torch.arange(len(queries)), places[channel]] = share
    attention.wq.weight[rows] = _ridge(
        latents, queries.expand(len(latents), -1, -1), PENALTY / 10
    )
    attention.wkv.weight[rows] = _balanced_ridge(x, wanted, few)
    first = slice(dim + head * size, dim + head * size + 1)
    attention.wkv.weight[first] = _balanced_ridge(x, torch.cat(values), few)
    attention.wo.weight[:, rows] = 0.0
    attention.wo.weight[:, head * size] = output
    _separate_channels(net, readings, output, torch.stack(directions))


def _separate_channels(
    net: OmniMouse, readings: Sequence[Reading], output: Tensor, directions: Tensor
) -> None:
    """Give every channel a direction, by two units of the feed-forward.

    The gate of the units is 1 for the latents of the channel, else 0. Their input is
    the value z of the latent: silu(z) c + silu(-z) (-c) = c z, so products are exact.
    """
    block, n_channels = net.enc.feed_forward, len(directions)
    assert isinstance(block, GatedFeedForward)
    xs, owners, contents = [], [], []
    for reading in readings:
        with (
            _outputs_of(net.enc.ffn_pre_norm) as normed,
            _outputs_of(net.enc.attention) as mixed,
        ):
            net.read(reading.windows, reading.layout)
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
    gates = _ridge(x, torch.cat(owners))
    up = _ridge(x, torch.cat(contents)[:, None])[0]
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
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _args, out: found.append(out))
    try:
        yield found
    finally:
        hook.remove()


# -- the fits -------------------------------------------------------------------------


def _ridge(x: Tensor, y: Tensor, penalty: float = PENALTY) -> Tensor:
    """The map (out, in) from rows of x to rows of y, without intercept."""
    # In float64: features are strongly correlated, so the system is ill-conditioned.
    rows, wanted = x.flatten(0, -2).double(), y.flatten(0, -2).double()
    gram = rows.T @ rows
    # Relative to the mean of the diagonal: the penalty has no unit.
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    found: Tensor = torch.linalg.solve(gram, rows.T @ wanted).T.to(x)
    return found


def _balanced_ridge(x: Tensor, y: Tensor, few: Tensor) -> Tensor:
    """`_ridge` in which the few rows have the same total weight as all others."""
    weight = torch.ones(len(x)).to(x)
    weight[few] = ((~few).sum() / few.sum()).sqrt()
    return _ridge(x * weight[:, None], y * weight[:, None], PENALTY / 10)


def _device(net: OmniMouse) -> torch.device:
    return net.behavior_channel_embeddings.device
