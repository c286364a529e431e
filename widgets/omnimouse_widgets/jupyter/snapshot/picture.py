"""Static picture of the current view, drawn in the kernel without a page.

The picture contains field and raster in their colours on screen, and the traces of the
first selected neurons. A saved notebook shows it without a kernel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import MIXED
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.snapshot.drawing import (
    EDGE,
    GAP,
    QUIET,
    TEXT,
    WIDTH,
    Sheet,
    blended_over,
    cut,
    draw_traces,
    hex_of,
    traces_height,
    width_of,
)
from omnimouse_widgets.views.field.colours import (
    STATE_CORE,
    STATE_RIM,
    core_and_rim,
    flat_rows,
    mean_levels,
)
from omnimouse_widgets.views.field.layout import Field
from omnimouse_widgets.views.field.text import ORDER, UNIFORM, counted
from omnimouse_widgets.views.raster import (
    GREY,
    OVERLAYS,
    TITLES,
    age_text,
    blended,
    coloured,
    images_of,
    overlay_table,
    picture,
)
from omnimouse_widgets.views.rows.raster import Arrangement, RasterImage, RasterRows, arrange
from omnimouse_widgets.views.text.tier_score import SCORING, no_score_text, tier_score_lines
from omnimouse_widgets.views.traces import Shown, trace_rows

SIDE: Final = 480
"""Maximum side of the field, and height of the raster with its title, in points."""
TOP: Final = 32
"""Height of the caption in points."""
BELOW: Final = 30
"""Height of the legend below the field in points."""
AXIS: Final = 84
"""Width of the row labels left of the raster in points."""
MAX_TRACES: Final = 8
NOT_YET: Final = "not computed yet"
BLOCK: Final = 4
GREY_STEP: Final = 16
"""Side of a block of the mean image in pixels, and step of its grey levels."""
MAX_EXACT_COLOURS: Final = 32
"""Maximum number of neuron colours that stay exact; scores have more."""
BASE_GREY: Final = 36
"""Grey level behind translucent neurons."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A PNG with its description; width and height are in points."""

    png: bytes
    text: str
    width: int
    height: int


def draw_snapshot(controller: Controller, field: Field | None) -> Snapshot:
    """Draw the current view; `field` is that of the open session."""
    text = caption(controller)
    state = controller.state
    # Without a recording, the picture is only its caption.
    if field is None or state.window is None or state.mask is None:
        sheet = Sheet(WIDTH, TOP)
        sheet.text(EDGE, 9, text, TEXT, 13)
        return Snapshot(sheet.png(), text, WIDTH, TOP)
    traces = trace_rows(Shown.of(controller))
    below = TOP + SIDE + BELOW
    height = below + traces_height(min(len(traces), MAX_TRACES))
    sheet = Sheet(WIDTH, height)
    sheet.text(EDGE, 9, cut(text, WIDTH - 2 * EDGE, 13), TEXT, 13)
    _draw_field(sheet, controller, field)
    _draw_legend(sheet, controller)
    _draw_raster(sheet, controller)
    if traces:
        n_omitted = max(len(traces) - MAX_TRACES, 0)
        draw_traces(sheet, controller, traces[:MAX_TRACES], below, n_omitted)
    return Snapshot(sheet.png(), text, WIDTH, height)


# -- the caption --------------------------------------------------------------------
def caption(controller: Controller) -> str:
    """Return `demo · window 12.0 s · 743 visible, 257 target · r = 0.41 [0.34, 0.54], … · …`."""
    state, results = controller.state, controller.results
    if state.session is None or state.window is None or state.mask is None:
        return (
            "The recording is being opened."
            if controller.loader.is_busy
            else "No recording is open."
        )
    states = _state_text(controller)
    start, stop = state.active_span
    if (start, stop) != (0, state.mask.n_samples):
        states += f" in samples {start}–{stop}"
    name = Path(state.predictor_name).name
    return " · ".join(
        [
            state.session.id,
            f"window {state.window.start_s:z.1f} s",
            states,
            _score_text(controller),
            f"model {name}" if name else "no model",
            *([f"error: {results.error}"] if results.error else []),
        ]
    )


