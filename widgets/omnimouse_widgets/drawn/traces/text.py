"""Text beside the traces: meaning of lines, pins and spans."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from omnimouse_model.data.window_spec import OMNIMOUSE, WindowSpec
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.pin import Pin, PinResult
from omnimouse_model.live.spans import SpanChoice
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.units import bar_words

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
COMMON_WORD, COMMON_TIP = "= scale", "One scale for all neurons, or each its own"
SHAPE_WORD: Final = "≈ shape"
SHAPE_TIP: Final = "Predictions as large as the recording, to compare their shapes"


def span_tip(choice: SpanChoice, spec: WindowSpec) -> str:
    """Return what a span of the traces is."""
    if choice == "window":
        return f"The window of {spec.duration_s:g} s"
    return SPAN_TIPS[choice]


class Sign(NamedTuple):
    """One entry of a legend."""

    glyph: str
    colour: str
    text: str


def legend_signs(
    baseline: str = "", *, is_large: bool = False, spec: WindowSpec = OMNIMOUSE
) -> list[Sign]:
    """What the colours and lines mean; a baseline takes the scale bar's place.

    `is_large` where predictions are drawn as large as the recording; `spec` is that of
    the window, whose unit the scale bar has.
    """
    last = Sign("┃", palette.AXIS, bar_words(spec))
    if baseline:
        last = Sign("┅", palette.BASELINE, Path(baseline).name)
    return [
        Sign("━", palette.HELD, "recorded"),
        Sign("╍", palette.PREDICTED, "predicted ≈" if is_large else "predicted"),
        Sign("▇", palette.VISIBLE, "visible"),
        Sign("▒", palette.TARGET, "target"),
        last,
    ]


def pinned_signs(
    pins: Sequence[Pin],
    answers: Mapping[int, PinResult],
    why_silent: Callable[[Pin], str],
) -> list[Sign]:
    """Return the legend of the shown pins, with reasons for missing predictions."""
    signs = []
    for pin in pins:
        if not pin.is_shown:
            continue
        answer = answers.get(pin.slot)
        why = why_silent(pin) or (answer.error if answer is not None else "")
        words = f"{pin.letter} {pin.name}" + (f": {why}" if why else "")
        signs.append(Sign("━", palette.PINS[pin.slot], words))
    return signs


def pin_words(pins: Pins, pin: Pin) -> str:
    """Return the description of a pin, with the reason for a missing prediction."""
    answer = pins.predictions.windows.get(pin.slot)
    words = f"{pin.letter}: {pin.name} · {pin.predictor_name}"
    why = pins.problem_of(pin) or (answer.error if answer is not None else "")
    return f"{words}\nNot predicted: {why}" if why else words
