"""Predictions of pinned conditions: in the window, and over the page on screen."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.evaluate.stitching import SpanPrediction
from omnimouse_model.live.inference.pinned_stages import PinTask, is_same_task
from omnimouse_model.live.spans import Page
from omnimouse_model.predict.predictor import Prediction

LIVE: Final = -1
"""Slot of the condition on screen, which has spans but no pin."""


@dataclass(frozen=True, slots=True, eq=False)
class PinResult:
    """Prediction of a condition in the window or over a span, or an error message.

    `scores` has shape (P,) in a window, and one value per column of a span.
    `prediction` is None without targets.
    """

    question: PinTask
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    span: SpanPrediction | None = None
    error: str = ""

    def score(self, neuron: int) -> float | None:
        """Return a neuron's score, NaN without one; None if it is not computed yet."""
        if self.span is None:
            return np.nan if self.scores is None else float(self.scores[neuron])
        column = self.span.column(neuron)
        if column is None or self.scores is None:
            return None
        return float(self.scores[column])


class PinResults:
    """Newest answers of all slots; `windows` and `spans` map a slot to its answer."""

    def __init__(self) -> None:
        self.windows: dict[int, PinResult] = {}
        self.spans: dict[int, PinResult] = {}

    def has(self, question: PinTask) -> bool:
        """Whether a question has a complete answer for at least its neurons."""
        answer = self._of(question).get(question.slot)
        if answer is None or not is_same_task(answer.question, question):
            return False
        if not set(question.neurons) <= set(answer.question.neurons):
            return False
        # An error is final: the same question would fail again.
        is_whole = answer.span is None or answer.span.is_complete
        return bool(answer.error) or is_whole

    def keep(self, answer: PinResult) -> None:
        """Store an answer, unless it is partial and would replace a complete one.

        The complete answer then lacks only neurons and stays until the new answer is
        complete, so that traces do not disappear while a neuron is added.
        """
        question = answer.question
        known = self._of(question)
        before = known.get(question.slot)
        is_growing = answer.span is not None and not answer.span.is_complete
        if is_growing and before is not None and before.span is not None:
            is_known = is_same_task(before.question, question)
            if is_known and before.span.is_complete:
                return
        known[question.slot] = answer

    def keep_page(self, page: Page | None) -> None:
        """Drop answers of the previous window and of pages other than `page`."""
        self.windows.clear()
        for slot in [s for s, a in self.spans.items() if a.question.page != page]:
            del self.spans[slot]

    def keep_slots(self, slots: set[int]) -> None:
        """Drop the answers of all other slots."""
        for known in (self.windows, self.spans):
            for slot in [slot for slot in known if slot not in slots]:
                del known[slot]

    def clear(self) -> None:
        """Remove all answers."""
        self.windows.clear()
        self.spans.clear()

    def _of(self, question: PinTask) -> dict[int, PinResult]:
        return self.windows if question.page is None else self.spans
