"""Start values of OmniMouse for training from scratch: drawn, computed, or fitted to sessions.

The video encoder can start as motion energy, and single attention heads with what they are
to read. The embeddings of neurons can start from motion energy, too.

The weights of a neuron on fixed motion-energy features describe its receptive field
and its tuning. Their leading components, in a basis shared by all sessions, are the
initial embeddings. The net then learns one map from tuning to queries, instead of the
receptive field of each neuron separately.

For simulated sessions, the embeddings also contain the loadings of the neurons on the
leading components of the shared fluctuations, which are known from the ground truth.

The module is long because a run asks for all of these values in two calls.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.evaluation.tier_windows import mean_rates
from omnimouse_model.families.omnimouse.attention import CrossAttention, GatedFeedForward
from omnimouse_model.families.omnimouse.batches import (
    Phase,
    TrainConfig,
    first_recordings,
    make_batch,
    sessions_of_phase,
)
from omnimouse_model.families.omnimouse.config import Layout, WindowBatch
from omnimouse_model.families.omnimouse.network import (
    OmniMouse,
    initialise,
    quiet_residuals,
    set_mean_rates,
    set_neuron_embeddings,
)
from omnimouse_model.families.parts.motion_energy import some_starts, tuning_weights
from omnimouse_model.training.sessions import TrainingSession


# -- the start of a run, and of a phase -----------------------------------------------
def set_start_values(
    net: OmniMouse, sessions: list[TrainingSession], config: TrainConfig, generator: torch.Generator
) -> None:
    """Draw the start values of a network on the CPU, and fit those that the config asks for."""
    sessions = first_recordings(sessions_of_phase(sessions, config.phases[0]))
    initialise(net, generator)
    if config.smooth_positions:
        set_smooth_positions(net, generator)
    if config.motion_energy:
        source = sessions[0]
        indices = np.linspace(0, len(source.starts) - 1, N_CLIPS).astype(int)
        clips = [source.session.window(float(s), OMNIMOUSE).video for s in source.starts[indices]]
        set_motion_energy(net, torch.from_numpy(np.stack(clips))[:, None])
    if config.quiet_residuals:
        quiet_residuals(net)
    if config.mean_rates:
        for source in sessions:
            set_mean_rates(net, source.key, mean_rates(source.session, OMNIMOUSE))
    if config.tuned_embeddings:
        targets = config.phases[0].targets
        values = tuned_embeddings(sessions, config.model.d_embedding, targets, config.seed)
        for key, embeddings in values.items():
            set_neuron_embeddings(net, key, embeddings)


def set_attention_heads(
    net: OmniMouse, sessions: list[TrainingSession], phase: Phase, seed: int
) -> None:
    """Set single attention heads of a network on the CPU as a phase says.

    They are fitted to batches of all of its sessions, without dropped paths: these would add
    noise to the activations.
    """
    net.eval()
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    batches = []
    for source in first_recordings(sessions_of_phase(sessions, phase)):
        loadings = torch.from_numpy(shared_loadings(source).astype(np.float32))
        means = torch.from_numpy(mean_rates(source.session, OMNIMOUSE)).float()
        for task in READ_TASKS:
            batch = make_batch(source, task, phase, net.config, rng)
            batches.append(FitBatch(batch.windows, batch.layout, batch.video, loadings, means))
    if phase.population_heads is not None:
        set_population_attention_heads(net, batches, phase.population_heads, generator)
    if phase.behavior_head is not None:
        set_behavior_attention_head(net, batches, phase.behavior_head, generator)


# -- start values of the video encoder: smooth position codes, motion energy
FRAMES_PER_S = 30.0
PLACE_SCALE_PATCHES = 2.5
"""Distance in patches at which two smooth position codes become dissimilar."""
ORIENTATIONS = 4
WAVELENGTHS_PX = (13.0, 17.0, 23.0)
SPEED_HZ = 3.0
N_CLIPS = 16
"""Windows whose video gives the channels unit variance."""
N_ENERGIES = 2 * ORIENTATIONS * len(WAVELENGTHS_PX)


def set_smooth_positions(net: OmniMouse, generator: torch.Generator) -> None:
    """Set the spatial codes of the video encoder to smooth codes of unit variance.

    From 0.02 the codes are a thousandth of the variance of the video tokens, and
    neurons need thousands of steps to find their receptive fields. Random Fourier
    features (Rahimi & Recht, 2007) make neighbouring places similar: a neuron can
    approach its receptive field by small steps.
    """
    codes = net.hiera.backbone.pos_embed_spatial
    _, *sizes = net.config.hiera.grid
    place = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in sizes))
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
    up, gate, down = (getattr(block.mlp, f"{name}_proj").weight for name in ("up", "gate", "down"))
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
    tapers = [torch.cos(math.pi * a / (len(a) + 1)) ** 2 for a in (t, y, x)]
    window = torch.einsum("t,y,x->tyx", *tapers)
    y, x = y[None, :, None], x[None, None, :]
    gabors = []
    for wavelength in WAVELENGTHS_PX:
        # Twice as many angles as orientations: both directions of motion.
        for angle in torch.arange(2 * ORIENTATIONS) * (math.pi / ORIENTATIONS):
            along = x * angle.cos() + y * angle.sin()
            phase = 2 * math.pi * (along / wavelength - SPEED_HZ * t[:, None, None] / FRAMES_PER_S)
            envelope = window * torch.exp(-(x**2 + y**2) / (0.84 * wavelength) ** 2 * 2)
            for wave in (phase.cos(), phase.sin()):
                gabor = envelope * wave
                # The mean is removed: a Gabor must not respond to luminance.
                gabors.append(gabor - envelope * (gabor.sum() / envelope.sum()))
    return torch.stack(gabors)


# -- activations of a network on a batch of data, and ridge fits to them --------------
# `population` and `behavior` set single attention heads by such fits: the new weights are
# maps from what the network computes already, so that the other heads are not disturbed.
PENALTY = 1e-3
N_MODALITIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class FitBatch:
    """A batch for the fits.

    `loadings` (N, components) and `means` (N,) are of all neurons of the session, of
    unit variance over neurons and in units of the responses.
    """

    windows: WindowBatch
    layout: Layout
    video: Tensor | None
    loadings: Float[Tensor, "neuron component"]
    means: Float[Tensor, " neuron"]


def head_rows(
    net: OmniMouse,
    batches: Sequence[FitBatch],
    targets: Callable[[FitBatch, Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tokens, their target keys and values, one row each, and starts of latents.

    `targets` are those (B, token, n) of the inputs (B, token, dim) of a batch.
    """
    rows, starts = [], []
    for batch in batches:
        windows = batch.windows
        meta = net.meta_vector(windows.session, windows.start_times)
        neurons = net.neuron_vectors(windows, meta)
        # As the encoder's attention gets them, after its norm.
        inputs = net.enc.attn_pre_norm_context(net.tokens(windows, batch.layout, meta, neurons))
        rows.append([part.flatten(0, 1) for part in (inputs, *targets(batch, inputs))])
        # All latents before the encoder, for every set of missing modalities.
        latents = net.response_latent_embedding._latent_embeddings.weight
        latents = latents + net.meta_vector(windows.session)[:1]
        for missing in range(2**N_MODALITIES):
            absent = [row for row in range(N_MODALITIES) if missing >> row & 1]
            starts.append(latents + net.missing_modality_embeddings[absent].sum(dim=0))
    tokens, keys, values = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return tokens, keys, values, torch.stack(starts)  # (start, latent, dim)


