"""Last step of every reader: checks across streams, fingerprint and notes."""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.clock import full_window_starts, grid_points
from omnimouse_model.data.io.fingerprint import combine_options
from omnimouse_model.data.readers.build.behavior_names import note_missing
from omnimouse_model.data.readers.build.frame_notes import note_frames
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.size_limits import LONGEST_S
from omnimouse_model.data.readers.build.statistics import (
    complete_statistics,
    train_spans,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.split import SPLIT_NOTE
from omnimouse_model.data.valid_starts import inside_trials
from omnimouse_model.data.window_spec import ASSUMED_RATE_HZ, OMNIMOUSE
from omnimouse_model.errors import SessionFormatError

# The format refuses shorter sessions, whatever the windows
# of other models.
_WINDOW_POINTS = grid_points(OMNIMOUSE.duration_s)


def finalise(session: Session, notes: Notes) -> Session:
    """Return the checked session with statistics of behaviour, notes and fingerprint.

    Raises
    ------
    SessionFormatError
        If the streams have no 2-s window in common, or cover more than a week.
    """
    check_overlap(session)
    for name in ("screen", "eye_tracker", "treadmill"):
        if name not in session.streams:
            notes.assume("missing_stream", f"the session has no {name}")
    if session.stimulus is not None:
        note_frames(session.stimulus, notes)
    train = train_spans(session.stimulus, session.trials, session.t0)
    behavior = {
        name: signal and complete_statistics(signal, train, notes)
        for name, signal in session.behavior.items()
    }
    note_missing(session, notes)
    # A warning, not an error: such a recording can still be looked at.
    if not len(full_window_starts(inside_trials(session, None), _WINDOW_POINTS)):
        notes.warn("no_windows", _without_windows(session))
    _note_other_rate(session, notes)
    if session.recording_rate_hz is None and not session.responses.has_events:
        notes.assume(
            "unknown_recording_rate",
            f"responses were upsampled to {session.responses.rate_hz:.4g} Hz from an "
            f"unknown rate: {ASSUMED_RATE_HZ:g} Hz is assumed, that of most released "
            "recordings; targets beside visible samples are left out accordingly",
        )
    if session.t0:
        notes.assume(
            "clock", f"clock: 0 is the first response, {session.t0:.10g} s in the file"
        )
    if session.split:
        notes.assume("inferred_tiers", SPLIT_NOTE)
    return replace(
        session,
        behavior=behavior,
        fingerprint=combine_options(session.fingerprint, session.options),
        warnings=tuple(notes.warnings),
        assumptions=tuple(notes.assumptions),
    )


def _note_other_rate(session: Session, notes: Notes) -> None:
    # Some readers compare the rates themselves, with a more specific message.
    option, rate_hz = session.options.get("rate_hz"), session.responses.rate_hz
    is_noted = any(note.code == "rate_disagrees" for note in notes.warnings)
    if option is not None and option != rate_hz and not is_noted:
        notes.warn(
            "rate_disagrees",
            f"responses: {option:g} Hz was given, the file says {rate_hz:g}, which is "
            "used",
        )


def _without_windows(session: Session) -> str:
    longest = float(np.max(session.trials.t_off - session.trials.t_on, initial=0.0))
    return (
        "no window of OmniMouse, 2 s, lies within trials, of which the longest lasts "
        f"{longest:.3g} s: OmniMouse cannot predict this recording"
    )


def check_overlap(session: Session) -> None:
    """Raise if the streams have no 2-s window in common, or cover more than a week."""
    common = session.common_interval()
    # Before the start grid is made: its size grows with the length.
    if common.stop - common.start > LONGEST_S:
        raise SessionFormatError(
            session.path,
            "bad_clock",
            f"the streams cover {common.stop - common.start:.3g} s, more than a week",
            "are sampling_rate and end_time right, in seconds?",
        )
    if common.start < common.stop and len(session.start_grid) >= _WINDOW_POINTS:
        return
    intervals = {n: s.valid_interval() for n, s in session.streams.items()}
    spans = ", ".join(
        f"{name} {interval.start:.1f}–{interval.stop:.1f} s"
        for name, interval in intervals.items()
    ).replace("responses", "responses cover", 1)
    raise SessionFormatError(
        session.path,
        "no_overlap",
        f"{spans}: no common 2-s window",
        "are all streams on one clock?",
    )
