"""The headless demo: the real window, operated by simulated events, and its report.

Nothing is mocked: napari's window opens the demo session with the demo model, and real
mouse and key events paint. The values on screen are then read back and compared with
those that the library computes for the same request.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image
from qtpy.QtCore import QPointF, Qt

from omnimouse_app.field.canvas import Canvas, core_places, states_on_screen
from omnimouse_app.tour.hand import Hand, arc, settle, wait_for
from omnimouse_app.window.docks import OmniMouseDock
from omnimouse_model.data.session import Window
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.live.state import Device
from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.storage.files import read_bytes
from omnimouse_model.storage.write import write_text
from omnimouse_widgets.palette import STATE_NAMES
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.qt.raster.panel import RasterArea
from omnimouse_widgets.report.markup import Markup, document, facts, joined, table, tag
from omnimouse_widgets.report.markup import text as escaped
from omnimouse_widgets.views.record import choose


# -- pictures and checks -----------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its title and description."""

    title: str
    text: str
    png: Path


@dataclass(frozen=True, slots=True)
class Check:
    """A value on screen and the value that the library computes for it."""

    quantity: str
    on_screen: str
    computed: str
    is_same: bool


# -- comparisons of the values on screen with a new computation by the library --------
# Each check reads the screen (canvas pixels, curves of a plot) and computes the same
# request with the library in this process.
CLOSE = 1e-4
"""Maximum difference between two runs of the same model."""


def library_prediction(dock: OmniMouseDock, model: str) -> tuple[Window, Prediction]:
    """Return the window, and the library's prediction for the request on screen."""
    state = dock.controller.state
    assert state.session is not None
    assert state.window is not None
    assert state.mask is not None
    predictor = load_predictor(model, [state.session])
    return state.window, predictor.predict(state.window, state.mask)


def check_states(dock: OmniMouseDock, model: str) -> Check:
    """Compare the colours on the canvas with the mask."""
    controller, layers = dock.controller, dock.instrument.layers
    mask, selection = controller.state.mask, controller.state.selection
    assert mask is not None
    assert layers.field is not None
    # Selected neurons have a white rim, which would change the measured colours.
    controller.selection.select([])
    settle(0.3)
    on_screen = states_on_screen(Canvas(dock.viewer, dock.main_window), layers.field)
    controller.selection.select(selection)
    # Neurons without a pixel have no colour to compare.
    has_pixel = on_screen >= 0
    states = mask.state_in(controller.state.active_span)[has_pixel]
    return Check(
        "State of each neuron, from the colours of the canvas",
        _counts(on_screen[has_pixel]),
        _counts(states),
        bool((on_screen[has_pixel] == states).all()),
    )


def check_traces(dock: OmniMouseDock, model: str) -> Check:
    """Compare the curves of the traces with the library's prediction."""
    controller, panel = dock.controller, dock.panels["Traces"]
    assert isinstance(panel, RecordPanel)
    _, expected = library_prediction(dock, model)
    state = controller.state
    span, options = state.trace_span, (state.common_scale, state.as_large)
    # Of the window alone, and not scaled to the recording: the numbers of the library.
    controller.pins.choose_span("window")
    controller.state.common_scale, controller.state.as_large = False, False
    panel.redraw.flush()
    check = _compared(panel, expected, state.selection)
    controller.state.common_scale, controller.state.as_large = options[0], options[1]
    controller.pins.choose_span(span)
    wait_for(lambda: not controller.pins.predictions.is_busy, "the span")
    return check


def _compared(panel: RecordPanel, expected: Prediction, selection: tuple[int, ...]) -> Check:
    column = {int(neuron): k for k, neuron in enumerate(expected.neurons)}
    largest, n_samples = 0.0, 0
    for row, neuron in enumerate(selection):
        curve = panel.stacks["traces"].drawn_values(row)[1]
        if neuron not in column or not len(curve):
            continue
        # Predictions are NaN at samples that are not targets.
        values = expected.responses[:, column[neuron]]
        is_target = np.isfinite(values)
        difference = np.abs(curve[is_target] - values[is_target])
        largest = max(largest, float(difference.max(initial=0)))
        n_samples += int(is_target.sum())
    # Without any target sample, nothing was compared.
    return Check(
        "Predicted traces of the selected neurons",
        f"{n_samples} samples drawn",
        f"largest difference {largest:.1e}",
        largest <= CLOSE and n_samples > 0,
    )


