"""Compute the predictions of pinned conditions; runs on the engine's thread.

They have their own request, sent after the live request has finished. A newer request
stops them at once, so they do not delay it. Per condition, all targets are predicted
in the window, and some neurons over a longer span, a few windows at a time.
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
from omnimouse_model.masks import Mask, scored_cells
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
"""Seconds between two partial results of a span."""
Load = Callable[[str, Session | None, str], Predictor]


@dataclass(frozen=True, slots=True, eq=False)
class PinTask:
    """One condition to predict: in the window, or over a page for some neurons."""

    slot: int
    mask: Mask
    predictor: str | Predictor
    page: Page | None = None
    neurons: tuple[int, ...] = ()


def is_same_task(one: PinTask, other: PinTask) -> bool:
    """Whether two questions are equal apart from their neurons."""
    return (
        one.slot == other.slot
        and one.mask is other.mask
        and is_same_predictor(one.predictor, other.predictor)
        and one.page == other.page
    )


def is_same_predictor(one: object, other: object) -> bool:
    """Whether both are the same name or the same object."""
    return one is other or (isinstance(one, str) and one == other)


@dataclass(frozen=True, slots=True, eq=False)
class PinRequest:
    """Snapshot of the state that the predictions of pinned conditions depend on.

    `step_s` and `mask` are used to look ahead. `kept` are the names of predictors that
    stay loaded.
    """

    session: Session
    window: Window
    mask: Mask
    device: str
    questions: tuple[PinTask, ...]
    kept: frozenset[str]
    step_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PinStage:
    """Result of one question so far; the first stage of a request has no question.

    `scores` has shape (P,) in a window, and one value per column of a span. `error` is
    a message for the user if there is no prediction.
    """

    request: PinRequest
    question: PinTask | None = None
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    span: SpanPrediction | None = None
    error: str = ""


class PinnedStageRunner:
    """Computes `PinRequest`s with the live predictor or with predictors that it loads.

    Parameters
    ----------
    load
        Makes a predictor from its name.
    live
        Returns the live predictor if it has this name and device, else None.
    """

    def __init__(
        self, load: Load, live: Callable[[str, str], Predictor | None]
    ) -> None:
        self._load, self._live = load, live
        self._loaded: dict[tuple[str, str], Predictor] = {}
        self._growing: dict[int, tuple[PinTask, Stitching]] = {}

    def stages(self, request: PinRequest, outdated: Outdated) -> Iterator[PinStage]:
        """Yield the results of all questions in order; an error affects only its own.

        The first stage is empty: after it, the engine checks for newer requests.
        """
        yield PinStage(request)
        self._let_go(request)
        for question in request.questions:
            stop_if(outdated)
            try:
                yield from self._answered(request, question, outdated)
            # A stop is not an error of the condition: it must reach the engine.
            except StoppedError:
                raise
            # A predictor can raise any error; it is shown with its condition, and the
            # other conditions are still predicted.
            except Exception as error:
                words = str(error) or type(error).__name__
                yield PinStage(request, question, error=words)

    def close(self) -> None:
        """Release all predictors that were loaded here."""
        self._growing.clear()
        while self._loaded:
            _, predictor = self._loaded.popitem()
            if isinstance(predictor, Closable):
                predictor.close()

    def _answered(
        self, request: PinRequest, question: PinTask, outdated: Outdated
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
        question: PinTask,
        outdated: Outdated,
    ) -> Iterator[PinStage]:
        """Predict some neurons over a page; continue an interrupted prediction."""
        stitching = self._stitching(request.session, question)
        shown_at = perf_counter()
        session, mask = request.session, question.mask
        for step in stitch_span(predictor, session, stitching, mask, outdated):
            if not step.is_complete and perf_counter() - shown_at > PARTIAL_S:
                yield _grown(request, question, step)
                shown_at = perf_counter()
        del self._growing[question.slot]
        yield _grown(request, question, stitching)

    def _stitching(self, session: Session, question: PinTask) -> Stitching:
        assert question.page is not None
        # Resume the windows that were stitched before a newer request interrupted.
        if question.slot in self._growing:
            asked, stitching = self._growing[question.slot]
            is_same = is_same_task(asked, question)
            if is_same and asked.neurons == question.neurons:
                return stitching
        neurons = np.array(question.neurons, np.int64)
        stitching = Stitching(session, question.mask, question.page, neurons)
        self._growing[question.slot] = (question, stitching)
        return stitching

    def _predictor(self, request: PinRequest, question: PinTask) -> Predictor:
        name = question.predictor
        if not isinstance(name, str):
            return name
        # Share the live predictor where possible: a second copy costs a process and
        # the memory of its weights.
        key = (name, request.device)
        found = self._live(*key) or self._loaded.get(key)
        if found is None:
            found = self._load(name, request.session, request.device)
            self._loaded[key] = found
        return found

    def _let_go(self, request: PinRequest) -> None:
        """Release predictors that are not needed, or that are now the live one."""
        for key in tuple(self._loaded):
            is_kept = key[0] in request.kept and key[1] == request.device
            if not is_kept or self._live(*key) is not None:
                predictor = self._loaded.pop(key)
                if isinstance(predictor, Closable):
                    predictor.close()


def _grown(request: PinRequest, question: PinTask, stitching: Stitching) -> PinStage:
    """Return a stage with the span as far as it is stitched, and its scores."""
    span = stitching.result()
    return PinStage(request, question, scores=span.scores, span=span)


def _in_window(
    predictor: Predictor,
    request: PinRequest,
    question: PinTask,
    outdated: Outdated,
) -> PinStage:
    """Predict all target neurons of a condition in the window."""
    asked = np.flatnonzero(scored_cells(question.mask).any(axis=0))
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