def ridge(x: Tensor, y: Tensor, penalty: float = PENALTY) -> Tensor:
    """The map (out, in) from rows of x to rows of y, without intercept."""
    # In float64: features are strongly correlated, so the system is ill-conditioned.
    inputs, outputs = x.flatten(0, -2).double(), y.flatten(0, -2).double()
    gram = inputs.T @ inputs
    # Relative to the mean of the diagonal: the penalty has no unit.
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    return torch.linalg.solve(gram, inputs.T @ outputs).T.to(x)


def balanced_ridge(x: Tensor, y: Tensor, is_rare: Tensor) -> Tensor:
    """`ridge` in which the rare rows together have the same weight as all others."""
    weight = torch.ones(len(x)).to(x)
    weight[is_rare] = ((~is_rare).sum() / is_rare.sum()).sqrt()
    return ridge(x * weight[:, None], y * weight[:, None], PENALTY / 10)


# -- initialise neuron embeddings from a ridge regression on motion energy ------------
FREE_SHARE = 0.125
"""Fraction of an embedding that keeps small random values."""
# Standard deviation of the fitted part of the embeddings.
SCALE = 0.3
SHARED = 24
"""Number of components of the shared fluctuations."""
READ_TASKS = ("half-video", "half", "causal_response_25_behavior")
"""Tasks on which the heads that read the population are fitted."""
EVERY = 5
"""Stride in samples of the rates from which shared components are computed."""


