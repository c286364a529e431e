"""A drawing thread that runs the functions posted to it on request."""

import queue
from collections.abc import Callable
from typing import Any

from omnimouse_model.live.controller import Controller

TIMEOUT = 60.0


class DrawingThread:
    """A controller, and the functions that its other threads post to this one."""

    def __init__(self, **options: Any) -> None:
        self.posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self.controller = Controller(post=self.posted.put, **options)

    def draw_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.posted.get(timeout=TIMEOUT)()

    def draw(self) -> None:
        while not self.posted.empty():
            self.posted.get()()
