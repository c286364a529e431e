"""What every reader does last: checks across streams, identity, and the notes."""

from dataclasses import replace

from omnimouse_model.data.clock import N_FRAMES
from omnimouse_model.data.fingerprint import as_read
from omnimouse_model.data.readers.behavior import note_missing
from omnimouse_model.data.readers.extent import LONGEST_S
from omnimouse_model.data.readers.notes import Notes
from omnimouse_model.data.session import Session
from omnimouse_model.data.split import SPLIT_NOTE
from omnimouse_model.errors import SessionFormatError


def finished(session: Session, notes: Notes) -> Session:
    """Check that the streams have a 2-s window in common, and attach the notes.

    Raises
    ------
    SessionFormatError
        They have none, or claim more than a week.
    """
    _check_overlap(session)
    note_missing(session, notes)
    if session.split:
        notes.assume("inferred_tiers", SPLIT_NOTE)
    return replace(
        session,
        fingerprint=as_read(session.fingerprint, session.options),
        warnings=tuple(notes.warnings),
        assumptions=tuple(notes.assumptions),
    )


def _check_overlap(session: Session) -> None:
    common = session.common_interval()
    if common.stop - common.start > LONGEST_S:
        raise SessionFormatError(
            session.path,
            "bad_clock",
            f"the streams cover {common.stop - common.start:.3g} s, more than a week",
            "are sampling_rate and end_time right, in seconds?",
        )
    if common.start < common.stop and len(session.start_grid) >= N_FRAMES:
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
