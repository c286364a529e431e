"""A session whose test tier cannot be read.

The ranking of sessions trains and scores on such sessions, so that no choice depends on
the tier on which the result is reported.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from omnimouse_model.data.recording import is_test_tier
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import SpikeTrains
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.storage.arrays.row_source import Rows

# The number of spans differs between arguments of one call.
Spans = Float64[np.ndarray, "... 2"]


class HeldBackError(ValueError):
    """Responses of a test tier were to be read where only other tiers may be."""


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Times of a session at which no response may be read.

    Attributes
    ----------
    session
        Id, for messages.
    spans
        Native start and end of each span, ascending.
    tolerance_s
        A read may touch a span by this much: the sample before a window lies in the
        trial before it.
    """

    session: str
    spans: Spans
    tolerance_s: float

    def check(self, start: float, stop: float) -> None:
        """Raise `HeldBackError` if a native time span touches a forbidden one."""
        first = np.searchsorted(self.spans[:, 1], start + self.tolerance_s, "right")
        if first < len(self.spans) and self.spans[first, 0] < stop - self.tolerance_s:
            raise HeldBackError(
                f"Session {self.session!r}: responses from {start:g} to {stop:g} s "
                "(native time) touch the test tier, which is held back here. Ranking "
                "reads the tiers train and validation."
            )


class GuardedRows:
    """Rows of a stream, see `Rows`, of which some cannot be read."""

    def __init__(self, signal: Signal, guard: Guard) -> None:
        self._rows, self._guard = signal.file, guard
        self._start, self._rate_hz = signal.start, signal.rate_hz

    @property
    def path(self) -> Path:
        """File or folder of the samples, for messages."""
        return self._rows.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and of columns."""
        return self._rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return self._rows.dtype

    def check(self) -> None:
        """Raise `SessionFormatError` if a file is missing or has changed."""
        self._rows.check()

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` (exclusive)."""
        self._guard.check(*self._times(first, stop))
        return self._rows.read(first, stop)

    def pick(self, rows: np.ndarray, columns: slice) -> np.ndarray:
        """Return scattered rows (ascending) of a slice of columns."""
        for row in rows.tolist():
            self._guard.check(*self._times(row, row + 1))
        return self._rows.pick(rows, columns)

    def _times(self, first: int, stop: int) -> tuple[float, float]:
        start = self._start + first / self._rate_hz
        return start, self._start + stop / self._rate_hz


class GuardedSpikes(SpikeTrains):
    """Spike times, of which some cannot be read."""

    def __init__(self, spikes: SpikeTrains, guard: Guard) -> None:
        # Shares all that the trains hold; the raw times get no public name.
        vars(self).update(vars(spikes))
        self._guard = guard

    def all_times(self) -> np.ndarray:
        """Return the spike times of all units."""
        self._guard.check(-np.inf, np.inf)
        return super().all_times()

    def between(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return unit and native time of all spikes in [start, stop).

        All counts are made from them.
        """
        self._guard.check(start, stop)
        return super().between(start, stop)

    def times(self, unit: int, start: float, stop: float) -> np.ndarray:
        """Return the spike times of one unit in seconds of the recording's clock."""
        self._guard.check(start, stop)
        return super().times(unit, start, stop)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SessionWithoutTest(Session):
    """A session whose test tier cannot be read, also after it was pickled.

    Attributes
    ----------
    opened
        Function without arguments that makes it again.
    """

    opened: Callable[[], Session] = field(kw_only=True)

    def __reduce__(self) -> tuple[Callable[[], Session], tuple[()]]:
        return self.opened, ()


def without_test(session: Session, spec: WindowSpec) -> Session:
    """Return a session whose test tier has no window and no readable response.

    Times that belong to a window of another tier stay readable: trials may be shorter
    than windows, which then overlap.

    Parameters
    ----------
    spec
        Windows of the models that read the session.

    Examples
    --------
    >>> from omnimouse_model.analysis.ranking.tier_guard import without_test
    >>> view = without_test(session, om.OMNIMOUSE)
    >>> len(view.window_starts("test")), len(view.window_starts("validation", 60))
    (0, 5)
    >>> view.responses.data
    Traceback (most recent call last):
    omnimouse_model.analysis.ranking.tier_guard.HeldBackError: Session '90009-1-1': \
responses from 100 to 194.5 s (native time) touch the test tier, which is held back \
here. Ranking reads the tiers train and validation.
    """
    hidden = _spans(session, "test", spec)
    others = (t for t in session.tiers() if not is_test_tier(t))
    spans = _difference(hidden, _spans(session, tuple(others), spec))
    signal, trials = session.responses, session.trials
    guard = Guard(session.id, spans, 1.0 / signal.rate_hz)
    file: Rows
    if isinstance(signal.file, SpikeTrains):
        file = GuardedSpikes(signal.file, guard)
    else:
        file = GuardedRows(signal, guard)
    is_test = np.array([is_test_tier(tier) for tier in trials.tier.tolist()], bool)
    columns = {f.name: getattr(session, f.name) for f in fields(Session)}
    columns |= {
        # Means over bins of time would show what is hidden.
        "responses": replace(signal, file=file, levels=()),
        "trials": replace(trials, readable=trials.readable & ~is_test),
        "_cache": {},
    }
    opened = partial(without_test, session, spec)
    return SessionWithoutTest(**columns, opened=opened)


def _spans(session: Session, tier: str | tuple[str, ...], spec: WindowSpec) -> Spans:
    """Return the native spans that the windows of a tier cover, joined."""
    starts = np.sort(session.window_starts(tier, include_blanks=True, spec=spec))
    if not len(starts):
        return np.zeros((0, 2))
    stops = starts + spec.duration_s
    # Windows of one length: a span ends where the next window begins after its end.
    is_last = np.append(starts[1:] > stops[:-1], True)
    is_first = np.append(True, is_last[:-1])
    return np.stack([starts[is_first], stops[is_last]], axis=1) + session.t0


def _difference(spans: Spans, others: Spans) -> Spans:
    """Return the parts of spans that lie in none of the other spans."""
    parts = []
    for start, stop in spans:
        for other in others[(others[:, 1] > start) & (others[:, 0] < stop)]:
            if other[0] > start:
                parts.append((start, other[0]))
            start = max(start, other[1])
        if start < stop:
            parts.append((start, stop))
    return np.array(parts, np.float64).reshape(-1, 2)
