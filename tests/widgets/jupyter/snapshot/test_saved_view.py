"""The last state: its pixels and words, when it is drawn, that a notebook has it."""

import io
import threading
from contextlib import closing
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import omnimouse_model as om
from omnimouse_model.data.window_spec import N_SAMPLES
from omnimouse_model.live.neurons.neuron_info import NeuronInfo, NeuronProperties
from omnimouse_model.masks import HIDDEN, TARGET, VISIBLE
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.snapshot import drawing, saved_view
from omnimouse_widgets.jupyter.snapshot.saved_view import SavedPicture
from omnimouse_widgets.views.field.colours import STATE_CORE
from omnimouse_widgets.views.field.layout import session_field
from omnimouse_widgets.views.text.tier_score import tier_score_lines
from omnimouse_widgets.views.traces import Shown, trace_rows


@pytest.fixture
def controller(controller):
    """Twenty visible, ten asked, ten hidden, throughout."""
    mask = om.Mask.nothing(40).with_frames(True).show(np.arange(20))
    controller.editor.set_mask(mask.paint(np.arange(20, 30), slice(0, 60), TARGET))
    controller.selection.select([0, 25])
    return controller


@pytest.fixture
def field(session):
    return session_field(session)


class DisplayRecorder:
    """What was displayed, by display id, instead of a front end's."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], bool]] = []
        self.ids: set[str] = set()
        self.notes: list[str] = []
        self.changed = threading.Condition()

    def display(self, bundle: dict[str, Any], **options: Any) -> None:
        with self.changed:
            if options["display_id"].endswith("-note"):
                self.notes.append(bundle["text/plain"])
                self.changed.notify_all()
                return
            self.calls.append((bundle, options["update"]))
            self.ids.add(options["display_id"])
            self.changed.notify_all()

    def wait_for(self, n: int, wait_s: float = 60) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.calls) >= n, wait_s)

    def wait_for_notes(self, n: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.notes) >= n, 60)


@pytest.fixture
def screen(monkeypatch):
    found = DisplayRecorder()
    monkeypatch.setattr("IPython.display.display", found.display)
    return found


@pytest.fixture
def state_keeper(controller, screen):
    made = SavedPicture(controller, quiet_s=0.05)
    yield made
    made.close()


def until_idle(state_keeper: SavedPicture) -> None:
    """Wait until nothing is due: its thread ends."""
    thread = state_keeper._thread
    if thread is not None:
        thread.join(60)
    assert state_keeper._thread is None


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_neurons_have_the_colours_of_the_mask(controller, field):
    controller.selection.select([])
    pixels = pixels_of(saved_view.draw_snapshot(controller, field).png)
    left, top, width, _ = saved_view.field_place(field)
    zoom = drawing.SCALE * width / field.labels.shape[1]
    states = controller.state.mask.state_in((0, N_SAMPLES))
    wanted = saved_view.label_colours(STATE_CORE)
    seen = set()
    for neuron in range(40):
        at = np.argwhere(field.labels == neuron + 1)
        if not len(at):
            continue
        y, x = at[len(at) // 2]
        place = (np.array([y, x]) + 0.5) * zoom + drawing.SCALE * np.array([top, left])
        found = pixels[tuple(place.astype(int))]
        assert np.abs(found - wanted[states[neuron]].astype(int)).max() <= 4, neuron
        seen.add(int(states[neuron]))
    assert seen == {HIDDEN, VISIBLE, TARGET}


def test_the_captions_numbers_are_the_librarys(controller):
    controller.model.choose("context-ridge")
    # A score of one window would say nothing.
    assert "score: not computed yet" in saved_view.caption(controller)
    controller.requests.finish_scores()
    words, state = saved_view.caption(controller), controller.state
    (score, *_) = tier_score_lines(controller.results.tier_score, state.metric, None, "")
    known = (state.session.id, f"{state.window.start_s:.1f} s", score)
    counts = ("20 visible", "10 target", "10 hidden", "context-ridge")
    assert all(word in words for word in (*known, *counts))
    controller.editor.set_active_span(0, 30)
    controller.editor.paint_cells([0], slice(0, 30), HIDDEN)
    told = "19 visible, 10 target, 11 hidden in samples 0–30"
    assert told in saved_view.caption(controller)
    controller.editor.set_active_span(0, 60)
    assert "1 hidden, then visible" in saved_view.caption(controller)


def test_a_name_from_a_file_controls_no_terminal_and_takes_no_time(controller, monkeypatch):
    monkeypatch.setattr(type(controller.state.session), "id", "a\x1b[2J\r" + "n" * 10**6)
    words = saved_view.caption(controller)
    assert words.isprintable()
    assert words.startswith("a")
    assert len(words) < 400
    assert drawing.cut("n" * 10**6, 100).endswith("n…")
    assert drawing.width_of(drawing.cut("n" * 10**6, 100)) <= 100
    assert drawing.cut("short", 100) == "short"
    assert drawing.cut("short", 1) == "…"


@pytest.mark.parametrize(
    ("colour_by", "view"), [("score", "pair"), ("area", "beside"), ("depth", "pair")]
)
def test_every_view_is_drawn_small(controller, field, colour_by, view):
    controller.colouring.choose(colour_by)
    controller.state.raster_order, controller.state.raster_view = "area", view
    controller.model.choose_baseline("mean")
    controller.pins.pin("half × ½ – 見")
    controller.selection.select(np.arange(20))
    found = saved_view.draw_snapshot(controller, field)
    assert len(found.png) < drawing.MAX_BYTES
    shape = pixels_of(found.png).shape
    assert shape == (drawing.SCALE * found.height, drawing.SCALE * found.width, 3)


def test_its_words_are_those_of_the_screen(controller, field, monkeypatch):
    drawn: list[tuple[str, str]] = []
    draw = drawing.Sheet.text

    def keep(sheet: drawing.Sheet, x: float, y: float, text: str, colour: str, *size: float) -> Any:
        drawn.append((text, colour))
        return draw(sheet, x, y, text, colour, *size)

    monkeypatch.setattr(drawing.Sheet, "text", keep)
    tuned, untuned = (
        SimpleNamespace(problem="", osi=0.2, dsi=0.1, p_orientation=p, p_direction=p)
        for p in (0.01, 0.3)
    )
    known = [NeuronProperties(0, tuning=tuned), NeuronProperties(1, tuning=untuned)]
    monkeypatch.setattr(NeuronInfo, "computed", known)
    controller.colouring.choose("osi")
    controller.state.as_large = True
    bar = trace_rows(Shown.of(controller))[1].predicted_bar_text
    assert bar.endswith("s.d.")
    saved_view.draw_snapshot(controller, field)
    assert (bar, palette.PREDICTED) in drawn
    assert {("unknown (empty): 38", drawing.TEXT), ("not orientation tuned: 1", drawing.TEXT)} <= {
        *drawn
    }


def test_a_baseline_has_its_name_and_an_arrow_is_a_word(controller, field, monkeypatch):
    controller.model.choose_baseline("mean")
    controller.editor.paint_cells(range(40), slice(0, 30), HIDDEN)
    controller.editor.paint_cells(range(40), slice(30, 60), TARGET)
    controller.requests.finish_scores()
    words: list[str] = []
    draw = drawing.Sheet.text

    def keep(sheet: drawing.Sheet, x: float, y: float, text: str, *rest: Any) -> Any:
        words.append(text)
        return draw(sheet, x, y, text, *rest)

    monkeypatch.setattr(drawing.Sheet, "text", keep)
    saved_view.draw_snapshot(controller, field)
    assert drawing.plain("hidden → target") == "hidden then target"
    assert any(word.startswith("unit 25") and "· mean " in word for word in words)


def test_an_unchanged_view_keeps_the_time_at_which_it_was_drawn(state_keeper, screen, monkeypatch):
    state_keeper.show()
    first = screen.calls[0][0]["text/plain"]
    assert first.startswith(f"OmniMouse, view of {datetime.now():%Y-}")
    later = SimpleNamespace(now=lambda: datetime(2100, 1, 1))
    monkeypatch.setattr(saved_view, "datetime", later)  # the time of a new picture
    state_keeper._note_change()
    until_idle(state_keeper)
    assert [call[0]["text/plain"] for call in screen.calls] == [first]


def test_it_is_replaced_once_after_changes(state_keeper, screen, controller):
    state_keeper.show()
    for neuron in range(5):
        controller.editor.paint([neuron], HIDDEN)
    assert screen.wait_for(2)
    assert screen.calls[1][1]
    assert "15 visible, 10 target, 15 hidden" in screen.calls[1][0]["text/plain"]
    until_idle(state_keeper)
    assert len(screen.calls) == 2
    assert screen.ids == {state_keeper.display_id}


def test_a_picture_that_is_not_of_the_view_says_so(controller, screen):
    with closing(SavedPicture(controller, quiet_s=60)) as state_keeper:
        state_keeper.show()
        assert screen.notes == [""]
        controller.editor.paint([0], HIDDEN)
        assert screen.wait_for_notes(2)
        assert "has changed since" in screen.notes[1]
        controller.editor.paint([1], HIDDEN)
        state_keeper.draw()
        assert "18 visible" in screen.calls[-1][0]["text/plain"]
        assert screen.notes[2:] == [""]


def test_a_picture_of_a_recording_that_is_being_opened_says_so(controller, screen, monkeypatch):
    monkeypatch.setattr(type(controller.loader), "is_busy", True)
    with closing(SavedPicture(controller, quiet_s=60)) as state_keeper:
        state_keeper.show()
    assert "has changed since" in screen.notes[0]
    controller.state.session = None
    assert saved_view.caption(controller) == "The recording is being opened."


def test_an_opening_that_fails_does_not_leave_a_note(controller, screen, monkeypatch):
    with closing(SavedPicture(controller, quiet_s=60)) as state_keeper:
        with monkeypatch.context() as patch:
            patch.setattr(type(controller.loader), "is_busy", True)
            state_keeper.show()
        assert screen.notes[-1]
        controller.loader.changed.emit()
        state_keeper.draw()
        assert screen.notes[-1] == ""


def test_results_that_never_rest_are_drawn(controller, screen):
    with closing(SavedPicture(controller, quiet_s=0.2)) as state_keeper:
        state_keeper.show()
        controller.editor.paint([0], HIDDEN)
        for _ in range(1000):
            controller.results.changed.emit()
            if screen.wait_for(2, 0.01):
                break
        assert len(screen.calls) > 1


def test_no_picture_is_drawn_between_two_strokes(controller, screen, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(saved_view, "monotonic", lambda: now_s[0])
    with closing(SavedPicture(controller, quiet_s=60)) as state_keeper:
        state_keeper.show()
        for neuron in range(20):
            controller.editor.paint([neuron], HIDDEN)
            now_s[0] += 50
        assert len(screen.calls) == 1
        now_s[0] += 60
        controller.results.changed.emit()
        assert screen.wait_for(2)


@pytest.fixture
def overtaken_state(controller, screen, monkeypatch):
    """A picture that does not follow by itself; call it to change it while drawn."""
    later, draw_snapshot = iter([1]), saved_view.draw_snapshot

    def draw(*of: Any) -> saved_view.Snapshot:
        drawn = draw_snapshot(*of)
        for neuron in later:
            controller.editor.paint([neuron], HIDDEN)
        return drawn

    def change() -> None:
        controller.editor.paint([0], HIDDEN)
        monkeypatch.setattr(saved_view, "draw_snapshot", draw)

    with closing(SavedPicture(controller, quiet_s=60)) as state_keeper:
        state_keeper.show()
        yield state_keeper, change


@pytest.mark.parametrize("verb", ["show", "draw"])
def test_one_that_a_change_overtook_is_not_shown(screen, overtaken_state, verb):
    state_keeper, change = overtaken_state
    change()
    getattr(state_keeper, verb)()
    assert len(screen.calls) == 2
    assert "18 visible" in screen.calls[1][0]["text/plain"]


def test_a_fault_is_told_and_the_next_change_mends_it(controller, screen, monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("no <ink>")

    told: list[Exception] = []
    state_keeper = SavedPicture(controller, on_error=told.append, quiet_s=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(saved_view, "draw_snapshot", broken)
        state_keeper.show()
    assert [str(error) for error in told] == ["no <ink>"]
    assert "no &lt;ink&gt;" in screen.calls[0][0]["text/html"]
    assert "image/png" not in screen.calls[0][0]
    controller.editor.paint([1], HIDDEN)
    assert screen.wait_for(2)
    assert "image/png" in screen.calls[1][0]
    state_keeper.close()


def test_signs_of_the_labels_are_in_the_font():
    text = "neuron 3 · hidden → target · r = −0.12 ± 0.02 · ┃ 0.5 s.d. · 25 µm"
    assert "?" not in drawing.plain(text)
