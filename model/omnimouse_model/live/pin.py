"""Pinned conditions: masks and predictors that are compared, and the spans shown.

A condition is predicted in the window on screen and, for the selected neurons, over a
longer span. Results are kept until the window or the page of the span changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import uuid4

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import MaskError
from omnimouse_model.evaluation.stitching import SpanPrediction
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Prediction, Predictor

# -- span of the session that the traces show around the window on screen -------------
# Spans of a fixed length are pages that overlap by one window. While the window moves
# within a page, the page's predictions stay valid.
SpanChoice = Literal["window", "10 s", "30 s", "trial"]
SPAN_CHOICES: Final[tuple[SpanChoice, ...]] = ("window", "10 s", "30 s", "trial")
LONGEST_S: Final = 60.0
"""Trials longer than this are shown in pages of this length, in seconds."""
_LENGTHS: Final = {"10 s": 10.0, "30 s": 30.0}

Page = tuple[float, float]
"""Start and stop, seconds on the session clock."""


def span_choices(spec: WindowSpec) -> tuple[SpanChoice, ...]:
    """Return the spans that can be shown for windows of a spec.

    Longer spans are stitched from windows on the grid of window starts, at its rate.
    """
    on_grid = spec.response_rate_hz == GRID_RATE_HZ and spec.align == "grid"
    return SPAN_CHOICES if on_grid else ("window",)


def shown_span(choice: SpanChoice, spec: WindowSpec) -> SpanChoice:
    """Return the span that is drawn: the window where `choice` is not possible."""
    return choice if choice in span_choices(spec) else "window"


def page_around(session: Session, window: Window, choice: SpanChoice) -> Page | None:
    """The span that is shown around a window; None where that is the window itself."""
    choice = shown_span(choice, window.spec)
    if choice == "window" or window.exact_start is not None:
        return None
    # Trials have no grid: their span follows from the recording.
    page = _trial_around(session, window) if choice == "trial" else _page(window, _LENGTHS[choice])
    return None if page is None else _without_pauses(session, window, page)


def _without_pauses(session: Session, window: Window, page: Page) -> Page:
    """Return the part of a page in the recorded stretch of the window."""
    spans = session.responses.recorded_spans
    if spans is None:
        return page
    # Windows keep their distance from pauses: the window lies in one stretch.
    row = int(np.searchsorted(spans[:, 0], window.native_start, side="right")) - 1
    first, last = spans[max(row, 0)] - session.t0
    return max(page[0], float(first)), min(page[1], float(last))


def _page(window: Window, length_s: float, origin_s: float = 0.0) -> Page:
    # Pages overlap by one window, so that each window lies completely in a page.
    start_s, step = window.start_s, length_s - window.spec.duration_s
    # a window that begins on a page's edge belongs there, whatever its clock's noise
    first = origin_s + step * np.floor((start_s - origin_s + 1e-6) / step)
    return float(first), float(first + length_s)


def _trial_around(session: Session, window: Window) -> Page | None:
    """The trial in the middle of the window, and the window."""
    trials, middle = session.trials, (window.start_s + window.stop_s) / 2
    within = np.flatnonzero((trials.t_on <= middle) & (middle < trials.t_off))
    if not len(within):
        return None
    on, off = float(trials.t_on[within[0]]), float(trials.t_off[within[0]])
    # Pages of a long trial count from its onset, so that the first page starts there.
    if off - on > LONGEST_S:
        return _page(window, LONGEST_S, on)
    # A window at the edge of a trial reaches beyond it; the traces show all of it.
    return min(on, window.start_s), max(off, window.stop_s)


# -- pinned conditions ----------------------------------------------------------------
LETTERS: Final = tuple("ABCD")
"""Letters of the slots; a slot also determines the colour of its pin."""
MAX_PINS: Final = len(LETTERS)
LIVE: Final = -1
"""Slot of the condition on screen, which has spans but no pin."""


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """A mask and a predictor under a name, in one of four slots.

    Attributes
    ----------
    slot
        Slot 0-3; determines the letter and the colour.
    name
        Name for the user.
    mask, preset
        Mask, and the name of its preset ("" for a mask painted by hand).
    predictor, predictor_name
        Predictor or the name that loads it, and its name for the user.
    is_shown
        Whether the condition is predicted and drawn.
    pin_id
        Unique id that stays the same when the name or the slot changes.
    """

    slot: int
    name: str
    mask: Mask
    preset: str
    predictor: str | Predictor
    predictor_name: str
    is_shown: bool = True
    # Undo identifies a pin by it: the user may have renamed or moved the pin since.
    pin_id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def n_bytes(self) -> int:
        """Memory of the mask's cells, in bytes."""
        return self.mask.cells.nbytes

    @property
    def key(self) -> tuple[int, str, str, str, bool]:
        """Values that must be equal for two pins to be saved as the same."""
        # The mask's id instead of its cells: comparing ids is cheap.
        name, mask_id = self.predictor_name, self.mask.mask_id
        return self.slot, self.name, name, mask_id, self.is_shown

    @property
    def letter(self) -> str:
        """Letter of the slot: A, B, C or D."""
        return LETTERS[self.slot]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; a predictor object is stored as ""."""
        return {
            "slot": self.slot,
            "name": self.name,
            "preset": self.preset,
            "predictor": self.predictor if isinstance(self.predictor, str) else "",
            "predictor_name": self.predictor_name,
            "is_shown": self.is_shown,
            "mask": self.mask.to_dict(),
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], predictor: str | Predictor, n_neurons: int | None = None
    ) -> "Pin":
        """Make a pin from `to_dict`'s values; `predictor` is used if none is named.

        Without `n_neurons`, the mask may have any number of neurons.

        Raises
        ------
        MaskError
            The mask is damaged or has another number of neurons.
        KeyError, TypeError, ValueError
            Another field is missing or damaged.
        """
        mask = Mask.from_dict(values["mask"])
        if n_neurons is not None and mask.n_neurons != n_neurons:
            raise MaskError(
                f"The pinned mask is for {mask.n_neurons} neurons, the recording has {n_neurons}."
            )
        slot = int(values["slot"])
        if not 0 <= slot < MAX_PINS:
            raise ValueError(f"A pin's slot is 0-{MAX_PINS - 1}, got {slot}.")
        return cls(
            slot=slot,
            name=str(values["name"]),
            mask=mask,
            preset=str(values["preset"]),
            # "" stands for a predictor object, which cannot be saved.
            predictor=str(values["predictor"]) or predictor,
            predictor_name=str(values["predictor_name"]),
            is_shown=bool(values["is_shown"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PinTask:
    """One condition to predict: in the window, or over a page for some neurons."""

    slot: int
    mask: Mask
    predictor: str | Predictor
    page: Page | None = None
    neurons: tuple[int, ...] = ()


def is_same_predictor(one: object, other: object) -> bool:
    """Whether both are the same name or the same object."""
    return one is other or (isinstance(one, str) and one == other)


def is_same_task(one: PinTask, other: PinTask) -> bool:
    """Whether two tasks are equal apart from their neurons."""
    return (
        one.slot == other.slot
        and one.mask is other.mask
        and is_same_predictor(one.predictor, other.predictor)
        and one.page == other.page
    )


def no_score() -> None:
    """Return None: no score over the tier is known."""


@dataclass(frozen=True, slots=True, eq=False)
class PinResult:
    """Prediction of a condition in the window or over a span, or an error message.

    `scores` has shape (P,) in a window, and one value per column of a span.
    `prediction` is None without targets. `find_tier_score` returns the score of the
    condition over its tier, once that is complete.
    """

    task: PinTask
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    span: SpanPrediction | None = None
    error: str = ""
    find_tier_score: Callable[[], TierScore | None] = no_score

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the task remains to be predicted."""
        # An error is final: the same task would fail again.
        return bool(self.error) or self.span is None or self.span.is_complete

    def score(self, neuron: int) -> float | None:
        """Return a neuron's score, NaN without one; None if it is not computed yet."""
        if self.span is None:
            return np.nan if self.scores is None else float(self.scores[neuron])
        column = self.span.column(neuron)
        if column is None or self.scores is None:
            return None
        return float(self.scores[column])


