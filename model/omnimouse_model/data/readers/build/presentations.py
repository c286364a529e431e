"""Stimulus and trial table from timed presentations.

For formats that store when frames were shown, but not what was shown in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.stimulus import BLANK_TIER, MEAN_GRAY, Stimulus, Trials, VideoSource

_LONGEST_STEP = 1.5
"""A pause longer than this many median frame steps divides a video."""
_TIERS = ("tier", "split", "stimulus_set")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A run of frames of one trial; an empty `name` means an unknown stimulus, or gray.

    Attributes
    ----------
    name
        Name of the array with the frames.
    times
        float64 (n,) native onsets.
    frames
        int64 (n,) rows of that array.
    kind
        Trial kind: video, image, blank (gray) or invalid (unknown).
    stim_id
        Identity of the stimulus.
    is_single
        Whether that array is a single frame, without a frame axis.
    """

    name: str
    times: np.ndarray
    frames: np.ndarray
    kind: str
    stim_id: str
    is_single: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PresentationIntervals:
    """Trial table of a recording, sorted by onset; empty if there is none.

    Attributes
    ----------
    on, off
        float64 (n,) native times of onset and end.
    columns
        Other columns of the table by name.
    """

    on: np.ndarray = field(default_factory=lambda: np.zeros(0))
    off: np.ndarray = field(default_factory=lambda: np.zeros(0))
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def sorted(
        cls, on: np.ndarray, off: np.ndarray, columns: Mapping[str, Sequence[Any]]
    ) -> "PresentationIntervals":
        """Return the table of trials that are in any order."""
        order = np.argsort(on, kind="stable")
        by_onset = {name: [v[i] for i in order] for name, v in columns.items()}
        return cls(on[order], off[order], by_onset)

    def starts(self, first: float, last: float) -> np.ndarray:
        """Return the onsets of trials after `first` and up to `last`."""
        return self.on[(self.on > first) & (self.on <= last)]

    def at(self, time: float) -> dict[str, Any]:
        """Return the columns of the trial that covers a time, {} if there is none.

        The column with the split, if present, is also given as `tier`.
        """
        # The first frame can come up to 1 µs before the trial, through rounding.
        row = int(np.searchsorted(self.on, time + 1e-6, side="right")) - 1
        if row < 0 or time >= self.off[row]:
            return {}
        return self.row(row)

    def row(self, row: int) -> dict[str, Any]:
        """Return the columns of a trial; the split is also given as `tier`.

        Columns that a trial does not have (None) are left out.
        """
        fields = {
            name: values[row] for name, values in self.columns.items() if values[row] is not None
        }
        split = next((fields[name] for name in _TIERS if name in fields), None)
        if split is not None and str(split):
            fields["tier"] = str(split)
        return fields


