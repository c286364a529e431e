"""The repeats of the clip on screen, side by side: where they are, what neurons did.

Read off the thread that draws, while somebody looks; those read last are kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.tuning.repeats import (
    Clip,
    ClipRepeats,
    ceiling_problem,
    clip_repeats,
    commonest,
    n_samples,
    repeated_clips,
)
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import Errand, HasErrand, Tell
from omnimouse_model.live.inference.engine import Post, call_at_once
from omnimouse_model.live.recording.trials import trial_at
from omnimouse_model.live.state import LiveState

MAX_UNSELECTED: Final = 256
"""Where no neuron is selected, as many are read, spread over all."""
_READ_BYTES = 256 * 2**20
"""Of responses to one clip: of more neurons than that holds, as many, spread over."""
_KEPT_BYTES = 256 * 2**20
_KEPT = 16
_A_LITTLE_S = 0.1
"""A window that does not move by so much is at an end of its session."""

_Key = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    key: _Key
    session: Session
    clip: Clip
    neurons: tuple[int, ...]


class Clips(HasErrand):
    """Repeats of the clip in the middle of the window; `controller.clips`.

    Parameters
    ----------
    state
        What is on screen and selected.
    seek
        Moves the window to a time on the session clock.
    post
        Hands a function to the thread that draws.
    synchronous
        Read at once: for scripts and tests.

    Attributes
    ----------
    changed
        Emitted on the thread that draws when anything here may have changed.
    """

    changed = Signal()

    def __init__(
        self,
        state: LiveState,
        seek: Callable[[float], None],
        post: Post = call_at_once,
        *,
        synchronous: bool = False,
    ) -> None:
        self._state, self._seek = state, seek
        self._known: tuple[Session | None, tuple[Clip, ...]] = (None, ())
        self._kept: OrderedDict[_Key, ClipRepeats] = OrderedDict()
        self._under_way: _Key | None = None
        self._errand = Errand(_read, self._take, post, synchronous=synchronous)
        self._errand.changed.connect(self._on_errand)

    @property
    def all(self) -> tuple[Clip, ...]:
        """Clips of the session that were shown twice or more, most often first."""
        session = self._state.session
        if session is not self._known[0]:
            found = () if session is None else repeated_clips(session)
            self._known = (session, found)
        return self._known[1]

    @property
    def _repeated(self) -> frozenset[int]:
        return frozenset(trial for clip in self.all for trial in clip.trials)

    @property
    def shown(self) -> Clip | None:
        """The clip in the middle of the window, None where it has no repeats."""
        trial = self._trial()
        for clip in self.all:
            if trial in clip.trials:
                return clip
        return None

    @property
    def repeat(self) -> int | None:
        """Which repeat of it the middle of the window lies in."""
        clip, trial = self.shown, self._trial()
        return None if clip is None or trial is None else clip.trials.index(trial)

    @property
    def neurons(self) -> tuple[int, ...]:
        """Whose responses are shown: those selected, or a sample of all.

        A sample of those selected, too, where all would not fit into memory.
        """
        session, clip = self._state.session, self.shown
        selection = self._state.selection
        if session is None:
            return selection
        room = len(selection) or MAX_UNSELECTED
        if clip is not None:
            each = 8 * n_samples(clip) * len(clip.trials)
            room = min(room, max(_READ_BYTES // each, 1))
        n = len(selection) or session.n_neurons
        if selection and room == n:
            return selection
        spread = np.linspace(0, n - 1, min(n, room)).astype(int).tolist()
        return tuple(selection[i] for i in spread) if selection else tuple(spread)

    @property
    def found(self) -> ClipRepeats | None:
        """What those neurons did in every repeat, as soon as it is read."""
        wanted = self._wanted()
        return None if wanted is None else self._kept.get(wanted.key)

    # -- verbs ------------------------------------------------------------------------
    def follow(self) -> None:
        """Read what is not known of the clip and the neurons on screen.

        Called by whoever shows it, while it is seen.
        """
        wanted = self._wanted()
        if wanted is None or wanted.key in self._kept:
            if self.is_busy:
                self.stop()
        elif wanted.key != self._under_way:
            self._under_way = wanted.key
            self._errand.start(wanted, "Reading repeats")

    def stop(self) -> None:
        """Give up what is being read, until `follow`."""
        self._under_way = None
        self._errand.stop()

    def go_to(self, repeat: int, time_s: float | None = None) -> None:
        """Bring a moment of a repeat of the shown clip into the window's middle.

        Without a time, the moment that is there now; see `go_to_clip`.
        """
        clip, session = self.shown, self._state.session
        if clip is None or session is None:
            return
        onsets = session.trials.t_on[list(clip.trials)]
        if time_s is None:
            time_s = self._middle_s() - float(onsets[self.repeat or 0])
        self._seek(float(onsets[repeat % len(onsets)]) + time_s - self._half_s)

    def step(self, n: int) -> None:
        """Go to another repeat, at the same moment of the clip."""
        if (repeat := self.repeat) is not None:
            self.go_to(repeat + n)

    def go_to_clip(self, number: int) -> None:
        """Go to the first repeat of one of `all`, at its beginning."""
        session = self._state.session
        if session is not None:
            clip = self.all[number]
            middle = min(2 * self._half_s, clip.duration_s) / 2
            self._seek(
                float(session.trials.t_on[clip.trials[0]]) + middle - self._half_s
            )

    # -- within -----------------------------------------------------------------------
    @property
    def _half_s(self) -> float:
        """Half of a window, in seconds."""
        return self._state.spec.duration_s / 2

    def _middle_s(self) -> float:
        assert self._state.window is not None
        return self._state.window.start_s + self._half_s

    def _trial(self) -> int | None:
        """The trial in the middle of the window, None between trials.

        Where the session's end holds the window, one that it reaches no further than:
        the middle gets nowhere near it, so the nearest with repeats will do.
        """
        session, window = self._state.session, self._state.window
        if session is None or window is None:
            return None
        middle = self._middle_s()
        trial = trial_at(session, middle)
        before, after = (
            session.window(window.start_s + step_s, window.spec)
            for step_s in (-_A_LITTLE_S, _A_LITTLE_S)
        )
        is_first, is_last = before.key == window.key, after.key == window.key
        if not (is_first or is_last) or trial in self._repeated:
            return trial
        start, stop = window.start_s, window.stop_s
        on, off = session.trials.t_on, session.trials.t_off
        beside = [t for t in self._repeated if on[t] < stop and off[t] > start]
        if not beside:
            return trial
        return min(beside, key=lambda t: max(on[t] - middle, middle - off[t]))

    def _wanted(self) -> _Wanted | None:
        session, clip = self._state.session, self.shown
        if session is None or clip is None:
            return None
        neurons = self.neurons
        key = (session.fingerprint, clip.stim_id, neurons)
        return _Wanted(key, session, clip, neurons)

    def _take(self, found: tuple[_Wanted, ClipRepeats]) -> None:
        wanted, repeats = found
        self._kept[wanted.key] = repeats
        while len(self._kept) > 1 and (
            len(self._kept) > _KEPT
            or sum(k.responses.nbytes for k in self._kept.values()) > _KEPT_BYTES
        ):
            self._kept.popitem(last=False)
        self.changed.emit()

    def _on_errand(self) -> None:
        if not self.is_busy and self.fault is None:
            self._under_way = None
        self.changed.emit()


def _read(wanted: _Wanted, tell: Tell) -> Iterator[tuple[_Wanted, ClipRepeats]]:
    tell("Reading repeats")
    neurons = np.array(wanted.neurons, np.int64)

    def tell_share(share: float) -> None:
        tell(f"Reading repeats: {100 * share:.0f} %")

    yield wanted, clip_repeats(wanted.session, wanted.clip, neurons, tell_share)


def clip_words(clip: Clip, number: int) -> str:
    """Such as `clip 2 · 10 × 8.0 s · oracle`."""
    tier = f" · {clip.tier}" if clip.tier else ""
    return f"clip {number + 1} · {len(clip.trials)} × {clip.duration_s:.1f} s{tier}"


def ceiling_words(repeats: ClipRepeats, name: str = "") -> str:
    """The ceiling that repeats imply, over the neurons that have one.

    `name` is what the neuron is called where there is one alone.
    """
    known = np.isfinite(repeats.cc_max)
    n = len(repeats.neurons)
    if not known.any():
        why = ceiling_problem(commonest(repeats.status), len(repeats.onset_s))
        return f"no ceiling: {why or 'nobody is shown'}"
    whose = f"{n} neurons, median" if n > 1 else f"neuron {name}".rstrip()
    if n > 1 and not known.all():
        whose = f"{known.sum()} of {n} neurons, median"
    top, single, oracle = (
        _median_words(values[known])
        for values in (repeats.cc_max, repeats.single_trial_max, repeats.oracle)
    )
    return f"CC_max {top} · one repeat {single} · oracle {oracle} ({whose})"


def _median_words(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{np.median(known):.2f}" if len(known) else "–"
