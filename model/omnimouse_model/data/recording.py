"""What was recorded: streams on one clock, tiers, valid starts, and an overview of them.

The file is long because tiers, starts and overview are properties of one class.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from omnimouse_model.data.clock import (
    GRID_RATE_HZ,
    Interval,
    common_interval,
    gap_reach,
    points_inside,
    spans_without_gaps,
    start_grid,
)
from omnimouse_model.data.neurons import Units
from omnimouse_model.data.signal import Signal, is_interpolated
from omnimouse_model.data.stimulus import TRIAL_COLUMNS, Stimulus, Trials, early_and_late, has_tiers
from omnimouse_model.data.window_spec import RESPONSE_RATE_HZ, WindowSpec
from omnimouse_model.display import HasSummary
from omnimouse_model.errors import SessionFormatError, bounded
from omnimouse_model.storage.files import bad_file

Value = TypeVar("Value")


@runtime_checkable
class HasCache(Protocol):
    """A session, a window or another object that stores values once they are computed."""

    @property
    def _cache(self) -> dict[Any, Any]: ...


def cached(owner: HasCache, key: Hashable, compute: Callable[[], Value]) -> Value:
    """Return the value that an object keeps under a key; compute it at the first call."""
    # `functools.cached_property` needs a `__dict__`, which slotted classes lack.
    if key not in owner._cache:
        owner._cache[key] = compute()
    return owner._cache[key]


RECORDING_RATE = "recording_rate_hz"
"""Key of `Recording.meta`."""


@dataclass(frozen=True, slots=True)
class Note:
    """A warning or assumption of a reader; the code is for programs and tests."""

    code: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", bounded(self.message))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Recording(HasSummary):
    """The recorded data of a session, with times and tiers; see `Session`.

    Attributes
    ----------
    id, animal_id
        Key by which a model finds the embeddings of the neurons, and the animal.
    path, format, fingerprint
        The folder; the format; a hash that changes with the contents and with the
        reading options that change values.
    units, responses, behavior, stimulus, trials
        The recorded data. Missing streams are None.
    images
        Mean images, float32 (height, width) by name.
    meta
        Descriptions for display, such as microns per pixel and depths of planes.
    series, series_choices
        The kind of responses that was read, and all kinds of the files: names for the
        reading option `series`, best first, with descriptions. Empty for formats
        with one kind.
    options, origin
        Reading options (see `ReadOptions`); the arrays in memory or the web address
        of a session without local files.
    warnings, assumptions
        Irregularities of the files; assumptions about facts that they do not state.
    """

    id: str
    path: Path
    format: str
    fingerprint: str
    units: Units
    responses: Signal
    animal_id: str | None = None
    behavior: dict[str, Signal | None] = field(
        default_factory=lambda: {"eye_tracker": None, "treadmill": None}
    )
    stimulus: Stimulus | None = None
    trials: Trials = field(default_factory=Trials.none)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Note, ...] = ()
    assumptions: tuple[Note, ...] = ()
    series: str = ""
    series_choices: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] | str | None = field(default=None, repr=False)
    _cache: dict[object, Any] = field(default_factory=dict, init=False, repr=False)

    def _facts(self) -> dict[str, str]:
        tiers = ", ".join(f"{name} {m:.1f} min" for name, m in self.tiers().items())
        rate = f"{self.responses.rate_hz:.4g} Hz"
        return {
            "id": self.id,
            "format": self.format,
            "neurons": f"{self.n_neurons:,}",
            "duration": f"{self.recorded_text} at {rate}",
            "streams": ", ".join(self.streams),
            "tiers": tiers or "none",
            "warnings": f"{len(self.warnings)}",
        }

    @property
    def source(self) -> Path | str | Mapping[str, Any]:
        """Argument with which `open_session` opens the session again."""
        return self.path if self.origin is None else self.origin

    @property
    def behavior_names(self) -> tuple[str, ...]:
        """Names of the behaviour channels: eye tracker, then running."""
        return tuple(n for signal in self.recorded_behavior for n in signal.names)

    @property
    def recorded_behavior(self) -> list[Signal]:
        """Behaviour streams that the session has."""
        return [signal for signal in self.behavior.values() if signal is not None]

    @property
    def n_neurons(self) -> int:
        """Neurons, P."""
        return self.responses.n_columns

    @property
    def t0(self) -> float:
        """Native time of session time 0, the first response sample."""
        return self.responses.start

    @property
    def duration_s(self) -> float:
        """Seconds from the first response to the last, pauses included."""
        return self.responses.n_samples / self.responses.rate_hz

    @property
    def recorded_s(self) -> float:
        """Seconds in which responses were recorded: without pauses and lost frames."""
        return self.responses.recorded_s

    @property
    def recorded_text(self) -> str:
        """Recorded minutes, and the span where it is longer, for people."""
        minutes, span = self.recorded_s / 60, self.duration_s / 60
        text = f"{minutes:.1f} min"
        return text if span < 1.005 * minutes else f"{text} within {span:.1f} min"

    @property
    def response_scale(self) -> np.ndarray:
        """float32 (P,): session units per unit of the model's normalised responses."""
        return cached(self, "scale", lambda: self.units.scale.astype(np.float32))

    def behavior_statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std float32 (C,) by which a behaviour stream is z-scored."""
        signal = self.behavior[name]
        if signal is None or signal.mean is None or signal.std is None:
            raise KeyError(f"Session '{self.id}' has no statistics of '{name}'.")
        return signal.mean.astype(np.float32), signal.std.astype(np.float32)

    @property
    def streams(self) -> dict[str, Signal | Stimulus]:
        """Recorded streams by name; "screen" is the stimulus."""
        streams: dict[str, Signal | Stimulus] = {"responses": self.responses}
        streams.update({n: s for n, s in self.behavior.items() if s is not None})
        if self.stimulus is not None:
            streams["screen"] = self.stimulus
        return streams

    @property
    def contents(self) -> str:
        """A hash of id, clocks, trials, statistics and samples; a copy elsewhere has the same.

        Unlike `fingerprint`, it depends on no time of a file. It leaves out the frames of
        the stimulus, and the samples between those at fixed places. A recording that
        cannot be read has its fingerprint.
        """
        try:
            return cached(self, ("contents", self.id), lambda: _contents(self))
        except SessionFormatError:
            return self.fingerprint

    @property
    def is_stale(self) -> bool:
        """Whether a file of a stream has changed or is missing since opening."""
        # The readers raise the same error before they read; here it is only reported.
        try:
            for stream in self.streams.values():
                (stream.file if isinstance(stream, Signal) else stream.source).check()
        except SessionFormatError:
            return True
        return False

    @property
    def recording_rate_hz(self) -> float | None:
        """Responses per second before they were upsampled; None if it is unknown.

        Stated by the user or the metadata; otherwise the rate of the samples, unless
        they have the rate to which the released recordings were upsampled.
        """
        rate_hz = self.responses.rate_hz
        stated = self.options.get("recording_rate_hz") or self.meta.get(RECORDING_RATE)
        if stated:
            return min(float(stated), rate_hz)
        return rate_hz if is_interpolated(rate_hz, RESPONSE_RATE_HZ) else None

    def common_interval(self) -> Interval:
        """Native span that windows may use: all streams, less 0.5 s at both ends."""
        return common_interval([s.valid_interval() for s in self.streams.values()])

    @property
    def start_grid(self) -> np.ndarray:
        """Native times at which windows may begin or a frame of them lie, (n,)."""
        spans = self.responses.recorded_spans
        return cached(self, "grid", lambda: start_grid(self.common_interval(), spans))

    @property
    def split(self) -> dict[str, np.ndarray]:
        """Native spans (n, 2) of "train" and "test" if no trial names a tier.

        Empty if a trial has a tier. The split is also listed in `assumptions`.
        """
        if "split" not in self._cache:
            self._cache["split"] = {}  # set first, because `inside_trials` reads it
            if not has_tiers(self.trials.tier):
                inside = self.inside_trials(None)
                self._cache["split"] = early_and_late(self.start_grid, inside)
        return self._cache["split"]

    @property
    def trial_tiers(self) -> np.ndarray:
        """Tier of each trial, str (n,); without tiers that of its onset in `split`, or ""."""

        def find() -> np.ndarray:
            # Onsets need not ascend, as a grid does: each is compared with all spans.
            onset = self.trials.t_on[:, None] + self.t0
            found = np.full(len(onset), "", dtype=object)
            for tier, spans in self.split.items():
                found[((onset >= spans[:, 0]) & (onset < spans[:, 1])).any(axis=1)] = tier
            return found.astype(str)

        return cached(self, "trial_tiers", find) if self.split else self.trials.tier

    # -- time in which windows may lie -------------------------------------------
    def inside_trials(self, tiers: frozenset[str] | None) -> np.ndarray:
        """bool per point of the start grid: inside a trial of some tiers, or of any.

        Pauses of the responses are in no trial.
        """
        grid, trials = self.start_grid, self.trials
        recorded = points_inside(grid, self.without_pauses())
        if tiers is not None and not tiers.isdisjoint(self.split):
            named = [s for tier, s in self.split.items() if tier in tiers]
            within: np.ndarray = points_inside(grid, np.concatenate(named))
            within &= self.inside_trials(None)
            return within
        if self.stimulus is None:
            if tiers is None:
                return recorded
            spans = np.stack([trials.t_on, trials.t_off], axis=1) + self.t0
        else:
            # A trial lasts until the next one begins, the last one for ever.
            onset = self.stimulus.slot_t[trials.first_slot]
            spans = np.stack([onset, np.append(onset[1:], np.inf)], axis=1)
        chosen = trials.readable.copy()
        if tiers is not None:
            chosen &= np.isin(trials.tier, sorted(tiers))
        recorded &= points_inside(grid, spans[chosen])
        return recorded

    def without_pauses(self) -> np.ndarray:
        """Native spans (n, 2) in which windows may lie, away from pauses of responses."""
        spans, interval = self.responses.recorded_spans, self.common_interval()
        if spans is None:
            # A span of points includes its begin, not its end.
            return np.array([[interval.start, np.inf]])
        # As far from a pause as from missing behaviour: a window reads the samples around
        # its own, and at a joint of two files no sample is missing.
        reach = gap_reach(self.responses.rate_hz)
        free = spans + np.array([reach, -reach])
        if spans[0, 0] <= interval.start:
            free[0, 0] = -np.inf
        if spans[-1, 1] >= interval.stop:
            free[-1, 1] = np.inf
        return np.asarray(free[free[:, 0] < free[:, 1]])

    # -- tiers -------------------------------------------------------------------
    def named_tiers(self, tier: str | Sequence[str]) -> tuple[str, ...]:
        """Tiers of a name or names; "test" includes all test tiers of the session."""
        names = (tier,) if isinstance(tier, str) else tuple(tier)
        present = dict.fromkeys(self.trials.tier.tolist())
        chosen: list[str] = []
        for name in names:
            chosen += [t for t in present if is_test_tier(t)] if name == "test" else []
            chosen.append(name)
        return tuple(dict.fromkeys(chosen))

    def tiers(self) -> dict[str, float]:
        """Minutes of every tier, within the recorded responses, in stored order.

        Examples
        --------
        >>> minutes = session.tiers()
        >>> list(minutes), round(minutes["train"], 1)
        (['blank', 'train', 'validation', 'oracle', 'final_test_1'], 1.0)
        """
        if self.split:
            # Without time that no trial covers.
            return {
                tier: int(self.inside_trials(frozenset({tier})).sum()) / GRID_RATE_HZ / 60
                for tier in self.split
            }
        minutes = dict.fromkeys(self.trials.tier.tolist(), 0.0)
        # Trials may extend beyond the recording of the neurons, and over its pauses.
        span = self.responses.valid_interval()
        on = np.maximum(self.trials.t_on, span.start - self.t0)
        off = np.minimum(self.trials.t_off, span.stop - self.t0)
        if self.responses.recorded_spans is not None:
            on, off = (self.responses.recorded_before(t + self.t0) for t in (on, off))
        for tier, seconds in zip(self.trials.tier.tolist(), np.maximum(off - on, 0.0), strict=True):
            minutes[tier] += float(seconds) / 60.0
        return minutes

    def tiers_text(self) -> str:
        """Return the tiers of a session for a message, or why it has none."""
        tiers = self.tiers()
        if tiers:
            return f"its tiers are {', '.join(tiers)}"
        return f"it lasts {self.duration_s:.3g} s, too short to be divided into train and test"


def is_test_tier(tier: str) -> bool:
    """Whether a tier is held out for tests: `final_test*`, `*_test_*` or `test`."""
    return tier == "test" or fnmatchcase(tier, "final_test*") or fnmatchcase(tier, "*_test_*")


def part_name(tier: str) -> str:
    """Return the name of a tier on screen: "test" for each tier that is held out for tests."""
    return "test" if is_test_tier(tier) else tier


_BLOCK_BYTES = 32 * 2**20


def allowed_times(
    session: Recording, tiers: frozenset[str] | None, reads_behavior: bool
) -> np.ndarray:
    """bool per point of the session's start grid: inside a chosen trial, gap-free.

    Parameters
    ----------
    reads_behavior
        Whether windows read behaviour: only these must be away from its gaps.

    Raises
    ------
    SessionFormatError
        Missing behaviour excludes all times.
    """
    grid = session.start_grid
    allowed = grid < session.common_interval().stop
    if reads_behavior:
        for signal in session.recorded_behavior:
            allowed &= points_inside(grid, gap_free(signal))
    # The reference package ignores its filters if they leave no time; we report it.
    if not allowed.any():
        problem = "has no valid data: behaviour is missing (NaN) everywhere"
        hint = "repair or remove the eye_tracker or treadmill folder"
        raise bad_file(session.path, "no_valid_data", problem, hint)
    return allowed & session.inside_trials(tiers)


def trial_starts(session: Recording, tiers: frozenset[str] | None, spec: WindowSpec) -> np.ndarray:
    """Starts of windows that are aligned to trials, float64 (n,) session seconds.

    Left out are trials without readable frames, trials of other tiers, and trials
    whose window leaves the time that all streams cover or meets missing behaviour.
    """
    trials, span = session.trials, session.common_interval()
    if not len(trials):
        return np.zeros(0)
    chosen = trials.readable.copy()
    if tiers is not None:
        chosen &= np.isin(session.trial_tiers, sorted(tiers))
    start = trials.t_on + session.t0 + spec.trial_offset_s
    stop = start + spec.duration_s
    chosen &= (start >= span.start) & (stop <= span.stop)
    free_of_gaps = [session.without_pauses()]
    if spec.behavior is not None:
        free_of_gaps += [gap_free(signal) for signal in session.recorded_behavior]
    for free in free_of_gaps:
        row = np.searchsorted(free[:, 0], start, side="right") - 1
        chosen &= (row >= 0) & (stop <= free[np.maximum(row, 0), 1])
    return np.asarray(start[chosen] - session.t0)


def grid_stretches(session: Recording) -> np.ndarray:
    """Ranges of the start grid, int64 (n, 2), in which windows touch no pause."""
    inside = points_inside(session.start_grid, session.without_pauses())
    edges = np.diff(inside.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)], axis=1)


def even_starts(session: Recording, within: Interval, length_s: float, count: int) -> np.ndarray:
    """Native starts (count,) of parts of an interval, spread over its recorded time.

    No part touches a pause, unless it is longer than all recorded stretches.
    """
    spans = session.responses.recorded_spans
    if spans is None:
        last_start = max(within.stop - length_s, within.start)
        return np.linspace(within.start, last_start, count)
    first, last = np.clip(spans, within.start, within.stop).T
    room = last - first - length_s
    room = np.maximum(room, 0.0) if (room > 0).any() else last - first
    # Starts are even in the time that is left for them in the stretches.
    ends = np.cumsum(room)
    at = np.linspace(0.0, ends[-1], count)
    row = np.minimum(np.searchsorted(ends, at), len(ends) - 1)
    return np.asarray(first[row] + at - (ends - room)[row])


def recorded_shares(session: Recording, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Share of the time from `on` to `off`, native, that lies in no pause."""
    if session.responses.recorded_spans is None:
        return np.ones(len(on))
    before = session.responses.recorded_before
    return np.asarray((before(off) - before(on)) / np.maximum(off - on, 1e-9))


