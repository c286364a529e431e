"""Text beside the traces: meaning of lines, pins and spans."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.pin import Pin, PinResult
from omnimouse_model.live.spans import SpanChoice, span_choices
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.units import bar_text

SPAN_TIPS: Final = {
    "window": f"The window of {OMNIMOUSE.duration_s:g} s",
    "10 s": "10 s around it, stitched from windows under the same mask",
    "30 s": "30 s around it, stitched from windows under the same mask",
    "trial": "The trial it lies in, stitched from windows under the same mask",
}
PIN_TIP: Final = (
    "Keep this condition (mask and model) and overlay its prediction\n"
    "while you try another; up to four (Shift+P)"
)
FULL_TIP: Final = "Four conditions are pinned; unpin one first (its arrow)"
COMMON_LABEL, COMMON_TIP = "= scale", "One scale for all neurons, or each its own"
SHAPE_LABEL: Final = "≈ shape"
SHAPE_TIP: Final = (
    "Predictions as large as the recording, to compare their shapes; without it, the\n"
    "band of a model that gives one is drawn: it holds 95 % of recorded values"
)


def span_tip(choice: SpanChoice, spec: WindowSpec) -> str:
    """Return what a span of the traces is."""
    if choice == "window":
        return f"The window of {spec.duration_s:.3g} s"
    if choice not in span_choices(spec):
        return "Windows of this model cannot be joined to a longer span"
    return SPAN_TIPS[choice]


BASELINE_SIGN: Final = "┅"


def notice_text(pins: Pins) -> str:
    """Return why nothing was pinned or predicted: the message above the traces."""
    return pins.notice or pins.predictions.remark


def baseline_text(controller: Controller) -> str:
    """Return the name of the baseline, which is drawn in the window alone; or ""."""
    name = Path(controller.state.compared_baseline).name
    has_page = controller.pins.predictions.page is not None
    return f"{name} here" if name and has_page else name


class LegendEntry(NamedTuple):
    """One entry of a legend."""

    glyph: str
    colour: str
    text: str


def legend_entries(
    baseline: str = "",
    *,
    is_large: bool = False,
    spec: WindowSpec = OMNIMOUSE,
    evidence: str = "",
    symbol: str = "r",
    has_band: bool = False,
) -> list[LegendEntry]:
    """Return the meaning of colours and lines.

    `baseline` is its name, where it is drawn. `is_large` states that predictions are
    scaled to the recording; `spec` is that of the window, whose unit the scale bar has;
    `evidence` are the windows of the scores, and `symbol` is that of their metric.
    `has_band` states that a band of the prediction is drawn.
    """
    entries = [
        LegendEntry("━", palette.RECORDED, "recorded"),
        LegendEntry("╍", palette.PREDICTED, "predicted ≈" if is_large else "predicted"),
    ]
    if has_band:
        entries.append(LegendEntry("░", palette.BAND, "95 % of values"))
    if baseline:
        entries.append(LegendEntry(BASELINE_SIGN, palette.BASELINE, baseline))
    entries += [
        LegendEntry("▇", palette.VISIBLE, "visible"),
        LegendEntry("▒", palette.TARGET, "target"),
        LegendEntry("┃", palette.AXIS, bar_text(spec)),
    ]
    # Last, because it is the longest: in a narrow panel it is the second line.
    if evidence:
        entries.append(LegendEntry(symbol, palette.AXIS, evidence))
    return entries


def pin_signs(
    pins: Sequence[Pin],
    results: Mapping[int, PinResult],
    problem_of: Callable[[Pin], str],
) -> list[LegendEntry]:
    """Return the legend of the shown pins, with reasons for missing predictions."""
    signs = []
    for pin in pins:
        if not pin.is_shown:
            continue
        problem = _problem(problem_of(pin), results.get(pin.slot))
        text = f"{pin.letter} {shown_name(pin, pins)}"
        text += f": {problem}" if problem else ""
        signs.append(LegendEntry("━", palette.PINS[pin.slot], text))
    return signs


def shown_name(pin: Pin, pins: Sequence[Pin]) -> str:
    """Return the name of a pin, with its model if pins have different models."""
    model = Path(pin.predictor_name).name
    is_alone = len({other.predictor_name for other in pins}) < 2
    return pin.name if is_alone or model in pin.name else f"{pin.name} · {model}"


def pin_text(pins: Pins, pin: Pin) -> str:
    """Return the description of a pin, with the reason for a missing prediction."""
    result = pins.predictions.windows.get(pin.slot)
    text = f"{pin.letter}: {pin.name} · {pin.predictor_name}"
    problem = _problem(pins.problem_of(pin), result)
    return f"{text}\nNot predicted: {problem}" if problem else text


def _problem(pin_problem: str, result: PinResult | None) -> str:
    return pin_problem or (result.error if result is not None else "")