def _state_text(controller: Controller) -> str:
    """Return numbers of neurons: `743 visible, 200 target; 57 hidden, then target`."""
    counts, changes = counted(controller.state)
    texts = [f"{counts[k]:,} {palette.STATE_NAMES[k]}" for k in UNIFORM if counts[k]]
    return "; ".join(filter(None, [", ".join(texts), changes]))


def _score_text(controller: Controller) -> str:
    """Return the score of the bar with its windows, or why there is none."""
    state, results = controller.state, controller.results
    lines = tier_score_lines(results.tier_score, state.metric, None, "")[:2]
    if not lines:
        # Of one window, a score would say nothing; in a file, nothing is being scored.
        reason = no_score_text(state, results)
        return f"score: {NOT_YET if reason == SCORING else reason}"
    older = " (of an older request)" if results.are_scores_old else ""
    return f"{', '.join(lines)}{older}"


# -- the field ----------------------------------------------------------------------
def field_pixels(controller: Controller, field: Field) -> np.ndarray:
    """Return uint8 (H, W, 3): the neurons in their colours over the mean image."""
    pixels = np.zeros((*field.labels.shape, 3), np.uint8)
    if field.mean is not None:
        grey = _coarse(coloured(field.mean, mean_levels(field.mean), GREY))
        # Only the common part, in case the mean image has another size than the labels.
        height, width = np.minimum(grey.shape[:2], pixels.shape[:2])
        pixels[:height, :width] = grey[:height, :width]
    colours = core_and_rim(controller.state, controller.results, controller.colouring, field)
    if colours is not None:
        # One colour per label; the place before them is the background, label 0.
        rows = flat_rows(controller.state, controller.planes, field, *colours)
        is_drawn = np.concatenate([[False], rows[:, 3] > 0])[field.labels]
        table = np.concatenate([np.zeros((1, 3), np.uint8), label_colours(rows)])
        pixels[is_drawn] = table[field.labels[is_drawn]]
    return pixels


def label_colours(rows: np.ndarray) -> np.ndarray:
    """Blend RGBA rows (n, 4) with one grey; return uint8 (n, 3).

    Blending with the mean image instead would give every pixel its own colour, and a
    much larger PNG.
    """
    share = rows[:, 3:]
    colours = 255 * rows[:, :3] * share + BASE_GREY * (1 - share)
    return np.asarray(colours.round(), np.uint8)


