"""Thread that draws all parts, with flow control for each page.

Signals are emitted on the thread that changed the state: a cell, a page message or
the engine. That thread never waits for a drawing. It requests one, and repeated
requests of the same drawing are merged. A part sends no more than `ahead` drawings
before its page has confirmed one.
"""

import atexit
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Final
from weakref import WeakSet

logger = logging.getLogger(__name__)

Draw = Callable[[], None]
FRAME_S: Final = 0.016
"""Default minimum interval of two drawings in seconds: one frame of a 60 Hz screen."""
LATE_S: Final = 0.25
"""Longest wait in seconds for the confirmation of a page, which may be hidden."""


class Board:
    """Pending drawings of one part, and the flow control of its page.

    Parameters
    ----------
    draws
        The drawing functions, in the order of their calls.
    failed
        Called with each exception that a drawing function raises.
    send
        Called after the requested drawing functions, to send their output.
    rest_s
        Minimum interval of two drawings, in seconds.
    ahead
        Number of drawings per confirmation of the page.
    """

    def __init__(
        self,
        draws: list[Draw],
        failed: Callable[[Exception], None],
        send: Draw,
        rest_s: float = FRAME_S,
        ahead: int = 1,
    ) -> None:
        self._draws = draws
        self._rest_s = rest_s
        self._ahead = ahead
        self._unanswered = 0
        self._failed = failed
        self._send = send
        self._wanted: dict[int, float] = {}  # number of a drawing: earliest time, s
        self._sent_at: float | None = None
        self._drawn_at = 0.0
        self.is_watched = False
        _PEN.take(self)

    def ask(self, number: int, wait_s: float = 0.0) -> None:
        """Request one drawing if a page shows the part; callable from any thread.

        The drawing starts after `wait_s` at the earliest, or sooner if another request
        has a shorter wait. Changes during the wait are part of the same drawing.
        """
        at = monotonic() + wait_s
        # Checked without the lock, because strokes emit many signals. A pending drawing
        # reads the state when it runs, so a second request adds nothing.
        if self.is_watched and at < self._wanted.get(number, inf):
            with _PEN.changed:
                self._wanted[number] = min(self._wanted.get(number, at), at)
                _PEN.tell()

    def ask_all(self) -> None:
        """Request all drawings, because a page has begun to show the part."""
        with _PEN.changed:
            self.is_watched = True
            self._sent_at, self._unanswered = None, 0
            self._wanted = dict.fromkeys(range(len(self._draws)), 0.0)
            _PEN.tell()

    def stop(self) -> None:
        """Drop all requests, because no page shows the part.

        Takes no lock: Python also calls this at exit, when the drawing thread may have
        been stopped while it held the lock.
        """
        self.is_watched = False
        self._wanted = {}  # a new dict: the drawing thread may iterate over the old one

    def sent(self) -> bool:
        """Count one message; return whether the page must confirm its drawing."""
        # Only every `_ahead`-th message stops the drawings until it is confirmed.
        self._unanswered += 1
        if self._unanswered % self._ahead:
            return False
        self._sent_at = monotonic()
        return True

    def shown(self) -> None:
        """Note the confirmation of the page and allow the next drawing."""
        with _PEN.changed:
            self._sent_at, self._unanswered = None, 0
            _PEN.tell()

    # -- on the pen's thread ----------------------------------------------------------
    def due_in(self, now: float) -> float | None:
        """Return the seconds until the next drawing; None without a request."""
        wanted = self._wanted
        if not wanted:
            return None
        wait_s = max(min(wanted.values()), self._drawn_at + self._rest_s) - now
        # A page that is hidden or slow delays drawings, but never stops them.
        if self._sent_at is not None:
            wait_s = max(wait_s, self._sent_at + LATE_S - now)
        return max(wait_s, 0.0)

    def take_wanted(self) -> list[Draw]:
        """Return the drawing functions that are due, and remove their requests."""
        self._drawn_at, wanted = monotonic(), self._wanted
        numbers = sorted(n for n, at in wanted.items() if at <= self._drawn_at)
        for number in numbers:
            del wanted[number]
        return [self._draws[number] for number in numbers]

    def draw(self, draws: list[Draw]) -> None:
        """Call the drawing functions, then send; an error does not stop the others."""
        for draw in [*draws, self._send]:
            try:
                draw()
            except Exception as error:
                logger.exception("A part could not be drawn.")
                self._failed(error)


class _Pen:
    """The drawing thread; starts with the first board and sleeps without requests."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        # Weak: a part that is deleted must not be kept alive by the thread.
        self._boards: WeakSet[Board] = WeakSet()
        self._thread: threading.Thread | None = None
        self._holders = 0
        self._is_over = False

    def take(self, board: Board) -> None:
        """Add a board; it is removed when no other reference to it is left."""
        with self.changed:
            self._boards.add(board)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="omnimouse-pen", daemon=True
                )
                self._thread.start()
                atexit.register(self._end)

    def tell(self) -> None:
        """Wake the thread after a change; the caller must hold the lock."""
        if not self._holders:
            self.changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Start no drawing of any board inside the `with` block.

        A drawing therefore shows all changes of the block, and does not compete with
        the block for the interpreter lock. Blocks may be nested.
        """
        with self.changed:
            self._holders += 1
        try:
            yield
        finally:
            with self.changed:
                self._holders -= 1
                self.tell()

    def _end(self) -> None:
        """Stop the thread before Python exits.

        Python stops daemon threads at any instruction, possibly while they hold a lock.
        """
        assert self._thread is not None
        with self.changed:
            self._is_over = True
            self.changed.notify_all()
        # With a limit: a drawing that blocks must not prevent the exit.
        self._thread.join(LATE_S)

    def _loop(self) -> None:
        while not self._is_over:
            self._draw_due()

    def _draw_due(self) -> None:
        """Draw all boards that are due.

        A separate function, so that its local variables are released before the thread
        sleeps; they would keep deleted boards alive.
        """
        for board, draws in self._next():
            board.draw(draws)

    def _next(self) -> list[tuple[Board, list[Draw]]]:
        with self.changed:
            while not self._is_over:
                now = monotonic()
                # While held, nothing is due; `held` wakes the thread at its end.
                boards = () if self._holders else self._boards
                waits = [(board.due_in(now), board) for board in boards]
                due = [board for wait_s, board in waits if wait_s == 0.0]
                if due:
                    return [(board, board.take_wanted()) for board in due]
                later = [wait_s for wait_s, _ in waits if wait_s is not None]
                # Release the strong references to the boards before the thread sleeps.
                del waits, due
                self.changed.wait(min(later, default=None))
        return []


_PEN: Final = _Pen()
held: Final = _PEN.held