def tuned_embeddings(
    sources: list[TrainingSession], dim: int, targets: str, seed: int
) -> dict[str, np.ndarray]:
    """Return initial embeddings (N, dim) of the neurons of each session, by key."""
    rng = np.random.default_rng(seed)
    tunings = {s.key: tuning_weights(s, targets) for s in sources}
    # One basis for all sessions: the same coordinate must mean the same tuning.
    stacked = np.concatenate(list(tunings.values()))
    _, strengths, basis = np.linalg.svd(stacked, full_matrices=False)
    n_shared = SHARED if targets == "truth" else 0
    n_tuned = min(round(dim * (1 - FREE_SHARE)) - n_shared, len(basis))
    # Dividing by the square root of the singular values goes half-way to whitening:
    # leading components stay largest, and small ones are not negligible.
    basis = basis[:n_tuned] / np.sqrt(strengths[:n_tuned, None])
    # One factor for all components keeps their relative sizes.
    spread = (stacked @ basis.T).std()
    loadings = {s.key: shared_loadings(s) for s in sources} if n_shared else {}
    embeddings = {}
    for key, tuning in tunings.items():
        values = rng.normal(0.0, 0.1 * SCALE, (len(tuning), dim))
        values[:, :n_tuned] = tuning @ basis.T * (SCALE / spread)
        if n_shared:
            values[:, n_tuned : n_tuned + n_shared] = SCALE * loadings[key]
        embeddings[key] = values.astype(np.float32)
    return embeddings


def shared_loadings(source: TrainingSession) -> np.ndarray:
    """Return loadings (N, SHARED) of unit variance on the shared fluctuations.

    They are the principal components of log(rate with / rate without fluctuations).
    """
    rows = []
    for start in some_starts(source):
        window = source.session.window(float(start), OMNIMOUSE)
        full, drive = (source.target_rates(window, "truth", s) for s in (True, False))
        # Fluctuations act on the log rate. The floor keeps silent neurons finite.
        ratio = np.maximum(full[::EVERY], 1e-3) / np.maximum(drive[::EVERY], 1e-3)
        rows.append(np.log(ratio))
    gains = np.concatenate(rows)
    gains -= gains.mean(axis=0)
    _, vectors = np.linalg.eigh(gains.T @ gains)
    # eigh sorts eigenvalues in ascending order.
    leading = vectors[:, ::-1][:, :SHARED]
    return np.asarray(leading / leading.std(axis=0))


