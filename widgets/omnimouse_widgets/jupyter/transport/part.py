"""What every part of the notebook's instrument is: a view of one controller.

A part holds no science and no state of its own but how it looks. Small things are
traits, for code to set, read and observe; what is large goes in messages, so that a
saved notebook stays small. Handlers take what the page says and return: the pen's
thread draws, the engine's computes. They may be called on any thread.

Messages from the page are `{"op": name, ...}` and go to the method `on_<name>`; one
with a `seq` is acknowledged before anything is done, which is the page's flow control
and keeps the comm alive while a cell runs; `done` says which ones are. What is drawn
goes to the page in one message for all drawing functions of the part, and the page says
when it has drawn that: each message, and each answer to one, costs the page as much
as a small drawing does.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, ClassVar, Final, NamedTuple

import anywidget
import numpy as np
from traitlets import Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.brush import CODE_NAMES, known_code
from omnimouse_widgets.jupyter.transport.draw_thread import FRAME_S, Board, Draw, held

logger = logging.getLogger(__name__)

Buffer = np.ndarray | bytes
PATIENCE_S: Final = 0.2
"""How long a drawing waits for the answer that will be drawn with it."""
LOST_S: Final = 30.0
"""A page that answers nothing for so long is drawn for no more, until it does."""
ASIDE: Final = frozenset({"hover", "rows", "want"})
"""What a page asks by itself: a problem that was told stays told meanwhile."""


class Drawn(NamedTuple):
    """A drawing function, and the signals after which it is called.

    After those of `signals` that is soon; after those of `answers` too, unless an
    answer is on its way that will be drawn over all of it; after those of `questions`
    it waits in any case, for they are soon followed by an answer.
    """

    draw: Draw
    signals: Sequence[Any] = ()
    answers: Sequence[Any] = ()
    questions: Sequence[Any] = ()


def keep_subshell(widget: Any) -> None:
    """Have a page's messages stay on the subshell that the page chose.

    ipykernel 7.4 hands a page's message to whichever shell published last on the
    comm: after anything a cell or a thread has sent that is the main one, where it
    waits until the running cell ends.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = None


