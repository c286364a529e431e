"""Scores and context curves over a tier: continued, kept and stored.

The sums of unfinished tasks are kept in memory, so that a task to which the user
returns goes on where it was interrupted. Complete results outlive a change of the
model. Complete results and unfinished sums of models with a name or file outlive a
restart, too.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
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
from omnimouse_model.evaluation.results import BehaviorScore, Score, json_values, score_arguments
from omnimouse_model.evaluation.tier_score import (
    Arrays,
    Facts,
    TierRun,
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
from omnimouse_model.storage.write import cache_dir, remove_oldest

# -- storage of scores and context curves on disk, from which a restart goes on -------
# One file per question, in the user's cache: complete numbers, or the sums of an
# unfinished computation, which then goes on. Its name is a hash of everything that the
# numbers depend on. Files are written atomically and read without pickle; the least
# recently used are removed above a limit of bytes.
VERSION = 10
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
        self, path: Path, key: tuple[str, ...], facts: Facts, arrays: Arrays, limit_bytes: int
    ) -> bool:
        """Write a file, and return whether that succeeded."""
        text = json.dumps({"key": _name_parts(key), **facts}, allow_nan=False)
        arrays = {**arrays, _FACTS: np.array(text)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, arrays)
            remove_oldest(path.parent, path.suffix, limit_bytes)
        except OSError as error:
            # Without the file, the score is computed again after a restart.
            _log.warning("A score is not stored: %s", error)
            return False
        return True

    def _read(
        self, path: Path, key: tuple[str, ...], parsed: Callable[[Facts, Arrays], Found]
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


def _name_parts(key: tuple[str, ...]) -> list[str]:
    return [str(VERSION), *key]


# -- scores ---------------------------------------------------------------------------
_ARRAYS = (
    *("neurons", "per_neuron", "counts", "left_out", "train_left_out"),
    *("error_per_neuron", "pooled_per_neuron", "pooled_left_out", "slope_per_neuron"),
)

_SAMPLE = "sample_"
"""Prefix of the arrays of the sample of the targets."""


def _score_parts(found: TierScore) -> tuple[Facts, Arrays]:
    """Return the values of a score as JSON values, and its arrays."""
    arrays = step_arrays(found.steps)
    arrays |= {_SAMPLE + name: part for name, part in step_arrays(found.sample_steps).items()}
    arrays["windows"] = np.array(list(found.window_scores.items()), np.float64)
    facts: Facts = {
        "tier": found.tier,
        "n_windows": found.n_windows,
        "n_total": found.n_total,
        "behavior": json_values(found.behavior),
        "score": None,
    }
    if found.score is not None:
        of_score = {f.name: getattr(found.score, f.name) for f in fields(Score)}
        # A live score has no groups of stimuli.
        of_score.pop("groups")
        arrays |= {f"score_{name}": of_score.pop(name) for name in _ARRAYS}
        facts["score"] = json_values(of_score)
    return facts, arrays


def _score(facts: Facts, arrays: Arrays, mask: Mask) -> TierScore:
    score = facts["score"]
    if score is not None:
        of_score: dict[str, Any] = {name: arrays[f"score_{name}"] for name in _ARRAYS}
        score = Score(**score_arguments(Score, score), **of_score)
    # Absent in those of older versions.
    of_sample = {
        name.removeprefix(_SAMPLE): part
        for name, part in arrays.items()
        if name.startswith(_SAMPLE)
    }
    return TierScore(
        mask,
        facts["tier"],
        score,
        tuple(BehaviorScore(**score_arguments(BehaviorScore, b)) for b in facts["behavior"]),
        facts["n_windows"],
        facts["n_total"],
        steps_of(arrays),
        dict(arrays["windows"].reshape(-1, 2).tolist()),
        sample_steps=steps_of(of_sample) if of_sample else {},
    )


# -- curves ---------------------------------------------------------------------------
def _curves_facts(found: TierCurves) -> Facts:
    # The plan follows from the recording and the metric.
    return {
        "predictor": found.sweep.predictor,
        "sessions": list(found.sweep.sessions),
        "unread": list(found.sweep.unread),
        "rows": [SWEEP.plain(row) for row in found.sweep.rows],
        "n_windows": found.n_windows,
        "n_total": found.n_total,
    }


def _curves(facts: Facts, arrays: Arrays, plan: SweepPlan) -> TierCurves:
    rows = tuple(SWEEP.parsed(row) for row in facts["rows"])
    sessions = tuple(facts["sessions"])
    # Absent in those of older versions.
    unread = tuple(facts.get("unread", ()))
    sweep = ContextSweep(plan, facts["predictor"], sessions, rows, unread)
    n_windows, n_total = facts["n_windows"], facts["n_total"]
    return TierCurves(sweep, n_windows, n_total, arrays["per_neuron"], arrays["asked"])


MAX_SCORE_BYTES = 256 * 2**20
"""Limit of the sums of earlier tasks, which return with their scores."""
MAX_COMPLETE = 128
"""Number of complete scores and curves in memory."""
STORE_EVERY_S = 10.0
"""Seconds between two writings of unfinished sums; a kill loses what came since."""
QUICK_BYTES = 8 * 2**20
"""Larger sums are written at the end alone: writing takes more than 50 ms, for which
the next stroke would wait."""
Key = tuple[str, ...]
Result = TierScore | TierCurves


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Key of a score or of curves, where they are stored, and how they are computed."""

    key: Key
    store: ScoreStore | None
    stored: Callable[[ScoreStore], Result | None]
    begin: Callable[[], TierRun[Any]]


