import gc
import threading
import time
from weakref import ref

import pytest
from traitlets import Int

from omnimouse_widgets.jupyter.jobs import ContextSweep
from omnimouse_widgets.jupyter.raster import Raster
from omnimouse_widgets.jupyter.results import BehaviorDecoder, NeuronScores, NeuronTable, Traces
from omnimouse_widgets.jupyter.transport import part as module
from omnimouse_widgets.jupyter.transport.draw_thread import CONFIRMATION_S, Board, drawing_paused
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
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
            controller.navigation.set_cursor(value)

        self.bind("cursor", state.events.cursor, lambda: state.cursor, write)

    def drawings(self):
        return [Drawing(self.draw, [self._state.events.cursor])]

    def draw(self):
        self.drawn_on.add(threading.current_thread().name)
        self.add_message("cursor", at=self._state.cursor)


@pytest.fixture
def part(controller):
    return CursorPart(controller)


def test_a_part_is_drawn_only_while_somebody_looks(part, page, controller):
    looked_at = page(part)
    controller.navigation.set_cursor(3)
    assert part._board.due_in(time.monotonic()) is None
    looked_at.look()
    assert looked_at.wait_for("cursor")[0]["at"] == 3
    looked_at.say("gone")
    controller.navigation.set_cursor(4)
    assert part._board.due_in(time.monotonic()) is None
    assert part.drawn_on == {"omnimouse-draw"}


def test_many_changes_are_one_drawing_of_the_last(part, page, controller):
    looked_at = page(part, "cursor")
    looked_at.forget()
    with drawing_paused():
        for cursor in range(1, 60):
            controller.navigation.set_cursor(cursor)
    looked_at.wait_for("cursor", lambda content, _: content["at"] == 59)
    assert len(looked_at.of("cursor")) == 1


def test_a_page_that_has_not_drawn_is_sent_nothing_more_for_a_while():
    board = Board([lambda: None], lambda error: None, lambda: None)
    board.is_visible = True
    with drawing_paused():
        before = time.monotonic()
        assert board.count_message()
        board.request(0)
        assert board.due_in(before) >= CONFIRMATION_S
        assert board.due_in(time.monotonic() + CONFIRMATION_S) == 0.0
        board.confirm()
        assert board.due_in(time.monotonic()) == 0.0
        board.stop()


def test_a_thread_that_is_late_draws_as_often_as_it_should(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("omnimouse_widgets.jupyter.transport.draw_thread.monotonic", lambda: now_s)
    board = Board([lambda: None], lambda error: None, lambda: None, interval_s=0.05)
    with drawing_paused():
        board.is_visible = True
        times = []
        for _ in range(11):
            board.request(0)
            now_s += board.due_in(now_s) + 0.02  # the delay of a busy processor
            assert len(board.take_due()) == 1
            times.append(now_s)
        assert times[-1] - times[0] == pytest.approx(0.5)
        # After a rest the interval is whole again, and no drawings follow in a burst.
        now_s += 5.0
        board.request(0)
        assert board.due_in(now_s) == 0.0
        assert len(board.take_due()) == 1
        board.request(0)
        assert board.due_in(now_s) == pytest.approx(0.05)
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
        with drawing_paused():  # no drawing holds it
            gc.collect()
    assert known() is None


def test_a_refused_value_is_taken_back_and_reported(part, controller):
    with pytest.raises(ValueError, match="60 samples"):
        part.cursor = 70
    assert part.cursor == controller.state.cursor == 0
    part.set_state({"cursor": 70})
    assert part.cursor == 0
    assert part.problem == "A window has 60 samples."
    part.set_state({"cursor": 5})
    assert controller.state.cursor == 5
    assert part.problem == ""


def test_a_silent_page_is_not_drawn(part, page, controller, monkeypatch):
    now, overdue_s = [0.0], module.OVERDUE_S
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    looked_at = page(part, "cursor")
    looked_at.is_dead = True
    for cursor, after_s in ((1, 0), (2, overdue_s - 1), (3, overdue_s + 1)):
        assert part.is_visible
        now[0] = after_s
        controller.navigation.set_cursor(cursor)
        looked_at.wait_for("cursor", lambda content, _, at=cursor: content["at"] == at)
    assert not part.is_visible
    looked_at.forget()
    looked_at.is_dead = False
    looked_at.say("drawn")
    assert part.is_visible
    looked_at.wait_for("cursor")
    looked_at.say("gone")
    looked_at.say("drawn")  # of what was on its way to a view scrolled away
    assert not part.is_visible


@pytest.mark.parametrize("is_dead", [True, False])
def test_a_stroke_ends_if_its_page_was_reloaded_without_a_word(
    part, page, controller, monkeypatch, is_dead
):
    monkeypatch.setattr(module, "LOST_STROKE_S", 0.3)
    looked_at = page(part, "cursor")
    looked_at.say("step", n=1, seq=1, begin={"code": 0})
    looked_at.wait_for("cursor", lambda content, _: content["at"] == 1)
    assert controller.editor.in_stroke
    looked_at.is_dead = is_dead
    looked_at.say("ready", view="after the reload")
    time.sleep(0.9)
    assert controller.editor.in_stroke != is_dead
    looked_at.say("end", seq=2)
    assert not controller.editor.in_stroke


def test_a_page_may_ask_only_for_what_parts_declare(part, page, controller):
    looked_at = page(part)
    for op in ("msg", "trait_change", "nonsense"):
        looked_at.say(op)
        assert part.problem == f"CursorPart takes no message {op!r}."
    looked_at.say("step", n=4)
    assert (part.problem, controller.state.cursor) == ("", 4)


class FaultyPart(CursorPart):
    """Has faults in a drawing, in a handler, and where it follows the selection."""

    def __init__(self, controller):
        super().__init__(controller)
        self._link(controller.state.events.selection, self.on_fail)

    def drawings(self):
        return [Drawing(self.on_fail), *super().drawings()]

    def on_fail(self, *_):
        raise KeyError("no such colour")


def test_a_fault_is_shown_with_its_details_and_the_rest_goes_on(controller, page):
    part, told = FaultyPart(controller), threading.Event()
    looked_at, other = page(part), page(CursorPart(controller), "cursor")
    part.observe(lambda _: told.set(), "problem")
    looked_at.look()
    looked_at.wait_for("cursor")
    assert told.wait(60)
    for make_fault in (lambda: looked_at.say("fail"), lambda: controller.selection.select([3])):
        looked_at.say("step", n=1)
        assert (part.problem, part.details) == ("", "")
        make_fault()
        assert "KeyError: 'no such colour'" in part.problem
        assert "in on_fail" in part.details
    assert not other.part.problem
    other.wait_for("cursor", lambda content, _: content["at"] == 2)
    looked_at.say("code", code=7)
    assert part.problem
    assert not part.details


@pytest.mark.parametrize(
    ("shown", "op"),
    [
        (BehaviorDecoder, "block1"),
        (Traces, "block2"),
        (Raster, "nothing"),
        (VideoScrubber, "film"),
        (NeuronTable, "block2"),
        (NeuronScores, "block2"),
        (ContextSweep, "block2"),
    ],
)
def test_without_a_session_a_part_is_empty(empty_controller, page, shown, op):
    looked_at = page(shown(empty_controller), op)
    content, _ = looked_at.wait_for(op)
    assert not any(content.get(of) for of in ("rows", "frames", "total", "bars"))
    assert not looked_at.part.problem
