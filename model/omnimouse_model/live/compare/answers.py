"""What was predicted for pinned conditions: in the window, and over the page shown."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnimouse_model.analysis.evaluate.stitching import SpanPrediction
from omnimouse_model.live.inference.pinned_stages import PinQuestion, is_same_question
from omnimouse_model.live.spans import Page
from omnimouse_model.predict.predictor import Prediction

LIVE: Final = -1
"""The slot of the condition on screen, which has spans and no pin."""


@dataclass(frozen=True, slots=True, eq=False)
class PinAnswer:
    """What a condition predicts in the window or over a span, or why it does not.

    `scores` are (P,) in a window, and those of the columns of a span. `prediction` is
    None where nothing is asked.
    """

    question: PinQuestion
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    span: SpanPrediction | None = None
    error: str = ""

    def score(self, neuron: int) -> float | None:
        """A neuron's, NaN where it has none; None where it is not known yet."""
        if self.span is None:
            return np.nan if self.scores is None else float(self.scores[neuron])
        column = self.span.column(neuron)
        if column is None or self.scores is None:
            return None
        return float(self.scores[column])


class PinAnswers:
    """The newest answer of every slot; `windows` and `spans` are by slot."""

    def __init__(self) -> None:
        self.windows: dict[int, PinAnswer] = {}
        self.spans: dict[int, PinAnswer] = {}

    def has(self, question: PinQuestion) -> bool:
        """Whether it is answered, wholly, for its neurons at least."""
        answer = self._of(question).get(question.slot)
        if answer is None or not is_same_question(answer.question, question):
            return False
        if not set(question.neurons) <= set(answer.question.neurons):
            return False
        is_whole = answer.span is None or answer.span.is_complete
        return bool(answer.error) or is_whole

    def keep(self, answer: PinAnswer) -> None:
        """Take one over; one that grows never takes the place of a whole one.

        What is whole then lacks neurons only, and stays until the new one is whole.
        """
        question = answer.question
        known = self._of(question)
        before = known.get(question.slot)
        is_growing = answer.span is not None and not answer.span.is_complete
        if is_growing and before is not None and before.span is not None:
            is_known = is_same_question(before.question, question)
            if is_known and before.span.is_complete:
                return
        known[question.slot] = answer

    def keep_page(self, page: Page | None) -> None:
        """Another window is on screen: only spans of its page still hold."""
        self.windows.clear()
        for slot in [s for s, a in self.spans.items() if a.question.page != page]:
            del self.spans[slot]

    def keep_slots(self, slots: set[int]) -> None:
        """Others are free again."""
        for known in (self.windows, self.spans):
            for slot in [slot for slot in known if slot not in slots]:
                del known[slot]

    def clear(self) -> None:
        """Forget every answer."""
        self.windows.clear()
        self.spans.clear()

    def _of(self, question: PinQuestion) -> dict[int, PinAnswer]:
        return self.windows if question.page is None else self.spans
