"""Start neuron embeddings from what a ridge on motion energy finds.

A neuron's weights on fixed motion-energy features say where it looks and what it
likes. Their leading components, shared by all sessions, become the first embeddings:
the net then learns one map from tuning to queries, instead of finding every neuron's
receptive field by itself.

Where the simulator says how much of every rate is shared fluctuation, the neurons'
loadings on its leading components follow: who goes up and down with whom.
"""

import numpy as np
import torch

from omnimouse_model.data.window import without_missing
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig
from omnimouse_model.nets.omnimouse.initialisation import Reading
from omnimouse_model.predict.baselines.ridge import Sums, weights
from omnimouse_model.predict.baselines.rules import mean_rates
from omnimouse_model.predict.baselines.video_ridge import motion_energy
from omnimouse_model.train.batches import TrainingSession, make_batch, to_device
from omnimouse_model.train.config import Phase

PENALTY = 20.0
"""Close to plain covariances. On a simulated mouse the place of the largest weight
then correlates .95 and .90 with the true receptive field (x, y); .70 and .63 at 0.1."""
WINDOWS = 1000
SCORED = slice(30, 60)
FREE_SHARE = 0.125
"""Share of an embedding left to small random values."""
SCALE = 0.3
SHARED = 24
"""Components of shared fluctuation."""
READ_TASKS = ("half-video", "half", "causal_response_25_behavior")
"""What the heads that read a population are fitted on."""
EVERY = 5
"""Samples of a window between those that the shared components are found from."""


def tuned_embeddings(
    sources: list[TrainingSession], dim: int, targets: str, seed: int
) -> dict[str, np.ndarray]:
    """First embeddings (N, dim) of every session's neurons, by session key."""
    rng = np.random.default_rng(seed)
    tunings = {s.key: tuning_weights(s, targets) for s in sources}
    stacked = np.concatenate(list(tunings.values()))
    _, strengths, basis = np.linalg.svd(stacked, full_matrices=False)
    n_shared = SHARED if targets == "truth" else 0
    n_tuned = min(round(dim * (1 - FREE_SHARE)) - n_shared, len(basis))
    # half-way to equal variances: leading components lead, small ones are heard
    basis = basis[:n_tuned] / np.sqrt(strengths[:n_tuned, None])
    spread = (stacked @ basis.T).std()
    loadings = {s.key: shared_loadings(s) for s in sources} if n_shared else {}
    found = {}
    for key, tuning in tunings.items():
        values = rng.normal(0.0, 0.1 * SCALE, (len(tuning), dim))
        values[:, :n_tuned] = tuning @ basis.T * (SCALE / spread)
        if n_shared:
            values[:, n_tuned : n_tuned + n_shared] = SCALE * loadings[key]
        found[key] = values.astype(np.float32)
    return found


def shared_loadings(source: TrainingSession) -> np.ndarray:
    """Loadings (N, SHARED) of unit variance on the fluctuations that neurons share.

    Principal components of log(rate given the fluctuations / rate without them).
    """
    rows = []
    for start in _spread(source):
        window = source.session.window(float(start))
        given, plain = (source.target_rates(window, "truth", s) for s in (True, False))
        ratio = np.maximum(given[::EVERY], 1e-3) / np.maximum(plain[::EVERY], 1e-3)
        rows.append(np.log(ratio))
    gains = np.concatenate(rows)
    gains -= gains.mean(axis=0)
    _, vectors = np.linalg.eigh(gains.T @ gains)
    leading = vectors[:, ::-1][:, :SHARED]
    return np.asarray(leading / leading.std(axis=0))


def population_readings(
    sources: list[TrainingSession],
    phase: Phase,
    config: OmniMouseConfig,
    seed: int,
    device: torch.device | str,
) -> list[Reading]:
    """Batches of every session, on the net's device, for `read_population`'s fits."""
    rng = np.random.default_rng(seed)
    found = []
    for source in sources:
        loadings = torch.from_numpy(shared_loadings(source).astype(np.float32))
        means = torch.from_numpy(mean_rates(source.session)).float()
        for task in READ_TASKS:
            batch = to_device(make_batch(source, task, phase, config, rng), device)
            found.append(
                Reading(batch.clip, batch.layout, batch.video, loadings, means)
            )
    return found


def _spread(source: TrainingSession) -> np.ndarray:
    """Starts of WINDOWS windows spread over a session."""
    count = min(WINDOWS, len(source.starts))
    chosen = np.linspace(0, len(source.starts) - 1, count).astype(int)
    return np.asarray(source.starts[chosen])


def tuning_weights(source: TrainingSession, targets: str) -> np.ndarray:
    """Ridge weights (N, 1152) per standardised feature and unit of target."""
    session = source.session
    sums: Sums | None = None
    for start in _spread(source):
        window = session.window(float(start))
        features = motion_energy(without_missing(window.video))[SCORED]
        rates = without_missing(source.target_rates(window, targets, False))[SCORED]
        if sums is None:
            sums = Sums(features.shape[1], rates.shape[1])
        sums.add(features, rates)
    assert sums is not None
    covariance = sums.covariance()
    weight = weights(covariance, PENALTY)
    weight *= np.sqrt(np.diagonal(covariance.xx))[:, None]
    spread: np.ndarray = np.sqrt(np.maximum(covariance.variance_y, 1e-12))
    return np.asarray((weight / spread).T)
