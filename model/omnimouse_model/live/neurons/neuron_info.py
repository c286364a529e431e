"""Properties of single neurons: receptive field, tuning, responses to repeated clips.

They are computed in the background while a view shows them, for all selected neurons in
one pass over the video, and cached per session and neuron.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from psygnal import Signal

from omnimouse_model.analysis.direction_tuning import (
    DirectionTuning,
    Pair,
    centres_of,
    direction_tuning,
    fields_and_tuning,
    kept_fields_and_tuning,
    tuning_path,
)
from omnimouse_model.analysis.receptive_fields import ReceptiveField, receptive_fields
from omnimouse_model.analysis.spike_activity import SpikeActivity, spike_activity
from omnimouse_model.data.session import Session
from omnimouse_model.errors import ExportError
from omnimouse_model.evaluation.repeats import (
    ClipRepeats,
    clip_repeats,
    reliability_interval,
    repeated_clips,
)
from omnimouse_model.live.inference.background_task import (
    NO_TIME,
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
    percent_job,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.state import LiveState
from omnimouse_model.progress import part_of
from omnimouse_model.simulate.demo import open_line

ALL = "Work for all neurons"
"""What a computation for all neurons is called while it runs: neurons come in groups."""
READING = "Reading what is known of all neurons"
_CACHE_SIZE = 512
"""Neurons whose properties are kept; the least recently computed are dropped."""
_MAX_CLIPS = 12
_Key = tuple[str, str, int]


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
    spikes
        Rate and autocorrelogram; None for response traces, too.
    """

    neuron: int
    repeats: tuple[ClipRepeats, ...] | None = None
    field: ReceptiveField | None = None
    tuning: DirectionTuning | None = None
    spikes: SpikeActivity | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all properties are computed."""
        return None not in (self.repeats, self.field, self.tuning)


_Request = tuple[Session, tuple[int, ...]]
_Everyone = tuple[Session, tuple[int, ...], Path]
"""Recording, neurons that are computed, none to read what is known, and its file."""
_Result = tuple[Session, tuple[NeuronProperties, ...]]


class NeuronInfo(HasBackgroundTask):
    """Properties of the focused neuron: the last selected one, until `step`.

    Attributes
    ----------
    focus_changed
        Emitted when another neuron has the focus; views that show its properties then
        call `follow`.
    focus
        Focused neuron, None without a selection.
    measured
        Emitted when properties of neurons have been computed.
    n_results
        Number of results so far; a version number for caches.
    population
        Computation of the receptive field and tuning of every neuron, in pieces; what a
        recording has in the cache is read when it is opened.
    """

    focus_changed = Signal()
    measured = Signal()

    def __init__(self, state: LiveState, execution: Execution = IN_THREADS) -> None:
        self.focus: int | None = None
        self.n_results = 0
        self._state = state
        self._cache: OrderedDict[_Key, NeuronProperties] = OrderedDict()
        self._running: tuple[int, ...] = ()
        self._selection: tuple[int, ...] = ()
        self._session: Session | None = None
        self._is_stopped = False
        self._task = BackgroundTask(_compute, self._take, execution)
        # What was computed for all neurons of the open session, by neuron.
        self._everyone: dict[int, NeuronProperties] = {}
        self.population = BackgroundTask(_compute_all, self._take_piece, execution)
        self._on_session()
        state.events.session.connect(self._on_session)

    @property
    def current(self) -> NeuronProperties | None:
        """Properties of the focused neuron computed so far."""
        session = self._state.session
        if session is None or self.focus is None:
            return None
        return self._cache.get(_key(session, self.focus))

    def as_python(self) -> str:
        """Return a script that prints receptive field and tuning of the focused neuron.

        Raises
        ------
        ExportError
            No neuron of a recording that a script can open has the focus.
        """
        session = self._state.session
        if session is None or self.focus is None:
            raise ExportError("Select a neuron first.")
        lines = ["import omnimouse_app as om", "", open_line(session)]
        return "\n".join([*lines, f"print(om.recorded_tuning(session, [{self.focus}]).T)", ""])

    @property
    def shown(self) -> int | None:
        """Neuron that plots of one neuron show: the focused one, or the last selected."""
        selection = self._state.selection
        return self.focus if self.focus in selection or not selection else selection[-1]

    @property
    def computed(self) -> list[NeuronProperties]:
        """Properties computed so far for neurons of the open session."""
        session = self._state.session
        if session is None:
            return []
        own = _recording(session)
        looked_at = {key[2]: info for key, info in self._cache.items() if key[:2] == own}
        # A neuron that is being looked at has its repeats first.
        complete = {n: info for n, info in looked_at.items() if info.is_complete}
        return list((looked_at | self._everyone | complete).values())

    @property
    def can_compute_all(self) -> bool:
        """Whether fields and tuning are known of some neurons at most."""
        session = self._state.session
        if session is None or session.stimulus is None:
            return False
        return not self.population.is_busy and len(self._everyone) < session.n_neurons

    # -- actions ----------------------------------------------------------------------
    def follow(self) -> None:
        """Update the focus from the selection, and compute missing properties.

        Views call it while they show the properties, so that nothing is computed
        otherwise. The last added neuron gets the focus; without one, the focus stays.
        """
        # The neuron just clicked is the one that was not selected before.
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
        self._running = ()
        self._task.stop()

    def stop_by_user(self) -> None:
        """Stop, and do not restart automatically while this neuron has the focus."""
        self._is_stopped = self.is_busy
        self.stop()

    @property
    def is_stopped(self) -> bool:
        """Whether the user stopped the computation; `retry` restarts it."""
        return self._is_stopped

    def retry(self) -> None:
        """Compute missing properties after a stop or an error."""
        self._is_stopped = False
        self._task.clear_error()
        self._start()

    def compute_all(self) -> None:
        """Compute receptive field and tuning of every neuron; a stopped run goes on."""
        if self.can_compute_all:
            session = self._state.session
            assert session is not None
            missing = [n for n in range(session.n_neurons) if n not in self._everyone]
            self.population.start((session, tuple(missing), tuning_path(session)), ALL)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop at the next step and end the threads."""
        self.population.close(timeout_s)
        super().close(timeout_s)

    # -- internal ---------------------------------------------------------------------
    def _on_session(self) -> None:
        self.population.stop()
        self.population.clear_error()
        self._everyone = {}
        session = self._state.session
        if session is not None and (path := tuning_path(session)).exists():
            self.population.start((session, (), path), READING)

    def _take_piece(self, result: _Result) -> None:
        session, infos = result
        if session is self._state.session:
            self.n_results += 1
            self._everyone.update((info.neuron, info) for info in infos)
            self.changed.emit()
            self.measured.emit()

    def _move_to(self, neuron: int | None) -> None:
        session = self._state.session
        # The same index in another session is another neuron.
        if neuron != self.focus or session is not self._session:
            self.focus, self._session = neuron, session
            self._task.clear_error()
            self._is_stopped = False
            self.changed.emit()
            self.focus_changed.emit()

    def _look_at(self, neuron: int | None) -> None:
        self._move_to(neuron)
        is_running = self.is_busy and neuron in self._running
        if neuron is None:
            self.stop()
        elif not (is_running or self._is_stopped or self.error):
            self._start()

    def _start(self) -> None:
        session, focus = self._state.session, self.focus
        if session is None or focus is None or self._is_complete(session, focus):
            return
        # All incomplete neurons together: reading the video takes most of the time.
        others = (n for n in self._state.selection if n != focus)
        missing = [n for n in others if not self._is_complete(session, n)]
        self._running = (focus, *missing)
        self._task.start((session, self._running), "Reading repeats")

    def _is_complete(self, session: Session, neuron: int) -> bool:
        info = self._cache.get(_key(session, neuron))
        return info is not None and info.is_complete

    def _take(self, result: _Result) -> None:
        session, infos = result
        self.n_results += 1
        for info in infos:
            key = _key(session, info.neuron)
            self._cache[key] = info
            self._cache.move_to_end(key)
        # Least recently computed first.
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        self.changed.emit()
        self.measured.emit()


