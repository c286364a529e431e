"""Last step of every reader: checks across streams, fingerprint and notes."""

from dataclasses import replace

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.side_streams import (
    common_time,
    is_long_enough,
    note_missing,
    span_text,
)
from omnimouse_model.data.readers.build.statistics import complete_statistics, train_spans
from omnimouse_model.data.readers.build.stored_values import LONGEST_S
from omnimouse_model.data.recording import missing_rows
from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import SPLIT_NOTE, Stimulus, Trials
from omnimouse_model.data.window_spec import ASSUMED_RATE_HZ, WINDOW_S
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.files import label
from omnimouse_model.storage.fingerprint import combine_options

# The format refuses shorter sessions, whatever the windows of other models.
_WINDOW_POINTS = grid_points(WINDOW_S)
_STREAMS = {
    "screen": ("stimulus", "video", "screen", "image", "frames"),
    "eye_tracker": ("pupil", "eye"),
    "treadmill": ("running", "treadmill", "wheel", "speed"),
}
"""Name of a stream -> words for it, the first one for messages."""
_WITHOUT_CLOCK = ("sensorium-2022", "sensorium-2023", "trial-tree")
"""Formats whose trials have no common clock: all streams have the length of trials."""
_SAME, _MARGIN_S, _LONG_MARGIN_S = 0.02, 0.5, 5.0
"""Differences of lengths that need no warning: share; seconds that a stream lacks, and
by which it is longer."""


# Few frames are enough for the range of gray values, and opening stays fast.
_SAMPLED_TRIALS = 6
_SAMPLED_FRAMES = 4


def finalise(session: Session, notes: Notes) -> Session:
    """Return the checked session with statistics of behaviour, notes and fingerprint.

    Raises
    ------
    SessionFormatError
        If the streams have no 2-s window in common, or cover more than a week.
    """
    session = _without_distant_streams(_without_empty_streams(session, notes), notes)
    check_overlap(session)
    _note_absent(session, notes)
    _note_lengths(session, notes)
    if session.stimulus is not None:
        _note_values(session.stimulus, notes)
    train = train_spans(session.stimulus, session.trials, session.t0)
    behavior = {
        name: signal and complete_statistics(signal, train, notes)
        for name, signal in session.behavior.items()
    }
    note_missing(session, notes)
    _note_other_rate(session, notes)
    if session.recording_rate_hz is None and not session.responses.has_events:
        notes.assume(
            "unknown_recording_rate",
            f"responses were upsampled to {session.responses.rate_hz:.4g} Hz from an "
            f"unknown rate: {ASSUMED_RATE_HZ:g} Hz is assumed, that of most released "
            "recordings; targets beside visible samples are left out accordingly",
        )
    if session.t0:
        notes.assume("clock", f"clock: 0 is the first response, {session.t0:.10g} s in the file")
    if session.split:
        notes.assume("inferred_tiers", SPLIT_NOTE)
    elif not session.tiers():
        notes.warn("no_tiers", f"{session.tiers_text()}: it has no scores")
    return replace(
        session,
        behavior=behavior,
        fingerprint=combine_options(session.fingerprint, session.options),
        warnings=tuple(notes.warnings),
        assumptions=tuple(notes.assumptions),
    )


def _without_empty_streams(session: Session, notes: Notes) -> Session:
    """Return the session without behaviour that has no complete sample."""
    for name, signal in session.behavior.items():
        if signal is None or len(missing_rows(signal)) < signal.n_samples:
            continue
        is_empty = np.isnan(signal.data).all(axis=0)
        columns = signal.names or tuple(map(str, range(signal.n_columns)))
        empty = ", ".join(np.array(columns)[is_empty].tolist())
        problem = f"{empty} is NaN in all" if empty else "a channel is NaN in each"
        notes.warn(
            "left_out_stream",
            f"{_STREAMS[name][0]} is left out: {problem} of its "
            f"{signal.n_samples:,} samples (leave out channels that were not recorded)",
        )
        session = replace(session, behavior={**session.behavior, name: None})
    return session


def _without_distant_streams(session: Session, notes: Notes) -> Session:
    """Return the session without streams that do not overlap the responses."""
    spans = {name: s.valid_interval() for name, s in session.streams.items()}
    whole = spans.pop("responses")
    if not is_long_enough(whole):
        return session
    for name, span in spans.items():
        if is_long_enough(common_time(whole, span)):
            continue
        notes.warn(
            "left_out_stream",
            f"{_STREAMS[name][0]} is left out: it covers {span_text(span)}, and the "
            f"responses {span_text(whole)}: no common 2-s window (bring all streams to "
            "one clock, in seconds)",
        )
        if name == "screen":
            session = replace(session, stimulus=None, trials=Trials.none())
        else:
            session = replace(session, behavior={**session.behavior, name: None})
    return session


