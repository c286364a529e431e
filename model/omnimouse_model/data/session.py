"""A recording session as every reader yields it: lazy streams on one clock.

Times in public calls are seconds on the session clock, 0 at the first response
sample; indices are computed in the native clock (see `clock`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from omnimouse_model.data.clock import (
    GRID_RATE_HZ,
    Interval,
    common_interval,
    full_window_starts,
    grid_points,
    points_inside,
    start_grid,
)
from omnimouse_model.data.lazy import cached
from omnimouse_model.data.overview import Overview, summarise
from omnimouse_model.data.signal import Signal, is_interpolated
from omnimouse_model.data.split import (
    early_and_late,
    has_tiers,
    split_minutes,
    tiers_text,
)
from omnimouse_model.data.stimulus import BLANK_TIER, COMMON_TIERS, Stimulus, Trials
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.data.valid_starts import (
    allowed_times,
    inside_trials,
    recorded_behavior,
    trial_starts,
    without_pauses,
)
from omnimouse_model.data.window import Window, require_events
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.display import HasSummary
from omnimouse_model.errors import SessionFormatError, TimeRangeError

__all__ = ["Note", "Roi", "Session", "Signal", "Stimulus", "Trials", "Units", "Window"]

RECORDING_RATE = "recording_rate_hz"
"""Key of `Session.meta`."""
Tiers = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Note:
    """A warning or assumption of a reader; the code is for programs and tests."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session(HasSummary):
    """One recording. Opening reads no large data; a pickle contains only the path.

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

    Examples
    --------
    >>> session.n_neurons, session.duration_s, list(session.streams)
    (40, 94.5, ['responses', 'eye_tracker', 'treadmill', 'screen'])
    """

    id: str
    animal_id: str | None
    path: Path
    format: str
    fingerprint: str
    units: Units
    responses: Signal
    behavior: dict[str, Signal | None]
    stimulus: Stimulus | None
    trials: Trials
    images: dict[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Note, ...] = ()
    assumptions: tuple[Note, ...] = ()
    series: str = ""
    series_choices: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] | str | None = field(default=None, repr=False)
    _cache: dict[object, Any] = field(default_factory=dict, repr=False)

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
        return tuple(n for signal in recorded_behavior(self) for n in signal.names)

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
        return cached(self._cache, "scale", lambda: self.units.scale.astype(np.float32))

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
        return rate_hz if is_interpolated(rate_hz, OMNIMOUSE.response_rate_hz) else None

    def common_interval(self) -> Interval:
        """Native span that windows may use: all streams, less 0.5 s at both ends."""
        return common_interval([s.valid_interval() for s in self.streams.values()])

    @property
    def start_grid(self) -> np.ndarray:
        """Native times at which windows may begin or a frame of them lie, (n,)."""
        spans = self.responses.recorded_spans
        return cached(self._cache, "grid", lambda: start_grid(self.common_interval(), spans))

    @property
    def split(self) -> dict[str, np.ndarray]:
        """Native spans (n, 2) of "train" and "test" if no trial names a tier.

        Empty if a trial has a tier. The split is also listed in `assumptions`.
        """
        if "split" not in self._cache:
            self._cache["split"] = {}  # set first, because `inside_trials` reads it
            if not has_tiers(self.trials.tier):
                inside = inside_trials(self, None)
                self._cache["split"] = early_and_late(self.start_grid, inside)
        split: dict[str, np.ndarray] = self._cache["split"]
        return split

    # -- windows ----------------------------------------------------------------
    def window(self, start_s: float, spec: WindowSpec = OMNIMOUSE) -> Window:
        """Return the window that begins nearest to a time of the recording.

        Parameters
        ----------
        start_s
            Seconds on the session clock, 0 to `duration_s`.
        spec
            Duration, rates and sizes. Windows that are aligned to trials begin at the
            spec's offset to the onset of a trial, all others on `start_grid`.

        Raises
        ------
        TimeRangeError
            The time is outside the recording, or in a pause.
        ValueError
            The session is shorter than a window, has no trial to align one to, or has
            traces where the spec counts events.

        Examples
        --------
        >>> session.window(12.0).responses.shape
        (60, 40)
        >>> session.window(100.0)
        Traceback (most recent call last):
        omnimouse_model.errors.TimeRangeError: start_s is 100 s; session '90009-1-1' \
was recorded from 0 to 94.5 s.
        """
        # Also refuses NaN, which compares false.
        if not 0 <= start_s <= self.duration_s:
            raise TimeRangeError(
                f"start_s is {start_s:g} s; session {self.id!r} was recorded from 0 to "
                f"{self.duration_s:g} s."
            )
        window = self.nearest_window(start_s, spec)
        self._check_pause(start_s, window)
        return window

    def _check_pause(self, start_s: float, window: Window) -> None:
        """Raise `TimeRangeError` if a time is in a pause, far from its window."""
        spans, far_s = self.responses.recorded_spans, window.spec.duration_s + 1.0
        if spans is None or abs(window.start_s - start_s) <= far_s:
            return
        first, last = (spans - self.t0).T
        number = int(np.searchsorted(first, start_s, side="right"))
        if 0 < number < len(first) and start_s > last[number - 1]:
            raise TimeRangeError(
                f"start_s is {start_s:g} s; nothing was recorded from "
                f"{last[number - 1]:g} to {first[number]:g} s. nearest_window finds "
                "the window beside this pause."
            )

    def nearest_window(
        self, start_s: float, spec: WindowSpec = OMNIMOUSE, direction: int = 0
    ) -> Window:
        """Return the window nearest to a time, which may be outside the recording.

        For a step or a click near an end of the recording, or in a pause. A step from
        one side of a pause ends on the other: `direction` 1 finds the next window, -1
        the previous one, if a pause is at the time.

        Examples
        --------
        >>> float(round(session.nearest_window(1000.0).stop_s, 1))
        94.0
        """
        require_events(self, spec)
        if spec.align == "trial":
            return self._trial_window(start_s, spec)
        grid = self.start_grid
        last = len(grid) - grid_points(spec.duration_s)
        if last < 0:
            raise ValueError(
                f"Session {self.id!r} has {len(grid) / GRID_RATE_HZ:.3g} s that all "
                f"streams cover, less than a window of {spec.duration_s:g} s."
            )
        starts, begins = None, grid[: last + 1]
        if self.responses.recorded_spans is not None:
            starts, begins = self._starts_without_pauses(spec)
        near = int(np.searchsorted(begins, self.t0 + start_s))
        near = min(near, len(begins) - 1)
        # The point before can be nearer.
        if near:
            before = abs(float(begins[near - 1]) - self.t0 - start_s)
            after = abs(float(begins[near]) - self.t0 - start_s)
            in_pause = after + before > 1.5 / GRID_RATE_HZ
            is_before = direction < 0 if direction and in_pause else before < after
            near -= int(is_before)
        return Window(self, near if starts is None else int(starts[near]), spec=spec)

    def _starts_without_pauses(self, spec: WindowSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return grid indices and native times of windows that touch no pause."""
        length = grid_points(spec.duration_s)

        def find() -> tuple[np.ndarray, np.ndarray]:
            recorded = points_inside(self.start_grid, without_pauses(self))
            starts = full_window_starts(recorded, length)
            return starts, self.start_grid[starts]

        starts, begins = cached(self._cache, ("without pauses", length), find)
        if not len(starts):
            raise ValueError(
                f"Session {self.id!r} was recorded in {len(without_pauses(self))} "
                f"stretches, all shorter than a window of {spec.duration_s:g} s."
            )
        return starts, begins

    def _trial_window(self, start_s: float, spec: WindowSpec) -> Window:
        """Return the window of the trial that begins nearest to a time."""
        starts = self.window_starts(None, spec=spec)
        if not len(starts):
            raise ValueError(
                f"Session {self.id!r} has no trial with a whole window of "
                f"{spec.duration_s:g} s, {spec.trial_offset_s:+g} s from its onset."
            )
        start = float(starts[np.argmin(np.abs(starts - start_s))]) + self.t0
        # Trials begin at any time; the grid point only gives the approximate position.
        nearest = int(np.searchsorted(self.start_grid, start))
        nearest = min(nearest, len(self.start_grid) - 1)
        return Window(self, nearest, spec=spec, exact_start=start)

    def window_starts(
        self,
        tier: Tiers = None,
        stride: int = 1,
        include_blanks: bool = False,
        spec: WindowSpec = OMNIMOUSE,
    ) -> np.ndarray:
        """Starts of whole valid windows, float64 (n,) seconds on the session clock.

        Parameters
        ----------
        tier
            A tier's name, several, "test" for every held-out test tier, or None for
            any trial at all.
        stride
            Keep every n-th start of the 30-per-second grid, or every n-th trial for
            windows that are aligned to trials.
        include_blanks
            Windows may reach into trials without a tier.
        spec
            Duration and alignment of the windows. The warm-up may lie in any tier: it
            is read, never scored. Without behaviour in the spec, windows may touch
            missing samples of behaviour.

        Raises
        ------
        ValueError
            The tier is neither a common one nor one of the session; the message names
            those of the session.

        Examples
        --------
        >>> starts = session.window_starts("validation", stride=60)
        >>> len(starts), float(round(starts[1] - starts[0], 2))
        (5, 2.0)
        """
        if spec.align == "trial":
            tiers = self._tier_names(tier, include_blanks)
            return trial_starts(self, tiers, spec)[::stride]
        chosen = self.window_indices(tier, stride, include_blanks, spec)
        return np.asarray(self.start_grid[chosen] - self.t0)

    def window_indices(
        self,
        tier: Tiers = None,
        stride: int = 1,
        include_blanks: bool = False,
        spec: WindowSpec = OMNIMOUSE,
    ) -> np.ndarray:
        """Return the starts on the grid as indices into `start_grid`, int64 (n,)."""
        chosen = self._tier_names(tier, include_blanks)
        length, reads_behavior = grid_points(spec.duration_s), spec.behavior is not None

        def find() -> np.ndarray:
            allowed = allowed_times(self, chosen, reads_behavior)
            return full_window_starts(allowed, length)

        starts = cached(self._cache, ("starts", chosen, length, reads_behavior), find)
        return starts[::stride]

    def _tier_names(self, tier: Tiers, include_blanks: bool) -> frozenset[str] | None:
        """Return the names of tiers, None for any; refuse a tier of no session."""
        chosen = None if tier is None else frozenset(self.named_tiers(tier))
        # A misspelled tier would otherwise select no windows without an error.
        present = {*self.trials.tier.tolist(), *self.split, *COMMON_TIERS}
        if chosen is not None and chosen.isdisjoint(present):
            raise ValueError(
                f"Session {self.id!r} has no window of tier {tier!r}; {tiers_text(self)}."
            )
        if chosen is not None and include_blanks:
            chosen = chosen | {BLANK_TIER}
        return chosen

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
            return split_minutes(self)
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

    def overview(self, n_bins: int = 1000) -> Overview:
        """Binned running, pupil size, population mean and trials, for a time line.

        Examples
        --------
        >>> session.overview(n_bins=100).population.shape
        (100,)
        """
        return cached(self._cache, ("overview", n_bins), lambda: summarise(self, n_bins))


def is_test_tier(tier: str) -> bool:
    """Whether a tier is held out for tests: `final_test*`, `*_test_*` or `test`."""
    return tier == "test" or fnmatchcase(tier, "final_test*") or fnmatchcase(tier, "*_test_*")
