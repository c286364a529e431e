"""Streams beside the responses: a faulty one is left out with one warning.

Only responses are indispensable. A running speed, pupil, stimulus or trial table that
cannot be read never takes the recording away.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.errors import SessionFormatError

Stream = TypeVar("Stream")

MIN_OVERLAP_S = 3.0
"""A window of 2 s with a margin of 0.5 s at both ends."""
MILLISECOND_S = 1e-3
_SIMILAR = 0.5
"""Spans count as similar if the shorter one has this share of the longer one."""


def read_side_stream(name: str, read: Callable[[Notes], Stream], notes: Notes) -> Stream | None:
    """Return what `read` returns, None if it raises `SessionFormatError`.

    One warning then names stream, fault and remedy; notes that `read` made before are
    dropped, because they describe a stream that the session does not have.
    """
    attempt = Notes()
    try:
        found = read(attempt)
    except SessionFormatError as error:
        # A file that changes while it is read is no fault of one stream.
        if error.code == "changed":
            raise
        problem = error.message.removeprefix(f"{error.path.name}: ")
        remedy = f" ({error.hint})" if error.hint else ""
        notes.warn("left_out_stream", f"{name} is left out: {problem}{remedy}")
        return None
    notes.warnings += attempt.warnings
    notes.assumptions += attempt.assumptions
    return found


def common_time(first: Interval, second: Interval) -> Interval:
    """Return the time that both spans cover; its stop may precede its start."""
    return Interval(max(first.start, second.start), min(first.stop, second.stop))


def is_long_enough(span: Interval) -> bool:
    """Return whether a window fits into a span."""
    return bool(span.stop - span.start >= MIN_OVERLAP_S)


def is_in_milliseconds(span: Interval, recording: Interval) -> bool:
    """Return whether a span fits the recording if its times are milliseconds.

    It does if the stored span is far longer, and a thousandth of it has about the
    length of the recording and lies on it.
    """
    in_seconds = Interval(span.start * MILLISECOND_S, span.stop * MILLISECOND_S)
    length, recorded = (s.stop - s.start for s in (in_seconds, recording))
    shared = common_time(in_seconds, recording)
    # Times of arrays are numbers of NumPy.
    return bool(
        min(length, recorded) >= _SIMILAR * max(length, recorded)
        and shared.stop - shared.start >= _SIMILAR * recorded
    )


def scale_to_seconds(name: str, span: Interval, recording: Interval, notes: Notes) -> float:
    """Return the factor from the times of a stream to seconds, with a warning if not 1.

    Only milliseconds are recognised; see `is_in_milliseconds`.
    """
    if not is_in_milliseconds(span, recording):
        return 1.0
    notes.warn(
        "times_in_milliseconds",
        f"{name}: its times reach from {span_text(span)}, the responses cover "
        f"{span_text(recording)}; they are taken as milliseconds",
    )
    return MILLISECOND_S


def clock_remedy(span: Interval, recording: Interval, origins: Mapping[str, float]) -> str:
    """Return how the times of a stream come onto the clock of the recording.

    Parameters
    ----------
    span, recording
        Times of the stream and of the responses, which do not overlap.
    origins
        Name -> value in seconds of the constants of the file that can separate two
        clocks, such as the start of the session in Unix time.
    """
    if is_in_milliseconds(span, recording):
        return "its times look like milliseconds: divide them by 1000"
    for name, value in origins.items():
        for verb, shift in (("add", value), ("subtract", -value)):
            moved = Interval(span.start + shift, span.stop + shift)
            shared = common_time(moved, recording)
            # The constant explains the difference only if all of the stream fits.
            if shared in (moved, recording):
                side = "to" if verb == "add" else "from"
                return f"{verb} {name} ({value:.10g} s) {side} its times"
    return "bring both to one clock, in seconds"


def span_text(span: Interval) -> str:
    """Return a span of native time for messages; Unix times keep their digits."""
    return f"{span.start:.10g} to {span.stop:.10g} s"