class TierResults:
    """Scores and curves of all tasks so far.

    Parameters
    ----------
    store
        Where they are stored; None for memory alone.
    """

    def __init__(self, store: ScoreStore | None = None) -> None:
        self._store = store
        self._runs = MemoryCache[TierRun[Any]](2 * MAX_SCORE_BYTES, lambda run: run.n_bytes)
        self._complete = MemoryCache[Any](MAX_COMPLETE)
        # Unfinished task that can be stored -> number of batches in its stored sums.
        self._n_stored: dict[Key, int] = {}
        self._stored_at_s = monotonic()

    def known(self, predictor: Predictor, request: LiveRequest) -> Iterator[Result]:
        """Yield the score of a task, then its curves, over the windows so far."""
        for question in self._questions(predictor, request):
            found = self._known(question)
            if found is not None:
                yield _under(request.mask, found)

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
            found = self._complete.peek(key)
            return found if found or store is None else store.score(key, mask)

        return find

    def refined(
        self, predictor: Predictor, request: LiveRequest, cancelled: Callable[[], bool]
    ) -> Iterator[Result]:
        """Yield the score, then the curves, after each further batch of windows.

        Raises
        ------
        StoppedError
            `cancelled()` returned true; a later call continues.
        """
        for question in self._questions(predictor, request):
            key, store = question.key, question.store
            if key in self._complete:
                continue
            for found in self._run(question).refine(cancelled):
                if found.is_complete:
                    self._keep(key, found)
                    if store is not None:
                        store.add(key, found)
                yield _under(request.mask, found)
                self._store_in_time(key)

    def forget_unfinished(self) -> None:
        """Write unfinished sums to disk and release them with their predictor."""
        n_bytes = 0
        # The last used first: the least recently used may have no place.
        for key in reversed(self._n_stored):
            run = self._unfinished(key)
            if run is not None and n_bytes + run.n_bytes <= UNFINISHED_BYTES:
                n_bytes += run.n_bytes
                self._store_sums(key)
        self._n_stored.clear()
        self._runs.clear()

    def _questions(self, predictor: Predictor, request: LiveRequest) -> Iterator[_Question]:
        """Yield the score of a task, and the curves if they are asked for."""
        store = self._store_of(request)
        key, curves = _score_key(predictor, request), _curves_key(predictor, request)
        if key is not None:
            yield _Question(
                key,
                store,
                lambda store: store.score(key, request.mask),
                lambda: _scoring(predictor, request),
            )
        if curves is not None:
            yield _Question(
                curves,
                store,
                lambda store: store.curves(curves, _plan(predictor, request)),
                lambda: TierSweep(predictor, request.session, _plan(predictor, request)),
            )

    def _known(self, question: _Question) -> Result | None:
        key, store = question.key, question.store
        found = self._complete.peek(key)
        is_unknown = found is None and key not in self._runs
        if is_unknown and store is not None:
            found = question.stored(store)
        if found is not None:
            return self._keep(key, found)
        if is_unknown and not (store is not None and store.has_sums(key)):
            return None
        run = self._run(question)
        return run.result() if run.has_windows else None

    def _keep(self, key: Key, found: Result) -> Result:
        """Keep a complete result, which becomes the last used."""
        return self._complete.get(key, lambda: found)

    def _run(self, question: _Question) -> TierRun[Any]:
        """Return the computation of a task; a new one if its sums are of no use."""
        key = question.key
        run = self._runs.peek(key)
        if run is not None and not run.is_whole:
            self._runs.drop(key)
        if key in self._n_stored:  # becomes the last used
            self._n_stored[key] = self._n_stored.pop(key)
        return self._runs.get(key, lambda: self._continued(question))

    def _continued(self, question: _Question) -> TierRun[Any]:
        """Return a new computation, with the sums of an earlier process if stored."""
        key, store, run = question.key, question.store, question.begin()
        if store is None:
            return run

        def restored(facts: Facts, arrays: Arrays) -> TierRun[Any]:
            run.restore(facts, arrays)
            return run

        if store.has_sums(key):
            # Sums of another task leave a part of their values in `run`.
            run = store.with_sums(key, restored) or question.begin()
        self._n_stored[key] = run.n_added
        return run

    def _unfinished(self, key: Key) -> TierRun[Any] | None:
        return None if key in self._complete else self._runs.peek(key)

    def _store_in_time(self, key: Key) -> None:
        """Store the sums of a task that is being refined, unless it was just done."""
        run = self._unfinished(key)
        is_due = monotonic() - self._stored_at_s > STORE_EVERY_S
        if is_due and run is not None and run.n_bytes <= QUICK_BYTES:
            self._store_sums(key)

    def _store_sums(self, key: Key) -> None:
        run, n_stored = self._unfinished(key), self._n_stored.get(key)
        if self._store is None or run is None or n_stored is None:
            return
        if not run.is_whole:
            return
        if run.n_added > n_stored and run.n_bytes <= UNFINISHED_BYTES:
            self._store.add_sums(key, *run.sums())
            self._n_stored[key], self._stored_at_s = run.n_added, monotonic()

    def _store_of(self, request: LiveRequest) -> ScoreStore | None:
        # The id of an object that the user made need not tell its weights.
        return self._store if isinstance(request.predictor, str) else None


def _under(mask: Mask, found: Result) -> Result:
    # Views compare masks by identity.
    return replace(found, mask=mask) if isinstance(found, TierScore) else found


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
    # Predictions of a file do not depend on the context, and those of other windows have
    # another context than those on screen.
    is_possible = not predictor.needs.is_stored and _span_of(predictor, request) is None
    if not (request.sweep and is_possible and _is_scored(predictor, request)):
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


def _scoring(predictor: Predictor, request: LiveRequest) -> TierScoring:
    session, span = request.session, _span_of(predictor, request)
    tier = scored_tier(session, span or predictor.needs.spec)
    return TierScoring(predictor, session, request.mask, tier, request.metric, span)


def _plan(predictor: Predictor, request: LiveRequest) -> SweepPlan:
    session, spec = request.session, predictor.needs.spec
    tier = scored_tier(session, spec)
    return tier_plan(session, spec, tier, request.metric, request.mask)
