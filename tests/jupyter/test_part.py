"""What every part does: it follows, says what went wrong, never outruns a page."""

import gc
import threading
import time
from weakref import ref

import pytest
from traitlets import Int

from omnimouse_widgets.jupyter import part as module
from omnimouse_widgets.jupyter import pen
from omnimouse_widgets.jupyter.behavior import BehaviorDecoder
from omnimouse_widgets.jupyter.part import PATIENCE_S, Drawn, Part
from omnimouse_widgets.jupyter.pen import FRAME_S, LATE_S, Board, held
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.jupyter.scores import NeuronScores
from omnimouse_widgets.jupyter.sweep import ContextSweep
from omnimouse_widgets.jupyter.table import NeuronTable
from omnimouse_widgets.jupyter.traces import Traces
from omnimouse_widgets.jupyter.video import VideoScrubber


class CursorPart(Part):
    """Draws the cursor, and has it as a trait."""

    cursor = Int(0).tag(sync=True)

    def __init__(self, controller):
        self.drawn_on = set()
        super().__init__(controller)
        state = controller.state

        def write(value):
            if value > 59:
                raise ValueError("A window has 60 samples.")
            controller.set_cursor(value)

        self.bind("cursor", state.events.cursor, lambda: state.cursor, write)

    def parts(self):
        return [Drawn(self.draw, [self._controller.state.events.cursor])]

    def draw(self):
        self.drawn_on.add(threading.current_thread().name)
        self.show("cursor", at=self._controller.state.cursor)

    def on_fail(self, content, buffers):
        raise ValueError("It cannot be done: choose another.")

    def on_go(self, content, buffers):
        self._controller.set_cursor(content["to"])


@pytest.fixture
def part(controller):
    return CursorPart(controller)


def test_nothing_is_drawn_while_nobody_looks_and_everything_when_somebody_does(
    part, page, controller
):
    looked_at = page(part)
    controller.set_cursor(3)
    assert part._board.due_in(time.monotonic()) is None
    looked_at.look()
    assert looked_at.wait_for("cursor")[0]["at"] == 3
    looked_at.say("gone")
    controller.set_cursor(4)
    assert part._board.due_in(time.monotonic()) is None
    assert part.drawn_on == {"omnimouse-pen"}


def test_many_changes_are_one_drawing_of_the_last(part, page, controller):
    looked_at = page(part)
    looked_at.look()
    looked_at.wait_for("cursor")
    looked_at.forget()
    with held():
        for cursor in range(1, 60):
            controller.set_cursor(cursor)
    looked_at.wait_for("cursor", lambda content, _: content["at"] == 59)
    assert len(looked_at.of("cursor")) == 1


def test_a_page_that_has_not_drawn_is_sent_nothing_more_for_a_while():
    board = Board([lambda: None], lambda error: None, lambda: None)
    board.is_watched = True
    with held():
        before = time.monotonic()
        assert board.sent()
        board.ask(0)
        assert board.due_in(before) >= LATE_S
        assert board.due_in(time.monotonic() + LATE_S) == 0.0
        board.shown()
        assert board.due_in(time.monotonic()) == 0.0
        board.stop()


def test_a_part_that_was_drawn_is_let_go_when_it_is_closed_and_forgotten(controller):
    part, sent = CursorPart(controller), threading.Event()
    known = ref(part)
    part.send = lambda content, buffers=(): sent.set()
    part._handle_custom_msg({"op": "ready", "view": "page"}, [])
    assert sent.wait(60)
    part.close()
    del part
    late = time.monotonic() + 60
    while known() is not None and time.monotonic() < late:
        with held():  # no drawing holds it
            gc.collect()
    assert known() is None


class ThreeDrawingsPart(Part):
    """Draws the cursor, words that never change, and how much of the mask is seen."""

    AHEAD = 4
    awaiting = False

    def parts(self):
        events = self._controller.state.events
        return [
            Drawn(self.draw, [events.cursor]),
            Drawn(self.draw_words, [events.cursor]),
            Drawn(
                self.draw_mask,
                [events.selection],
                [self._controller.results.changed],
                [events.mask],
            ),
        ]

    def is_awaiting(self):
        return self.awaiting

    def draw(self):
        self.show("cursor", [b"one", b"two"], at=self._controller.state.cursor)

    def draw_words(self):
        self.keep("words", text="always the same")

    def draw_mask(self):
        self.show("mask", visible=int(self._controller.state.mask.cells.any()))


