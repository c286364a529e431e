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
    SCREEN_RATE_HZ,
    Interval,
    common_interval,
    full_window_starts,
    grid_points,
    start_grid,
)
from omnimouse_model.data.overview import Overview, summarise
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.split import early_and_late, has_tiers, split_minutes
from omnimouse_model.data.stimulus import BLANK_TIER, Stimulus, Trials
from omnimouse_model.data.units import Roi, Units
from omnimouse_model.data.valid_starts import (
    allowed_times,
    inside_trials,
    trial_starts,
)
from omnimouse_model.data.window import Window
from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.errors import SessionFormatError

__all__ = ["Note", "Roi", "Session", "Signal", "Stimulus", "Trials", "Units", "Window"]

Tiers = str | Sequence[str] | None
_USUAL_TIERS = (
    *("train", "validation", "test", "oracle", "none", BLANK_TIER),
    *("final_test", "final_test_1", "final_test_2", "final_test_3"),
    *("final_test_main", "final_test_bonus", "live_test_main", "live_test_bonus"),
)
"""What may be asked of any session: one without such trials has no such windows.

The names that released and competition data use.
"""


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a session its user should know; reading goes on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session:
    """One recording. Opening reads nothing big; pickling keeps only the path.

    Attributes
    ----------
    id, animal_id
        The session's key, by which a model knows its neurons, and the animal's.
    path, format, fingerprint
        The folder; the reader that opened it; a hash that changes with its contents
        and with the options that change what is read of them.
    units, responses, behavior, stimulus, trials
        What was recorded. Missing streams are None.
    images
        Mean images, float32 (height, width) by name.
    meta
        Facts for people: microns per pixel, plane depths and the like.
    series, series_choices
        Which kind of responses was read, and what else there is: names that the
        reading option `series` takes, best first, and what they are. Empty where a
        format has but one kind.
    options, origin
        How it is read (see `ReadOptions`); the arrays it was made of or its web
        address, where it has no files here.
    warnings, assumptions
        What is odd in the files; what was assumed where they do not say.

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
    behavior_names: tuple[str, ...] = ()
    series: str = ""
    series_choices: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] | str | None = field(default=None, repr=False)
    _cache: dict[object, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        tiers = ", ".join(f"{name} {m:.1f} min" for name, m in self.tiers().items())
        return (
            f"Session {self.id} ({self.format}): {self.n_neurons:,} neurons, "
            f"{self.duration_s / 60:.1f} min at {self.responses.rate_hz:.4g} Hz, "
            f"{', '.join(self.streams)}; tiers: {tiers or 'none'}; "
            f"{len(self.warnings)} warnings"
        )

    @property
    def place(self) -> Path | str | Mapping[str, Any]:
        """What `open_session` opens it by."""
        return self.path if self.origin is None else self.origin

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
        """Seconds of responses."""
        return self.responses.n_samples / self.responses.rate_hz

    @property
    def response_scale(self) -> np.ndarray:
        """float32 (P,): session units per unit of the model's normalised responses."""
        if "scale" not in self._cache:
            self._cache["scale"] = self.units.scale.astype(np.float32)
        scale: np.ndarray = self._cache["scale"]
        return scale

    def behavior_statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std float32 (C,) by which a behaviour stream is z-scored."""
        key = ("statistics", name)
        if key not in self._cache:
            signal = self.behavior[name]
            if signal is None or signal.mean is None or signal.std is None:
                raise KeyError(f"Session '{self.id}' has no statistics of '{name}'.")
            pair = (signal.mean.astype(np.float32), signal.std.astype(np.float32))
            self._cache[key] = pair
        found: tuple[np.ndarray, np.ndarray] = self._cache[key]
        return found

    @property
    def streams(self) -> dict[str, Signal | Stimulus]:
        """The streams there are, by folder name."""
        found: dict[str, Signal | Stimulus] = {"responses": self.responses}
        found.update({n: s for n, s in self.behavior.items() if s is not None})
        if self.stimulus is not None:
            found["screen"] = self.stimulus
        return found

    @property
    def is_stale(self) -> bool:
        """Whether a file of a stream changed or went away since it was opened."""
        try:
            for stream in self.streams.values():
                held = stream.file if isinstance(stream, Signal) else stream.film
                held.check()
        except SessionFormatError:
            return True
        return False

    def common_interval(self) -> Interval:
        """Native span in which windows lie: all streams, less 0.5 s at both ends."""
        return common_interval([s.valid_interval() for s in self.streams.values()])

    @property
    def start_grid(self) -> np.ndarray:
        """Native times at which windows may begin or a frame of them lie, (n,)."""
        if "grid" not in self._cache:
            self._cache["grid"] = start_grid(self.common_interval())
        grid: np.ndarray = self._cache["grid"]
        return grid

    @property
    def split(self) -> dict[str, np.ndarray]:
        """Native spans (n, 2) of "train" and "test" where no trial names a tier.

        An assumption, told among them; {} where a tier is named anywhere.
        """
        if "split" not in self._cache:
            self._cache["split"] = {}  # what any trial allows does not depend on it
            if not has_tiers(self.trials.tier):
                inside = inside_trials(self, None)
                self._cache["split"] = early_and_late(self.start_grid, inside)
        found: dict[str, np.ndarray] = self._cache["split"]
        return found

    # -- windows ----------------------------------------------------------------
    def window(self, start_s: float, spec: WindowSpec = OMNIMOUSE) -> Window:
        """Return the window that begins nearest to `start_s`, inside the session.

        Parameters
        ----------
        start_s
            Seconds on the session clock.
        spec
            Duration, rates and sizes. Windows that are aligned to trials begin at the
            spec's offset to the onset of a trial, all others on `start_grid`.

        Raises
        ------
        ValueError
            The session is shorter than a window, or has no trial to align one to.

        Examples
        --------
        >>> session.window(12.0).responses.shape
        (60, 40)
        """
        if spec.align == "trial":
            return self._trial_window(start_s, spec)
        grid = self.start_grid
        last = len(grid) - grid_points(spec.duration_s)
        if last < 0:
            raise ValueError(
                f"Session {self.id!r} has {len(grid) / SCREEN_RATE_HZ:.3g} s that all "
                f"streams cover, less than a window of {spec.duration_s:g} s."
            )
        near = int(np.searchsorted(grid, self.t0 + start_s))
        near = min(max(near, 0), last)
        if near and abs(grid[near - 1] - self.t0 - start_s) < abs(
            grid[near] - self.t0 - start_s
        ):
            near -= 1
        return Window(self, near, spec=spec)

    def _trial_window(self, start_s: float, spec: WindowSpec) -> Window:
        """Return the window of the trial that begins nearest to a time."""
        starts = self.window_starts(None, spec=spec)
        if not len(starts):
            raise ValueError(
                f"Session {self.id!r} has no trial with a whole window of "
                f"{spec.duration_s:g} s, {spec.trial_offset_s:+g} s from its onset."
            )
        start = float(starts[np.argmin(np.abs(starts - start_s))]) + self.t0
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
            is read, never scored.

        Raises
        ------
        ValueError
            No usual tier, and none of the session's; the message names those.

        Examples
        --------
        >>> starts = session.window_starts("validation", stride=60)
        >>> len(starts), float(round(starts[1] - starts[0], 2))
        (5, 2.0)
        """
        if spec.align == "trial":
            tiers = self._known_tiers(tier, include_blanks)
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
        chosen = self._known_tiers(tier, include_blanks)
        length = grid_points(spec.duration_s)
        key = ("starts", chosen, length)
        if key not in self._cache:
            allowed = allowed_times(self, chosen)
            self._cache[key] = full_window_starts(allowed, length)
        indices: np.ndarray = self._cache[key][::stride]
        return indices

    def _known_tiers(self, tier: Tiers, include_blanks: bool) -> frozenset[str] | None:
        """Return the names of tiers, None for any; refuse a tier of no session."""
        chosen = None if tier is None else frozenset(self.named_tiers(tier))
        present = {*self.trials.tier.tolist(), *self.split, *_USUAL_TIERS}
        if chosen is not None and chosen.isdisjoint(present):
            raise ValueError(
                f"Session {self.id!r} has no window of tier {tier!r}; its tiers are "
                f"{', '.join(self.tiers()) or 'none'}."
            )
        if chosen is not None and include_blanks:
            chosen = chosen | {BLANK_TIER}
        return chosen

    def named_tiers(self, tier: str | Sequence[str]) -> tuple[str, ...]:
        """Tiers meant by a name: "test" is every test tier the session has."""
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
        span = self.responses.valid_interval()
        on = np.maximum(self.trials.t_on, span.start - self.t0)
        off = np.minimum(self.trials.t_off, span.stop - self.t0)
        for tier, seconds in zip(
            self.trials.tier.tolist(), np.maximum(off - on, 0.0), strict=True
        ):
            minutes[tier] += float(seconds) / 60.0
        return minutes

    def overview(self, n_bins: int = 1000) -> Overview:
        """Binned running, pupil size, population mean and trials, for a time line."""
        key = ("overview", n_bins)
        if key not in self._cache:
            self._cache[key] = summarise(self, n_bins)
        found: Overview = self._cache[key]
        return found


def is_test_tier(tier: str) -> bool:
    """Whether a tier is held out for tests: `final_test*`, `*_test_*` or `test`."""
    return (
        tier == "test"
        or fnmatchcase(tier, "final_test*")
        or fnmatchcase(tier, "*_test_*")
    )
