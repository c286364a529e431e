"""Thread that draws all parts, with flow control for each page.

Signals are emitted on the thread that changed the state: a cell, a page message or
the engine. That thread never waits for a drawing. It requests one, and repeated
requests of the same drawing are merged. A part sends no more than `ahead` messages
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
CONFIRMATION_S: Final = 0.25
"""Longest wait in seconds for the confirmation of a page, which may be hidden."""


class Board:
    """Pending drawings of one part, and the flow control of its page.

    Parameters
    ----------
    draws
        The drawing functions, in the order of their calls.
    on_error
        Called with each exception that a drawing function raises.
    send
        Called after the requested drawing functions, to send their output.
    interval_s
        Minimum interval of two drawings, in seconds.
    ahead
        Number of messages per confirmation of the page.
    """

    def __init__(
        self,
        draws: list[Draw],
        on_error: Callable[[Exception], None],
        send: Draw,
        interval_s: float = FRAME_S,
        ahead: int = 1,
    ) -> None:
        self._draws = draws
        self._interval_s = interval_s
        self._ahead = ahead
        self._n_unconfirmed = 0
        self._on_error = on_error
        self._send = send
        self._due_s: dict[int, float] = {}  # number of a drawing: earliest time
        self._sent_s: float | None = None
        self._next_s = 0.0  # earliest time of the next drawing
        self.is_visible = False
        _THREAD.add(self)

    def request(self, number: int, delay_s: float = 0.0) -> None:
        """Request one drawing if a page shows the part; callable from any thread.

        The drawing starts after `delay_s` at the earliest, or sooner if another request
        has a shorter delay. Changes during the delay are part of the same drawing.
        """
        due_s = monotonic() + delay_s
        # Checked without the lock, because strokes emit many signals. A pending drawing
        # reads the state when it runs, so a second request adds nothing.
        if self.is_visible and due_s < self._due_s.get(number, inf):
            with _THREAD.changed:
                self._due_s[number] = min(self._due_s.get(number, due_s), due_s)
                _THREAD.wake()

    def request_all(self) -> None:
        """Request all drawings, because a page has begun to show the part."""
        with _THREAD.changed:
            self.is_visible = True
            # The page must confirm the next message: whether it still exists is open.
            self._sent_s, self._n_unconfirmed = None, self._ahead - 1
            self._due_s = dict.fromkeys(range(len(self._draws)), 0.0)
            _THREAD.wake()

    def stop(self) -> None:
        """Drop all requests, because no page shows the part.

        Takes no lock: Python also calls this at exit, when the drawing thread may have
        been stopped while it held the lock.
        """
        self.is_visible = False
        self._due_s = {}  # a new dict: the drawing thread may iterate over the old one

    def count_message(self) -> bool:
        """Count one message; return whether the page must confirm its drawing."""
        # Only every `_ahead`-th message stops the drawings until it is confirmed.
        self._n_unconfirmed += 1
        if self._n_unconfirmed % self._ahead:
            return False
        self._sent_s = monotonic()
        return True

    def confirm(self) -> None:
        """Note the confirmation of the page and allow the next drawing."""
        with _THREAD.changed:
            self._sent_s, self._n_unconfirmed = None, 0
            self._next_s = max(self._next_s, monotonic())
            _THREAD.wake()

    # -- called on the drawing thread -------------------------------------------------
    def due_in(self, now_s: float) -> float | None:
        """Return the seconds until the next drawing; None without a request."""
        due_s = self._due_s
        if not due_s:
            return None
        wait_s = max(min(due_s.values()), self._next_s) - now_s
        # A page that is hidden or slow delays drawings, but never stops them.
        if self._sent_s is not None:
            wait_s = max(wait_s, self._sent_s + CONFIRMATION_S - now_s)
        return max(wait_s, 0.0)

    def take_due(self) -> list[Draw]:
        """Return the drawing functions that are due, and remove their requests."""
        now_s, due_s = monotonic(), self._due_s
        # A delay of this thread shortens the next interval, to half of it at most:
        # otherwise delays add up, and plots follow a scrub too seldom.
        late_s = now_s - max(self._next_s, min(due_s.values(), default=now_s))
        self._next_s = now_s + self._interval_s - min(late_s, self._interval_s / 2)
        numbers = sorted(n for n, at_s in due_s.items() if at_s <= now_s)
        for number in numbers:
            del due_s[number]
        return [self._draws[number] for number in numbers]

    def draw(self, draws: list[Draw]) -> None:
        """Call the drawing functions, then send; an error does not stop the others."""
        for draw in [*draws, self._send]:
            try:
                draw()
            except Exception as error:
                logger.exception("A part could not be drawn.")
                self._on_error(error)


class _DrawThread:
    """The drawing thread; starts with the first board and sleeps without requests."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        # Weak: a part that is deleted must not be kept alive by the thread.
        self._boards: WeakSet[Board] = WeakSet()
        self._thread: threading.Thread | None = None
        self._n_pauses = 0
        self._is_ended = False

    def add(self, board: Board) -> None:
        """Add a board; it is removed when it has no other references."""
        with self.changed:
            self._boards.add(board)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="omnimouse-draw", daemon=True
                )
                self._thread.start()
                atexit.register(self._end)

    def wake(self) -> None:
        """Wake the thread after a change; the caller must hold the lock."""
        if not self._n_pauses:
            self.changed.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Start no drawing of any board inside the `with` block.

        A drawing therefore shows all changes of the block, and does not compete with
        the block for the interpreter lock. Blocks may be nested.
        """
        with self.changed:
            self._n_pauses += 1
        try:
            yield
        finally:
            with self.changed:
                self._n_pauses -= 1
                self.wake()

    def _end(self) -> None:
        """Stop the thread before Python exits.

        Python stops daemon threads at any instruction, possibly while they hold a lock.
        """
        assert self._thread is not None
        with self.changed:
            self._is_ended = True
            self.changed.notify_all()
        # With a limit: a drawing that blocks must not prevent the exit.
        self._thread.join(CONFIRMATION_S)

    def _loop(self) -> None:
        while not self._is_ended:
            self._draw_due()

    def _draw_due(self) -> None:
        """Draw all boards that are due.

        A separate function, so that its local variables are released before the thread
        sleeps; they would keep deleted boards alive.
        """
        for board, draws in self._wait_for_due():
            board.draw(draws)

    def _wait_for_due(self) -> list[tuple[Board, list[Draw]]]:
        with self.changed:
            while not self._is_ended:
                now_s = monotonic()
                # While paused, nothing is due; `paused` wakes the thread at its end.
                boards = () if self._n_pauses else self._boards
                waits = [(board.due_in(now_s), board) for board in boards]
                due = [board for wait_s, board in waits if wait_s == 0.0]
                if due:
                    return [(board, board.take_due()) for board in due]
                later = [wait_s for wait_s, _ in waits if wait_s is not None]
                # Release the strong references to the boards before the thread sleeps.
                del waits, due
                self.changed.wait(min(later, default=None))
        return []


_THREAD: Final = _DrawThread()
drawing_paused: Final = _THREAD.paused