@pytest.fixture
def raw_messages(controller):
    """What a part sends as it is, to a page that answers nothing."""
    part, sent, more = ThreeDrawingsPart(controller), [], threading.Condition()

    def send(content, buffers=()):
        with more:
            sent.append((content, [bytes(b) for b in buffers]))
            more.notify_all()

    def wait_for(count):
        with more:
            assert more.wait_for(lambda: len(sent) >= count, 60)
        return sent

    part.send = send
    part._handle_custom_msg({"op": "ready", "view": "page"}, [])
    wait_for(1)
    yield part, wait_for
    part.close()


def test_what_is_drawn_together_is_one_message(raw_messages):
    _, wait_for = raw_messages
    ((content, buffers),) = wait_for(1)
    assert [one["op"] for one in content["of"]] == ["cursor", "words", "mask"]
    assert [one["buffers"] for one in content["of"]] == [2, 0, 0]
    assert buffers == [b"one", b"two"]


def test_what_a_page_keeps_is_sent_again_only_to_a_page_that_is_new(
    raw_messages, controller
):
    part, wait_for = raw_messages
    controller.set_cursor(9)
    assert [one["op"] for one in wait_for(2)[1][0]["of"]] == ["cursor"]
    part._handle_custom_msg({"op": "ready", "view": "another"}, [])
    assert "words" in [one["op"] for one in wait_for(3)[2][0]["of"]]


def test_little_things_are_sent_ahead_of_answers_but_not_without_end(
    raw_messages, controller, monkeypatch
):
    part, wait_for = raw_messages
    monkeypatch.setattr(pen, "LATE_S", 1000.0)
    for cursor in range(1, 4):
        controller.set_cursor(cursor)
        wait_for(cursor + 1)
    assert [content["answer"] for content, _ in wait_for(4)] == [False] * 3 + [True]
    before = time.monotonic()
    controller.set_cursor(20)
    assert part._board.due_in(before) > 500
    part._handle_custom_msg({"op": "drawn", "view": "page"}, [])
    assert wait_for(5)[4][0]["of"][0]["at"] == 20


def test_a_change_of_the_mask_is_drawn_once_with_its_answer(raw_messages, controller):
    part, wait_for = raw_messages
    board, before = part._board, time.monotonic()
    with held():
        controller.state.events.mask.emit(controller.state.mask)
        assert board.due_in(before) >= PATIENCE_S
        part.awaiting = True
        controller.results.changed.emit()  # it is old now
        assert board.due_in(before) >= PATIENCE_S
        part.awaiting = False
        controller.results.changed.emit()  # the answer
        assert board.due_in(time.monotonic() + FRAME_S) == 0.0
    assert [one["op"] for one in wait_for(2)[1][0]["of"]] == ["mask"]
    assert board.due_in(before) is None


def test_what_was_not_asked_of_the_model_is_drawn_while_an_answer_is_awaited(
    raw_messages, controller
):
    part, wait_for = raw_messages
    part.awaiting = True
    with held():
        controller.state.events.selection.emit((1,))
        assert part._board.due_in(time.monotonic() + FRAME_S) == 0.0
    assert [one["op"] for one in wait_for(2)[1][0]["of"]] == ["mask"]


def test_a_change_of_the_mask_is_drawn_where_no_answer_comes(raw_messages, controller):
    _, wait_for = raw_messages
    controller.state.events.mask.emit(controller.state.mask)
    assert [one["op"] for one in wait_for(2)[1][0]["of"]] == ["mask"]


def test_traits_and_state_are_the_same_either_way(part, controller):
    controller.set_cursor(7)
    assert part.cursor == 7
    part.cursor = 9
    assert controller.state.cursor == 9


def test_a_value_the_state_refuses_is_taken_back_and_code_is_told(part, controller):
    with pytest.raises(ValueError, match="60 samples"):
        part.cursor = 70
    assert part.cursor == controller.state.cursor == 0