def _note_absent(session: Session, notes: Notes) -> None:
    """Note the streams that the session does not have."""
    left_out = [
        note.message.split(" is left out")[0].lower()
        for note in notes.warnings
        if note.code == "left_out_stream"
    ]
    for name, words in _STREAMS.items():
        # A stream that was left out is in the files: its warning says so.
        is_stored = any(word in title for title in left_out for word in words)
        if name not in session.streams and not is_stored:
            notes.assume("missing_stream", f"the session has no {name}")


def _note_lengths(session: Session, notes: Notes) -> None:
    """Warn with all durations if streams on one clock differ in length.

    A wrong rate or unit of time makes a stream longer or shorter than it was. Streams
    may also begin before the responses and end after them, by some seconds.
    """
    if session.format in _WITHOUT_CLOCK:
        return
    spans = {name: s.valid_interval() for name, s in session.streams.items()}
    whole = spans.pop("responses")
    length = whole.stop - whole.start
    differing = {}
    for name, span in spans.items():
        shared = min(span.stop, whole.stop) - max(span.start, whole.start)
        lacking, excess = length - shared, (span.stop - span.start) - shared
        if lacking > max(_SAME * length, _MARGIN_S) or (
            excess > max(_SAME * length, _LONG_MARGIN_S)
        ):
            differing[_STREAMS[name][0]] = span
    if differing:
        durations = ", ".join(
            f"{title} {span.stop - span.start:.4g} s ({span.start - session.t0:.4g} to "
            f"{span.stop - session.t0:.4g} s)"
            for title, span in {"responses": whole, **differing}.items()
        )
        notes.warn(
            "stream_lengths",
            f"streams differ in length: {durations}; windows lie in the time that all "
            "cover (if they were recorded together, check rates and units of time)",
        )


def _note_other_rate(session: Session, notes: Notes) -> None:
    # Some readers compare the rates themselves, with a more specific message.
    option, rate_hz = session.options.get("rate_hz"), session.responses.rate_hz
    is_noted = any(note.code == "rate_disagrees" for note in notes.warnings)
    if option is not None and option != rate_hz and not is_noted:
        notes.warn(
            "rate_disagrees",
            f"responses: {option:g} Hz was given, the file says {rate_hz:g}, which is used",
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
    own = intervals["responses"]
    hint = "are all streams on one clock?"
    # Windows keep half a second from both ends.
    if own.stop - own.start < WINDOW_S + 1:
        rate_hz = session.responses.rate_hz
        hint = f"is the rate of the responses, {rate_hz:.4g} Hz, right?"
    spans = ", ".join(
        f"{name} {interval.start:.1f}–{interval.stop:.1f} s" for name, interval in intervals.items()
    ).replace("responses", "responses cover", 1)
    raise SessionFormatError(
        session.path,
        "no_overlap",
        f"{label(session.path)}: {spans}: no common 2-s window",
        hint,
    )


def _note_values(stimulus: Stimulus, notes: Notes) -> None:
    """Note gray values outside 0-255, the range of every model."""
    has_frames = np.array([stimulus.source.has(i) for i in range(len(stimulus.trials))])
    trials = np.flatnonzero(has_frames).tolist()
    low, high, is_finite = np.inf, -np.inf, True
    # Spread over the session, because stimuli can differ between its parts.
    for trial in trials[:: max(1, len(trials) // _SAMPLED_TRIALS)][:_SAMPLED_TRIALS]:
        first = int(stimulus.trials.first_slot[trial])
        n_slots = int(stimulus.trials.n_slots[trial])
        step = max(1, n_slots // _SAMPLED_FRAMES)
        for slot in range(first, first + n_slots, step):
            frame = stimulus.frame(slot)
            is_finite &= bool(np.isfinite(frame).all())
            low, high = min(low, float(frame.min())), max(high, float(frame.max()))
    n_unknown = int(np.isnan(stimulus.trials.blank_value[~has_frames]).sum())
    if n_unknown:
        notes.assume("no_gray", f"{n_unknown} blank trials name no gray level; mean gray")
    if not is_finite:
        notes.warn(
            "not_finite",
            "some frames hold values that are not finite; models receive mean gray",
        )
    if high > 255 or low < 0:
        notes.warn(
            "gray_range",
            f"stimulus reaches from {low:g} to {high:g}; the model expects 0–255",
        )
    # Values are never rescaled: a dark video can also stay below 1.
    elif high <= 1 and trials:
        notes.warn(
            "gray_range",
            "the frames of the video that were looked at have gray values of 0 to 1; "
            "models expect 0–255, and nothing is scaled (multiply the video by 255)",
        )
