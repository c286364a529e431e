"""Codes of cells and the rules over them, as plain arrays (n_samples, P)."""

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.window_spec import ASSUMED_RATE_HZ, WindowSpec
from omnimouse_model.errors import MaskError

HIDDEN, VISIBLE, TARGET = 0, 1, 2
MIXED = 3
STATE_NAMES = ("hidden", "visible", "target", "mixed")
"""By code; the last is for a neuron that is visible in a part of a span only."""
TRANSITION = " → "
"""Separates the first from the last state of a span in the name of a pattern."""


def _pattern_name(state: str, first: str, last: str) -> str:
    # Of a target, both ends are told if they differ; of a mixed state, if one is visible.
    is_told = first != last and ("visible" in (first, last)) == (state == "mixed")
    return f"{first}{TRANSITION}{last}" if is_told and state in ("target", "mixed") else state


PATTERN_NAMES = tuple(
    _pattern_name(*names) for names in product(STATE_NAMES, STATE_NAMES[:3], STATE_NAMES[:3])
)
"""By number of `patterns`: a state, or both ends of one that changes: `hidden → target`."""
GUARD_SAMPLES, _GUARD_S = 5, 5 / 30
"""Samples of a strategy at 30 Hz that are no targets: after a visible one, and at the start."""
SLOW_STORED_HZ = 12.0
"""Strategies have the guard of masks made by hand in recordings stored below this."""
_GUARDED_INTERVALS = 2
"""An interpolated sample depends on the recorded samples on both sides of it."""
BehaviorMode = Literal["visible", "target", "hidden"]
BehaviorModes = BehaviorMode | tuple[BehaviorMode, ...]
Neurons = int | Sequence[int] | np.ndarray | slice
Samples = slice | tuple[int, int] | Sequence[int] | np.ndarray


@runtime_checkable
class HasNeurons(Protocol):
    """Anything with a population: a session."""

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        ...


def count_neurons(session: "HasNeurons | int | np.integer[Any]") -> int:
    """Return the number of neurons of a session, or the number itself."""
    # mypy: getattr keeps the union that its default removes
    return int(getattr(session, "n_neurons", session))  # type: ignore[arg-type]


def recording_rate(session: object, unknown_hz: float = ASSUMED_RATE_HZ) -> float:
    """Return the rate at which a session was recorded, or `unknown_hz`."""
    return getattr(session, "recording_rate_hz", None) or unknown_hz


def is_stored_slowly(session: object) -> bool:
    """Return whether the responses of a session are traces stored below 12 Hz.

    They are interpolated for OmniMouse, and interpolation shows the future.
    """
    responses = getattr(session, "responses", None)
    if responses is None or responses.has_events:
        return False
    return bool(responses.rate_hz < SLOW_STORED_HZ)


def random_order(session: HasNeurons | int, seed: int) -> np.ndarray:
    """Return all neurons in the random order of a seed, int64 (P,).

    Of a strategy with this seed the first 4,096 enter, and the first of them are shown.
    """
    return np.random.default_rng(seed).permutation(count_neurons(session))


# -- targets that their neighbours reveal -----------------------------------------
class Guard(NamedTuple):
    """Samples of a neuron that are no targets, because other samples reveal them."""

    first: int
    """At the start of the window, beside the samples before it."""
    before: int
    """Before a visible sample."""
    after: int
    """After a visible sample."""


NO_GUARD = Guard(0, 0, 0)


def official_guard(spec: WindowSpec) -> Guard:
    """Return the guard of official strategies: 5 samples at 30 Hz, on one side only.

    For slow recordings, `strategies` also leaves out what `guard_of` leaves out.
    """
    # Traces are upsampled from a slower recording, so neighbouring samples share
    # recorded values. Bins of counts do not overlap.
    if spec.responses == "count":
        return NO_GUARD
    count = _samples_of(_GUARD_S, spec)
    return Guard(count, 0, count)


def guard_of(spec: WindowSpec, recording_rate_hz: float) -> Guard:
    """Return the guard of masks made by hand: two recorded samples on both sides.

    At least 5 samples at 30 Hz, as in official strategies; none for counts.
    """
    official = official_guard(spec)
    if official == NO_GUARD:
        return NO_GUARD
    recorded = _samples_of(_GUARDED_INTERVALS / recording_rate_hz, spec)
    count = max(official.after, recorded)
    return Guard(official.first, count, count)


def _samples_of(duration_s: float, spec: WindowSpec) -> int:
    # The product may exceed a whole number by rounding; `ceil` would add a sample.
    return int(np.ceil(duration_s * spec.response_rate_hz - 1e-9))


def near_visible(visible: np.ndarray, guard: Guard) -> np.ndarray:
    """Return the cells beside a visible one of the same neuron, bool (T, N)."""
    near = np.zeros_like(visible)
    # In place, without temporary arrays: one pass over the rows for each lag.
    for lag in range(1, guard.after + 1):
        near[lag:] |= visible[:-lag]
    for lag in range(1, guard.before + 1):
        near[:-lag] |= visible[lag:]
    return near