def test_a_value_of_the_page_that_is_refused_is_told_in_the_page(part, controller):
    part.set_state({"cursor": 70})
    assert part.cursor == 0
    assert part.problem == "A window has 60 samples."
    part.set_state({"cursor": 5})
    assert controller.state.cursor == 5
    assert part.problem == ""


def test_a_message_that_fails_is_told_in_the_page_and_the_next_goes_on(
    part, page, controller
):
    looked_at = page(part)
    looked_at.say("fail")
    assert part.problem == "It cannot be done: choose another."
    looked_at.say("go", to=11)
    assert controller.state.cursor == 11
    assert part.problem == ""


def test_a_message_is_acknowledged_before_anything_is_done(part, page, controller):
    looked_at = page(part)
    heard_at = []
    controller.state.events.cursor.connect(
        lambda: heard_at.append(len(looked_at.of("ack")))
    )
    looked_at.say("go", to=12, seq=41)
    assert looked_at.of("ack") == [({"op": "ack", "seq": 41, "view": "page"}, [])]
    assert heard_at == [1]


def test_a_page_that_died_without_a_word_is_drawn_for_no_more_and_may_come_back(
    part, page, controller, monkeypatch
):
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    looked_at = page(part)
    looked_at.look()
    looked_at.wait_for("cursor")
    looked_at.is_dead = True
    for cursor, after_s in ((1, 0), (2, module.LOST_S - 1), (3, module.LOST_S + 1)):
        assert part.is_watched
        now[0] = after_s
        controller.set_cursor(cursor)
        looked_at.wait_for("cursor", lambda content, _, at=cursor: content["at"] == at)
    assert not part.is_watched
    looked_at.forget()
    looked_at.is_dead = False
    looked_at.say("drawn")
    assert part.is_watched
    looked_at.wait_for("cursor")
    looked_at.say("gone")
    looked_at.say("drawn")  # of what was on its way to a view scrolled away
    assert not part.is_watched


def test_a_page_that_was_given_up_is_drawn_for_again_whatever_it_says(part, page):
    looked_at = page(part)
    looked_at.look()
    looked_at.wait_for("cursor")
    part._leave("page")
    part._lost.add("page")
    looked_at.forget()
    looked_at.say("go", to=5)
    assert part.is_watched
    looked_at.wait_for("cursor", lambda content, _: content["at"] == 5)


def test_a_board_that_is_stopped_meanwhile_does_not_end_the_pen():
    """It is stopped without the pen's lock, also while the pen counts what is due."""
    board = Board([lambda: None], lambda error: None, lambda: None)

    class Stopped(dict):
        """Another thread stops the board between two looks at this."""

        def __bool__(self):
            board.stop()
            return True

        def items(self):
            board.stop()
            return super().items()

    for look in (lambda: board.due_in(time.monotonic()), board.take_wanted):
        board._wanted = Stopped({0: 0.0})
        look()
        assert not board._wanted


def test_a_page_may_ask_only_for_what_parts_declare(part, page, controller):
    looked_at = page(part)
    for op in ("msg", "trait_change", "nonsense"):
        looked_at.say(op)
        assert part.problem == f"Counter takes no message {op!r}."
    looked_at.say("step", n=4)
    assert (part.problem, controller.state.cursor) == ("", 4)


def test_a_closed_part_follows_no_more(part, controller):
    part.close()
    controller.set_cursor(8)
    assert part.cursor == 0


@pytest.mark.parametrize(
    ("shown", "op"),
    [
        (BehaviorDecoder, "rows"),
        (Traces, "rows"),
        (Raster, "nothing"),
        (VideoScrubber, "film"),
        (NeuronTable, "table"),
        (NeuronScores, "scores"),
        (ContextSweep, "curves"),
    ],
)
def test_without_a_session_a_part_is_empty(empty_controller, page, shown, op):
    looked_at = page(shown(empty_controller))
    looked_at.look()
    content, _ = looked_at.wait_for(op)
    assert not any(content.get(of) for of in ("rows", "frames", "total", "bars"))
    assert not looked_at.part.problem