class Part(anywidget.AnyWidget):
    """A view of one controller; see the module.

    Parameters
    ----------
    controller
        Whose state and results are shown, and whose verbs are called.

    Attributes
    ----------
    problem
        Why what was asked last could not be done, in words for the user; "" else.
    done
        By view, the `seq` of its latest message that was acted on. Read before the
        state and sent with it, it tells a page which of its strokes are in there.
    """

    REST_S: ClassVar[float] = FRAME_S
    """Between two drawings, at least; more for what a page draws slowly."""
    AHEAD: ClassVar[int] = 1
    """Drawings that may be sent before the page has answered one; more for what is
    little. A front end shows the kernel as busy for every message of a page, which
    costs it more than a small drawing does."""

    problem = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._controller = controller
        self._views: set[str] = set()
        self._lost: set[str] = set()
        self._unanswered: dict[str, float] = {}
        self._painting = ""
        self.done: dict[str, int] = {}
        self._links: list[tuple[Any, Callable[[], None]]] = []
        self._drawn: list[tuple[dict[str, Any], Sequence[Buffer]]] = []
        self._kept: dict[str, tuple[dict[str, Any], list[bytes]]] = {}
        self._given = traits
        super().__init__(**traits)
        parts = self.parts()
        self._board = Board(
            [part.draw for part in parts],
            self._failed,
            self._send_drawn,
            self.REST_S,
            self.AHEAD,
        )
        for number, part in enumerate(parts):
            for signal in part.signals:
                self._link(signal, self._asker(number, lambda: False))
            for signal in part.answers:
                self._link(signal, self._asker(number, self.is_awaiting))
            for signal in part.questions:
                self._link(signal, self._asker(number, lambda: True))
        self.on_msg(self._receive)

    @property
    def controller(self) -> Controller:
        """Whose state and results are shown."""
        return self._controller

    @property
    def is_watched(self) -> bool:
        """Whether a page shows it, scrolled into view."""
        return bool(self._views)

    def parts(self) -> Sequence[Drawn]:
        """What this part draws, and after which signals."""
        return ()

    def is_awaiting(self) -> bool:
        """Whether an answer is on its way that will be drawn over all of it."""
        return False

    def seen(self) -> None:
        """Somebody has begun to look: ask for what is only looked at."""

    def left(self) -> None:
        """Nobody looks any more: let go of what is only looked at."""

    def open(self) -> None:
        """Open the comm to the page; messages stay on the subshell the page chose."""
        super().open()
        keep_subshell(self)

    # -- traits -----------------------------------------------------------------------
    def bind(
        self,
        trait: str,
        signals: Any,
        read: Callable[[], Any],
        write: Callable[[Any], object] | None = None,
    ) -> None:
        """Keep a trait and the live state the same; called in `__init__`.

        `signals` are those after which it may have changed, one or several. `read`
        gives the state's value, `write` sets it; without `write` the trait follows
        only. A value the state refuses is taken back: code is told by the error, the
        page by `problem`. One given when the part was made is written.
        """

        def follow() -> None:
            value = read()
            if getattr(self, trait) != value:
                self.set_trait(trait, value)

        def told(change: Any) -> None:
            if change["new"] == read():
                return
            if write is None:
                follow()
                return
            try:
                write(change["new"])
            except Exception:
                follow()
                raise
            follow()

        follow()
        several = signals if isinstance(signals, (list, tuple)) else (signals,)
        for signal in several:
            self._link(signal, follow)
        self.observe(told, trait)
        if trait in self._given:
            self.set_trait(trait, self._given[trait])

    # -- to the page ------------------------------------------------------------------
    def show(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """Send what a drawing function has found; called by these alone."""
        self._kept.pop(op, None)
        self._drawn.append(({"op": op, **fields}, buffers))

    def keep(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """As `show`, for what the page keeps: the same is not sent twice."""
        sent = fields, [_raw(buffer) for buffer in buffers]
        if self._kept.get(op) != sent:
            self.show(op, sent[1], **fields)
            self._kept[op] = sent

    def say(self, op: str, buffers: Sequence[Buffer] = (), **fields: Any) -> None:
        """Send a message that nothing waits for, at once."""
        self.send({"op": op, **fields}, [_raw(buffer) for buffer in buffers])

    def _send_drawn(self) -> None:
        """Send all that was drawn together; the page answers when it has drawn it."""
        drawn, self._drawn = self._drawn, []
        if not drawn:
            return
        counted = [{**fields, "buffers": len(buffers)} for fields, buffers in drawn]
        everything = [buffer for _, buffers in drawn for buffer in buffers]
        is_asked = self._board.sent()
        if is_asked:
            self._await_all()
        self.say("drawing", everything, of=counted, answer=is_asked)

    def _await_all(self) -> None:
        """An answer is due of every view; one that died without a word gives none."""
        now = monotonic()
        for view in sorted(self._views):
            if now - self._unanswered.setdefault(view, now) > LOST_S:
                self._leave(view)
                self._lost.add(view)

    # -- from the page ----------------------------------------------------------------
    def _receive(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        op = str(content.get("op"))
        if "seq" in content:
            self.say("ack", seq=content["seq"], view=content.get("view"))
        view = str(content.get("view"))
        self._unanswered.pop(view, None)
        is_back = view in self._lost
        self._lost.discard(view)
        if op == "gone":
            self._leave(view)
            return
        if op == "ready" or is_back:
            self._arrive(view)
        if op == "drawn":
            self._board.shown()
        elif op != "ready":
            self._act(op, content, [bytes(b) for b in buffers])

    def _arrive(self, view: str) -> None:
        """A view looks, for the first time or again: it has nothing of what is kept."""
        self._views.add(view)
        self._kept = {}
        self._board.ask_all()
        if len(self._views) == 1:
            self.seen()

    def _leave(self, view: str) -> None:
        """A view looks no more: what it was painting ends."""
        self._views.discard(view)
        self._unanswered.pop(view, None)
        if view == self._painting:
            self._act("end", {"view": view}, [])
        if not self._views:
            self._board.stop()
            self.left()

    def _act(self, op: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Do what a message says; a stroke that is refused is drawn as it was."""
        with held():
            with self._telling(is_aside=op in ASIDE) as is_done:
                if "begin" in content:
                    self._begin(content | content["begin"])
                try:
                    self._handler(op)(content, buffers)
                finally:
                    if content.get("end"):
                        self.on_end(content, [])
                is_done.append(True)
            view, seq = str(content.get("view")), int(content.get("seq", 0))
            self.done[view] = max(self.done.get(view, 0), seq)
            if op == "paint" and not is_done and self._views:
                self._board.ask_all()

    def _handler(self, op: str) -> Callable[[dict[str, Any], list[bytes]], object]:
        """What a part does at an op; what it has from ipywidgets is no page's business.

        Raises
        ------
        ValueError
            It does nothing at this one.
        """
        name = f"on_{op}"
        parts = (owner for owner in type(self).__mro__ if issubclass(owner, Part))
        if not any(name in vars(owner) for owner in parts):
            raise ValueError(f"{type(self).__name__} takes no message {op!r}.")
        found: Callable[[dict[str, Any], list[bytes]], object] = getattr(self, name)
        return found

    # Strokes of the parts that are painted on: one step for undo. The first message of
    # one has `begin` and the last has `end`; a message more costs more than both.
    def stroke_name(self, content: dict[str, Any]) -> str:
        """What undo calls a stroke; "{n}" is the number of its neurons."""
        return f"Paint {{n}} neurons {CODE_NAMES[known_code(content['code'])]}"

    def _begin(self, content: dict[str, Any]) -> None:
        """A stroke begins; it ends at the latest when its page looks no more."""
        self._controller.begin_stroke(self.stroke_name(content))
        self._painting = str(content["view"])

    def on_end(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """The stroke ends."""
        self._painting = ""
        self._controller.end_stroke()

    # What the keys of every part do; see `commonKeys` in the page.
    def on_undo(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Take the latest step back."""
        self._controller.undo()

    def on_redo(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Do it again."""
        self._controller.redo()

    def on_code(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Choose what is painted."""
        self._controller.set_brush(int(content["code"]))

    def on_step(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move the cursor by samples; crossing an end steps the window."""
        self._controller.step_cursor(int(content["n"]))

    def on_trial(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Go to the next trial, or the one before."""
        self._controller.trials.step(int(content["n"]))

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take traits the page has set; what the state refuses is told in the page."""
        with self._telling():
            super().set_state(sync_data)

    @contextmanager
    def _telling(self, *, is_aside: bool = False) -> Iterator[list[bool]]:
        """Nobody reads what a message raises: it is shown where it was asked."""
        try:
            yield []
        except Exception as error:
            logger.info("A message of the page failed.", exc_info=True)
            self._failed(error)
        else:
            if self.problem and not is_aside:
                self.problem = ""

    def _failed(self, error: Exception) -> None:
        self.problem = str(error) or type(error).__name__

    # -- within -----------------------------------------------------------------------
    def _asker(self, number: int, waits: Callable[[], bool]) -> Callable[[], None]:
        def ask() -> None:
            self._board.ask(number, PATIENCE_S if waits() else 0.0)

        return ask

    def _link(self, signal: Any, slot: Callable[[], None]) -> None:
        signal.connect(slot)
        self._links.append((signal, slot))

    def close(self) -> None:
        """Take the part off every page, and follow the controller no more."""
        while self._links:
            signal, slot = self._links.pop()
            signal.disconnect(slot, missing_ok=True)
        if "_board" in vars(self):  # one whose making was refused has none
            self._board.stop()
        if self._painting:
            self.on_end({}, [])
        if self._views:
            self._views.clear()
            self.left()
        super().close()


def _raw(buffer: Buffer) -> bytes:
    return buffer.tobytes() if isinstance(buffer, np.ndarray) else buffer