def _coarse(grey: np.ndarray) -> np.ndarray:
    """Return the mean image in blocks with few greys.

    At full resolution, noise would take most of the bytes of the PNG.
    """
    # Incomplete blocks at the right and lower edges keep their first pixel.
    blocks = grey[::BLOCK, ::BLOCK].copy()
    height, width = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    whole = grey[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK, -1)
    blocks[:height, :width] = whole.mean(axis=(1, 3))
    blocks = (blocks // GREY_STEP) * GREY_STEP + GREY_STEP // 2
    large = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    return np.asarray(large[: grey.shape[0], : grey.shape[1]])


def field_place(field: Field) -> tuple[float, float, float, float]:
    """Return left, top, width and height of the field in points."""
    height, width = field.labels.shape
    zoom = SIDE / max(height, width)
    return EDGE, TOP, zoom * width, zoom * height


def _draw_field(sheet: Sheet, controller: Controller, field: Field) -> None:
    colours = core_and_rim(controller.state, controller.results, controller.colouring, field)
    # Exact colours let a reader match neurons with the legend.
    if colours is not None:
        rows = label_colours(flat_rows(controller.state, controller.planes, field, *colours))
        distinct = np.unique(rows, axis=0)
        if len(distinct) <= MAX_EXACT_COLOURS:
            sheet.keep_exact(*map(hex_of, distinct))
    sheet.picture(field_pixels(controller, field), *field_place(field))


def _draw_legend(sheet: Sheet, controller: Controller) -> None:
    """Draw the legend: states with numbers of neurons, or the scale of a quantity."""
    y, (counts, changes) = TOP + SIDE + 8, counted(controller.state)
    scale = controller.colouring.scale
    x: float = EDGE + 6
    if scale is None or not scale.is_known:
        for code in ORDER if changes else UNIFORM:
            core, rim = (
                _on_background(STATE_CORE[code]),
                _on_background(STATE_RIM[code]),
            )
            sheet.disk(x, y + 7, 5, core, rim)
            label = f"{palette.STATE_NAMES[code]} {counts[code]:,}"
            if code == MIXED:
                label = changes
            x = sheet.text(x + 10, y, label, TEXT) + 20
        return
    x = sheet.text(x, y, f"{scale.quantity.label}:", TEXT) + 8
    if not scale.categories:
        low, high = scale.ends
        x = sheet.text(x, y, low, TEXT) + 6
        quantity = scale.quantity
        kinds = {"is_cyclic": quantity.period is not None, "is_signed": quantity.is_signed}
        table = palette.scale_table(**kinds)
        sheet.picture(table[None], x, y + 3, 120, 9)
        sheet.text(x + 126, y, high, TEXT)
        return
    for name, colour in zip(
        scale.categories, palette.area_table(len(scale.categories)), strict=True
    ):
        # Categories that do not fit under the field are omitted.
        if x + width_of(name) > EDGE + SIDE:
            sheet.text(x, y, "…", TEXT)
            return
        sheet.disk(x + 5, y + 7, 5, hex_of(colour), hex_of(colour))
        x = sheet.text(x + 15, y, name, TEXT) + 14


def _on_background(colour: np.ndarray) -> str:
    return blended_over(hex_of(255 * colour[:3]), float(colour[3]))


# -- the raster ---------------------------------------------------------------------
def _arrangement(controller: Controller) -> Arrangement:
    state = controller.state
    assert state.session is not None
    assert state.mask is not None
    return arrange(
        state.raster_order,
        state.session.units,
        state.mask,
        state.active_span,
        controller.results.shown_scores,
        controller.neuron_order.order,
    )


def raster_pixels(controller: Controller, shown: RasterImage, rows: RasterRows) -> np.ndarray:
    """Return uint8 (rows, n_samples, 3): values blended with the tints of the mask."""
    state = controller.state
    assert state.window is not None
    assert state.mask is not None
    source = picture(shown, state.window, controller.results.population)
    base = coloured(rows.mean(source.values), source.levels, source.table)
    # A prediction of an older request is shown at half the brightness.
    if shown != "truth" and controller.results.is_population_old:
        base = base // 2
    codes = rows.codes(state.mask, state.window)
    return blended(base, codes, overlay_table(OVERLAYS[shown]))


def _draw_raster(sheet: Sheet, controller: Controller) -> None:
    state, spec = controller.state, controller.state.spec
    arrangement = _arrangement(controller)
    order = arrangement.order
    rows, n = RasterRows.of(order, 0, len(order)), max(len(order), 1)
    left, top, height = EDGE + SIDE + AXIS, TOP + 16, SIDE - 16
    for row, label in arrangement.ticks:
        # Lines are 13 points high; the block of lines is centred on its row.
        lines = label.split("\n")
        y = top + height * row / n - 6.5 * len(lines)
        for number, line in enumerate(lines):
            short = cut(line, AXIS - 14, 10)
            x = left - 8 - width_of(short, 10)
            sheet.text(x, y + 13 * number, short, QUIET, 10)
    names = images_of(state.raster_view)
    width = (WIDTH - EDGE - left - GAP * (len(names) - 1)) / len(names)
    row_of = {int(neuron): row for row, neuron in enumerate(order.tolist())}
    for number, name in enumerate(names):
        x = left + number * (width + GAP)
        title = TITLES[name]
        if name != "truth" and (age := age_text(controller.results)):
            title = f"{title} · {age}"
        sheet.text(x, TOP, cut(title, width, 10), QUIET, 10)
        sheet.picture(raster_pixels(controller, name, rows), x, top, width, height)
        # The middle of the sample.
        cursor = x + width * (state.cursor + 0.5) / spec.n_samples
        sheet.line([(cursor, top), (cursor, top + height)], palette.CURSOR)
        for share in (0, 0.5, 1):
            # Left-aligned, centred and right-aligned: the labels stay inside.
            tick = f"{share * spec.duration_s:.3g} s"
            shift = share * width_of(tick, 10)
            sheet.text(x + share * width - shift, top + height + 3, tick, QUIET, 10)
    for neuron in state.selection:
        if neuron in row_of:
            y = top + height * (row_of[neuron] + 0.5) / n
            sheet.wedge(left - 1, y, palette.RECORDED)
