"""Scores and context curves over a tier: continued, kept and stored.

The sums of unfinished tasks are kept in memory, so that a task to which the user
returns goes on where it was interrupted. Complete results outlive a change of the
model. Complete results and unfinished sums of models with a name or file outlive a
restart, too.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from hashlib import blake2b
from pathlib import Path
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
from omnimouse_model.analysis.sweep.table import SWEEP, ContextSweep
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.results import (
    BehaviorScore,
    Score,
    number_or_none,
)
from omnimouse_model.evaluation.results_store import number
from omnimouse_model.evaluation.tier_score import (
    Arrays,
    Facts,
    TierScore,
    TierScoring,
    has_scored_targets,
    has_tier_score,
    scored_tier,
    step_arrays,
    steps_of,
)
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import METRICS
from omnimouse_model.predict.compatibility import task_id
from omnimouse_model.predict.devices import MemoryCache, residence_of
from omnimouse_model.predict.predictor import Predictor, fits_of, is_served
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.trees import decode_json
from omnimouse_model.storage.write import cache_dir

# -- storage of scores and context curves on disk, from which a restart goes on -------
# One file per question, in the user's cache: complete numbers, or the sums of an
# unfinished computation, which then goes on. Its name is a hash of everything that the
# numbers depend on. Files are written atomically and read without pickle; the least
# recently used are removed above a limit of bytes.
VERSION = 9
"""Increased when scores are computed in another way, or stored in another form."""
LIMIT_BYTES = 64 * 2**20
"""Maximum size of all files together: about 500 scores of 1,000 neurons."""
UNFINISHED_BYTES = 64 * 2**20
"""Maximum size of the sums of unfinished questions: about 30 of 1,000 neurons."""
Found = TypeVar("Found")
_FACTS = "facts"
"""Name of the array that holds the values other than arrays, as JSON."""
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError)
"""Errors of a file that another program wrote, or that is damaged."""

_log = logging.getLogger(__name__)


class ScoreStore:
    """Scores and curves of tiers, and the sums of unfinished ones, in a folder.

    Parameters
    ----------
    folder
        Folder of the files; that of the user's cache by default.
    limit_bytes
        Size of complete results above which the least recently used are removed.

    Notes
    -----
    A key is a tuple of texts: predictor with the hash of its weights, recording, task,
    metric and whatever else changes the numbers.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return cache_dir() / "scores" if self._folder is None else self._folder

    def score(self, key: tuple[str, ...], mask: Mask) -> TierScore | None:
        """Return the score of a task over its whole tier; None if it is not stored."""
        path = self._path(key)
        return self._read(path, key, lambda facts, arrays: _score(facts, arrays, mask))

    def curves(self, key: tuple[str, ...], plan: SweepPlan) -> TierCurves | None:
        """Return the context curves over a whole tier; None if they are not stored."""
        path = self._path(key)
        return self._read(path, key, lambda facts, arrays: _curves(facts, arrays, plan))

    def add(self, key: tuple[str, ...], found: TierScore | TierCurves) -> None:
        """Store a complete score or curves; a drive that is full leaves them out."""
        if isinstance(found, TierScore):
            facts, arrays = _score_parts(found)
        else:
            facts, arrays = (
                _curves_facts(found),
                {
                    "per_neuron": found.per_neuron,
                    "asked": found.asked,
                },
            )
        if self._write(self._path(key), key, facts, arrays, self._limit_bytes):
            # Another process may have removed it.
            with suppress(OSError):
                self._unfinished_path(key).unlink(missing_ok=True)

    def has_sums(self, key: tuple[str, ...]) -> bool:
        """Return whether sums of an unfinished computation are stored."""
        return self._unfinished_path(key).is_file()

    def with_sums(
        self, key: tuple[str, ...], restored: Callable[[Facts, Arrays], Found]
    ) -> Found | None:
        """Return what `restored` makes of the stored sums; None without valid ones."""
        return self._read(self._unfinished_path(key), key, restored)

    def add_sums(self, key: tuple[str, ...], facts: Facts, arrays: Arrays) -> None:
        """Store the sums of an unfinished computation in place of earlier ones."""
        path = self._unfinished_path(key)
        self._write(path, key, facts, arrays, UNFINISHED_BYTES)

    def _path(self, key: tuple[str, ...]) -> Path:
        digest = blake2b(json.dumps(_name_parts(key)).encode(), digest_size=16)
        return self.folder / f"{digest.hexdigest()}.npz"

    def _unfinished_path(self, key: tuple[str, ...]) -> Path:
        return self.folder / "unfinished" / self._path(key).name

    def _write(
        self,
        path: Path,
        key: tuple[str, ...],
        facts: Facts,
        arrays: Arrays,
        limit_bytes: int,
    ) -> bool:
        """Write a file, and return whether that succeeded."""
        text = json.dumps({"key": _name_parts(key), **facts}, allow_nan=False)
        arrays = {**arrays, _FACTS: np.array(text)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, arrays)
            _remove_oldest(path.parent, limit_bytes)
        except OSError as error:
            # Without the file, the score is computed again after a restart.
            _log.warning("A score is not stored: %s", error)
            return False
        return True

    def _read(
        self,
        path: Path,
        key: tuple[str, ...],
        parsed: Callable[[Facts, Arrays], Found],
    ) -> Found | None:
        if not path.is_file():
            return None
        try:
            # Copied, because the file may be replaced while they are used.
            arrays = {name: np.array(values) for name, values in Npz(path, LIMIT_BYTES).items()}
            facts = decode_json(str(arrays.pop(_FACTS)[()]), path)
            if facts["key"] != _name_parts(key):
                raise ValueError("it belongs to another question")
            found = parsed(facts, arrays)
        except _DAMAGED as error:
            _log.warning("Scored again: %s cannot be read (%r).", path, error)
            return None
        # The time of the last use. A read-only cache still serves.
        with suppress(OSError):
            os.utime(path)
        return found


