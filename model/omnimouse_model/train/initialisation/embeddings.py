"""Start values of neuron embeddings from motion energy, and activations for ridge fits.

The weights of a neuron on fixed motion-energy features describe its receptive field
and its tuning. Their leading components, in a basis shared by all sessions, are the
initial embeddings. The net then learns one map from tuning to queries, instead of the
receptive field of each neuron separately.

For simulated sessions, the embeddings also contain the loadings of the neurons on the
leading components of the shared fluctuations, which are known from the ground truth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnimouse_model.data.session import without_missing
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.network import OmniMouse
from omnimouse_model.predict.baselines.ridge import Sums, weights
from omnimouse_model.predict.baselines.rules import mean_rates
from omnimouse_model.predict.gabor_features import motion_energy
from omnimouse_model.train.batches import TrainingSession, make_batch, to_device
from omnimouse_model.train.config import Phase

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


def encoder_inputs(net: OmniMouse, batch: FitBatch) -> Tensor:
    """Tokens as the encoder's attention gets them, after its norm."""
    windows = batch.windows
    meta = net.meta_vector(windows.session, windows.start_times)
    neurons = net.neuron_vectors(windows, meta)
    tokens = net.tokens(windows, batch.layout, meta, neurons)
    inputs: Tensor = net.enc.attn_pre_norm_context(tokens)
    return inputs


def latent_starts(net: OmniMouse, meta: Tensor) -> list[Tensor]:
    """All latents before the encoder, for every set of missing modalities."""
    shared = net.response_latent_embedding._latent_embeddings.weight + meta[:1]
    starts = []
    for missing in range(2**N_MODALITIES):
        rows = [row for row in range(N_MODALITIES) if missing >> row & 1]
        starts.append(shared + net.missing_modality_embeddings[rows].sum(dim=0))
    return starts


def ridge(x: Tensor, y: Tensor, penalty: float = PENALTY) -> Tensor:
    """The map (out, in) from rows of x to rows of y, without intercept."""
    # In float64: features are strongly correlated, so the system is ill-conditioned.
    inputs, outputs = x.flatten(0, -2).double(), y.flatten(0, -2).double()
    gram = inputs.T @ inputs
    # Relative to the mean of the diagonal: the penalty has no unit.
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    weight: Tensor = torch.linalg.solve(gram, inputs.T @ outputs).T.to(x)
    return weight


def balanced_ridge(x: Tensor, y: Tensor, is_rare: Tensor) -> Tensor:
    """`ridge` in which the rare rows together have the same weight as all others."""
    weight = torch.ones(len(x)).to(x)
    weight[is_rare] = ((~is_rare).sum() / is_rare.sum()).sqrt()
    return ridge(x * weight[:, None], y * weight[:, None], PENALTY / 10)


# -- initialise neuron embeddings from a ridge regression on motion energy ------------
_PENALTY = 20.0
"""Ridge penalty; at this value, weights are close to covariances. On a simulated mouse
the position of the largest weight correlates .95 and .90 with the true receptive field
(x, y), and .70 and .63 at a penalty of 0.1."""
WINDOWS = 1000
# The second half of a window, where the filters have enough preceding video.
SCORED = slice(30, 60)
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
    for start in _spread(source):
        window = source.session.window(float(start))
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


def fit_batches(
    sources: list[TrainingSession],
    phase: Phase,
    config: OmniMouseConfig,
    seed: int,
    device: torch.device | str,
) -> list[FitBatch]:
    """Return batches of all sessions and tasks, to fit attention heads to."""
    rng = np.random.default_rng(seed)
    batches = []
    for source in sources:
        loadings = torch.from_numpy(shared_loadings(source).astype(np.float32))
        means = torch.from_numpy(mean_rates(source.session)).float()
        for task in READ_TASKS:
            batch = to_device(make_batch(source, task, phase, config, rng), device)
            batches.append(FitBatch(batch.windows, batch.layout, batch.video, loadings, means))
    return batches


def _spread(source: TrainingSession) -> np.ndarray:
    """Return starts of at most `WINDOWS` windows spread over a session."""
    count = min(WINDOWS, len(source.starts))
    indices = np.linspace(0, len(source.starts) - 1, count).astype(int)
    return np.asarray(source.starts[indices])


def tuning_weights(source: TrainingSession, targets: str) -> np.ndarray:
    """Return ridge weights (N, 1152) for standardised features and targets."""
    session = source.session
    sums: Sums | None = None
    for start in _spread(source):
        window = session.window(float(start))
        # Only sums of products are kept, so memory does not grow with the windows.
        features = motion_energy(without_missing(window.video), SCREEN_RATE_HZ)[SCORED]
        rates = without_missing(source.target_rates(window, targets, False))[SCORED]
        if sums is None:
            sums = Sums(features.shape[1], rates.shape[1])
        sums.add(features, rates)
    assert sums is not None
    covariance = sums.covariance()
    weight = weights(covariance, _PENALTY)
    # From units of the features to standard deviations, then the same for the targets:
    # neurons with high rates must not dominate the shared basis.
    weight *= np.sqrt(np.diagonal(covariance.xx))[:, None]
    spread: np.ndarray = np.sqrt(np.maximum(covariance.variance_y, 1e-12))
    return np.asarray((weight / spread).T)
