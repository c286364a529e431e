"""The last state: its pixels and words, when it is drawn, that a notebook has it."""

import base64
import io
import threading
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from PIL import Image

import omnimouse_model as om
from omnimouse_model.analysis.score_summary import score_summary
from omnimouse_model.masks import HIDDEN, N_SAMPLES, TARGET, VISIBLE
from omnimouse_widgets.drawn.field import session_field
from omnimouse_widgets.drawn.neuron_colours import STATE_CORE
from omnimouse_widgets.jupyter import last_state, picture, sheet
from omnimouse_widgets.jupyter.last_state import LastState


@pytest.fixture
def controller(controller):
    """Twenty visible, ten asked, ten hidden, throughout."""
    mask = om.Mask.nothing(40).with_frames(True).show(np.arange(20))
    controller.set_mask(mask.paint(np.arange(20, 30), slice(0, 60), TARGET))
    controller.select([0, 25])
    return controller


@pytest.fixture
def field(session):
    return session_field(session)


class DisplayRecorder:
    """What was displayed, by display id, instead of a front end's."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], bool]] = []
        self.ids: set[str] = set()
        self.changed = threading.Condition()

    def display(self, bundle: dict[str, Any], **options: Any) -> None:
        with self.changed:
            self.calls.append((bundle, options["update"]))
            self.ids.add(options["display_id"])
            self.changed.notify_all()

    def wait_for(self, n: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.calls) >= n, 60)


@pytest.fixture
def screen(monkeypatch):
    found = DisplayRecorder()
    monkeypatch.setattr("IPython.display.display", found.display)
    return found


@pytest.fixture
def state_keeper(controller, screen):
    made = LastState(controller, quiet_s=0.05)
    yield made
    made.close()


@pytest.fixture
def settling_checks(monkeypatch):
    """Released whenever a quiet while is over and it is looked whether all is settled.

    Told by the thread that waits for it, before it finds out.
    """
    found, is_settled = threading.Semaphore(0), LastState._is_settled.fget

    def look(state_keeper: LastState) -> bool:
        found.release()
        return is_settled(state_keeper)

    monkeypatch.setattr(LastState, "_is_settled", property(look))
    return found


def until_idle(state_keeper: LastState) -> None:
    """Wait until nothing is due: its thread ends."""
    thread = state_keeper._thread
    if thread is not None:
        thread.join(60)
    assert state_keeper._thread is None


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# -- the picture ----------------------------------------------------------------------
def test_neurons_have_the_colours_of_the_mask(controller, field):
    controller.select([])
    pixels = pixels_of(picture.draw(controller, field).png)
    left, top, width, _ = picture.field_place(field)
    zoom = sheet.SCALE * width / field.labels.shape[1]
    states = controller.state.mask.state_in((0, N_SAMPLES))
    wanted = picture.label_colours(STATE_CORE)
    seen = set()
    for neuron in range(40):
        at = np.argwhere(field.labels == neuron + 1)
        if not len(at):
            continue
        y, x = at[len(at) // 2]
        place = (np.array([y, x]) + 0.5) * zoom + sheet.SCALE * np.array([top, left])
        found = pixels[tuple(place.astype(int))]
        assert np.abs(found - wanted[states[neuron]].astype(int)).max() <= 4, neuron
        seen.add(int(states[neuron]))
    assert seen == {HIDDEN, VISIBLE, TARGET}


def test_a_selected_neuron_and_a_painted_one_look_otherwise(controller, field):
    before = picture.field_pixels(controller, field)
    controller.select([3])
    controller.paint([7], TARGET)
    changed = (picture.field_pixels(controller, field) != before).any(axis=2)
    owners = set(field.owner[changed].tolist())
    assert owners == {0, 25, 3, 7}


def test_the_raster_has_the_colours_of_its_states(controller, field):
    plain = pixels_of(picture.draw(controller, field).png)
    controller.paint(np.arange(40), HIDDEN)
    hidden = pixels_of(picture.draw(controller, field).png)
    left = sheet.SCALE * (sheet.EDGE + picture.SIDE + picture.AXIS + 20)
    rows = slice(sheet.SCALE * (picture.TOP + 40), sheet.SCALE * picture.SIDE)
    before, after = (p[rows, left : left + 200].astype(int) for p in (plain, hidden))
    assert (before.max(axis=2) - before.min(axis=2)).max() > 40
    assert (after.max(axis=2) - after.min(axis=2)).max() < 8


def test_the_captions_numbers_are_the_librarys(controller):
    controller.choose_predictor("context-ridge")
    words, state = picture.caption(controller), controller.state
    scores = controller.results.scores
    median = float(np.median(scores[np.isfinite(scores)]))
    assert median == pytest.approx(score_summary(scores).median)
    known = (state.session.id, f"{state.window.start_s:.1f} s", f"{median:.2f}")
    counts = ("20 visible", "10 target", "10 hidden", "context-ridge")
    assert all(word in words for word in (*known, *counts))
    controller.set_active_span(0, 30)
    controller.paint_cells([0], slice(0, 30), HIDDEN)
    told = "19 visible, 10 target, 11 hidden in samples 0-30"
    assert told in picture.caption(controller)
    controller.set_active_span(0, 60)
    assert "1 hidden → visible" in picture.caption(controller)


@pytest.mark.parametrize(
    ("colour_by", "view"), [("score", "pair"), ("area", "beside"), ("depth", "pair")]
)
def test_it_is_drawn_small_however_the_screen_is_set(
    controller, field, colour_by, view
):
    controller.set_colour_by(colour_by)
    controller.set_raster("area", view)
    controller.choose_baseline("mean")
    controller.pins.pin("half × ½ – 見")
    controller.select(np.arange(20))
    found = picture.draw(controller, field)
    assert len(found.png) < sheet.MOST_BYTES
    shape = pixels_of(found.png).shape
    assert shape == (sheet.SCALE * found.height, sheet.SCALE * found.width, 3)


@pytest.mark.slow
def test_one_too_large_has_a_pixel_a_point():
    noisy = sheet.Sheet(400, 400)
    values = np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8)
    noisy.picture(values, 0, 0, 400, 400)
    assert pixels_of(noisy.png()).shape == (400, 400, 3)


@pytest.mark.parametrize(("end", "drawn"), [("≤ r = 0", "<= r = 0"), ("≥ 1", ">= 1")])
def test_the_ends_of_a_scale_are_in_letters_that_the_font_has(end, drawn):
    assert sheet.plain(end) == drawn


def test_nothing_open_has_words(empty_controller, screen):
    LastState(empty_controller).show()
    assert screen.calls[0][0]["text/plain"]


# -- the output -----------------------------------------------------------------------
def test_it_is_an_image_a_page_and_words(state_keeper, screen):
    state_keeper.show()
    bundle, is_update = screen.calls[0]
    assert not is_update
    words = picture.caption(state_keeper._controller)
    assert bundle["text/plain"] == f"OmniMouse, as it was last seen: {words}"
    data = bundle["image/png"]
    assert pixels_of(base64.b64decode(data)).shape[1] == 2 * sheet.WIDTH
    assert bundle["text/html"].startswith('<div class="omnimouse-last"><img alt="')
    assert data in bundle["text/html"]


def test_it_is_replaced_once_after_changes(state_keeper, screen, controller):
    state_keeper.show()
    for neuron in range(5):
        controller.paint([neuron], HIDDEN)
    assert screen.wait_for(2)
    assert screen.calls[1][1]
    assert "15 visible, 10 target, 15 hidden" in screen.calls[1][0]["text/plain"]
    until_idle(state_keeper)
    assert len(screen.calls) == 2
    assert screen.ids == {state_keeper.display_id}


@pytest.fixture
def overtaken_state(controller, screen, monkeypatch):
    """A picture that does not follow by itself; call it to change it while drawn."""
    neurons = iter(range(20))

    def change(times: int) -> None:
        left = iter(range(times))

        def draw(*of: Any) -> picture.Drawing:
            drawn = picture.draw(*of)
            if next(left, None) is not None:
                controller.paint([next(neurons)], HIDDEN)
            return drawn

        controller.paint([next(neurons)], HIDDEN)
        monkeypatch.setattr(last_state, "draw_picture", draw)

    with closing(LastState(controller, quiet_s=60)) as state_keeper:
        state_keeper.show()
        yield state_keeper, change


@pytest.mark.parametrize("verb", ["show", "draw"])
def test_one_that_a_change_overtook_is_not_shown(screen, overtaken_state, verb):
    state_keeper, change = overtaken_state
    change(1)
    getattr(state_keeper, verb)()
    assert len(screen.calls) == 2
    assert "18 visible" in screen.calls[1][0]["text/plain"]


def test_one_that_is_always_overtaken_is_shown_and_still_due(screen, overtaken_state):
    state_keeper, change = overtaken_state
    change(last_state.TRIES)
    state_keeper.draw()
    assert "17 visible" in screen.calls[-1][0]["text/plain"]
    state_keeper.draw()
    assert "16 visible" in screen.calls[-1][0]["text/plain"]
    assert len(screen.calls) == 3


def test_what_looks_the_same_is_not_sent_again(state_keeper, screen, controller):
    state_keeper.show()
    controller.set_brush(HIDDEN)
    controller.ask_again()
    state_keeper.draw()
    assert not state_keeper._is_due
    assert len(screen.calls) == 1


def test_nothing_is_drawn_while_a_stroke_is_open(
    state_keeper, screen, controller, settling_checks
):
    state_keeper.show()
    controller.begin_stroke("Paint")
    controller.paint([1], HIDDEN)
    for _ in range(2):  # it looked again: nothing was drawn after the first time
        assert settling_checks.acquire(timeout=60)
    state_keeper.draw()
    assert len(screen.calls) == 1
    controller.end_stroke()
    assert screen.wait_for(2)
    assert "19 visible" in screen.calls[1][0]["text/plain"]


def test_nothing_is_drawn_while_an_answer_is_awaited(
    state_keeper, screen, controller, settling_checks
):
    state_keeper.show()
    controller.results.population_freshness = "stale"
    controller.paint_cells([1], slice(0, 5), HIDDEN)
    controller.results.population_freshness = "running"
    controller.results.changed.emit()
    for _ in range(2):
        assert settling_checks.acquire(timeout=60)
    assert len(screen.calls) == 1
    controller.results.population_freshness = "fresh"
    controller.results.changed.emit()
    assert screen.wait_for(2)


def test_a_fault_is_told_and_the_next_change_mends_it(controller, screen, monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("no <ink>")

    told: list[Exception] = []
    state_keeper = LastState(controller, failed=told.append, quiet_s=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(last_state, "draw_picture", broken)
        state_keeper.show()
    assert [str(error) for error in told] == ["no <ink>"]
    assert "no &lt;ink&gt;" in screen.calls[0][0]["text/html"]
    assert "image/png" not in screen.calls[0][0]
    controller.paint([1], HIDDEN)
    assert screen.wait_for(2)
    assert "image/png" in screen.calls[1][0]
    state_keeper.close()


def test_closed_it_follows_no_more_and_leaves_no_thread(
    state_keeper, screen, controller
):
    state_keeper.show()
    state_keeper.close()
    controller.paint([1], HIDDEN)
    until_idle(state_keeper)
    assert len(screen.calls) == 1


# -- in a notebook ------------------------------------------------------------------
CELLS = (
    """
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.last_state import LastState
controller = Controller()
controller.open_session({place!r})
controller.choose_predictor("mean")
last = LastState(controller)
last.show()
""",
    "assert controller.wait(60)",
    "controller.paint(range(30), 0)\nassert controller.wait(60)",
)


@pytest.mark.slow
@pytest.mark.process
def test_an_executed_notebook_has_the_picture_of_what_was_answered_last(session):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    cells = [CELLS[0].format(place=str(session.path)), *CELLS[1:]]
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    nbclient.NotebookClient(book, timeout=120).execute()
    [output] = book.cells[0].outputs
    assert "30 hidden" in output.data["text/plain"]
    assert "model mean" in output.data["text/plain"]
    assert output.metadata["image/png"]["width"] == sheet.WIDTH
    assert pixels_of(base64.b64decode(output.data["image/png"])).size
    assert not book.cells[1].outputs
    assert not book.cells[2].outputs
