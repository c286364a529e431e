"""Timing of the notebook widgets in a real page.

Times are on the page's own clock, from the browser's mouse event to the frame in which
the change is painted. The mouse is moved from outside, as fast as the page accepts it.
"""

from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import Any, Final

import numpy as np

from tests.bench.benchmark import Row, row
from tests.bench.browser.page import NO_REQUEST_PENDING, NotebookPage

SCRUB_S: Final = 6.0
SCRUB_HZ: Final = 30.0
"""Repeat rate of a key that is held down."""
SCRUB: Final = 9
"""Number of windows forward, then back again."""
PLOTS: Final = {"video": "frame", "raster": "drawn", "traces": "drawn"}
"""Plots that follow a scrub, with the event that each one reports."""
_REQUEST: Final = "explorer.controller.results.newest_request"


def explorer_rows(
    tab: NotebookPage, cell: str, moves: int, answers: int, browser: str
) -> Iterator[Row]:
    """Yield the rows of one explorer, which the code of a cell opens."""
    tab.open([cell])
    tab.run_all()
    tab.wait_for_event("drawn", 0.0, name="traces")
    neurons = tab.evaluate("explorer.session.n_neurons")
    # With a mask that has no targets the model is idle, so that drawing is timed alone.
    for model, preset, codes in (
        ("running", "video_behavior", (1, 2)),
        ("idle", "nothing", (1, 0)),
    ):
        about = {"neurons": neurons, "model": model, "browser": browser}
        tab.evaluate(f"explorer.controller.editor.apply_preset({preset!r})")
        tab.wait_for_kernel(NO_REQUEST_PENDING, True)
        # Strokes are identified by the number of their request, so no request may be
        # pending before a stroke.
        yield row("stroke_pixels_ms", stroke_pixels_ms(tab, codes, moves), "ms", **about)
        if model == "running":
            times = stroke_prediction_ms(tab, answers)
            yield row("stroke_prediction_ms", times, "ms", **about)
        tab.evaluate(f"explorer.controller.editor.apply_preset({preset!r})")
        for plot, rates in scrub_hz(tab).items():
            yield row("plot_updates_hz", rates, "Hz", plot=plot, **about)


def stroke_pixels_ms(tab: NotebookPage, codes: tuple[int, int], moves: int) -> list[float]:
    """Return the times from mouse to painted frame, for moves that touch a neuron."""
    since = tab.now_ms()
    field = tab.part("field").first
    # Eight horizontal strokes over the whole field.
    for number, height in enumerate(np.linspace(0.15, 0.85, 8)):
        tab.evaluate(f"explorer.controller.editor.set_brush({codes[number % 2]})")
        with tab.dragging(field, (0.05, float(height))) as move_to:
            for share in np.linspace(0.05, 0.95, max(moves // 8, 2)):
                move_to((float(share), float(height)), 1)
    return [e["took"] for e in tab.events("painted") if e["at"] > since]


def stroke_prediction_ms(tab: NotebookPage, answers: int) -> list[float]:
    """Return the times from mouse press to the frame with the new curves."""
    field = tab.part("field").first
    times_ms: list[float] = []
    # Four times as many places as predictions, since some have no neuron.
    places = np.random.default_rng(0).uniform(0.1, 0.9, (4 * answers, 2))
    for number, (x, y) in enumerate(places):
        if len(times_ms) == answers:
            break
        tab.evaluate(f"explorer.controller.editor.set_brush({1 if number % 2 == 0 else 2})")
        tab.wait_for_kernel(NO_REQUEST_PENDING, True)
        before, since = tab.evaluate(_REQUEST), tab.now_ms()
        tab.drag(field, (float(x), float(y)), (float(x), float(y)), steps=1)
        if tab.evaluate(_REQUEST) == before:  # no neuron at this place
            continue
        drawn = _first_curves(tab, before, since)
        pressed = next(e for e in tab.events("pressed") if e["at"] > since)
        times_ms.append(drawn["at"] - pressed["since"])
    return times_ms


def _first_curves(tab: NotebookPage, before: int, since: float) -> dict[str, Any]:
    """Wait for the first curves of a request later than `before`."""
    event = tab.page.wait_for_function(
        """([before, since]) => omnimouseEvents.find((event) => event.at > since &&
        event.event === "drawn" && event.name === "traces" && event.request > before)
        """,
        arg=[before, since],
    )
    return dict(event.json_value())


def scrub_hz(tab: NotebookPage) -> dict[str, list[float]]:
    """Return the updates per second of each plot while keys step the window."""
    # Key events go to the element with the focus.
    tab.part("video").locator("canvas").first.focus()
    since, start_s, n_pressed = tab.now_ms(), monotonic(), 0
    while monotonic() < start_s + SCRUB_S:
        is_back = n_pressed // SCRUB % 2
        tab.page.keyboard.press("Shift+ArrowLeft" if is_back else "Shift+ArrowRight")
        n_pressed += 1
        # Times are absolute, so that delays do not accumulate.
        sleep(max(start_s + n_pressed / SCRUB_HZ - monotonic(), 0.0))
    until = tab.now_ms()
    return {
        plot: _rates([e["at"] for e in tab.events(kind, name=plot)], since, until)
        for plot, kind in PLOTS.items()
    }


def _rates(times_ms: Sequence[float], since: float, until: float) -> list[float]:
    """Return the updates per second in each half second, which smooths bursts."""
    edges = np.arange(since, until, 500.0)
    return [2.0 * float(count) for count in np.histogram(times_ms, edges)[0]]
