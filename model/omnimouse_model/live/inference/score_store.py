"""Storage of scores and context curves on disk, from which a restart goes on.

One file per question, in the user's cache: complete numbers, or the sums of an
unfinished computation, which then goes on. Its name is a hash of everything that the
numbers depend on. Files are written atomically and read without pickle; the least
recently used are removed above a limit of bytes.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.analysis.sweep.live_sweep import TierCurves
from omnimouse_model.analysis.sweep.table import SWEEP, ContextSweep
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
    step_arrays,
    steps_of,
)
from omnimouse_model.evaluation.tier_windows import VERSION as FIT_VERSION
from omnimouse_model.masks import Mask
from omnimouse_model.storage.arrays.npy import Npz, write_arrays
from omnimouse_model.storage.cache import cache_dir
from omnimouse_model.storage.trees import decode_json

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
    # Baselines are fitted in another way when the version of fits changes.
    return [f"{VERSION}.{FIT_VERSION}", *key]


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
