"""From pinned conditions to predictions; runs on the engine's thread.

They are a request of their own, asked when the live one is answered: a newer question
stops them at once, and none waits for them. Of each condition a window is predicted
for all that it asks, a span for some neurons, a few windows at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from omnimouse_model.analysis.evaluate.stitching import (
    SpanPrediction,
    Stitching,
    stitch_span,
    window_scores,
)
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.live.spans import Page
from omnimouse_model.masks import Mask, asked_cells
from omnimouse_model.predict.capabilities import (
    Closable,
    Interruptible,
    Outdated,
    decode_in_parts,
    stop_if,
)
from omnimouse_model.predict.predictor import Prediction, Predictor, is_served
from omnimouse_model.predict.same_span import predict_same_span, window_of

PARTIAL_S = 0.2
"""A span that grows is shown so often."""
Load = Callable[[str, Session | None, str], Predictor]


@dataclass(frozen=True, slots=True, eq=False)
class PinQuestion:
    """One condition: in the window, or over a page for some neurons."""

    slot: int
    mask: Mask
    predictor: str | Predictor
    page: Page | None = None
    neurons: tuple[int, ...] = ()


def is_same_question(one: PinQuestion, other: PinQuestion) -> bool:
    """Whether two ask the same, but for the neurons."""
    return (
        one.slot == other.slot
        and one.mask is other.mask
        and is_same_predictor(one.predictor, other.predictor)
        and one.page == other.page
    )


def is_same_predictor(one: object, other: object) -> bool:
    """Whether two are the same name, or the very same predictor."""
    return one is other or (isinstance(one, str) and one == other)


@dataclass(frozen=True, slots=True, eq=False)
class PinRequest:
    """Everything the answers depend on; `step_s` and `mask` serve looking ahead.

    `kept` are the names of predictors that are needed further on.
    """

    session: Session
    window: Window
    mask: Mask
    device: str
    questions: tuple[PinQuestion, ...]
    kept: frozenset[str]
    step_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PinStage:
    """What is known of one question so far; the first stage of a request has none.

    `scores` are (P,) in a window, and those of the columns of a span. `error` says in
    words why there is no answer.
    """

    request: PinRequest
    question: PinQuestion | None = None
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    span: SpanPrediction | None = None
    error: str = ""


class PinnedAnswering:
    """Answers `PinRequest`s, with the live predictor or those it loads beside it.

    Parameters
    ----------
    load
        Makes a predictor from its name.
    live
        Gives the live predictor if it is that of a name and a device.
    """

    def __init__(
        self, load: Load, live: Callable[[str, str], Predictor | None]
    ) -> None:
        self._load, self._live = load, live
        self._loaded: dict[tuple[str, str], Predictor] = {}
        self._growing: dict[int, tuple[PinQuestion, Stitching]] = {}

    def stages(self, request: PinRequest, outdated: Outdated) -> Iterator[PinStage]:
        """Answer one question after the other; what one of them lacks stops no other.

        The first stage is given at once: from then on a newer request is noticed.
        """
        yield PinStage(request)
        self._let_go(request)
        for question in request.questions:
            stop_if(outdated)
            try:
                yield from self._answered(request, question, outdated)
            except StoppedError:
                raise
            except Exception as error:  # of a predictor: its own condition says so
                words = str(error) or type(error).__name__
                yield PinStage(request, question, error=words)

    def close(self) -> None:
        """Let go of all predictors that were loaded here."""
        self._growing.clear()
        while self._loaded:
            _, predictor = self._loaded.popitem()
            if isinstance(predictor, Closable):
                predictor.close()

    def _answered(
        self, request: PinRequest, question: PinQuestion, outdated: Outdated
    ) -> Iterator[PinStage]:
        predictor = self._predictor(request, question)
        if isinstance(predictor, Interruptible):
            predictor.stop_when(outdated)
        try:
            predictor.prepare(request.session)
            if question.page is None:
                yield _in_window(predictor, request, question, outdated)
            else:
                yield from self._over_page(predictor, request, question, outdated)
        finally:
            if isinstance(predictor, Interruptible):
                predictor.stop_when(lambda: False)

    def _over_page(
        self,
        predictor: Predictor,
        request: PinRequest,
        question: PinQuestion,
        outdated: Outdated,
    ) -> Iterator[PinStage]:
        """Some neurons over a page, shown as it grows; what gave way goes on."""
        stitching = self._stitching(request.session, question)
        shown_at = perf_counter()
        session, mask = request.session, question.mask
        for step in stitch_span(predictor, session, stitching, mask, outdated):
            if not step.is_complete and perf_counter() - shown_at > PARTIAL_S:
                yield _grown(request, question, step)
                shown_at = perf_counter()
        del self._growing[question.slot]
        yield _grown(request, question, stitching)

    def _stitching(self, session: Session, question: PinQuestion) -> Stitching:
        assert question.page is not None
        if question.slot in self._growing:
            asked, stitching = self._growing[question.slot]
            is_same = is_same_question(asked, question)
            if is_same and asked.neurons == question.neurons:
                return stitching
        neurons = np.array(question.neurons, np.int64)
        stitching = Stitching(session, question.mask, question.page, neurons)
        self._growing[question.slot] = (question, stitching)
        return stitching

    def _predictor(self, request: PinRequest, question: PinQuestion) -> Predictor:
        name = question.predictor
        if not isinstance(name, str):
            return name
        key = (name, request.device)
        found = self._live(*key) or self._loaded.get(key)
        if found is None:
            found = self._load(name, request.session, request.device)
            self._loaded[key] = found
        return found

    def _let_go(self, request: PinRequest) -> None:
        """Of predictors that nobody needs any more, or that are the live one by now."""
        for key in tuple(self._loaded):
            is_kept = key[0] in request.kept and key[1] == request.device
            if not is_kept or self._live(*key) is not None:
                predictor = self._loaded.pop(key)
                if isinstance(predictor, Closable):
                    predictor.close()


def _grown(
    request: PinRequest, question: PinQuestion, stitching: Stitching
) -> PinStage:
    """A span as far as it is stitched, and its scores."""
    span = stitching.found()
    return PinStage(request, question, scores=span.scores, span=span)


def _in_window(
    predictor: Predictor,
    request: PinRequest,
    question: PinQuestion,
    outdated: Outdated,
) -> PinStage:
    """All that a condition asks in the window."""
    asked = np.flatnonzero(asked_cells(question.mask).any(axis=0))
    if not len(asked):
        return PinStage(request, question)
    own, window, mask = predictor.needs.spec, request.window, question.mask
    if not (is_served(own, window.spec) and is_served(own, mask.spec)):
        # the pinned mask maps to the window by time, and both to the predictor
        task = mask if mask.spec == window.spec else mask.at(window.spec)
        found = predict_same_span(predictor, window, task, asked, outdated)
        scores = window_scores(found, window_of(window, own))
        return PinStage(request, question, found, scores)
    encoded = predictor.encode(request.window, question.mask)
    stop_if(outdated)
    found = decode_in_parts(predictor, encoded, asked, outdated)
    scores = window_scores(found, request.window)
    return PinStage(request, question, found, scores)