def video_parts(
    name: str, times: np.ndarray, intervals: PresentationIntervals, stim_id: str
) -> list[Part]:
    """Return the parts of one video, divided at pauses and at trial onsets."""
    # The median is not affected by the pauses.
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    gaps = np.flatnonzero(np.diff(times) > _LONGEST_STEP * step) + 1
    # Less 1 µs, so that rounding does not put a trial's first frame before its onset.
    cuts = np.searchsorted(times, intervals.starts(times[0], times[-1]) - 1e-6)
    edges = np.unique(np.concatenate([[0], gaps, cuts, [len(times)]]))
    return [
        Part(name, times[a:b], np.arange(a, b), "video", stim_id)
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def build_stimulus(
    parts: list[Part],
    intervals: PresentationIntervals,
    t0: float,
    size: tuple[int, ...],
    source_of: Callable[[list[Part]], VideoSource],
    notes: Notes,
    details: PresentationIntervals | None = None,
) -> Stimulus:
    """Return the stimulus of presentations in any order, with holes at pauses.

    Parameters
    ----------
    t0
        Native time of the first response: time 0 of the session.
    size
        (height, width[, 3]) of the frames.
    source_of
        Function that makes the video of the sorted parts, one part per trial.
    details
        Rows with further columns of what was shown, beside those of the trials.
    """
    parts = sorted(parts, key=lambda part: float(part.times[0]))
    parts = _with_holes(_without_overlap(parts, notes))
    _note_unseen(parts, intervals, notes)
    # From here on, one part is one trial of the table; a hole is a trial of one slot.
    count = np.array([len(part.times) for part in parts])
    trial = np.repeat(np.arange(len(parts), dtype=np.int32), count)
    first = np.cumsum(count) - count
    slot_t = np.concatenate([part.times for part in parts])
    frame = np.asarray(np.arange(len(slot_t)) - first[trial], np.int32)
    fields = [intervals.at(float(part.times[0])) for part in parts]
    if details is not None:
        own = [details.at(float(part.times[0])) if part.name else {} for part in parts]
        fields = [{**more, **one} for more, one in zip(own, fields, strict=True)]
    table = _table(parts, fields, slot_t, first, count, t0)
    return Stimulus(slot_t, trial, frame, size, source_of(parts), table)


def _note_unseen(parts: Sequence[Part], intervals: PresentationIntervals, notes: Notes) -> None:
    """Note trials of the recording in which no frame was shown."""
    if not len(intervals.on):
        return
    begins = np.array([part.times[0] for part in parts if part.name])
    row = np.searchsorted(intervals.on, begins + 1e-6, side="right") - 1
    seen = row[(row >= 0) & (begins < intervals.off[np.maximum(row, 0)])]
    unseen = np.setdiff1d(np.arange(len(intervals.on)), seen)
    if len(unseen):
        notes.warn(
            "trials_without_frames",
            f"{len(unseen):,} of {len(intervals.on):,} trials have no frame of the "
            f"stimulus, the first at {intervals.on[unseen[0]]:.6g} s: they are not in "
            "the trial table, in which trials last from frame to frame",
        )


def _table(
    parts: list[Part],
    fields: list[dict[str, Any]],
    slot_t: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    t0: float,
) -> Trials:
    on = slot_t[first] - t0
    named = np.array([bool(part.name) for part in parts])
    is_known = named | np.array([part.kind == "blank" for part in parts])
    # A hole inside a trial of some tier is not part of that tier; known gray is.
    tier = [
        a.get("tier", BLANK_TIER) if known else BLANK_TIER
        for a, known in zip(fields, is_known.tolist(), strict=True)
    ]
    return Trials.of(
        key=_keys(len(parts)),
        kind=[part.kind for part in parts],
        tier=tier,
        first_slot=first,
        n_slots=count,
        t_on=on,
        t_off=np.append(on[1:], slot_t[-1] - t0),
        # No window may touch a hole. It is drawn in mean gray.
        readable=is_known,
        blank_value=np.where(named, np.nan, MEAN_GRAY),
        stim_id=[part.stim_id for part in parts],
        trial_idx=[str(a.get("id", "")) for a in fields],
        valid_trial=np.where(named, "True", "blank"),
        extra=_without_tier(fields),
    )


def trials_without_screen(intervals: PresentationIntervals, t0: float) -> Trials:
    """Return the trial table of a recording without a screen: trials without frames.

    Trials without a finite onset and end are omitted.
    """
    timed = np.flatnonzero(np.isfinite(intervals.on) & np.isfinite(intervals.off))
    n = len(timed)
    fields = [intervals.row(i) for i in timed.tolist()]
    return Trials.of(
        key=_keys(n),
        kind=["none"] * n,
        tier=[a.get("tier", BLANK_TIER) for a in fields],
        first_slot=np.zeros(n),
        n_slots=np.zeros(n),
        t_on=intervals.on[timed] - t0,
        t_off=intervals.off[timed] - t0,
        readable=np.ones(n),
        blank_value=np.full(n, np.nan),
        stim_id=[str(a.get("stim_id", "")) for a in fields],
        trial_idx=[str(a.get("id", "")) for a in fields],
        valid_trial=["blank"] * n,
        extra=_without_tier(fields),
    )


def _keys(n: int) -> list[str]:
    return [f"{i:05d}" for i in range(n)]


def _without_tier(fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in a.items() if k != "tier"} for a in fields]


def _without_overlap(parts: list[Part], notes: Notes) -> list[Part]:
    """Omit parts that begin before the last frame of the previous one."""
    single: list[Part] = []
    dropped: list[Part] = []
    for part in parts:
        is_free = not single or part.times[0] > single[-1].times[-1]
        (single if is_free else dropped).append(part)
    if dropped:
        names = ", ".join(dict.fromkeys(part.stim_id or part.name for part in dropped))
        notes.warn(
            "overlapping_stimuli",
            f"{len(dropped):,} of {len(parts):,} presentations begin while another is "
            f"shown, and are left out: {names[:200]}",
        )
    return single


def _with_holes(parts: list[Part]) -> list[Part]:
    """Add a trial of unknown content after each video that is followed by a pause.

    Without it, the last frame would count as shown until the next presentation.
    """
    filled: list[Part] = []
    # A part of one frame has no step of its own; it takes that of the other videos.
    steps = [float(np.median(np.diff(p.times))) for p in parts if len(p.times) > 1]
    step = float(np.median(steps)) if steps else 1 / 30
    for i, part in enumerate(parts):
        filled.append(part)
        nothing = np.zeros(1, np.int64)
        last = i + 1 == len(parts)
        if part.kind in ("image", "blank") and not last:
            continue  # an image or gray stays until the next presentation
        own = float(np.median(np.diff(part.times))) if len(part.times) > 1 else step
        # How long the last frame stays is not stored: one median step is assumed.
        duration = own
        if part.kind in ("image", "blank"):
            onsets = np.array([p.times[0] for p in parts if p.kind == "image"])
            duration = float(np.median(np.diff(onsets))) if len(onsets) > 1 else 0.5
        end = float(part.times[-1]) + duration
        if last or parts[i + 1].times[0] - part.times[-1] > _LONGEST_STEP * own:
            filled.append(Part("", np.array([end]), nothing, "invalid", ""))
    return filled