def gap_free(signal: Signal) -> np.ndarray:
    """Native spans (n, 2) of a stream away from its missing samples."""
    return spans_without_gaps(
        missing_rows(signal), signal.start, signal.end_declared, signal.rate_hz
    )


def missing_rows(signal: Signal) -> np.ndarray:
    """Rows with NaN in any column, int64 (n,), read in blocks."""
    if signal.dtype.kind != "f":
        return np.zeros(0, np.int64)
    rows = [np.zeros(0, np.int64)]
    for first, values in blocks(signal):
        rows.append(first + np.flatnonzero(np.isnan(values).any(axis=1)))
    return np.concatenate(rows)


def blocks(signal: Signal) -> Iterator[tuple[int, np.ndarray]]:
    """First row and stored rows of blocks of a stream, about 32 MiB each."""
    height = max(1, _BLOCK_BYTES // max(1, signal.n_columns * signal.dtype.itemsize))
    for first in range(0, signal.n_samples, height):
        yield first, signal.read(first, first + height)


# -- identity of a recording, by which its copies are known ---------------------------
_SAMPLES = 128
"""Rows of each stream, evenly spread, that are hashed: enough to notice another order."""


def copies(sessions: Sequence[Recording]) -> list[tuple[str, str]]:
    """Return pairs of ids: a session, and an earlier one with the same neurons and numbers.

    A copy of a file or folder that names no id has the name of that file. Trials, clocks,
    means and standard deviations are compared, so that no sample is read.
    """
    first: dict[str, str] = {}
    pairs = []
    for session in sessions:
        digest = blake2b(digest_size=12)
        add = _adder(digest)
        add(session.units.names, session.units.mean, session.units.std)
        add(*(getattr(session.trials, name) for name in TRIAL_COLUMNS))
        for one in [session.responses, *session.recorded_behavior]:
            size = one.n_samples, one.n_columns, one.rate_hz, one.start, one.end_declared
            add(one.name, np.array(size), one.mean, one.std)
        earlier = first.setdefault(digest.hexdigest(), session.id)
        pairs += [] if earlier == session.id else [(session.id, earlier)]
    return pairs


def _adder(digest: blake2b) -> Callable[..., None]:
    """Return a function that hashes texts and arrays."""

    def add(*parts: str | np.ndarray | None) -> None:
        for part in parts:
            array = np.asarray("" if part is None else part)
            # Numbers in one type and order of bytes, texts with their ends.
            is_text = array.dtype.kind not in "biuf"
            digest.update(
                repr(array.tolist()).encode() if is_text else array.astype("<f8").tobytes()
            )

    return add


def _contents(session: Recording) -> str:
    digest = blake2b(digest_size=12)
    add, stimulus, units = _adder(digest), session.stimulus, session.units
    add(session.id, units.names, units.mean, units.std)
    add(*(getattr(session.trials, name) for name in TRIAL_COLUMNS))
    if stimulus is not None:
        add(np.array(stimulus.size), stimulus.slot_t, stimulus.slot_trial, stimulus.slot_frame)
    for one in [session.responses, *session.recorded_behavior]:
        clock = (one.rate_hz, one.start, one.end_declared)
        add(one.name, np.array([one.n_samples, one.n_columns, *clock]))
        add(one.shift_s, one.recorded_spans, one.mean, one.std)
        rows = np.unique(np.linspace(0, one.n_samples - 1, _SAMPLES).astype(np.int64))
        add(*(one.file.pick(rows, columns) for columns in _neuron_blocks(one.n_columns)))
    return digest.hexdigest()


# -- overview of a session: running, pupil, population and trials in few bins ---------
# The population mean is a sample, so that opening a session stays fast: rows per bin,
# and neurons in runs of neighbours, which lie together in the file.
_ROWS_PER_BIN = 4
_NEURON_BLOCKS = 4
_BLOCK_NEURONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """Data of a session's time line.

    Attributes
    ----------
    edges_s
        float64 (n + 1,) borders of the bins on the session clock.
    running, pupil_size, population
        float32 (n,) means per bin, NaN without data. Population is the mean
        normalised response of up to 256 neurons, at up to four samples a bin, or at
        all samples if the format stores summaries.
    trial_on, trial_off
        float64 (trials,) seconds on the session clock.
    trial_tier, trial_kind
        str (trials,). For a session without trials: its train and test time.
    has_trials
        Whether the session has trials.
    parts
        Begin, end and tier of train and test time, if no trial names a tier.
    """

    edges_s: np.ndarray
    running: np.ndarray
    pupil_size: np.ndarray
    population: np.ndarray
    trial_on: np.ndarray
    trial_off: np.ndarray
    trial_tier: np.ndarray
    trial_kind: np.ndarray
    has_trials: bool = True
    parts: tuple[tuple[float, float, str], ...] = ()

    @property
    def centers_s(self) -> np.ndarray:
        """Middle of every bin, float64 (n,)."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def summarise(session: Recording, n_bins: int) -> Overview:
    """Bin a session; reads the behaviour and a small sample of the responses."""
    # Without trials, the time line shows train and test time in their place.
    edges = np.linspace(0.0, session.duration_s, n_bins + 1)
    trials = session.trials
    has_trials = len(trials.t_on) > 0
    parts = _split(session)
    on, off = (np.array([part[k] for part in parts], float) for k in (0, 1))
    tier = np.array([part[2] for part in parts], dtype=str)
    return Overview(
        edges_s=edges,
        running=_channel(session, "running", edges),
        pupil_size=_channel(session, "pupil_size", edges),
        population=_population(session, edges),
        trial_on=trials.t_on if has_trials else on,
        trial_off=trials.t_off if has_trials else off,
        trial_tier=trials.tier if has_trials else tier,
        trial_kind=trials.kind if has_trials else np.full(len(tier), "", tier.dtype),
        has_trials=has_trials,
        parts=tuple(parts),
    )


def _split(session: Recording) -> list[tuple[float, float, str]]:
    """Begin and end in session seconds of train and test time, and the tier.

    Without the pauses of the recording.
    """
    common = session.common_interval()
    recorded = session.responses.recorded_spans
    if recorded is None:
        recorded = np.array([[common.start, common.stop]])
    parts = [
        (max(start, first), min(stop, last, common.stop), tier)
        for tier, spans in session.split.items()
        for start, stop in spans.tolist()
        for first, last in recorded.tolist()
    ]
    return [
        (begin - session.t0, end - session.t0, tier) for begin, end, tier in parts if begin < end
    ]


def _channel(session: Recording, name: str, edges: np.ndarray) -> np.ndarray:
    for signal in session.recorded_behavior:
        if name in signal.names:
            column = signal.names.index(name)
            return _binned(signal, column, edges + session.t0)
    return np.full(len(edges) - 1, np.nan, np.float32)


def _binned(signal: Signal, column: int, edges: np.ndarray) -> np.ndarray:
    n_bins, width = len(edges) - 1, edges[1] - edges[0]
    total, count = np.zeros(n_bins), np.zeros(n_bins)
    # In blocks: a treadmill at 100 Hz has millions of samples.
    for first, rows in blocks(signal):
        values = rows[:, column].astype(np.float64)
        at = signal.start + np.arange(first, first + len(rows)) / signal.rate_hz
        number = np.floor((at - edges[0]) / width).astype(np.int64)
        used = (number >= 0) & (number < n_bins) & np.isfinite(values)
        total += np.bincount(number[used], values[used], n_bins)
        count += np.bincount(number[used], minlength=n_bins)
    return _ratio(total, count)


def _population(session: Recording, edges: np.ndarray) -> np.ndarray:
    """Mean over neurons from stored summaries that are fine enough, or from samples."""
    signal, n_bins, width = session.responses, len(edges) - 1, float(edges[1] - edges[0])
    # Coarser summaries would leave bins empty; the coarsest of the others is shortest.
    fine = [x for x in signal.levels if x.rows_per_bin <= width * signal.rate_hz]
    if fine:
        total, count = _sums(session, fine[-1].mean)
        middle = (fine[-1].bins + 0.5) * fine[-1].rows_per_bin / signal.rate_hz
        number = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, n_bins - 1)
    else:
        at = np.linspace(edges[0], edges[-1], n_bins * _ROWS_PER_BIN, endpoint=False)
        rows = np.minimum((at * signal.rate_hz).astype(np.int64), signal.n_samples - 1)
        total, count = _sums(session, partial(signal.file.pick, rows))
        number = np.repeat(np.arange(n_bins), _ROWS_PER_BIN)
    return _ratio(np.bincount(number, total, n_bins), np.bincount(number, count, n_bins))


def _sums(session: Recording, read: Callable[[slice], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the finite normalised responses of some neurons, per row."""
    total, count, scale = 0.0, 0, session.response_scale
    for columns in _neuron_blocks(session.n_neurons):
        with np.errstate(over="ignore"):
            values = read(columns).astype(np.float32) / scale[columns]
        finite = np.isfinite(values)
        total = total + np.where(finite, values, 0.0).sum(axis=1)
        count = count + finite.sum(axis=1)
    return np.asarray(total, float), np.asarray(count)


def _neuron_blocks(n_neurons: int) -> list[slice]:
    """Return a few runs of neighbouring columns."""
    if n_neurons <= _NEURON_BLOCKS * _BLOCK_NEURONS:
        return [slice(0, n_neurons)]
    firsts = np.linspace(0, n_neurons - _BLOCK_NEURONS, _NEURON_BLOCKS).astype(int)
    return [slice(int(f), int(f) + _BLOCK_NEURONS) for f in firsts]


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    has_values = count > 0
    ratio = np.full(len(total), np.nan, np.float32)
    with np.errstate(over="ignore"):
        ratio[has_values] = total[has_values] / count[has_values]
    return ratio
