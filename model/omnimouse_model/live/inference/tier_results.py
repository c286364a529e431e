"""Scores and context curves over a tier: continued, kept and stored.

The sums of unfinished tasks are kept in memory, so that a task to which the user
returns goes on where it was interrupted. Complete results outlive a change of the
model. Complete results and unfinished sums of models with a name or file outlive a
restart, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from time import monotonic
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.live_sweep import (
    TierCurves,
    TierSweep,
    asked_neurons,
    tier_plan,
)
from omnimouse_model.evaluation.tier_score import (
    Arrays,
    Facts,
    TierScore,
    TierScoring,
    has_scored_targets,
    has_tier_score,
    scored_tier,
)
from omnimouse_model.live.inference.score_store import UNFINISHED_BYTES, ScoreStore
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.metrics import METRICS
from omnimouse_model.predict.compatibility import task_id
from omnimouse_model.predict.devices import residence_of
from omnimouse_model.predict.memory_cache import MemoryCache
from omnimouse_model.predict.predictor import Predictor

MAX_SCORE_BYTES = 256 * 2**20
"""Limit of the sums of earlier tasks, which return with their scores."""
MAX_COMPLETE = 64
"""Number of complete scores and curves in memory."""
STORE_EVERY_S = 10.0
"""Seconds between two writings of unfinished sums; a kill loses what came since."""
QUICK_BYTES = 8 * 2**20
"""Larger sums are written at the end alone: writing takes more than 50 ms, for which
the next stroke would wait."""
Key = tuple[str, ...]
T = TypeVar("T")
Work = TypeVar("Work", TierScoring, TierSweep)


class TierResults:
    """Scores and curves of all tasks so far.

    Parameters
    ----------
    store
        Where they are stored; None for memory alone.
    """

    def __init__(self, store: ScoreStore | None = None) -> None:
        self._store = store
        self._scorings = MemoryCache[TierScoring](MAX_SCORE_BYTES, lambda scoring: scoring.n_bytes)
        self._sweeps = MemoryCache[TierSweep](MAX_SCORE_BYTES, lambda sweep: sweep.n_bytes)
        self._scores = MemoryCache[TierScore](MAX_COMPLETE, lambda _: 1)
        self._curves = MemoryCache[TierCurves](MAX_COMPLETE, lambda _: 1)
        # Unfinished task that can be stored -> number of batches in its stored sums.
        self._n_stored: dict[Key, int] = {}
        self._stored_at_s = monotonic()

    def score(self, predictor: Predictor, request: LiveRequest) -> TierScore | None:
        """Return the score of a task over the windows so far; None before the first."""
        key, mask = _score_key(predictor, request), request.mask
        if key is None:
            return None
        store = self._store_of(request)
        is_unknown = key not in self._scores and key not in self._scorings
        if is_unknown and store is not None:
            stored = store.score(key, mask)
            if stored is not None:
                self._scores.get(key, _always(stored))
        if key in self._scores:
            # Views compare masks by identity.
            return replace(self._scores.get(key, _missing), mask=mask)
        if is_unknown and not (store is not None and store.has_sums(key)):
            return None
        scoring = self._scoring(predictor, request, key)
        return replace(scoring.result(), mask=mask) if scoring.n_added else None

    def complete_score(
        self, predictor: Predictor, request: LiveRequest
    ) -> Callable[[], TierScore | None]:
        """Return a function that finds the score of a task over its whole tier.

        It holds no predictor, and other threads may call it; None as long as the score
        is not complete.
        """
        key, mask = _score_key(predictor, request), request.mask
        store = self._store_of(request)

        def find() -> TierScore | None:
            if key is None:
                return None
            found = self._scores.peek(key)
            return found if found or store is None else store.score(key, mask)

        return find

    def refined_scores(
        self, predictor: Predictor, request: LiveRequest, cancelled: Callable[[], bool]
    ) -> Iterator[TierScore]:
        """Yield the score of a task after each further batch of windows.

        Raises
        ------
        StoppedError
            `cancelled()` returned true; a later call continues.
        """
        key, mask = _score_key(predictor, request), request.mask
        if key is None or key in self._scores:
            return
        for found in self._scoring(predictor, request, key).refine(cancelled):
            if found.is_complete:
                self._scores.get(key, _always(found))
                self._write(request, key, found)
            yield replace(found, mask=mask)
            self._store_in_time(key)

    def curves(self, predictor: Predictor, request: LiveRequest) -> TierCurves | None:
        """Return the curves over the windows so far; None before the first."""
        key = _curves_key(predictor, request)
        if key is None:
            return None
        store = self._store_of(request)
        is_unknown = key not in self._curves and key not in self._sweeps
        if is_unknown and store is not None:
            stored = store.curves(key, _plan(predictor, request))
            if stored is not None:
                self._curves.get(key, _always(stored))
        if key in self._curves:
            return self._curves.get(key, _missing)
        if is_unknown and not (store is not None and store.has_sums(key)):
            return None
        sweep = self._sweep(predictor, request, key)
        return sweep.result() if sweep.n_added else None

    def refined_curves(
        self, predictor: Predictor, request: LiveRequest, cancelled: Callable[[], bool]
    ) -> Iterator[TierCurves]:
        """Yield the curves after each further batch; see `refined_scores`."""
        key = _curves_key(predictor, request)
        if key is None or key in self._curves:
            return
        for found in self._sweep(predictor, request, key).refine(cancelled):
            if found.is_complete:
                self._curves.get(key, _always(found))
                self._write(request, key, found)
            yield found
            self._store_in_time(key)

    def forget_unfinished(self) -> None:
        """Write unfinished sums to disk and release them with their predictor."""
        n_bytes = 0
        # The last used first: the least recently used may have no place.
        for key in reversed(self._n_stored):
            work = self._unfinished(key)
            if work is not None and n_bytes + work.n_bytes <= UNFINISHED_BYTES:
                n_bytes += work.n_bytes
                self._store_sums(key)
        self._n_stored.clear()
        self._scorings.clear()
        self._sweeps.clear()

    def _scoring(self, predictor: Predictor, request: LiveRequest, key: Key) -> TierScoring:
        session, mask, metric = request.session, request.mask, request.metric
        tier = scored_tier(session, predictor.needs.spec)

        def make() -> TierScoring:
            return TierScoring(predictor, session, mask, tier, metric)

        return self._kept(self._scorings, request, key, make)

    def _sweep(self, predictor: Predictor, request: LiveRequest, key: Key) -> TierSweep:
        def make() -> TierSweep:
            return TierSweep(predictor, request.session, _plan(predictor, request))

        return self._kept(self._sweeps, request, key, make)

    def _kept(
        self,
        cache: MemoryCache[Work],
        request: LiveRequest,
        key: Key,
        make: Callable[[], Work],
    ) -> Work:
        """Return the computation of a task; a new one if its sums are of no use."""
        work = cache.peek(key)
        if work is not None and not work.is_whole:
            cache.drop(key)
        if key in self._n_stored:  # becomes the last used
            self._n_stored[key] = self._n_stored.pop(key)
        return cache.get(key, lambda: self._continued(request, key, make))

    def _continued(self, request: LiveRequest, key: Key, make: Callable[[], Work]) -> Work:
        """Return a new computation, with the sums of an earlier process if stored."""
        store, work = self._store_of(request), make()
        if store is None:
            return work

        def restored(facts: Facts, arrays: Arrays) -> Work:
            work.restore(facts, arrays)
            return work

        if store.has_sums(key):
            # Sums of another task leave a part of their values in `work`.
            work = store.with_sums(key, restored) or make()
        self._n_stored[key] = work.n_added
        return work

    def _unfinished(self, key: Key) -> TierScoring | TierSweep | None:
        is_complete = key in self._scores or key in self._curves
        return None if is_complete else self._scorings.peek(key) or self._sweeps.peek(key)

    def _store_in_time(self, key: Key) -> None:
        """Store the sums of a task that is being refined, unless it was just done."""
        work = self._unfinished(key)
        is_due = monotonic() - self._stored_at_s > STORE_EVERY_S
        if is_due and work is not None and work.n_bytes <= QUICK_BYTES:
            self._store_sums(key)

    def _store_sums(self, key: Key) -> None:
        work, n_stored = self._unfinished(key), self._n_stored.get(key)
        if self._store is None or work is None or n_stored is None:
            return
        if not work.is_whole:
            return
        if work.n_added > n_stored and work.n_bytes <= UNFINISHED_BYTES:
            self._store.add_sums(key, *work.sums())
            self._n_stored[key], self._stored_at_s = work.n_added, monotonic()

    def _store_of(self, request: LiveRequest) -> ScoreStore | None:
        # The id of an object that the user made need not tell its weights.
        return self._store if isinstance(request.predictor, str) else None

    def _write(self, request: LiveRequest, key: Key, found: TierScore | TierCurves) -> None:
        store = self._store_of(request)
        if store is not None:
            store.add(key, found)


def _score_key(predictor: Predictor, request: LiveRequest) -> Key | None:
    """Return what the score of a task depends on; None if it has no score."""
    mask = request.mask
    if not (has_scored_targets(mask) and _is_scored(predictor, request)):
        return None
    # Predictions under edits are never scored, so edits are not in the key. The tier
    # follows from the session.
    return ("score", *_key(predictor, request), task_id(predictor.needs, mask))


def _curves_key(predictor: Predictor, request: LiveRequest) -> Key | None:
    """Return what context curves depend on; None if there are none."""
    # Predictions of a file do not depend on the context.
    is_possible = request.sweep and not predictor.needs.is_stored
    if not (is_possible and _is_scored(predictor, request)):
        return None
    asked = asked_neurons(request.mask)
    digest = blake2b(np.packbits(asked).tobytes(), digest_size=12).hexdigest()
    return ("curves", *_key(predictor, request), digest)


def _is_scored(predictor: Predictor, request: LiveRequest) -> bool:
    spec, metric = predictor.needs.spec, METRICS[request.metric]
    return request.scores_tier and has_tier_score(request.session, spec, metric)


def _key(predictor: Predictor, request: LiveRequest) -> Key:
    session = request.session
    return (
        *(predictor.predictor_id, repr(predictor.needs.spec)),
        # Another device, or number of threads, gives other last digits.
        residence_of(predictor).hardware,
        *(session.id, session.fingerprint, request.metric),
    )


def _plan(predictor: Predictor, request: LiveRequest) -> SweepPlan:
    session, spec = request.session, predictor.needs.spec
    tier = scored_tier(session, spec)
    return tier_plan(session, spec, tier, request.metric, request.mask)


def _always(value: T) -> Callable[[], T]:
    return lambda: value


def _missing() -> Any:
    raise KeyError("not in memory")