def check_scores(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed scores with newly computed correlations."""
    window, expected = library_prediction(dock, model)
    scores = dock.controller.results.scores
    assert scores is not None
    truth = window.responses[:, expected.neurons]
    computed = correlation(expected.responses, truth, axis=0)
    on_screen = scores[expected.neurons]
    return Check(
        "Mean score of the target neurons",
        f"{np.nanmean(on_screen):z.4f}",
        f"{np.nanmean(computed):z.4f}",
        # Scores travel as float32, hence the wider tolerance.
        bool(np.allclose(on_screen, computed, atol=1e-3, equal_nan=True)),
    )


def check_behavior(dock: OmniMouseDock, model: str) -> Check:
    """Compare the displayed decoded behaviour with the library's."""
    results, (_, expected) = dock.controller.results, library_prediction(dock, model)
    n_samples = f"{dock.controller.state.spec.n_behavior} samples per channel"
    if expected.behavior is None or results.behavior is None:
        # No values on both sides are correct only for a model that does not decode.
        decodes = results.needs is None or results.needs.predicts_behavior
        is_same = not decodes and expected.behavior is results.behavior is None
        return Check("Decoded behaviour", n_samples, "not decoded", is_same)
    largest = float(np.nanmax(np.abs(results.behavior - expected.behavior)))
    text = f"largest difference {largest:.1e}"
    return Check("Decoded behaviour", n_samples, text, largest <= CLOSE)


def _counts(states: np.ndarray) -> str:
    return ", ".join(
        f"{int((states == code).sum()):,} {name}" for code, name in enumerate(STATE_NAMES)
    )


# -- The headless demo: the real window, operated by simulated events, and its report ---
TRACES_S = 300.0
"""Seconds within which the span of the traces is predicted, also on a slow machine."""
_SHIFT = Qt.KeyboardModifier.ShiftModifier
_CONTROL = Qt.KeyboardModifier.ControlModifier


@dataclass
class Story:
    """One run of the demo: the window, the simulated hand, and the results."""

    dock: OmniMouseDock
    out: Path
    model: str
    figures: list[Figure] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def canvas(self) -> Canvas:
        """The canvas of the window."""
        return Canvas(self.dock.viewer, self.dock.main_window)

    @property
    def hand(self) -> Hand:
        """A simulated hand over the canvas."""
        return Hand(self.canvas.widget)

    def wait_for_prediction(self, timeout_s: float = 120.0) -> float:
        """Wait for the prediction of the whole population; return the seconds taken."""
        results = self.dock.controller.results
        took = wait_for(
            lambda: (
                results.error is not None
                or (results.freshness == results.population_freshness == "fresh")
            ),
            "the prediction",
            timeout_s,
        )
        if results.error is not None:
            raise RuntimeError(f"The model failed: {results.error}")
        # The panels draw in the next iterations of the event loop.
        settle(0.1)
        return took

    def wait_for_score(self) -> None:
        """Wait until enough windows are scored for an interval, also of the baseline."""
        controller = self.dock.controller
        asked = [controller.results]
        if controller.state.compared_baseline:
            asked.append(controller.baseline)
        wait_for(
            lambda: all(
                one.error is not None
                or (one.tier_score is not None and not one.tier_score.is_preliminary)
                for one in asked
            ),
            "the score",
            TRACES_S,
        )

    def check(self, compare: Callable[[OmniMouseDock, str], Check]) -> None:
        """Compare values on screen with values that the library computes."""
        self.checks.append(compare(self.dock, self.model))
        # A check may change the selection, which requests a new prediction.
        self.wait_for_prediction()

    def picture(self, name: str, title: str, text: str) -> None:
        """Save a picture of the window when the span of the traces is predicted."""
        settle(0.5)
        predictions = self.dock.controller.pins.predictions
        wait_for(lambda: not predictions.is_busy, "the traces", TRACES_S)
        settle(0.1)
        png = self.out / f"{name}.png"
        save_window(self.dock, png)
        self.figures.append(Figure(title, text, png))


Chapter = Callable[[Story], None]


def write_report(
    out: Path,
    session: str | Path,
    model: str = "demo",
    device: Device = "auto",
    chapters: Sequence[Chapter] | None = None,
) -> Path:
    """Open the demo, run the chapters, and write `index.html` and pictures to `out`.

    Without `chapters`, the run has the chapters of the first two minutes.

    Needs a display (`omnimouse_app.window.screen`). Returns the path of the page.
    Raises `RuntimeError` if the window shows other numbers than the library computes.
    """
    from omnimouse_app.window.launch import launch

    out.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    dock = launch(session, model, device=device)
    try:
        story = Story(dock, out, model)
        for chapter in CHAPTERS if chapters is None else chapters:
            chapter(story)
        story.facts.insert(0, ("Whole run", f"{perf_counter() - began:z.1f} s"))
    finally:
        # Also after a failed chapter, so that the worker process ends.
        dock.close_viewer()
    path = out / "index.html"
    write_page(story, path)
    # Raise only after the page is written: it shows the differences.
    wrong = [check.quantity for check in story.checks if not check.is_same]
    if wrong:
        raise RuntimeError(f"Screen and library differ: {'; '.join(wrong)}. See {path}")
    return path


# -- chapters, in order --------------------------------------------------------------
def open_the_demo(story: Story) -> None:
    """Show the window with a preset and its first prediction."""
    seconds = story.wait_for_prediction()
    controller = story.dock.controller
    session, state = controller.state.session, controller.state
    assert session is not None
    story.facts += [
        ("Session", f"{session.id}: {session.n_neurons:,} neurons, {session.recorded_text}"),
        ("Model", state.predictor_name),
        ("Preset", dict(controller.editor.presets).get(state.preset, "by hand")),
        ("From the open window to the first prediction", f"{seconds:z.1f} s"),
    ]
    story.wait_for_score()
    story.picture(
        "start",
        "On opening",
        "The demo recording at a held-out window, with a preset. The traces show the "
        "recording and the prediction of the selected neurons.",
    )


def paint_the_field(story: Story) -> None:
    """Paint with the brush: visible, hidden, target."""
    controller, hand = story.dock.controller, story.hand
    width, height = story.canvas.widget.width(), story.canvas.widget.height()
    centre = (width / 2, height / 2)
    # The strokes stay within the field, which is fitted to the canvas.
    reach = 0.42 * min(width, height)
    for key, share in ((Qt.Key.Key_1, 0.85), (Qt.Key.Key_2, 0.5)):
        hand.key(key)
        radii = (reach * share, reach * share)
        hand.drag(arc(centre, radii, (0.3, 5.9)))
    hand.key(Qt.Key.Key_3)
    across = np.linspace([centre[0] - reach, centre[1]], [centre[0] + reach, centre[1]])
    hand.drag(across)
    # Move the pointer to a corner: the circle of the brush would cover neurons that the
    # checks read.
    hand.move((20, 20), held=False)
    story.wait_for_prediction()
    elapsed = controller.results.elapsed_ms or float("nan")
    story.facts += [("From the last stroke to the new prediction", f"{elapsed:z.0f} ms")]
    story.check(check_traces)
    story.check(check_scores)
    story.check(check_states)
    story.wait_for_score()
    story.picture(
        "painted",
        "Neurons painted with the brush",
        "Three strokes of real mouse events: a visible ring (blue), a hidden ring "
        "(grey), and a line of targets across both (orange rings). The predictions are "
        "updated.",
    )


def undo_and_redo(story: Story) -> None:
    """Check that Ctrl+Z changes the mask and Ctrl+Shift+Z restores every cell."""
    controller, hand = story.dock.controller, story.hand
    painted = controller.state.mask
    hand.key(Qt.Key.Key_Z, _CONTROL)
    undone = controller.state.mask
    hand.key(Qt.Key.Key_Z, _CONTROL | _SHIFT)
    redone = controller.state.mask
    assert painted is not None
    assert undone is not None
    assert redone is not None
    changed = int((painted.cells != undone.cells).any(axis=0).sum())
    story.checks.append(
        Check(
            "Ctrl+Z, then Ctrl+Shift+Z",
            f"{changed} neurons changed and were restored",
            "the same mask, cell by cell",
            changed > 0 and bool((painted.cells == redone.cells).all()),
        )
    )


def select_by_click(story: Story) -> None:
    """Select neurons for the traces by Ctrl-clicks on the field."""
    controller, canvas = story.dock.controller, story.canvas
    mask, layers = controller.state.mask, story.dock.instrument.layers
    assert mask is not None
    assert layers.field is not None
    targets = np.flatnonzero((mask.cells == TARGET).any(axis=0))
    window = controller.state.window
    assert window is not None
    # Select the five target neurons with the largest variation in the second half of
    # the window, so that their traces show activity.
    spread = window.responses[window.spec.n_samples // 2 :].std(axis=0)[targets]
    most_varying = targets[np.sort(np.argsort(-spread)[:5])]
    for number, place in enumerate(core_places(layers.field)[most_varying]):
        keys = _CONTROL if number == 0 else _CONTROL | _SHIFT
        story.hand.click(canvas.place(place), keys)
        settle()
    story.wait_for_prediction()
    story.checks.append(
        Check(
            "Selection after Ctrl-clicks",
            ", ".join(map(str, controller.state.selection)),
            ", ".join(map(str, most_varying.tolist())),
            controller.state.selection == tuple(most_varying.tolist()),
        )
    )
    story.check(check_traces)


def colour_by_score(story: Story) -> None:
    """Colour the neurons by single-trial correlation with the key C."""
    story.hand.key(Qt.Key.Key_C)
    story.wait_for_prediction()
    story.wait_for_score()
    story.picture(
        "score",
        "Coloured by score",
        "Single-trial correlation of prediction and recording over the test windows so "
        "far, from 0 (dark) to 1 (yellow). Visible neurons are dark disks in grey "
        "rings.",
    )
    story.hand.key(Qt.Key.Key_C)


def paint_the_raster(story: Story) -> None:
    """Check that a box on the raster changes exactly the cells inside it."""
    controller, panel = story.dock.controller, story.dock.panels["Raster"]
    assert isinstance(panel, RecordPanel)
    choose(panel.view, "tool", "box")
    before = controller.state.mask
    assert before is not None
    controller.editor.set_brush(VISIBLE)
    settle(0.1)
    # Plot coordinates: sample n covers n to n + 1, so 5.5 is the middle of sample 5.
    drag_on_raster(panel.content("cells"), (5.5, 0.25), (24.5, 0.6))
    story.wait_for_prediction()
    after = controller.state.mask
    assert after is not None
    changed = before.cells != after.cells
    samples = np.flatnonzero(changed.any(axis=1)).tolist()
    story.checks.append(
        Check(
            "A box drawn on the raster over samples 5 to 24",
            f"{int(changed.sum()):,} cells changed, samples {_ends(samples)}",
            "only cells of samples 5-24, all of them visible",
            samples == list(range(5, 25)) and bool((after.cells[changed] == VISIBLE).all()),
        )
    )
    story.picture(
        "raster",
        "Samples painted on the raster",
        "Neurons by samples: visible cells are blue, target cells are orange. A box on "
        "the raster made samples 5 to 24 of some neurons visible.",
    )


def decode_behavior(story: Story) -> None:
    """Show the behaviour that the predictor decodes, with the preset for it."""
    controller = story.dock.controller
    # All neurons are visible and behaviour is the target.
    controller.editor.apply_preset("all_response_only")
    story.wait_for_prediction()
    story.dock.docks["Behaviour"].raise_()
    settle(0.3)
    story.check(check_behavior)
    story.wait_for_score()
    story.picture(
        "behaviour",
        "Behaviour decoded from the population",
        "Running and pupil: the recording (white), and the values that the model "
        "decodes from all neurons (orange).",
    )
    story.dock.docks["Traces"].raise_()


def scrub(story: Story) -> None:
    """Show another window and frame; check that the traces follow."""
    controller = story.dock.controller
    controller.editor.apply_preset("video_behavior")
    # Three windows on: a window that no earlier chapter has shown.
    controller.navigation.step_window(3)
    controller.navigation.set_cursor(40)
    story.wait_for_prediction()
    story.check(check_traces)


def small_screen(story: Story) -> None:
    """Show the window at 1280 × 720 without clipped content."""
    # The smallest screen for which the layout is designed.
    story.dock.main_window.resize(1280, 720)
    settle(0.5)
    story.picture(
        "small", "On a small screen", "The same window at 1280 × 720. Nothing is cut off."
    )


CHAPTERS: tuple[Chapter, ...] = (
    open_the_demo,
    paint_the_field,
    undo_and_redo,
    select_by_click,
    colour_by_score,
    paint_the_raster,
    decode_behavior,
    scrub,
    small_screen,
)


# -- pictures and drags ---------------------------------------------------------------
def save_window(dock: OmniMouseDock, png: Path) -> None:
    """Save the whole window, canvas and docks, as a picture of 256 colours."""
    pixels = dock.viewer.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    # A palette makes the file much smaller; dithering would make it larger again.
    few = picture.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(png, optimize=True)


def drag_on_raster(
    panel: RasterArea, start: tuple[float, float], stop: tuple[float, float]
) -> None:
    """Drag over the raster between two points (sample, share of the visible rows)."""
    box = next(p.box for p in panel.pictures.values() if p.plot.isVisible())
    view = box.getViewWidget()
    low, high = box.viewRange()[1]

    def at(place: tuple[float, float]) -> np.ndarray:
        in_plot = QPointF(place[0], low + place[1] * (high - low))
        local = view.mapFromScene(box.mapViewToScene(in_plot))
        return np.array([local.x(), local.y()], float)

    first, last = at(start), at(stop)
    path = first + np.linspace(0, 1, 12)[:, None] * (last - first)
    Hand(view.viewport()).drag(path)


def _ends(samples: list[int]) -> str:
    return f"{samples[0]}-{samples[-1]}" if samples else "none"


# -- one self-contained HTML page, without scripts ------------------------------------
def write_page(story: Story, path: Path) -> None:
    """Write the page with embedded pictures; replaces an older one atomically."""
    title = "OmniMouse Studio: the demo"
    html = document(
        title,
        tag("h1", title),
        tag(
            "p",
            "Written by `omnimouse demo --headless`: the real window, operated by "
            "real mouse and key events.",
            class_="quiet",
        ),
        facts(story.facts),
        *map(_figure, story.figures),
        _checks(story.checks),
    )
    # A reader never sees a half-written page.
    write_text(path, html)


def _figure(figure: Figure) -> Markup:
    title = tag("h2", figure.title)
    # Pictures are data URLs, so that the page is a single file.
    data = b64encode(read_bytes(figure.png, 2**28)).decode("ascii")
    picture = f'<img alt="{escaped(figure.title)}" src="data:image/png;base64,{data}">'
    image = tag("figure", Markup(picture))
    return joined((title, tag("p", figure.text), image))


def _checks(checks: Sequence[Check]) -> Markup:
    head = ("quantity", "on screen", "computed", "")
    rows = [
        (check.quantity, check.on_screen, check.computed, _verdict(check.is_same))
        for check in checks
    ]
    title = tag("h2", "Values on screen and computed values")
    text = (
        "Values read from the window after the strokes above, and values that the library "
        "computes for the same task."
    )
    return joined((title, tag("p", text), table(head, rows, len(head))))


def _verdict(is_same: bool) -> Markup:
    word, kind = ("same", "good") if is_same else ("differs", "alert")
    return tag("span", word, class_=kind)
