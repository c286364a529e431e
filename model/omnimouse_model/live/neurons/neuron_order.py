"""Order of neurons by similarity, computed in the background for the open session."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int

from omnimouse_model.data.recording import even_starts
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics.correlation import nanmean
from omnimouse_model.metrics.fits import scipy_module
from omnimouse_model.predict.devices import MemoryCache
from omnimouse_model.progress import QUIET, Job, part_of

# -- order of neurons in which neighbours have similar responses ----------------------
# Responses in bins of 0.2 s, from segments spread evenly over the recording, are reduced
# to principal components and clustered. The leaves of an optimally ordered tree give the
# order of clusters. Neurons of a cluster are sorted along the line from the previous
# cluster to the next. The order is for display only and is not a measure.
# 80 segments of 10 bins of 6 samples at 30 Hz: 160 s in total.
N_STRETCHES = 80
BINS_PER_STRETCH = 10
SAMPLES_PER_BIN = 6
N_COMPONENTS = 32
MAX_CLUSTERS = 96
# Maximum number of neurons used to find the clusters; all are assigned to one.
_MAX_FITTED = 4000
_NEURONS_PER_CLUSTER = 10
# Share of the progress for reading.
_READING = 0.7


def similarity_order(session: Session, job: Job = QUIET) -> Int[np.ndarray, " neuron"]:
    """Return an order of all neurons of a session by similarity; needs SciPy.

    At most 160 s of the recording are read. The order is deterministic; neurons with
    constant responses come last, in stored order.

    Parameters
    ----------
    session
        A session; all trials are used, including held-out trials.
    job
        Progress and stop request; see `progress.Job`.
    """
    activity = sampled_activity(session, part_of(job, 0.0, _READING))
    return order_by_similarity(activity, part_of(job, _READING, 1.0))


def sampled_activity(session: Session, job: Job = QUIET) -> Float32[np.ndarray, "neuron bin"]:
    """Return mean normalised responses in bins of segments over the whole recording.

    Missing bins of a neuron hold its mean, which adds nothing to correlations.
    """
    length = BINS_PER_STRETCH * SAMPLES_PER_BIN
    rate = RESPONSE_RATE_HZ
    span = session.responses.valid_interval()
    starts = even_starts(session, span, length / rate, N_STRETCHES)
    count = np.zeros((N_STRETCHES, BINS_PER_STRETCH), np.int64)
    binned_means = np.full((*count.shape, session.n_neurons), np.nan, np.float32)
    for stretch, start in enumerate(starts.tolist()):
        job.progress(stretch / N_STRETCHES, 1.0)
        times = start + np.arange(length) / rate
        values, valid = session.responses.window(times, session.response_scale)
        values = values.reshape(BINS_PER_STRETCH, SAMPLES_PER_BIN, -1)
        binned_means[stretch] = nanmean(values, 1)
        count[stretch] = valid.reshape(BINS_PER_STRETCH, -1).sum(axis=1)
    # Bins that lie partly outside the valid recording are dropped for all neurons.
    is_complete = count.ravel() == SAMPLES_PER_BIN
    binned: np.ndarray = binned_means.reshape(-1, session.n_neurons)[is_complete].T
    own_mean = np.nan_to_num(nanmean(binned, 1)[:, None])
    return np.where(np.isfinite(binned), binned, own_mean).astype(np.float32)


def order_by_similarity(
    activity: Float32[np.ndarray, "neuron bin"], job: Job = QUIET
) -> Int[np.ndarray, " neuron"]:
    """Return the neurons ordered by activity; constant neurons come last."""
    centred = activity - activity.mean(axis=1, keepdims=True, dtype=np.float32)
    spread = np.sqrt(np.einsum("nb,nb->n", centred, centred))
    # The norm of a constant neuron is rounding error and grows with the root of the
    # bins.
    moving = np.flatnonzero(spread > 1e-6 * max(activity.shape[1], 1) ** 0.5)
    still = np.setdiff1d(np.arange(len(activity)), moving)
    if len(moving) < 3:
        return np.concatenate([moving, still])
    job.progress(0.0, 1.0)
    places = _components(centred[moving] / spread[moving, None])
    job.progress(0.5, 1.0)
    clusters, centres = _clusters(places)
    job.progress(0.9, 1.0)
    order = _along(places, clusters, centres)
    return np.concatenate([moving[order], still])


def _components(scaled: np.ndarray) -> np.ndarray:
    """Return unit vectors in the space of leading components, float32 (neuron, n)."""
    # There are at most 800 bins but many neurons, so decompose the (bin, bin) matrix.
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    # `eigh` sorts eigenvalues in ascending order: take the last columns, reversed.
    places = scaled @ axes[:, : -N_COMPONENTS - 1 : -1]
    lengths = np.linalg.norm(places, axis=1, keepdims=True)
    return places / np.maximum(lengths, 1e-12)


def _clusters(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of each neuron, and the centres of the non-empty clusters."""
    vq = scipy_module("cluster.vq")
    fitted = places[:: -(-len(places) // _MAX_FITTED)]
    count = min(max(len(fitted) // _NEURONS_PER_CLUSTER, 2), MAX_CLUSTERS)
    # Fixed start centres make the result deterministic.
    firsts = fitted[np.linspace(0, len(fitted) - 1, count).astype(int)]
    centres, _ = vq.kmeans2(fitted, firsts, minit="matrix", missing="warn", iter=15)
    used, members = np.unique(vq.vq(places, centres)[0], return_inverse=True)
    means = [places[members == number].mean(axis=0) for number in range(len(used))]
    return members, np.stack(means)


def _along(places: np.ndarray, clusters: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the neurons cluster by cluster, similar clusters adjacent."""
    hierarchy = scipy_module("cluster.hierarchy")
    leaves = np.arange(len(centres))
    if len(centres) > 2:
        tree = hierarchy.linkage(centres, "average", "cosine", optimal_ordering=True)
        leaves = hierarchy.leaves_list(tree)
    rank = np.argsort(leaves)
    chain = centres[leaves]
    before = chain[np.maximum(np.arange(len(chain)) - 1, 0)]
    after = chain[np.minimum(np.arange(len(chain)) + 1, len(chain) - 1)]
    place = rank[clusters]
    within = np.einsum("nd,nd->n", places, (after - before)[place])
    # `lexsort` sorts by its last key first: cluster, then position along the chain.
    return np.lexsort((within, place))


# -- order of the open session's neurons by similarity, computed in the background ----
_CACHE_SIZE = 8
"""Recordings whose order is kept, so that going back to one computes nothing."""


class SimilarityOrder(HasBackgroundTask):
    """Order of the session's neurons by similarity; starts when a view requests it."""

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self._state = state
        self._cache = MemoryCache[np.ndarray](_CACHE_SIZE)
        # The session that is computed or has failed, and the one stopped by the user.
        self._computed: Session | None = None
        self._stopped: Session | None = None
        self._task = BackgroundTask(_compute, self._take, execution)
        self._task.changed.connect(self._on_task)

    @property
    def order(self) -> np.ndarray | None:
        """int (P,): neuron of each row, None if not computed yet."""
        session = self._state.session
        return None if session is None else self._cache.peek(session.fingerprint)

    @property
    def is_stopped(self) -> bool:
        """Whether the user stopped the computation; `retry` restarts it."""
        return self._stopped is not None and self._stopped is self._state.session

    def request(self) -> None:
        """Start the computation, unless it is done, running or stopped by the user."""
        session = self._state.session
        if session is None or self.order is not None or self.is_stopped:
            return
        if session is not self._computed:
            self._computed = session
            self._task.start(session, "Comparing neurons")

    def pause(self) -> None:
        """Stop the computation because no view needs it; `request` restarts it."""
        if self.is_busy:
            self._computed = None
            self._task.stop()

    def stop(self) -> None:
        """Stop the computation until `retry` or another recording."""
        # Per session: another recording starts without asking again.
        self._stopped = self._state.session
        self.pause()

    def retry(self) -> None:
        """Start the computation after a stop or an error."""
        self._stopped = self._computed = None
        self._task.clear_error()
        self.request()

    def _take(self, result: tuple[Session, np.ndarray]) -> None:
        session, order = result
        self._cache.get(session.fingerprint, lambda: order)
        self.changed.emit()

    def _on_task(self) -> None:
        # After an error, `_computed` stays: `request` must not retry at every redraw.
        if not self.is_busy and self.error is None:
            self._computed = None


def _compute(session: Session, report: ReportProgress) -> Iterator[tuple[Session, np.ndarray]]:
    yield session, similarity_order(session, percent_job(report, "Comparing neurons"))
