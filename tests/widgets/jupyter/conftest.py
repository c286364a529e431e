"""A page that hears what parts of the notebook's instrument send."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from omnimouse_widgets.jupyter.transport.part import Part


class Page:
    """Stands for the page of one part: says what a page says, hears what it is sent."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.heard: list[tuple[dict[str, Any], list[bytes]]] = []
        self.is_dead = False
        self._more = threading.Condition()
        part.send = self._hear

    def _hear(self, content: dict[str, Any], buffers: Any = ()) -> None:
        raw = [bytes(b) for b in buffers or ()]
        with self._more:
            self.heard += _unpacked(content, raw)
            self._more.notify_all()
        if content.get("confirm") and not self.is_dead:
            self.say("drawn")

    def say(self, op: str, *buffers: bytes, **fields: Any) -> None:
        """Send a message as the page does."""
        content = {"op": op, "view": "page", **fields}
        self.part._handle_custom_msg(content, [memoryview(b) for b in buffers])

    def look(self) -> None:
        """Begin to look: everything is drawn."""
        self.say("ready")

    def of(self, op: str) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Every message of one kind."""
        return [found for found in self.heard if found[0]["op"] == op]

    def wait_for(
        self, op: str, is_it: Callable[..., bool] = lambda *_: True
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The newest message of a kind that fits, or a failure after a minute."""

        def found() -> list[tuple[dict[str, Any], list[bytes]]]:
            return [message for message in self.of(op) if is_it(*message)]

        with self._more:
            ops = [content["op"] for content, _ in self.heard]
            assert self._more.wait_for(found, 60), f"no such {op!r} among {ops}"
            return found()[-1]

    def forget(self) -> None:
        """Hear only what comes from now on."""
        self.heard.clear()


def _unpacked(
    content: dict[str, Any], raw: list[bytes]
) -> list[tuple[dict[str, Any], list[bytes]]]:
    """What was drawn together, as one message each; others as they are."""
    if content["op"] != "drawing":
        return [(content, raw)]
    left = iter(raw)
    return [(one, [next(left) for _ in range(one["buffers"])]) for one in content["parts"]]


@pytest.fixture
def page():
    """Open a part in a page, which looks and waits for messages if any are named."""
    pages: list[Page] = []

    def opened(part: Part, *ops: str) -> Page:
        pages.append(Page(part))
        if ops:
            pages[-1].look()
        for op in ops:
            pages[-1].wait_for(op)
        return pages[-1]

    yield opened
    for one in pages:
        one.part.close()