# -- Start values of attention heads: shared fluctuations, and their use for behaviour
# With the released start values, the vector of the animal is three times as long as that
# of a latent. All latents then send the encoder the same query, and after 5,000 steps
# they still represent one number, the mean activity: a ridge regression from 7,168 latent
# values explains 2 % of the ten leading shared fluctuations, one from the responses 26 %.
#
# With these start values, each group of latents attends neurons with a large positive, or
# negative, loading on one shared fluctuation, and neurons attend the latents of their own
# kind (then 30 %). The embeddings of the neurons must contain their loadings
# (`embeddings`).
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
    net: OmniMouse, batches: Sequence[FitBatch], heads: tuple[int, int], generator: torch.Generator
) -> None:
    """Set an attention head of encoder and decoder each to shared fluctuations.

    Group 2c attends neurons with positive loadings on component c, group 2c + 1 those
    with negative ones.

    Parameters
    ----------
    net
        Its attention is changed.
    batches
        Rows to which keys, values and queries are fitted.
    heads
        Numbers of the encoder's head and of the decoder's head.
    generator
        Draws the codes of components.

    Raises
    ------
    ValueError
        A network whose heads share keys.
    """
    if net.enc.attention.n_kv_heads != net.config.num_heads:
        raise ValueError("Heads that share keys cannot be turned one by one.")
    dim, features = net.config.d_model, _HeadFeatures.of(net)
    # Orthogonal directions: one code per component, two for the values of the head.
    random = torch.randn(dim, len(features.slow) + N_HALVES, generator=generator)
    codes, outputs = torch.linalg.qr(random)[0].T.split((len(features.slow), N_HALVES))
    device = net.behavior_channel_embeddings.device
    codes, outputs = codes.to(device), outputs.to(device)
    # Keys are loadings, values deviations from a neuron's mean, queries codes.
    encoder_head, decoder_head = heads
    attention, head = net.enc.attention, encoder_head

    def targets(batch: FitBatch, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return _loading_keys(batch, inputs, features), _deviation_values(net, batch, inputs)

    x, keys, deviations, without_codes = head_rows(net, batches, targets)
    # Rows of `latents` are the groups first, then the registers.
    latents = net.response_latent_embedding._latent_embeddings.weight
    n_groups = len(features.sign)
    added_codes = torch.zeros_like(latents)
    sign = features.sign.to(codes)[:, None]
    added_codes[:n_groups] = CODE_LENGTH * sign * codes[features.component]
    # The queries of the other heads are fitted again to their present values, because
    # the codes change the latents from which they are computed.
    queries = attention.wq(net.enc.attn_pre_norm(without_codes))
    # A group looks for loadings of its sign on its component. Registers get a query that no
    # loading changes: they attend all neurons alike.
    of_head, length = torch.zeros(len(latents), features.size), features.size**0.5
    of_head[n_groups:, features.constant] = length
    of_head[torch.arange(n_groups), features.slow[features.component]] = length * features.sign
    queries[..., features.rows(head)] = of_head.to(queries)
    with_codes = net.enc.attn_pre_norm(without_codes + added_codes)
    attention.wq.weight.copy_(ridge(with_codes, queries, PENALTY / 10))
    latents.add_(added_codes)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`.
    attention.wkv.weight[features.rows(head)] = ridge(x, keys)
    spread = deviations.std(dim=0) * GROUP_VARIATION
    values = features.rows(head, dim, N_HALVES)
    attention.wkv.weight[values] = ridge(x, deviations) / spread[:, None]
    # Of the features of the head only the two values reach the latents.
    attention.wo.weight[:, features.rows(head)] = 0.0
    attention.wo.weight[:, features.rows(head, 0, N_HALVES)] = outputs.T
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


def _loading_keys(batch: FitBatch, inputs: Tensor, features: _HeadFeatures) -> Tensor:
    """Loadings beside a constant; behaviour tokens have the constant only.

    Keys are normalised afterwards. The constant gives all of them about one length,
    so that logits remain proportional to loadings.
    """
    keys = torch.zeros(*inputs.shape[:2], features.size).to(inputs)
    keys[..., features.constant] = len(features.slow) ** 0.5
    ids = batch.windows.neuron_ids[:, batch.layout.token_neurons]
    loadings = batch.loadings[:, : len(features.slow)].to(inputs)[ids]
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
    video = None if batch.video is None else net.encode_video(batch.video, batch.layout)
    # All rows: the fit also needs those that no query of this layout attends.
    context = net.encode(windows, batch.layout, video, all_rows=True)
    x = decoder.attn_pre_norm_context(context.processed)  # (B, row, dim)
    assert context.neuron_vectors is not None
    latents = context.encoded[0].latents
    # The context has the latents of the groups first, then registers and video.
    count = latents.shape[1] - net.config.num_global_latents
    loadings = batch.loadings[:, : len(features.slow)].to(x)[windows.neuron_ids]
    pairs = (
        (x, _code_keys(x, count, features)),
        (decoder.attn_pre_norm(context.neuron_vectors), loadings),
        (x[:, :count], latents[:, :count] @ outputs.T),
    )
    return tuple(rows.flatten(0, 1) for pair in pairs for rows in pair)


def _fit_decoder_head(
    net: OmniMouse, batches: Sequence[FitBatch], head: int, features: _HeadFeatures, outputs: Tensor
) -> None:
    """Queries are loadings, keys the codes of the latents, values their signal."""
    attention, dim = net.decoders()[0].attention, net.config.d_model
    assert isinstance(attention, CrossAttention)
    parts = [_decoder_rows(net, batch, features, outputs) for batch in batches]
    context, keys, neurons, loadings, latents, signal = (
        torch.cat(rows) for rows in zip(*parts, strict=True)
    )
    # Group latents on one side, registers and video on the other, count equally.
    is_rare = keys[:, features.constant] > 0
    attention.wkv.weight[features.rows(head)] = balanced_ridge(context, keys, is_rare)
    queries = torch.zeros(len(neurons), features.size).to(neurons)
    queries[:, features.slow] = loadings
    queries[:, features.constant] = len(features.slow) ** 0.5
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
    keys[..., features.constant] = -(features.size**0.5)
    share = features.size**0.5 / 2**0.5
    keys[:, :n_group_latents, features.constant] = share
    latents = torch.arange(n_group_latents)
    group = latents % len(features.sign)
    keys[:, latents, features.slow[features.component[group]]] = features.sign.to(x)[group] * share
    return keys


# -- start values of an attention head: each latent carries one behaviour channel -----
# Without these start values, every latent receives the same sum of the five channel
# tokens and cannot separate them. After 8,500 training steps, a ridge regression from the
# latents then explained running (R² 0.99) and pupil size (0.77), but little of the gaze
# (0.4 and 0.1).
#
# With them, each latent holds the mean of one channel over the window, and two unused
# units of the feed-forward layer per channel give it a direction of its own.
def _channel_vectors(size: int, n_channels: int) -> Tensor:
    """Return the target query and key of each channel, (channel, size).

    Their features are those of the feature pairs with the lowest frequencies, whose rotation
    within a window is negligible: one per channel, and a constant, the last one. All other
    features are 0:

        row                        | channel c | other channels | constant
        key of a behaviour token c | share     | 0              | share
        key of a response token    | 0         | 0              | -sqrt(size)
        query of latent i          | share at channel i modulo n | share

    A query then matches the token of its channel twice as well as those of other
    channels, and is opposite to responses.
    """
    channels = torch.arange(n_channels)
    vectors = torch.zeros(n_channels, size)
    # Two features are not 0: the length is sqrt(size).
    vectors[:, -1] = (size / 2) ** 0.5
    vectors[channels, size - 2 - channels] = (size / 2) ** 0.5
    return vectors


def _channel_targets(batch: FitBatch, inputs: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target keys (B, token, size) and values (B, token, 1) of all tokens.

    The value of a behaviour token is the mean of its channel over the window.
    """
    n_channels, size = vectors.shape
    keys = torch.zeros(*inputs.shape[:2], size).to(inputs)
    values = torch.zeros(*inputs.shape[:2], 1).to(inputs)
    # Responses are opposite to all queries, so that they get no weight.
    keys[..., -1] = -(size**0.5)
    behavior = batch.windows.behavior
    if batch.layout.behavior == "visible" and behavior is not None:
        # Behaviour tokens are the last ones, in the order of the channels.
        keys[:, -n_channels:] = vectors.to(inputs)
        values[:, -n_channels:, 0] = behavior.nan_to_num().mean(dim=-1)
    return keys, values


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
    n_channels = net.config.behavior_channels
    is_too_small = size <= 2 * n_channels
    if attention.n_kv_heads != net.config.num_heads or is_too_small:
        raise ValueError("Such heads cannot be turned to behaviour one by one.")
    # Orthogonal directions: one for the value of the head, one for each channel.
    random = torch.randn(dim, 1 + n_channels, generator=generator)
    output, *directions = torch.linalg.qr(random)[0].T.to(net.behavior_channel_embeddings.device)
    vectors = _channel_vectors(size, n_channels)
    x, keys, values, starts = head_rows(
        net, batches, lambda batch, inputs: _channel_targets(batch, inputs, vectors)
    )
    # Five behaviour tokens among tens of thousands of response tokens.
    is_rare = keys[:, -1] > 0
    latents = net.enc.attn_pre_norm(starts)
    queries = vectors[torch.arange(latents.shape[1]) % n_channels].to(x)
    rows = slice(head * size, (head + 1) * size)
    attention.wq.weight[rows] = ridge(latents, queries.expand(len(latents), -1, -1), PENALTY / 10)
    attention.wkv.weight[rows] = balanced_ridge(x, keys, is_rare)
    # `wkv` has the rows of the keys first; those of the values begin at `dim`. Only the
    # first value of the head is used, and it reaches the latents along `output`.
    first = slice(dim + head * size, dim + head * size + 1)
    attention.wkv.weight[first] = balanced_ridge(x, values, is_rare)
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
        with _outputs_of(net.enc.ffn_pre_norm) as normed, _outputs_of(net.enc.attention) as mixed:
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
