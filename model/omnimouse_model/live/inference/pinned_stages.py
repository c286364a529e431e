"""Compute the predictions of pinned conditions; runs on the engine's thread.

They have their own request, sent after the live request has finished. A newer request
stops them at once, so they do not delay it. Per condition, all targets are predicted
in the window, and some neurons over a longer span, a few windows at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.running_score import window_scores
from omnimouse_model.evaluation.stitching import Stitching, stitch_span
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.inference.client import WorkerPredictor
from omnimouse_model.live.inference.stream import LiveRequest
from omnimouse_model.live.inference.tier_results import TierResults
from omnimouse_model.live.pin import PinResult, PinTask, is_same_task, no_score
from omnimouse_model.masks import scored_cells
from omnimouse_model.predict.compatibility import predict_same_span, window_of
from omnimouse_model.predict.predictor import (
    Closable,
    Predictor,
    is_served,
    of_family,
    prediction_of,
)
from omnimouse_model.progress import Cancelled, stop_if

PARTIAL_S = 0.2
"""Seconds between two partial results of a span."""
Load = Callable[[str, str], Predictor]
"""`load(name, device)` makes a predictor."""


@dataclass(frozen=True, slots=True, eq=False)
class PinRequest:
    """Snapshot of the state that the predictions of pinned conditions depend on.

    `predictor_names` are the names of the predictors that stay loaded.
    """

    session: Session
    window: Window
    device: str
    tasks: tuple[PinTask, ...]
    predictor_names: frozenset[str]
    metric: str = "correlation"


class PinnedStageRunner:
    """Computes `PinRequest`s with the live predictor or with predictors that it loads.

    Parameters
    ----------
    load
        Makes a predictor from its name.
    live
        Returns the live predictor if it has this name and device, else None.
    tiers
        Scores over a tier that are known.
    """

    def __init__(
        self, load: Load, live: Callable[[str, str], Predictor | None], tiers: TierResults
    ) -> None:
        self._load, self._live, self._tiers = load, live, tiers
        self._loaded: dict[tuple[str, str], Predictor] = {}
        self._unfinished: dict[int, tuple[PinTask, Stitching]] = {}

    def stages(self, request: PinRequest, cancelled: Cancelled) -> Iterator[PinResult | None]:
        """Yield the results of all tasks in order; an error affects only its own.

        The first stage is None: after it, the engine checks for newer requests.
        """
        yield None
        # Before loading others: two models more than necessary may not fit in memory.
        self._release_unused(request)
        for task in request.tasks:
            stop_if(cancelled)
            try:
                yield from self._results(request, task, cancelled)
            # A stop is not an error of the condition: it must reach the engine.
            except StoppedError:
                raise
            # A predictor can raise any error; it is shown with its condition, and the
            # other conditions are still predicted.
            except Exception as error:
                text = str(error) or type(error).__name__
                yield self._without_prediction(request.session, task, text)

    def close(self) -> None:
        """Release all predictors that were loaded here."""
        self._unfinished.clear()
        while self._loaded:
            _, predictor = self._loaded.popitem()
            if isinstance(predictor, Closable):
                predictor.close()

    def _results(
        self, request: PinRequest, task: PinTask, cancelled: Cancelled
    ) -> Iterator[PinResult]:
        predictor = self._predictor(request, task)
        if isinstance(predictor, WorkerPredictor):
            predictor.load_model(request.session, cancelled)
        else:
            with of_family(predictor.predictor_id, cancelled):
                predictor.prepare(request.session)
        if task.page is None:
            result = _predict_window(predictor, request, task, cancelled)
            yield replace(result, find_tier_score=self._scored(predictor, request, task))
        else:
            yield from self._predict_page(predictor, request.session, task, cancelled)

    def _scored(
        self, predictor: Predictor, request: PinRequest, task: PinTask
    ) -> Callable[[], TierScore | None]:
        """Return the function that finds the score of a condition over its tier."""
        if not is_served(predictor.needs.spec, task.mask.spec):
            return no_score
        window, spec = request.window, predictor.needs.spec
        question = LiveRequest(
            request.session,
            # It was scored in windows of its own, whatever is on screen now.
            Window(request.session, window.start_index, (), spec, window.exact_start),
            task.mask,
            (),
            task.predictor,
            request.device,
            metric=request.metric,
        )
        return self._tiers.complete_score(predictor, question)

    def _predict_page(
        self, predictor: Predictor, session: Session, task: PinTask, cancelled: Cancelled
    ) -> Iterator[PinResult]:
        """Predict some neurons over a page; continue an interrupted prediction."""
        # A span can take many windows: partial results show that it is growing, but not
        # so often that drawing them slows it down.
        stitching = self._stitching(session, task)
        shown_at = perf_counter()
        for step in stitch_span(predictor, session, stitching, task.mask, cancelled):
            if not step.is_complete and perf_counter() - shown_at > PARTIAL_S:
                yield _span_result(task, step)
                shown_at = perf_counter()
        del self._unfinished[task.slot]
        yield _span_result(task, stitching)

    def _without_prediction(self, session: Session, task: PinTask, error: str) -> PinResult:
        """Return a result with an error message; over a page, with the recording, too.

        A later request predicts the page from the beginning.
        """
        if task.page is None:
            return PinResult(task, error=error)
        try:
            stitching = self._stitching(session, task)
            del self._unfinished[task.slot]
            return replace(_span_result(task, stitching), error=error)
        # The recording itself may be the fault, and readers raise any error. The first
        # one is shown.
        except Exception:
            return PinResult(task, error=error)

    def _stitching(self, session: Session, task: PinTask) -> Stitching:
        assert task.page is not None
        # Resume the windows that were stitched before a newer request interrupted.
        if task.slot in self._unfinished:
            before, stitching = self._unfinished[task.slot]
            if is_same_task(before, task) and before.neurons == task.neurons:
                return stitching
        neurons = np.array(task.neurons, np.int64)
        stitching = Stitching(session, task.mask, task.page, neurons)
        self._unfinished[task.slot] = (task, stitching)
        return stitching

    def _predictor(self, request: PinRequest, task: PinTask) -> Predictor:
        if not isinstance(task.predictor, str):
            return task.predictor
        # Share the live predictor where possible: a second copy costs a process and
        # the memory of its weights.
        key = (task.predictor, request.device)
        predictor = self._live(*key) or self._loaded.get(key)
        if predictor is None:
            predictor = self._load(task.predictor, request.device)
            self._loaded[key] = predictor
        return predictor

    def _release_unused(self, request: PinRequest) -> None:
        """Release predictors that are not needed, or that are now the live one."""
        for key in tuple(self._loaded):
            is_used = key[0] in request.predictor_names and key[1] == request.device
            if not is_used or self._live(*key) is not None:
                predictor = self._loaded.pop(key)
                if isinstance(predictor, Closable):
                    predictor.close()


def _span_result(task: PinTask, stitching: Stitching) -> PinResult:
    """Return the span as far as it is stitched, and its scores."""
    span = stitching.result()
    return PinResult(task, scores=span.scores, span=span)


def _predict_window(
    predictor: Predictor, request: PinRequest, task: PinTask, cancelled: Cancelled
) -> PinResult:
    """Predict all target neurons, and decoded behaviour, of a condition in the window."""
    window, metric = request.window, request.metric
    neurons = np.flatnonzero(scored_cells(task.mask).any(axis=0))
    if not len(neurons) and not task.mask.has_behavior_target:
        return PinResult(task)
    spec, mask = predictor.needs.spec, task.mask
    if is_served(spec, window.spec) and is_served(spec, mask.spec):
        prediction = prediction_of(predictor, window, mask, neurons, cancelled)
        scores = window_scores(prediction, window, metric)
        return PinResult(task, prediction, scores)
    # The pinned mask is stretched to the window. The prediction has the samples of its
    # own spec, and it is scored on them.
    prediction = predict_same_span(predictor, window, mask, neurons, cancelled)
    scores = window_scores(prediction, window_of(window, spec), metric)
    return PinResult(task, prediction, scores)