def _remove_oldest(folder: Path, limit_bytes: int) -> None:
    """Remove the least recently used files above a limit of bytes."""
    entries = []
    for path in folder.glob("*.npz"):
        # Another process may remove files meanwhile.
        with suppress(FileNotFoundError):
            info = path.stat()
            entries.append((info.st_mtime_ns, info.st_size, path))
    excess = sum(size for _, size, _ in entries) - limit_bytes
    # The newest stays, even if it is larger than the limit.
    for _, size, path in sorted(entries)[:-1]:
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def _name_parts(key: tuple[str, ...]) -> list[str]:
    return [str(VERSION), *key]


# -- scores ---------------------------------------------------------------------------
_ARRAYS = (
    *("neurons", "per_neuron", "counts", "left_out", "train_left_out"),
    *("error_per_neuron", "pooled_per_neuron", "pooled_left_out", "slope_per_neuron"),
)


def _score_parts(found: TierScore) -> tuple[Facts, Arrays]:
    """Return the values of a score as JSON values, and its arrays."""
    arrays = step_arrays(found.steps)
    arrays["windows"] = np.array(list(found.window_scores.items()), np.float64)
    facts: Facts = {
        "tier": found.tier,
        "n_windows": found.n_windows,
        "n_total": found.n_total,
        "behavior": [_plain(asdict(one)) for one in found.behavior],
        "score": None,
    }
    if found.score is not None:
        of_score = {f.name: getattr(found.score, f.name) for f in fields(Score)}
        # A live score has no groups of stimuli.
        of_score.pop("groups")
        arrays |= {f"score_{name}": of_score.pop(name) for name in _ARRAYS}
        facts["score"] = _plain(of_score)
    return facts, arrays


def _score(facts: Facts, arrays: Arrays, mask: Mask) -> TierScore:
    score = facts["score"]
    if score is not None:
        of_score = {name: arrays[f"score_{name}"] for name in _ARRAYS}
        score = Score(**_parsed(score, Score), **of_score)  # type: ignore[arg-type]
    return TierScore(
        mask,
        facts["tier"],
        score,
        tuple(BehaviorScore(**_parsed(b, BehaviorScore)) for b in facts["behavior"]),
        facts["n_windows"],
        facts["n_total"],
        steps_of(arrays),
        dict(arrays["windows"].reshape(-1, 2).tolist()),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for JSON, which has no NaN and no arrays."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return [number_or_none(one) for one in value.tolist()]
        return number_or_none(value) if isinstance(value, float) else value

    return {name: plain(value) for name, value in values.items()}


def _parsed(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    kinds = {f.name: f.type for f in fields(kind)}

    def parsed(name: str, value: Any) -> Any:
        if kinds[name] is np.ndarray:
            return np.array([number(one) for one in value], np.float64)
        return number(value) if kinds[name] is float else value

    return {name: parsed(name, value) for name, value in values.items()}


# -- curves ---------------------------------------------------------------------------
def _curves_facts(found: TierCurves) -> Facts:
    # The plan follows from the recording and the metric.
    return {
        "predictor": found.sweep.predictor,
        "sessions": list(found.sweep.sessions),
        "rows": [SWEEP.plain(row) for row in found.sweep.rows],
        "n_windows": found.n_windows,
        "n_total": found.n_total,
    }


def _curves(facts: Facts, arrays: Arrays, plan: SweepPlan) -> TierCurves:
    rows = tuple(SWEEP.parsed(row) for row in facts["rows"])
    sessions = tuple(facts["sessions"])
    sweep = ContextSweep(plan, facts["predictor"], sessions, rows)
    n_windows, n_total = facts["n_windows"], facts["n_total"]
    return TierCurves(sweep, n_windows, n_total, arrays["per_neuron"], arrays["asked"])


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
        span = _span_of(predictor, request)
        tier = scored_tier(session, span or predictor.needs.spec)

        def make() -> TierScoring:
            return TierScoring(predictor, session, mask, tier, metric, span)

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
    span, own = _span_of(predictor, request), predictor.needs.spec
    # Rates of counts are not compared with traces.
    is_possible = span is None or span.responses == own.responses
    metric = METRICS[request.metric]
    return (
        request.scores_tier and is_possible and has_tier_score(request.session, span or own, metric)
    )


def _span_of(predictor: Predictor, request: LiveRequest) -> WindowSpec | None:
    """Return the windows on screen, on whose seconds a predictor of others is scored.

    So its scores can be compared with those of the model, neuron by neuron; None for a
    predictor of such windows.
    """
    spec = request.window.spec
    return None if is_served(predictor.needs.spec, spec) else spec


def _key(predictor: Predictor, request: LiveRequest) -> Key:
    session, span = request.session, _span_of(predictor, request)
    return (
        *(predictor.predictor_id, json.dumps(fits_of(predictor)), repr(predictor.needs.spec)),
        *(() if span is None else (repr(span),)),
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
