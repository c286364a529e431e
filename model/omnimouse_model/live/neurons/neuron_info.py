"""Properties of single neurons: receptive field, tuning, responses to repeated clips.

They are computed in the background while a view shows them, for all selected neurons in
one pass over the video, and cached per session and neuron.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.tuning.direction import DirectionTuning, direction_tuning
from omnimouse_model.analysis.tuning.receptive_fields import (
    ReceptiveField,
    receptive_fields,
)
from omnimouse_model.analysis.tuning.repeats import (
    ClipRepeats,
    RepeatedClip,
    clip_repeats,
    repeated_clips,
)
from omnimouse_model.data.session import Session
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState

_KEPT = 512
_MAX_CLIPS = 12

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True, eq=False)
class NeuronProperties:
    """Properties of a neuron; None for those not computed yet.

    Attributes
    ----------
    neuron
        Index in the session.
    repeats
        Responses to each repeated clip, most often shown first; may be empty.
    field, tuning
        Receptive field, and tuning to the direction of motion at its centre.
    """

    neuron: int
    repeats: tuple[ClipRepeats, ...] | None = None
    field: ReceptiveField | None = None
    tuning: DirectionTuning | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all properties are computed."""
        return None not in (self.repeats, self.field, self.tuning)


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    session: Session
    neurons: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    session: Session
    facts: tuple[NeuronProperties, ...]


class NeuronInfo(HasBackgroundTask):
    """Properties of the focused neuron: the last selected one, until `step`.

    Parameters
    ----------
    state
        Live state.
    execution
        Threads of the work and of its results.

    Attributes
    ----------
    changed
        Emitted on the drawing thread when an attribute may have changed.
    focused
        Emitted when another neuron has the focus; views that show its properties then
        call `follow`.
    focus
        Focused neuron, None without a selection.
    n_results
        Number of results so far; a version number for caches.
    """

    changed = Signal()
    focused = Signal()

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self.focus: int | None = None
        self.n_results = 0
        self._state = state
        self._kept: OrderedDict[Key, NeuronProperties] = OrderedDict()
        self._under_way: tuple[int, ...] = ()
        self._selection: tuple[int, ...] = ()
        self._session: Session | None = None
        self._is_given_up = False
        self._task = BackgroundTask(_computed, self._take, execution)
        self._task.changed.connect(self._on_errand)

    @property
    def current(self) -> NeuronProperties | None:
        """Properties of the focused neuron computed so far."""
        session = self._state.session
        if session is None or self.focus is None:
            return None
        return self._kept.get(_key(session, self.focus))

    @property
    def computed(self) -> list[NeuronProperties]:
        """Properties computed so far for neurons of the open session."""
        session = self._state.session
        if session is None:
            return []
        own = (session.id, session.fingerprint)
        return [facts for key, facts in self._kept.items() if key[:2] == own]

    # -- actions ----------------------------------------------------------------------
    def follow(self) -> None:
        """Update the focus from the selection, and compute missing properties.

        Views call it while they show the properties, so that nothing is computed
        otherwise. The last added neuron gets the focus; without one, the focus stays.
        """
        selection, before = self._state.selection, self._selection
        self._selection = selection
        added = [neuron for neuron in selection if neuron not in before]
        if added:
            self._look_at(added[-1])
        elif self.focus in selection:
            self._look_at(self.focus)
        else:
            self._look_at(selection[-1] if selection else None)

    def step(self, n: int) -> None:
        """Move the focus by `n` in the order of selection, cyclically.

        Nothing is computed: a view that shows the properties calls `follow`.
        """
        selection = self._selection = self._state.selection
        if selection:
            at = selection.index(self.focus) if self.focus in selection else -1
            self._move_to(selection[(at + n) % len(selection)])

    def stop(self) -> None:
        """Stop the computation; keep the results so far."""
        self._under_way = ()
        self._task.stop()

    def stop_by_user(self) -> None:
        """Stop, and do not restart automatically while this neuron has the focus."""
        self._is_given_up = self.is_busy
        self.stop()

    @property
    def is_stopped(self) -> bool:
        """Whether the user stopped the computation; `retry` restarts it."""
        return self._is_given_up

    def retry(self) -> None:
        """Compute missing properties after a stop or an error."""
        self._is_given_up = False
        self._task.clear_error()
        self._compute()

    # -- internal ---------------------------------------------------------------------
    def _move_to(self, neuron: int | None) -> None:
        session = self._state.session
        if neuron != self.focus or session is not self._session:
            self.focus, self._session = neuron, session
            self._task.clear_error()
            self._is_given_up = False
            self.changed.emit()
            self.focused.emit()

    def _look_at(self, neuron: int | None) -> None:
        self._move_to(neuron)
        is_coming = self.is_busy and neuron in self._under_way
        if neuron is None:
            self.stop()
        elif not (is_coming or self._is_given_up or self.error):
            self._compute()

    def _compute(self) -> None:
        session, focus = self._state.session, self.focus
        if session is None or focus is None:
            return
        known = self._kept.get(_key(session, focus))
        if known is not None and known.is_complete:
            return
        # All incomplete neurons together: reading the video takes most of the time.
        others = (n for n in self._state.selection if n != focus)
        missing = [n for n in others if not self._is_complete(session, n)]
        self._under_way = (focus, *missing)
        self._task.start(_Wanted(session, self._under_way), "Reading repeats")

    def _is_complete(self, session: Session, neuron: int) -> bool:
        known = self._kept.get(_key(session, neuron))
        return known is not None and known.is_complete

    def _take(self, found: _Found) -> None:
        self.n_results += 1
        for facts in found.facts:
            key = _key(found.session, facts.neuron)
            self._kept[key] = facts
            self._kept.move_to_end(key)
        # Least recently computed first.
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.changed.emit()

    def _on_errand(self) -> None:
        self.changed.emit()


