"""Functional barcodes: what a model has learned of each neuron, compared by angle.

A barcode is one vector per neuron: the readout weights of a digital twin (Wang et al.
2025), or the embedding of OmniMouse. Their distance is an angle divided by π: 0 for the
same direction, 0.5 for unrelated ones, 1 for opposite ones.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial
from time import perf_counter
from typing import Final, cast

import numpy as np
from jaxtyping import Float, Int64

from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.metrics.tuning import angular_distance
from omnimouse_model.predict.predictor import Embedding, Located, Predictor
from omnimouse_model.progress import Cancelled, never


@dataclass(frozen=True, slots=True, eq=False)
class LearnedNeurons:
    """Barcodes and readout positions of the neurons of a session in one model.

    Attributes
    ----------
    predictor_id
        The model.
    session_key, names
        Id and fingerprint of the session, and the ids of its neurons.
    barcodes
        float32 (P, d), or None if the model has none.
    positions
        float32 (P, 2): row and column of the frame that each neuron reads, as fractions
        of height and width; None if the model has none.
    """

    session_key: tuple[str, str]
    names: np.ndarray
    predictor_id: str
    barcodes: Float[np.ndarray, "neuron d"] | None = None
    positions: Float[np.ndarray, "neuron 2"] | None = None
    _cache: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the model has neither barcodes nor positions."""
        return self.barcodes is None and self.positions is None

    def nearest(
        self, neuron: int, count: int
    ) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return the neurons with the nearest barcodes, and their distances.

        Both are empty for a model without barcodes.
        """
        if self.barcodes is None:
            return np.zeros(0, np.int64), np.zeros(0)
        # Once, because a view asks while the user steps through neurons; float64,
        # because rounding would give a neuron a distance to its equal.
        barcodes = cached(self, "float64", partial(self.barcodes.astype, float))
        own = np.broadcast_to(barcodes[neuron], barcodes.shape)
        distance = angular_distance(own, barcodes)
        distance[neuron] = np.nan
        order = np.argsort(distance)  # NaN is last
        order = order[np.isfinite(distance[order])][:count]
        return order.astype(np.int64), distance[order]


def key_of(session: Session) -> tuple[str, str]:
    """Return the identity of a session, without the session itself."""
    return session.id, session.fingerprint


def learned_neurons(
    predictor: Predictor, session: Session, cancelled: Cancelled = never
) -> LearnedNeurons:
    """Return barcodes and readout positions of a session's neurons in a model."""
    methods = predictor.needs.methods
    barcodes = positions = None
    # `methods` decides, because the proxy of a worker has every method.
    if "embeddings" in methods:
        barcodes = cast(Embedding, predictor).embeddings(session, cancelled)
    if "stimulus_positions" in methods:
        positions = cast(Located, predictor).stimulus_positions(session)
    return LearnedNeurons(
        key_of(session), session.units.names, predictor.predictor_id, barcodes, positions
    )


# -- cost of the decoding of a label from barcodes (here, without torch) ----------------
PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidate weights of the mean squared coefficient, beside the mean log loss."""
_EVALUATIONS: Final = 120
"""Evaluations of the loss and its gradient in a fit, with the barcodes of the demo twin
and of the demo OmniMouse."""
_OVERHEAD_S: Final = 4e-4
"""Seconds of an evaluation besides its two products."""
_TIMINGS: Final = 3


def count_fits(n_outer: int, n_inner: int) -> int:
    """Return the number of fits of a nested cross-validation."""
    return n_outer * (n_inner * len(PENALTIES) + 1)


@lru_cache(maxsize=16)
def fit_seconds(n_neurons: int, n_features: int, n_classes: int) -> float:
    """Return about how long one fit takes on this machine, from a short measurement.

    Examples
    --------
    >>> from omnimouse_model.analysis.barcodes import count_fits, fit_seconds
    >>> count_fits(5, 5)
    130
    >>> 0 < fit_seconds(200, 16, 3) < 60
    True
    """
    features = np.ones((n_neurons, n_features))
    weights = np.ones((n_features, n_classes))
    seconds = []
    for _ in range(_TIMINGS):
        since = perf_counter()
        features.T @ (features @ weights)
        seconds.append(perf_counter() - since)
    return _EVALUATIONS * (min(seconds) + _OVERHEAD_S)
