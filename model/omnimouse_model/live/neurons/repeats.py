"""Repeats of the clip on screen, and averages over trials: trials and responses.

Responses are read in the background while a view shows them; the latest are cached.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.peri_event import ConditionAverage, conditions
from omnimouse_model.data.recording import cached, part_name
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.evaluation.repeats import (
    ClipRepeats,
    RepeatedClip,
    clip_repeats,
    n_samples,
    repeated_clips,
)
from omnimouse_model.evaluation.tier_score import scored_tier
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.navigation import trial_at
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.devices import MemoryCache

MAX_UNSELECTED: Final = 256
"""Number of neurons, evenly spread over all, that are read without a selection."""
_READ_BYTES = 256 * 2**20
"""Maximum size of the responses to one clip; more neurons are sub-sampled evenly."""
_CACHE_BYTES = 256 * 2**20
"""Most bytes of responses to repeated clips that stay in memory."""
_A_LITTLE_S = 0.1
"""Seconds; a window that cannot move by this much is at an end of its session."""

_Key = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    key: _Key
    session: Session
    clip: RepeatedClip
    neurons: tuple[int, ...]


class RepeatsOnScreen(HasBackgroundTask):
    """Repeats of the clip at the window's centre."""

    def __init__(
        self, state: LiveState, seek: Callable[[float], None], execution: Execution = IN_THREADS
    ) -> None:
        self._state, self._seek = state, seek
        self._cache = MemoryCache[ClipRepeats](_CACHE_BYTES, lambda one: one.responses.nbytes)
        # Of the request that runs or has failed: a failed one must not be repeated at
        # every redraw.
        self._running: _Key | None = None
        self._task = BackgroundTask(_read_repeats, self._take, execution)
        self._task.changed.connect(self._on_task)

    @property
    def clips(self) -> tuple[RepeatedClip, ...]:
        """Clips of the session with at least two repeats, most often shown first."""
        session = self._state.session
        if session is None:
            return ()
        return cached(session, "repeated clips", lambda: repeated_clips(session))

    @property
    def _repeated(self) -> frozenset[int]:
        return frozenset(trial for clip in self.clips for trial in clip.trials)

    @property
    def clip(self) -> RepeatedClip | None:
        """RepeatedClip at the window's centre, None if it has no repeats."""
        trial = self._trial()
        for clip in self.clips:
            if trial in clip.trials:
                return clip
        return None

    @property
    def repeat(self) -> int | None:
        """Index of the repeat at the window's centre, None without a clip."""
        clip, trial = self.clip, self._trial()
        return None if clip is None or trial is None else clip.trials.index(trial)

    @property
    def neurons(self) -> tuple[int, ...]:
        """Neurons whose responses are shown: the selected ones, or a sample of all.

        Selected neurons are sub-sampled if their responses exceed `_READ_BYTES`.
        """
        session, clip = self._state.session, self.clip
        selection = self._state.selection
        if session is None:
            return selection
        # Without a selection, a sample of all neurons shows whether repeats agree.
        room = len(selection) or MAX_UNSELECTED
        if clip is not None:
            # Bytes per neuron, as float64.
            n_bytes = 8 * n_samples(clip) * len(clip.trials)
            room = min(room, max(_READ_BYTES // n_bytes, 1))
        n = len(selection) or session.n_neurons
        if selection and room == n:
            return selection
        spread = np.linspace(0, n - 1, min(n, room)).astype(int).tolist()
        return tuple(selection[i] for i in spread) if selection else tuple(spread)

    @property
    def responses(self) -> ClipRepeats | None:
        """Responses of these neurons in every repeat; None until they are read."""
        request = self._request()
        return None if request is None else self._cache.peek(request.key)

    # -- actions ----------------------------------------------------------------------
    def follow(self) -> None:
        """Read the responses of clip and neurons on screen, if they are not cached.

        Views call it while they show the repeats.
        """
        request = self._request()
        if request is None or request.key in self._cache:
            if self.is_busy:
                self.stop()
        elif request.key != self._running:
            self._running = request.key
            self._task.start(request, "Reading repeats")

    def stop(self) -> None:
        """Stop reading until the next `follow`."""
        self._running = None
        self._task.stop()

    def go_to(self, repeat: int, time_s: float | None = None) -> None:
        """Centre the window on a time of a repeat of the shown clip.

        `time_s` counts from the clip's onset; by default, the time in the clip stays
        the same.
        """
        clip, session = self.clip, self._state.session
        if clip is None or session is None:
            return
        onsets = session.trials.t_on[list(clip.trials)]
        if time_s is None:
            time_s = self._middle_s() - float(onsets[self.repeat or 0])
        self._seek(float(onsets[repeat % len(onsets)]) + time_s - self._half_s)

    def step(self, n: int) -> None:
        """Move by `n` repeats; the time in the clip stays the same."""
        if (repeat := self.repeat) is not None:
            self.go_to(repeat + n)

    def go_to_clip(self, number: int) -> None:
        """Move the window to the start of the first repeat of a clip of `clips`."""
        session = self._state.session
        if session is not None:
            clip = self.clips[number]
            middle = min(2 * self._half_s, clip.duration_s) / 2
            self._seek(float(session.trials.t_on[clip.trials[0]]) + middle - self._half_s)

    # -- internal ---------------------------------------------------------------------
    @property
    def _half_s(self) -> float:
        """Half of a window, in seconds."""
        return self._state.spec.duration_s / 2

    def _middle_s(self) -> float:
        assert self._state.window is not None
        return self._state.window.start_s + self._half_s

    def _trial(self) -> int | None:
        """Return the trial at the window's centre, None between trials.

        At the ends of a session, the window's centre cannot reach the first or last
        trial; then it is the nearest trial with repeats that overlaps the window.
        """
        session, window = self._state.session, self._state.window
        if session is None or window is None:
            return None
        middle = self._middle_s()
        trial = trial_at(session, middle)
        # A tenth of a second further the window is the same only at an end of the
        # session.
        before, after = (
            session.nearest_window(window.start_s + step_s, window.spec)
            for step_s in (-_A_LITTLE_S, _A_LITTLE_S)
        )
        is_first, is_last = before.key == window.key, after.key == window.key
        if not (is_first or is_last) or trial in self._repeated:
            return trial
        start, stop = window.start_s, window.stop_s
        on, off = session.trials.t_on, session.trials.t_off
        visible = [t for t in self._repeated if on[t] < stop and off[t] > start]
        if not visible:
            return trial
        return min(visible, key=lambda t: max(on[t] - middle, middle - off[t]))

    def _request(self) -> _Request | None:
        session, clip = self._state.session, self.clip
        if session is None or clip is None:
            return None
        neurons = self.neurons
        key = (session.fingerprint, clip.stim_id, neurons)
        return _Request(key, session, clip, neurons)

    def _take(self, result: tuple[_Request, ClipRepeats]) -> None:
        request, repeats = result
        self._cache.get(request.key, lambda: repeats)
        self.changed.emit()

    def _on_task(self) -> None:
        if not self.is_busy and self.error is None:
            self._running = None


def _read_repeats(
    request: _Request, report: ReportProgress
) -> Iterator[tuple[_Request, ClipRepeats]]:
    report("Reading repeats")

    neurons = np.array(request.neurons, np.int64)
    yield (
        request,
        clip_repeats(
            request.session, request.clip, neurons, percent_job(report, "Reading repeats")
        ),
    )


# -- averages around the onsets of trials on screen, by a condition of the trials -----
# The engine predicts the trials of a tier, by default that of the scores, under the task
# on screen, for the selected neurons, while it is idle and a view shows them. Another
# condition needs no prediction.
_CHOICE: Final = "choice"
"""Column of the animal's choice, which most tasks have."""


class TrialAverages:
    """The chosen condition, and the averages of a neuron over its trials.

    Parameters
    ----------
    request
        Requests the predictions on screen again, now with the trials.

    Attributes
    ----------
    changed
        Emitted after the choice of another condition or tier.
    """

    changed = Signal()

    def __init__(self, state: LiveState, results: Results, request: Callable[[], None]) -> None:
        self._state, self._results, self._request = state, results, request
        self._viewers: set[object] = set()
        self._scored: tuple[Session | None, WindowSpec, str] = (None, state.spec, "")
        # Another recording has other tiers.
        state.events.session.connect(self._forget_tier)

    # -- reading ----------------------------------------------------------------------
    @property
    def conditions(self) -> Mapping[str, np.ndarray]:
        """Trial columns with a few labels: name -> label of each trial."""
        session = self._state.session
        if session is None:
            return {}
        return cached(session, "conditions", lambda: conditions(session))

    @property
    def condition(self) -> str:
        """The chosen column, else the choice, else the first one; "" without any."""
        preferred = (self._state.event_condition, _CHOICE, *self.conditions)
        return next((name for name in preferred if name in self.conditions), "")

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers of the trials; "test" stands for all test tiers."""
        session = self._state.session
        present = [] if session is None else session.trial_tiers.tolist()
        return tuple(sorted({*map(part_name, present)} - {"none", ""}))

    @property
    def tier(self) -> str:
        """The chosen tier, else that of the scores; "" without any."""
        session, spec = self._state.session, self._state.spec
        if self._state.trial_tier or session is None:
            return self._state.trial_tier
        if session is not self._scored[0] or spec != self._scored[1]:
            self._scored = session, spec, scored_tier(session, spec)
        return self._scored[2]

    @property
    def time_s(self) -> np.ndarray | None:
        """Times of the bins relative to the onset; None before the first trials."""
        found = self._results.peri_event
        return None if found is None else found.bin_s

    def of(self, neuron: int) -> tuple[ConditionAverage, ...]:
        """Return the averages of a neuron (bin, 1) by label; () while it is unread."""
        found, name = self._results.peri_event, self.condition
        if found is None or not name or neuron not in found.neurons:
            return ()
        return found.of(neuron).averages(self.conditions[name])

    # -- actions ----------------------------------------------------------------------
    def choose(self, name: str) -> None:
        """Choose the column; raise `ValueError` if it is no condition."""
        if name not in self.conditions:
            raise ValueError(
                f"No condition {name!r}; there are {', '.join(self.conditions) or 'none'}."
            )
        if name != self._state.event_condition:
            self._state.event_condition = name
            self.changed.emit()

    def choose_tier(self, name: str) -> None:
        """Choose the tier of the trials; raise `ValueError` if no trial has it."""
        if name not in self.tiers:
            raise ValueError(
                f"No trial of a tier {name!r}; there are {', '.join(self.tiers) or 'none'}."
            )
        if name != self.tier:
            self._state.trial_tier = name
            self.changed.emit()
            if self._state.peri_event_shown:
                self._request()

    def _forget_tier(self) -> None:
        self._state.trial_tier = ""

    def show(self, is_shown: bool, viewer: object) -> None:
        """Begin or end the predictions of trials for a viewer."""
        (self._viewers.add if is_shown else self._viewers.discard)(viewer)
        is_needed = bool(self._viewers and self.conditions)
        if is_needed != self._state.peri_event_shown:
            self._state.peri_event_shown = is_needed
            if is_needed:
                self._request()
