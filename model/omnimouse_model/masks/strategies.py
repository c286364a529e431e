"""The structured masks of OmniMouse's official code: their rules, names and tables.

Names: "train/57" (index in the training list), "validation/NAME", "test/NAME",
"test_additional/NAME"; a bare name is searched in test, then in test_additional. For
small populations the counts shrink by one rule (`Strategy.adapted`), which training,
the front ends and evaluation share. Field names and defaults are those of the official
code, with its quirks; comments mark them. `Mask.from_strategy` makes the masks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import EmptyMaskError, MaskError
from omnimouse_model.masks.attachment import Attachment, attachment_of
from omnimouse_model.masks.cells import GUARD_SAMPLES, HIDDEN, TARGET, VISIBLE, BehaviorMode
from omnimouse_model.masks.files import ranges_text
from omnimouse_model.storage.trees import read_json

TOKEN_SAMPLES, TOKEN_STRIDE = 10, 5
"""A visible slice is one token of 10 samples, or several that begin every 5 samples."""
QUERY_SAMPLES = 5
"""Targets are multiples of these samples."""
FULL_POPULATION = 4096
"""Maximum number of neurons per window in the training of the released models."""
SMALL_POPULATION = 3500
"""Smaller populations have adapted counts."""
_COUNTS = (
    "n_visible_neurons",
    "max_n_reconstructed_neurons",
    "prefix_len",
    "full_population_prefix_len",
    "max_response_context_samples",
    "suffix_len",
    "n_visible_frames",
)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A structured mask as the official code states it, with its field names.

    Counts are neurons, lengths and starts response samples (frames for the video).
    None is the default of the official code, which depends on the population.

    Raises
    ------
    MaskError
        At construction, where the fields contradict each other.
    """

    n_visible_neurons: int | None = None
    prefix_start_idx: int | None = None
    prefix_len: int | None = None
    full_population_prefix_len: int | None = None
    response_context_start_idx: int | None = None
    max_response_context_samples: int | None = None
    max_n_reconstructed_neurons: int | None = None
    suffix_start_idx: int | None = None
    suffix_len: int | None = None
    n_visible_frames_start_idx: int | None = None
    n_visible_frames: int | None = None
    behavior_encoded: bool = True
    behavior_reconstructed: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise MaskError(f"A strategy's weight must be above 0, found {self.weight}.")
        # The official defaults of a field that depend on another field only; the others
        # need the population, see `_resolve_defaults`.
        if self.prefix_len is None:
            self._set("prefix_len", self.max_response_context_samples)
        _check_prefix(self.n_visible_neurons, self.prefix_len)
        if self.full_population_prefix_len is None or self.n_visible_neurons is None:
            self._set("full_population_prefix_len", 0)
        full = self.full_population_prefix_len or 0
        if self.prefix_len is not None and full > self.prefix_len:
            raise MaskError(
                f"full_population_prefix_len {full} is longer than the prefix ({self.prefix_len})."
            )
        if self.response_context_start_idx is None:
            self._set("response_context_start_idx", 0)
        if self.prefix_start_idx is None:
            self._set("prefix_start_idx", self.response_context_start_idx)
        self._check_context()
        if self.behavior_encoded and self.behavior_reconstructed:
            raise MaskError("Behaviour cannot be both visible and a target.")

    def _set(self, name: str, value: int | None) -> None:
        object.__setattr__(self, name, value)

    def _check_context(self) -> None:
        length, context = self.prefix_len, self.max_response_context_samples
        if length is None or context is None:
            return
        start = self.response_context_start_idx or 0
        first = self.prefix_start_idx or 0
        if not start <= first <= first + length <= start + context:
            raise MaskError(
                f"The visible samples {first}-{first + length} must lie in the "
                f"context {start}-{start + context}."
            )

    @property
    def behavior(self) -> BehaviorMode:
        """Mode of behaviour in the mask."""
        if self.behavior_encoded:
            return "visible"
        return "target" if self.behavior_reconstructed else "hidden"

    def adapted(self, n_neurons: int) -> "Strategy":
        """Shrink the counts to a small population."""
        if n_neurons >= SMALL_POPULATION:
            return self
        visible = _scaled(self.n_visible_neurons, n_neurons)
        targets = _scaled(self.max_n_reconstructed_neurons, n_neurons)
        n_visible = n_neurons if visible is None else min(visible, n_neurons)
        # Rounding up both counts may exceed the population: targets give way.
        if 0 < n_visible < n_neurons:
            targets = min(n_neurons if targets is None else targets, n_neurons - n_visible)
        return replace(self, n_visible_neurons=visible, max_n_reconstructed_neurons=targets)

    def _resolve_defaults(self, n: int) -> "_ResolvedStrategy":
        """Fill in every default for a population of `n` neurons."""
        n_samples, n_frames = default_spec().n_samples, default_spec().n_frames
        context_start = min(max(self.response_context_start_idx or 0, 0), n_samples)
        context = _at_most(self.max_response_context_samples, n_samples - context_start)
        end = context_start + context
        first = min(max(self.prefix_start_idx or 0, context_start), end)
        prefix = _at_most(self.prefix_len, end - first)
        full = min(self.full_population_prefix_len or 0, prefix)
        visible = _at_most(self.n_visible_neurons, n)
        _check_prefix(visible, prefix)
        suffix_start = self.suffix_start_idx
        if suffix_start is None:
            # The default ignores the start of the prefix, as in the official code.
            suffix_start = full if visible < n else prefix
        suffix_start = min(max(suffix_start, 0), n_samples)
        frame = min(max(self.n_visible_frames_start_idx or 0, 0), n_frames)
        return _ResolvedStrategy(
            n,
            visible,
            first,
            prefix,
            full,
            context=(context_start, end),
            n_targets=_at_most(self.max_n_reconstructed_neurons, n),
            suffix=(
                suffix_start,
                suffix_start + _at_most(self.suffix_len, n_samples - suffix_start),
            ),
            frames=(frame, frame + _at_most(self.n_visible_frames, n_frames - frame)),
        )

    def _check_counts(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise EmptyMaskError(f"{name} is {value}; give 0 or more, or null.")

    def mask_fields(self, n_total: int, order: np.ndarray | None = None) -> dict[str, Any]:
        """Return the fields of the mask of the strategy for a population.

        Parameters
        ----------
        n_total
            Neurons of the session, P.
        order
            The N neurons that enter, first visible ones first; all by default.

        Raises
        ------
        MaskError
            Where a slice cannot be divided into tokens or queries.
        EmptyMaskError
            Where there is no target.
        """
        self._check_counts()
        order = np.arange(n_total) if order is None else np.asarray(order)
        resolved = self._resolve_defaults(len(order))
        visible = _visible_blocks(resolved)
        targets = _target_blocks(resolved)
        if not targets and not self.behavior_reconstructed:
            raise EmptyMaskError("This strategy has no target.")
        cells = np.full((default_spec().n_samples, n_total), HIDDEN, np.uint8)
        # Targets last: where a target block meets a visible one, the target counts.
        for code, blocks in ((VISIBLE, visible), (TARGET, targets)):
            for start, stop, neurons in blocks:
                cells[start:stop, order[neurons]] = code
        frames = np.zeros(default_spec().n_frames, bool)
        frames[slice(*resolved.frames)] = True
        attachment = strategy_attachment(
            default_spec(),
            n_total,
            order,
            # Each visible block is divided into tokens on its own.
            cuts=[block[0] for block in visible[1:]],
            context_span=resolved.context,
            query_phase=targets[0][0] % QUERY_SAMPLES if targets else 0,
        )
        modes = {"behavior": self.behavior, "attachment": attachment}
        return {"cells": cells, "frames": frames, **modes}


def strategy_attachment(
    spec: WindowSpec,
    n_neurons: int,
    order: np.ndarray,
    context_span: tuple[int, int],
    *,
    cuts: Sequence[int] = (),
    query_phase: int = 0,
) -> Attachment | None:
    """Return the layout of a strategy's tokens, None for windows of another spec.

    Parameters
    ----------
    order
        The neurons that enter, in their order.
    context_span
        (start, stop) samples in which latents exist.
    cuts, query_phase
        Samples that no token crosses, and first sample of the grid of targets.
    """
    if spec != default_spec():
        return None
    ordered = np.asarray(order, np.int64).tobytes()
    return _attachment(spec, n_neurons, ordered, context_span, tuple(cuts), query_phase)


# Contexts of a sweep share their order, which as text takes 7 ms with 10,000 neurons.
@lru_cache(maxsize=8)
def _attachment(
    spec: WindowSpec,
    n_neurons: int,
    order: bytes,
    context_span: tuple[int, int],
    cuts: tuple[int, ...],
    query_phase: int,
) -> Attachment:
    values = {
        "order": ranges_text(np.frombuffer(order, np.int64)),
        "cuts": list(cuts),
        "context_span": list(context_span),
        "query_phase": query_phase,
    }
    return attachment_of("omnimouse", values, spec, n_neurons)


CellBlock = tuple[int, int, slice]
"""First sample, end, and positions of neurons in the order."""


class _ResolvedStrategy(NamedTuple):
    """Numbers of a strategy in a population of `n` neurons, without None.

    The first `visible` neurons are visible from sample `first` for `prefix` samples, of
    which all neurons are visible for the first `full`. `context`, `suffix` (targets)
    and `frames` are (start, stop).
    """

    n: int
    visible: int
    first: int
    prefix: int
    full: int
    context: tuple[int, int]
    n_targets: int
    suffix: tuple[int, int]
    frames: tuple[int, int]


def _visible_blocks(of: _ResolvedStrategy) -> list[CellBlock]:
    """Return the visible blocks, each divided into tokens on its own."""
    full_stop, stop = of.first + of.full, of.first + of.prefix
    blocks: list[CellBlock] = []
    if of.full > 0 and 0 < of.visible < of.n:
        blocks.append((of.first, full_stop, slice(0, of.n)))
    # If all neurons are visible, the part with the full population is dropped, as in
    # the official code.
    if of.prefix > 0 and of.visible > 0 and of.full < of.prefix:
        blocks.append((full_stop, stop, slice(0, of.visible)))
    for start, end, _ in blocks:
        length = end - start
        if length < TOKEN_SAMPLES or (length - TOKEN_SAMPLES) % TOKEN_STRIDE:
            raise MaskError(
                f"Visible samples {start}-{end} cannot be cut into tokens: a slice "
                f"needs {TOKEN_SAMPLES} samples plus a multiple of {TOKEN_STRIDE}."
            )
    return blocks


def _target_blocks(of: _ResolvedStrategy) -> list[CellBlock]:
    """Return the target blocks, in the order in which they are predicted."""
    start, stop = of.suffix
    if start == stop or of.n_targets == 0:
        return []
    # `skip_n_samples` of the official code has the length of the guard.
    if start < GUARD_SAMPLES:
        raise MaskError(
            f"Targets start at sample {start}; the first {GUARD_SAMPLES} samples cannot be targets."
        )
    after_full = _guarded_end(of.first, of.full)
    after_prefix = _guarded_end(of.first, of.prefix)
    first_target = of.n - of.n_targets
    if first_target >= of.visible or start >= after_prefix:
        blocks = [(max(start, after_full), stop, slice(first_target, of.n))]
    else:
        # Neurons of the prefix are targets only after it. The first block is not
        # limited to `n_targets`, as in the official code.
        middle = min(after_prefix, stop)
        blocks = [(max(start, after_full), middle, slice(of.visible, of.n))]
        if stop > after_prefix:
            blocks.append((after_prefix, stop, slice(first_target, of.n)))
    for begin, end, neurons in blocks:
        if neurons.stop <= neurons.start:
            raise MaskError(
                f"All {of.n} neurons are visible during the targets of samples "
                f"{begin}-{end}: no target neuron is left. Use a session with more "
                "neurons, or show fewer (n_visible_neurons)."
            )
        if end <= begin or (end - begin) % QUERY_SAMPLES:
            raise MaskError(
                f"Targets of samples {begin}-{end} are not a multiple of {QUERY_SAMPLES}."
            )
    return blocks


def _guarded_end(first: int, length: int) -> int:
    """Return the end of a visible block and its guard; 0 without the block."""
    # `interpolation_buffer` of the official code has the length of the guard.
    stop = min(first + length + GUARD_SAMPLES, default_spec().n_samples)
    return stop if length else 0


def _check_prefix(n_visible: int | None, prefix_len: int | None) -> None:
    if (n_visible == 0) != (prefix_len == 0):
        raise MaskError(
            "No visible neurons and no visible samples go together: found "
            f"n_visible_neurons {n_visible}, prefix_len {prefix_len}."
        )


def _scaled(count: int | None, n_neurons: int) -> int | None:
    # None stays the official default, and 0 stays 0; other counts are at least 1.
    if not count:
        return count
    return max(1, round(count * n_neurons / FULL_POPULATION))


def _at_most(value: int | None, limit: int) -> int:
    return limit if value is None else min(value, limit)


# -- the named ones --------------------------------------------------------------
@cache
def _tables() -> dict[str, Strategy]:
    folder = Path(__file__).parent / "strategy_tables"
    training = read_json(folder / "training.json")["masks"]
    evaluation = read_json(folder / "evaluation.json")
    named = {f"train/{row['index']}": _from_json(row) for row in training}
    for group in ("validation", "test", "test_additional"):
        rows = evaluation[group]
        # A list has the name in each row, an object has it as the key.
        items = rows.items() if isinstance(rows, dict) else ((row["name"], row) for row in rows)
        named |= {f"{group}/{name}": _from_json(row) for name, row in items}
    return named


def _from_json(row: dict[str, object]) -> Strategy:
    names = {field.name for field in fields(Strategy)}
    # mypy: a JSON row holds values of several types
    return Strategy(**{k: v for k, v in row.items() if k in names})  # type: ignore[arg-type]


def strategy_names() -> tuple[str, ...]:
    """Return the full names of all strategies, those of training first.

    Examples
    --------
    >>> names = om.strategy_names()
    >>> len(names), names[0], names[-1]
    (174, 'train/0', 'test_additional/causal_response_10_video_behavior')
    """
    return tuple(_tables())


def full_name(name: str) -> str:
    """Return the full name of a strategy, or raise `MaskError` with similar names."""
    table = _tables()
    for candidate in (name, f"test/{name}", f"test_additional/{name}"):
        if candidate in table:
            return candidate
    # The nearest names are compared in full, or all short names would look alike.
    complete = name if "/" in name else f"test/{name}"
    nearest = get_close_matches(complete, table, cutoff=0.0)
    raise MaskError(
        f"There is no strategy {name[:80]!r}; the nearest are {', '.join(nearest)}. In "
        "Python, omnimouse_model.strategy_names() has them all."
    )


def find_strategy(name: str) -> Strategy:
    """Return the official strategy of a name, without adaptation.

    Examples
    --------
    >>> strategy = om.find_strategy("population_1024_response_video_behavior")
    >>> strategy.n_visible_neurons, strategy.suffix_start_idx, strategy.behavior
    (1024, 30, 'visible')
    """
    return _tables()[full_name(name)]


def adaptation(official: Strategy, adapted: Strategy, count: int) -> str:
    """Return which counts of a strategy were adapted to a population."""
    before, after = asdict(official), asdict(adapted)
    labels = {"n_visible_neurons": "visible", "max_n_reconstructed_neurons": "targets"}
    changes = [
        f"{label} {'all' if before[key] is None else before[key]} → {after[key]}"
        for key, label in labels.items()
        if before[key] != after[key]
    ]
    return f"adapted to {count} neurons: {', '.join(changes)}"