class PinResults:
    """Newest results of all slots; `windows` and `spans` map a slot to its result."""

    def __init__(self) -> None:
        self.windows: dict[int, PinResult] = {}
        self.spans: dict[int, PinResult] = {}

    def has(self, task: PinTask) -> bool:
        """Whether a task has a complete result for at least its neurons."""
        result = self._results_like(task).get(task.slot)
        if result is None or not is_same_task(result.task, task):
            return False
        return set(task.neurons) <= set(result.task.neurons) and result.is_complete

    def store(self, result: PinResult) -> None:
        """Store a result, unless it is partial and would replace a complete one.

        The complete result then lacks only neurons and stays until the new result is
        complete, so that traces do not disappear while a neuron is added.
        """
        results = self._results_like(result.task)
        before = results.get(result.task.slot)
        is_known = (
            before is not None
            and before.span is not None
            and before.span.is_complete
            and is_same_task(before.task, result.task)
        )
        if result.is_complete or not is_known:
            results[result.task.slot] = result

    def keep_page(self, page: Page | None) -> None:
        """Drop results of the previous window and of pages other than `page`."""
        # In place: the owner shares these dictionaries with the views.
        self.windows.clear()
        for slot in [s for s, r in self.spans.items() if r.task.page != page]:
            del self.spans[slot]

    def keep_slots(self, slots: set[int]) -> None:
        """Drop the results of all other slots."""
        for results in (self.windows, self.spans):
            for slot in [slot for slot in results if slot not in slots]:
                del results[slot]

    def clear(self) -> None:
        """Remove all results."""
        self.windows.clear()
        self.spans.clear()

    def _results_like(self, task: PinTask) -> dict[int, PinResult]:
        return self.windows if task.page is None else self.spans
