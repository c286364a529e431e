"""An order of neurons in which neighbours are alike in what they did.

Their responses, in bins of 0.2 s of stretches spread evenly over the recording, are
reduced to principal components; clusters of those are put in the order of the leaves
of an optimally ordered tree, and neurons within a cluster along the line from the
cluster before to the one after. Made for looking: it is no measure of anything.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np
from jaxtyping import Float32, Int

from omnimouse_model.data.clock import RESPONSE_RATE_HZ
from omnimouse_model.data.session import Session
from omnimouse_model.metrics.correlation import nanmean

Progress = Callable[[float], None]

N_STRETCHES = 80
BINS_PER_STRETCH = 10
SAMPLES_PER_BIN = 6
N_COMPONENTS = 32
MAX_CLUSTERS = 96
_MAX_FITTED = 4000
_NEURONS_PER_CLUSTER = 10
_READING = 0.7


def similarity_order(
    session: Session, progress: Progress = lambda share: None
) -> Int[np.ndarray, " neuron"]:
    """Order all neurons of a session; needs SciPy.

    Reads at most 160 s of the recording, however long it is. The same session gives
    the same order; neurons that never change come last, as stored.

    Parameters
    ----------
    session
        Its whole recording is looked at, held-out trials too.
    progress
        Told the share that is done; may raise to stop.
    """
    activity = sampled_activity(session, lambda share: progress(_READING * share))
    return order_by_similarity(
        activity, lambda share: progress(_READING + (1 - _READING) * share)
    )


def sampled_activity(
    session: Session, progress: Progress = lambda share: None
) -> Float32[np.ndarray, "neuron bin"]:
    """Mean normalised responses in the bins of stretches over all the recording.

    A neuron has its own mean, which is like nobody, in the bins that it lacks.
    """
    length = BINS_PER_STRETCH * SAMPLES_PER_BIN
    span, rate = session.responses.valid_interval(), RESPONSE_RATE_HZ
    last = max(span.stop - length / rate, span.start)
    starts = np.linspace(span.start, last, N_STRETCHES)
    count = np.zeros((N_STRETCHES, BINS_PER_STRETCH), np.int64)
    found = np.full((*count.shape, session.n_neurons), np.nan, np.float32)
    for stretch, start in enumerate(starts.tolist()):
        progress(stretch / N_STRETCHES)
        times = start + np.arange(length) / rate
        values, valid = session.responses.window(times, session.response_scale)
        values = values.reshape(BINS_PER_STRETCH, SAMPLES_PER_BIN, -1)
        found[stretch] = nanmean(values, 1)
        count[stretch] = valid.reshape(BINS_PER_STRETCH, -1).sum(axis=1)
    known = count.ravel() == SAMPLES_PER_BIN
    binned: np.ndarray = found.reshape(-1, session.n_neurons)[known].T
    own = np.nan_to_num(nanmean(binned, 1)[:, None])
    return np.where(np.isfinite(binned), binned, own).astype(np.float32)


def order_by_similarity(
    activity: Float32[np.ndarray, "neuron bin"],
    progress: Progress = lambda share: None,
) -> Int[np.ndarray, " neuron"]:
    """Order neurons by what they did; those that never change come last."""
    centred = activity - activity.mean(axis=1, keepdims=True, dtype=np.float32)
    spread = np.sqrt(np.einsum("nb,nb->n", centred, centred))
    moving = np.flatnonzero(spread > 1e-6 * max(activity.shape[1], 1) ** 0.5)
    still = np.setdiff1d(np.arange(len(activity)), moving)
    if len(moving) < 3:
        return np.concatenate([moving, still])
    progress(0.0)
    places = _components(centred[moving] / spread[moving, None])
    progress(0.5)
    clusters, centres = _clusters(places)
    progress(0.9)
    order = _along(places, clusters, centres)
    return np.concatenate([moving[order], still])


def _components(scaled: np.ndarray) -> np.ndarray:
    """Unit vectors of the leading principal components, float32 (neuron, n)."""
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    places = scaled @ axes[:, : -N_COMPONENTS - 1 : -1]
    lengths = np.linalg.norm(places, axis=1, keepdims=True)
    unit: np.ndarray = places / np.maximum(lengths, 1e-12)
    return unit


def _clusters(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of every neuron, and the clusters' centres; none is empty."""
    vq, _ = _scipy()
    fitted = places[:: -(-len(places) // _MAX_FITTED)]
    count = min(max(len(fitted) // _NEURONS_PER_CLUSTER, 2), MAX_CLUSTERS)
    firsts = fitted[np.linspace(0, len(fitted) - 1, count).astype(int)]
    centres, _ = vq.kmeans2(fitted, firsts, minit="matrix", missing="warn", iter=15)
    used, members = np.unique(vq.vq(places, centres)[0], return_inverse=True)
    means = [places[members == number].mean(axis=0) for number in range(len(used))]
    return members, np.stack(means)


def _along(places: np.ndarray, clusters: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Neurons cluster by cluster, alike ones beside each other."""
    _, hierarchy = _scipy()
    rank = np.zeros(len(centres), np.int64)
    if len(centres) > 2:
        tree = hierarchy.linkage(centres, "average", "cosine", optimal_ordering=True)
        rank[hierarchy.leaves_list(tree)] = np.arange(len(centres))
    else:
        rank[:] = np.arange(len(centres))
    chain = centres[np.argsort(rank)]
    before = chain[np.maximum(np.arange(len(chain)) - 1, 0)]
    after = chain[np.minimum(np.arange(len(chain)) + 1, len(chain) - 1)]
    place = rank[clusters]
    within = np.einsum("nd,nd->n", places, (after - before)[place])
    return np.lexsort((within, place))


def _scipy() -> tuple[ModuleType, ModuleType]:
    try:
        from scipy.cluster import hierarchy, vq
    except ImportError as error:
        raise ImportError(
            "Ordering neurons by similarity needs SciPy: "
            'pip install "omnimouse-app[napari]"'
        ) from error
    return vq, hierarchy