def _key(session: Session, neuron: int) -> Key:
    return session.id, session.fingerprint, neuron


def _computed(wanted: _Wanted, report: ReportProgress) -> Iterator[_Found]:
    """Yield repeats, then receptive fields, then tuning at the fields' centres.

    Each result also has all earlier properties.
    """
    session, neurons = wanted.session, np.array(wanted.neurons, np.int64)
    facts = tuple(NeuronProperties(neuron) for neuron in wanted.neurons)

    def field_told(share: float) -> None:
        report(f"Receptive field: {60 * share:.0f} %")

    def tuning_told(share: float) -> None:
        report(f"Tuning: {60 + 40 * share:.0f} %")

    clips = repeated_clips(session)[:_MAX_CLIPS]
    shown = [_read_repeats(session, clip, neurons, report) for clip in clips]
    facts = tuple(
        replace(f, repeats=tuple(_of_one(repeats, i) for repeats in shown))
        for i, f in enumerate(facts)
    )
    yield _Found(session, facts)
    fields = receptive_fields(session, neurons, progress=field_told)
    facts = tuple(replace(f, field=v) for f, v in zip(facts, fields, strict=True))
    yield _Found(session, facts)
    # NaN: without a receptive field, tuning is computed from the whole screen.
    places = [(np.nan, np.nan) if v.problem else v.centre_yx for v in fields]
    at = np.array(places)
    tunings = direction_tuning(session, neurons, at, progress=tuning_told)
    facts = tuple(replace(f, tuning=v) for f, v in zip(facts, tunings, strict=True))
    yield _Found(session, facts)


def _read_repeats(
    session: Session, clip: RepeatedClip, neurons: np.ndarray, report: ReportProgress
) -> ClipRepeats:
    report("Reading repeats")
    return clip_repeats(session, clip, neurons)


def _of_one(repeats: ClipRepeats, i: int) -> ClipRepeats:
    """Return the repeats of one neuron."""
    # `copy` releases the responses of the other neurons when their facts are dropped.
    own = slice(i, i + 1)
    return replace(
        repeats,
        neurons=repeats.neurons[own],
        responses=repeats.responses[own].copy(),
        average=repeats.average[own],
        cc_max=repeats.cc_max[own],
        single_trial_max=repeats.single_trial_max[own],
        oracle=repeats.oracle[own],
        status=repeats.status[own],
    )
