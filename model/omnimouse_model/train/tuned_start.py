"""Start neuron embeddings from what a ridge on motion energy finds.

A neuron's weights on fixed motion-energy features say where it looks and what it
likes. Their leading components, shared by all sessions, become the first embeddings:
the net then learns one map from tuning to queries, instead of finding every neuron's
receptive field by itself.
"""

import numpy as np

from omnimouse_model.predict.energy import motion_energy
from omnimouse_model.predict.ridge import Sums, weights
from omnimouse_model.train.batches import TrainingSession

PENALTY = 20.0
"""Close to plain covariances. On a simulated mouse the place of the largest weight
then correlates .95 and .90 with the true receptive field (x, y); .70 and .63 at 0.1."""
WINDOWS = 1000
SCORED = slice(30, 60)
FREE_SHARE = 0.125
"""Share of an embedding left to small random values."""
SCALE = 0.3


def tuned_embeddings(
    sources: list[TrainingSession], dim: int, targets: str, seed: int
) -> dict[str, np.ndarray]:
    """First embeddings (N, dim) of every session's neurons, by session key."""
    rng = np.random.default_rng(seed)
    tunings = {s.key: tuning_weights(s, targets) for s in sources}
    stacked = np.concatenate(list(tunings.values()))
    _, strengths, basis = np.linalg.svd(stacked, full_matrices=False)
    n_tuned = min(round(dim * (1 - FREE_SHARE)), len(basis))
    # half-way to equal variances: leading components lead, small ones are heard
    basis = basis[:n_tuned] / np.sqrt(strengths[:n_tuned, None])
    spread = (stacked @ basis.T).std()
    found = {}
    for key, tuning in tunings.items():
        values = rng.normal(0.0, 0.1 * SCALE, (len(tuning), dim))
        values[:, :n_tuned] = tuning @ basis.T * (SCALE / spread)
        found[key] = values.astype(np.float32)
    return found


def tuning_weights(source: TrainingSession, targets: str) -> np.ndarray:
    """Ridge weights (N, 1152) per standardised feature and unit of target."""
    session = source.session
    count = min(WINDOWS, len(source.starts))
    chosen = np.linspace(0, len(source.starts) - 1, count).astype(int)
    sums: Sums | None = None
    for start in source.starts[chosen]:
        window = session.window(float(start))
        features = motion_energy(np.nan_to_num(window.video))[SCORED]
        rates = np.nan_to_num(source.target_rates(window, targets, False))[SCORED]
        if sums is None:
            sums = Sums(features.shape[1], rates.shape[1])
        sums.add(features, rates)
    assert sums is not None
    covariance = sums.covariance()
    weight = weights(covariance, PENALTY)
    weight *= np.sqrt(np.diagonal(covariance.xx))[:, None]
    spread: np.ndarray = np.sqrt(np.maximum(covariance.variance_y, 1e-12))
    return np.asarray((weight / spread).T)