# -- states of neurons in a span of samples ---------------------------------------
def states(part: np.ndarray) -> np.ndarray:
    """Return uint8 (P,): the code of each neuron in (n, P) cells, or `MIXED`.

    A neuron that is never visible, and a target in some of the samples, is a target: its
    other samples are neither seen nor scored.
    """
    if not len(part):
        return np.zeros(part.shape[1], np.uint8)
    low, high = part.min(axis=0), part.max(axis=0)
    found = np.where(low == high, low, MIXED).astype(np.uint8)
    # Bit 0 is that of `VISIBLE` alone: to compare each cell would take 20 times as long.
    is_visible = np.bitwise_or.reduce(part, axis=0) & VISIBLE
    found[(high == TARGET) & (is_visible == 0)] = TARGET
    return found


def patterns(part: np.ndarray) -> np.ndarray:
    """Return uint8 (P,): the index of each neuron in `PATTERN_NAMES`."""
    state, base = states(part), np.uint8(MIXED)
    if not len(part):
        return state
    # Three digits in base 3, as in the order of `PATTERN_NAMES`: state, first code
    # and last code. Both ends are 0 unless the state is that of a part of the samples.
    ends = np.where(state >= TARGET, part[0] * base + part[-1], np.uint8(0))
    return np.asarray(state * base**2 + ends)


def distinct_columns(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct columns of a bool (T, N), and the number of each neuron's."""
    packed = np.packbits(cells, axis=0)
    n_bytes = max(8, len(packed))
    # Filled up to eight bytes: comparing one integer per neuron is several times faster.
    filled = np.zeros((cells.shape[1], n_bytes), np.uint8)
    filled[:, : len(packed)] = packed.T
    keys = filled.view(np.uint64 if n_bytes == 8 else f"V{n_bytes}").ravel()
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return cells[:, first], number


def changed_columns(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the neurons whose cells differ between two (T, P) of one-byte values, int64."""
    if before is after:
        return np.empty(0, np.int64)
    before, after = before.view(np.uint8), after.view(np.uint8)
    changed = np.zeros(before.shape[1], np.uint8)
    # Eight samples at a time: an array of all cells of many neurons fills no cache.
    for first in range(0, len(before), 8):
        differ = before[first : first + 8] ^ after[first : first + 8]
        changed |= np.bitwise_or.reduce(differ, axis=0)
    return np.flatnonzero(changed)


# -- modes of behaviour ---------------------------------------------------------
def checked_modes(behavior: BehaviorModes, spec: WindowSpec) -> BehaviorModes:
    """Return valid modes of behaviour, one mode if all channels have the same."""
    modes = behavior if isinstance(behavior, tuple) else (behavior,)
    for mode in modes:
        if mode not in ("visible", "target", "hidden"):
            raise MaskError(
                f"Mask.behavior must be 'visible', 'target' or 'hidden', found {mode!r}."
            )
    if isinstance(behavior, tuple):
        count = 0 if spec.behavior is None else len(spec.behavior.channels)
        if len(modes) != count:
            raise MaskError(
                f"Mask.behavior has {len(modes)} modes for the {count} channels of the spec."
            )
        # One form for equal masks, so that their ids are equal.
        return modes[0] if len(set(modes)) == 1 else behavior
    return "hidden" if spec.behavior is None else behavior


# -- setting cells ----------------------------------------------------------------
def fill(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, code: int) -> None:
    """Set a block of cells in place."""
    if len(columns) < 256:
        cells[np.ix_(rows, columns)] = code
        return
    # Index lists are slow for many neurons; a masked copy passes over each row once.
    chosen = np.zeros(cells.shape[1], bool)
    chosen[columns] = True
    for row in rows:
        np.copyto(cells[row], np.uint8(code), where=chosen)


def sample_rows(samples: Samples, count: int) -> np.ndarray:
    """Return indices of samples; a tuple (start, stop) is a span."""
    if isinstance(samples, tuple) and len(samples) == 2:
        samples = np.arange(*samples)
    return _indices(samples, count, "samples")


def neuron_columns(neurons: Neurons, count: int, field: str = "neurons") -> np.ndarray:
    """Return indices of neurons; an error names `field`, the argument of the caller."""
    return _indices(neurons, count, field)


def _indices(selection: object, count: int, field: str) -> np.ndarray:
    """Return indices from a slice, numbers, one number or a bool array."""
    if isinstance(selection, slice):
        return np.arange(count)[selection]
    indices = np.atleast_1d(np.asarray(selection))
    if indices.dtype == bool:
        if indices.shape != (count,):
            raise MaskError(f"{field}: found bools of shape {indices.shape}, expected {count}.")
        return np.flatnonzero(indices)
    # An empty list is of floats.
    if indices.size and not np.issubdtype(indices.dtype, np.integer):
        names = " Those of an area are `om.select_areas(session, name)`." * (field != "samples")
        raise MaskError(f"{field}: found {selection!r:.60}, expected indices.{names}")
    indices = indices.astype(np.int64)
    # Negative numbers would count from the end in NumPy, which hides mistakes.
    wrong = indices[(indices < 0) | (indices >= count)]
    if len(wrong):
        others = f" and {len(wrong) - 1:,} more" * (len(wrong) > 1)
        raise MaskError(f"{field}: found {wrong[0]}{others}, expected 0..{count - 1}.")
    return indices