def _recording(session: Session) -> tuple[str, str]:
    return session.id, session.fingerprint


def _key(session: Session, neuron: int) -> _Key:
    return *_recording(session), neuron


def _compute(request: _Request, report: ReportProgress) -> Iterator[_Result]:
    """Yield repeats, then receptive fields, then tuning at the fields' centres.

    Each result also has all earlier properties.
    """
    session, indices = request
    neurons = np.array(indices, np.int64)
    infos = tuple(
        NeuronProperties(neuron, spikes=spike_activity(session, neuron)) for neuron in indices
    )

    clips = []
    for clip in repeated_clips(session)[:_MAX_CLIPS]:
        # Reporting raises if the task was stopped, so that each clip is a step.
        report("Reading repeats")
        clips.append(clip_repeats(session, clip, neurons))
    infos = tuple(
        replace(info, repeats=tuple(_of_one(repeats, i) for repeats in clips))
        for i, info in enumerate(infos)
    )
    yield session, infos
    fields = receptive_fields(
        session, neurons, job=part_of(percent_job(report, "Receptive field"), 0.0, 0.6)
    )
    infos = tuple(replace(i, field=f) for i, f in zip(infos, fields, strict=True))
    yield session, infos
    job = part_of(percent_job(report, "Tuning"), 0.6, 1.0)
    tunings = direction_tuning(session, neurons, centres_of(fields), job=job)
    infos = tuple(replace(i, tuning=t) for i, t in zip(infos, tunings, strict=True))
    yield session, infos


def _compute_all(request: _Everyone, report: ReportProgress) -> Iterator[_Result]:
    """Yield receptive field and tuning of every neuron, or what is known of them."""
    session, neurons, path = request
    if not neurons:
        # All at once: views draw each result.
        kept = kept_fields_and_tuning(session, path)
        yield session, tuple(info for pair in kept for info in _infos(pair))
        return
    job = percent_job(report, ALL, f", {NO_TIME}")
    for pair in fields_and_tuning(session, np.array(neurons, np.int64), job, path):
        yield session, _infos(pair)


def _infos(pair: Pair) -> tuple[NeuronProperties, ...]:
    found = zip(*pair, strict=True)
    return tuple(NeuronProperties(f.neuron, field=f, tuning=t) for f, t in found)


def _of_one(repeats: ClipRepeats, i: int) -> ClipRepeats:
    """Return the repeats of one neuron."""
    # `copy` releases the responses of the other neurons when their entries are dropped.
    own = slice(i, i + 1)
    responses = repeats.responses[own].copy()
    return replace(
        repeats,
        neurons=repeats.neurons[own],
        responses=responses,
        average=repeats.average[own],
        cc_max=repeats.cc_max[own],
        single_trial_max=repeats.single_trial_max[own],
        interval=reliability_interval(responses, repeats.single_trial_max[own]),
        oracle=repeats.oracle[own],
        status=repeats.status[own],
    )
