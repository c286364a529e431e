"""First view of a newly opened session; shown as a whole or not at all."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from psygnal import EmitLoopError

from omnimouse_model.data.open import open_session
from omnimouse_model.data.recording import Note
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import Edit, default_spec
from omnimouse_model.live.analysis_file import ReopenedAnalysis
from omnimouse_model.live.mask.presets import mask_for, preset_for, preset_named
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.state_store import FirstScores, shipped_scores
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.neuron_table import label_columns

logger = logging.getLogger(__name__)

OTHER_PRESET: Final = "The preset is “{}”: “{}” does not fit this recording."
N_SELECTED_AT_FIRST = 4
"""Neurons selected in a new view, so that the traces are not empty."""


@dataclass(frozen=True, slots=True, eq=False)
class SessionView:
    """The part of the live state that belongs to one session.

    `reopened` is the saved analysis that the view shows, None for a new view.
    `first_ranks` are neuron -> "best", "median" or "worst". `scores` are the stored
    ones that chose window and neurons. `messages` tell the user about a new view.
    `predictor` is chosen in place of another shipped model, "" for no choice.
    """

    session: Session | None
    window: Window | None
    mask: Mask | None
    preset: str
    selection: tuple[int, ...] = ()
    cursor: int = 0
    edits: tuple[Edit, ...] = ()
    first_ranks: Mapping[int, str] = field(default_factory=dict)
    scores: FirstScores | None = None
    messages: tuple[str, ...] = ()
    predictor: str = ""
    reopened: ReopenedAnalysis | None = None


def first_view(
    path_or_session: str | Path | Session,
    preset: str,
    start_s: float | None = None,
    options: Mapping[str, Any] | None = None,
    scores_of: Callable[[Session], FirstScores | None] = shipped_scores,
) -> SessionView:
    """Open a recording at a time or a held-out window, with a preset's mask.

    Stored scores choose a window of median score, and the best, a median and the worst
    neuron; without them, the window and its neurons are the most active ones. If the
    preset does not fit the recording, the default or the forecast preset is used, and
    a message says so.
    """
    session = path_or_session
    if not isinstance(session, Session):
        session = _opened(session, dict(options or {}))
    scores = scores_of(session)
    if start_s is None:
        start_s = first_start(session) if scores is None else scores.start_s
    # A remembered time may be that of another version of the recording.
    window = session.nearest_window(start_s, default_spec())
    wanted, preset = preset, preset_for(preset, session)
    selected = active_neurons(window) if scores is None else scores.neurons
    mask = mask_for(preset, session, selected)
    names = preset_named(preset).label, preset_named(wanted).label
    return SessionView(
        session,
        window,
        mask,
        preset,
        selected,
        scores=scores,
        messages=() if preset == wanted else (OTHER_PRESET.format(*names),),
    )


def _opened(path: str | Path, options: dict[str, Any]) -> Session:
    """Open a recording, without tables of properties that are no longer there.

    A saved analysis must open where its recording is, even if a table was moved.
    """
    tables = options.get("unit_tables")
    if tables is None or Path(tables).exists():
        return open_session(path, **options)
    options.pop("unit_tables")
    session = open_session(path, **options)
    missing = Note(
        "missing_tables",
        f"properties of neurons were not joined: {tables} does not exist; join them "
        "again with Open… › Properties of neurons",
    )
    return replace(session, warnings=(*session.warnings, missing))


def read_ahead(view: SessionView) -> None:
    """Read the data that views draw first, so that the drawing thread reads no file."""
    if view.session is not None and view.window is not None:
        window = view.window
        _ = (window.frames_u8, window.behavior, window.missing, label_columns(view.session))
        _ = view.session.overview(), view.session.contents
    if view.mask is not None:
        scored_cells(view.mask)


def put_on_screen(
    state: LiveState, view: SessionView, before_drawing: Callable[[], None] = lambda: None
) -> None:
    """Show a view; if a listener fails, restore the state and raise its error.

    No listener sees a window or mask of another session: all values are set before the
    first signal. `before_drawing` is called between them.
    """
    before = _values_of(state)
    after = {name: getattr(view, name) for name in before}
    _set(state, after)
    try:
        before_drawing()
        for name, value in after.items():
            getattr(state.events, name).emit(value, before[name])
    except EmitLoopError as error:
        _set(state, before)
        for name, value in before.items():
            try:
                getattr(state.events, name).emit(value, after[name])
            except EmitLoopError:
                logger.exception("A view could not follow the restored %s.", name)
        raise _cause_of(error) from None


def _values_of(state: LiveState) -> dict[str, Any]:
    """Return the values of the state that belong to its session, by name."""
    # In this order the listeners are called.
    names = ("edits", "session", "first_ranks", "cursor", "window", "mask", "preset", "selection")
    return {name: getattr(state, name) for name in names}


def _set(state: LiveState, values: Mapping[str, Any]) -> None:
    """Set values of the state without a signal."""
    with ExitStack() as signals:
        for name, value in values.items():
            signals.enter_context(getattr(state.events, name).blocked())
            setattr(state, name, value)


def _cause_of(error: BaseException) -> BaseException:
    """Return the listener's error, which psygnal wraps in `EmitLoopError`."""
    while isinstance(error, EmitLoopError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def first_start(session: Session) -> float:
    """Return the start of the most active held-out window, or of any window.

    Held-out, because predictions of training data look too good. Activity is the
    recorded mean in the second half, where most presets have targets; scores do not
    affect the choice.
    """
    for tier in ("test", "validation", "oracle", None):
        if tier is not None and not set(session.named_tiers(tier)) & set(session.tiers()):
            continue
        starts = session.window_starts(tier=tier, spec=default_spec())
        # The trials of a tier can be too short for a window.
        if len(starts):
            return float(starts[np.argmax(_activity(session, starts))])
    return 0.0


def _activity(session: Session, starts: np.ndarray) -> np.ndarray:
    """Return the mean response in the second half of each window, -inf if unknown."""
    # Cumulative sums over the overview's bins give the mean of every window at once.
    overview = session.overview()
    is_known = np.isfinite(overview.population)
    total = np.cumsum([0.0, *np.where(is_known, overview.population, 0.0)])
    count = np.cumsum([0, *is_known])
    length_s = default_spec().duration_s
    ends = (starts + length_s / 2, starts + length_s)
    first, last = (np.searchsorted(overview.edges_s, at) for at in ends)
    # The bin that contains the start begins before it.
    first = np.maximum(first - 1, 0)
    last = np.minimum(last, len(is_known))
    n_bins = count[last] - count[first]
    mean = (total[last] - total[first]) / np.maximum(n_bins, 1)
    return np.where(n_bins > 0, mean, -np.inf)


def active_neurons(window: Window) -> tuple[int, ...]:
    """Return the neurons with the highest s.d. in the second half of the window.

    The second half has the targets of most presets. Scores do not affect the choice.
    """
    second_half = window.responses[len(window.responses) // 2 :]
    # NaN of missing samples would sort as the most active.
    spread = np.nan_to_num(np.std(second_half, axis=0))
    return tuple(int(i) for i in np.argsort(-spread)[:N_SELECTED_AT_FIRST])
