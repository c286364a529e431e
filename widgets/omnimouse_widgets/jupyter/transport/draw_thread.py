"""One thread that draws for every part: soon, once, and never faster than a page reads.

Signals come from whoever changed the state: a cell, a message of the page, the
engine. None of them waits for a drawing: they ask for it, and what was asked for
several times is drawn once.
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
"""Between two drawings of one board, unless it says more: no page shows more."""
LATE_S: Final = 0.25
"""A page that has not answered for so long is not waited for: it may be hidden."""


class Board:
    """What one part has to draw, and whether its page keeps up.

    Parameters
    ----------
    draws
        The drawing functions, in the order in which they are called.
    failed
        Told what one of them raised.
    send
        Called when all that was wanted is drawn.
    rest_s
        Between two drawings, at least.
    ahead
        Drawings that may be sent before the page has answered one.
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
        self._wanted: dict[int, float] = {}  # and when it is to be drawn
        self._sent_at: float | None = None
        self._drawn_at = 0.0
        self.is_watched = False
        _PEN.take(self)

    def ask(self, number: int, wait_s: float = 0.0) -> None:
        """Draw one part soon, if anybody looks; callable from any thread.

        Not before `wait_s`, unless it is asked for with less: what comes until then is
        drawn with it.
        """
        at = monotonic() + wait_s
        # What is wanted already will be drawn from what is true by then.
        if self.is_watched and at < self._wanted.get(number, inf):
            with _PEN.changed:
                self._wanted[number] = min(self._wanted.get(number, at), at)
                _PEN.tell()

    def ask_all(self) -> None:
        """Draw everything soon: somebody has begun to look."""
        with _PEN.changed:
            self.is_watched = True
            self._sent_at, self._unanswered = None, 0
            self._wanted = dict.fromkeys(range(len(self._draws)), 0.0)
            _PEN.tell()

    def stop(self) -> None:
        """Nobody looks any more. Waits for nobody: also called as Python ends."""
        self.is_watched = False
        self._wanted = {}  # the pen may be reading the other one

    def sent(self) -> bool:
        """Something is sent; whether the page has to say when it has drawn it."""
        self._unanswered += 1
        if self._unanswered % self._ahead:
            return False
        self._sent_at = monotonic()
        return True

    def shown(self) -> None:
        """The page has drawn it: the next may come."""
        with _PEN.changed:
            self._sent_at, self._unanswered = None, 0
            _PEN.tell()

    # -- on the pen's thread ----------------------------------------------------------
    def due_in(self, now: float) -> float | None:
        """Seconds until it may be drawn; None where nothing is wanted."""
        wanted = self._wanted
        if not wanted:
            return None
        wait_s = max(min(wanted.values()), self._drawn_at + self._rest_s) - now
        if self._sent_at is not None:
            wait_s = max(wait_s, self._sent_at + LATE_S - now)
        return max(wait_s, 0.0)

    def take_wanted(self) -> list[Draw]:
        """The drawing functions that were asked for, which are no more then."""
        self._drawn_at, wanted = monotonic(), self._wanted
        numbers = sorted(n for n, at in wanted.items() if at <= self._drawn_at)
        for number in numbers:
            del wanted[number]
        return [self._draws[number] for number in numbers]

    def draw(self, draws: list[Draw]) -> None:
        """Draw, and send it; one that fails leaves the others drawn."""
        for draw in [*draws, self._send]:
            try:
                draw()
            except Exception as error:
                logger.exception("A part could not be drawn.")
                self._failed(error)


class _Pen:
    """The thread; it begins with the first board and waits while nothing is asked."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._boards: WeakSet[Board] = WeakSet()
        self._thread: threading.Thread | None = None
        self._holders = 0
        self._is_over = False

    def take(self, board: Board) -> None:
        """Draw for one more board, as long as somebody holds it."""
        with self.changed:
            self._boards.add(board)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="omnimouse-pen", daemon=True
                )
                self._thread.start()
                atexit.register(self._end)

    def tell(self) -> None:
        """Something is wanted, or may be sent; called with the lock taken."""
        if not self._holders:
            self.changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Begin no drawing of any board meanwhile.

        What changes is drawn when all of it is noted, and whoever notes it does not
        share the interpreter with drawings of half of it.
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
        """End before Python does: a thread stopped by it may hold the lock for ever."""
        assert self._thread is not None
        with self.changed:
            self._is_over = True
            self.changed.notify_all()
        self._thread.join(LATE_S)

    def _loop(self) -> None:
        while not self._is_over:
            self._draw_due()

    def _draw_due(self) -> None:
        """A call of its own: a thread that waits holds no board that it drew."""
        for board, draws in self._next():
            board.draw(draws)

    def _next(self) -> list[tuple[Board, list[Draw]]]:
        with self.changed:
            while not self._is_over:
                now = monotonic()
                boards = () if self._holders else self._boards
                waits = [(board.due_in(now), board) for board in boards]
                due = [board for wait_s, board in waits if wait_s == 0.0]
                if due:
                    return [(board, board.take_wanted()) for board in due]
                later = [wait_s for wait_s, _ in waits if wait_s is not None]
                del waits, due
                self.changed.wait(min(later, default=None))
        return []


_PEN: Final = _Pen()
held: Final = _PEN.held
