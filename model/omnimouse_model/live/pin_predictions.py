"""Predictions of the pinned conditions, and of spans longer than the window on screen.

Missing predictions are requested after the live request has finished and are cancelled
by a newer live request. Predictions of the window are kept until the window changes,
those of spans until the page changes.
"""

import threading
from collections.abc import Callable
from typing import Final

from psygnal import Signal

from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import Answer, Engine
from omnimouse_model.live.inference.pinned_stages import PinRequest
from omnimouse_model.live.pin import (
    LETTERS,
    LIVE,
    Page,
    Pin,
    PinResult,
    PinResults,
    PinTask,
    is_same_task,
    page_around,
)

NOT_PREDICTED: Final = "No prediction over this span"
ENDED: Final = "The prediction ended after {n} of the {total} windows shown"
MISSING: Final = "The file has no prediction of {n} of the {total} windows shown"
_NO_REQUEST = 0


class PinPredictions:
    """Results of the pins in the window and over the page, and their requests.

    Parameters
    ----------
    engine
        Live engine; pins are predicted when it is idle.
    client
        Client of the live engine: state, live results and the chosen predictor.
    problem_of
        Returns why a pin cannot be predicted, "" if it can.

    Attributes
    ----------
    changed
        Emitted after each update of results or messages.
    windows
        Results by slot for the window on screen.
    spans
        Results by slot, and of `LIVE`, for the page on screen.
    """

    changed = Signal()

    def __init__(
        self,
        engine: Engine,
        client: LiveClient,
        lock: threading.RLock,
        problem_of: Callable[[Pin], str],
    ) -> None:
        self._engine, self._client, self._lock = engine, client, lock
        self._problem_of = problem_of
        self._state = client.state
        self._results = PinResults()
        self.windows, self.spans = self._results.windows, self._results.spans
        self._request: PinRequest | None = None
        self._number = _NO_REQUEST
        self._n_loaded = 0
        self._is_stopped = False
        client.results.changed.connect(self._on_live_results)
        events = self._state.events
        events.window.connect(self._on_window)
        for signal in (events.pins, events.trace_span, events.selection):
            signal.connect(self.update)

    # -- reading ----------------------------------------------------------------------
    @property
    def page(self) -> Page | None:
        """Span shown by the traces, None if it is the window itself."""
        state = self._state
        if state.session is None or state.window is None:
            return None
        return page_around(state.session, state.window, state.trace_span)

    @property
    def is_busy(self) -> bool:
        """Whether a request of pins or spans runs."""
        return self._request is not None

    @property
    def message(self) -> str:
        """Progress message; "" if nothing is being predicted."""
        unfinished = self._unfinished()
        if not unfinished:
            return ""
        task = unfinished[0]
        letter = "" if task.slot == LIVE else f"{LETTERS[task.slot]} "
        if task.page is None:
            return f"Predicting {letter}".strip()
        result = self.spans.get(task.slot)
        span = result.span if result is not None and result.task is task else None
        progress = "" if span is None else f" {span.n_done} of {len(span.starts_s)}"
        return f"Predicting {letter}{task.page[1] - task.page[0]:z.0f} s{progress}"

    @property
    def remark(self) -> str:
        """Why the screen's prediction lacks a part of the page; "" if it does not."""
        result = self.spans.get(LIVE)
        if result is None or result.task.page != self.page or self.is_old(result):
            return ""
        span = result.span
        total = 0 if span is None else len(span.starts_s)
        if span is not None and not result.error:
            return MISSING.format(n=span.n_missing, total=total) * bool(span.n_missing)
        if span is None or span.n_missing == span.n_done:
            return NOT_PREDICTED
        return ENDED.format(n=span.n_done, total=total)

    def is_old(self, result: PinResult) -> bool:
        """Whether a result belongs to an older mask, predictor or page."""
        task = self._task_of(result.task.slot, result.task.page)
        return task is None or not is_same_task(task, result.task)

    # -- actions ----------------------------------------------------------------------
    def update(self) -> None:
        """Drop results of removed pins, and request missing ones."""
        # Any change of pins, span or selection ends the effect of `stop`.
        self._is_stopped = False
        pins = self._state.pins
        self._results.keep_slots({LIVE, *(pin.slot for pin in pins if not self._problem_of(pin))})
        # Spans of the previous choice are not drawn any more; they can be large.
        if self._state.trace_span == "window":
            self.spans.clear()
        self.changed.emit()
        self._send_if_due()

    def stop(self) -> None:
        """Stop predicting pins until the next change; keep the results so far."""
        with self._lock:
            # Otherwise the end of the live request would start the pins again.
            self._is_stopped = True
            if self.is_busy:
                # Not others: scores over a tier go on after the live request.
                self._engine.drop(self._number)
                self._end_request()
            self.changed.emit()

    def clear(self) -> None:
        """Remove all results, because they belong to another session."""
        self._results.clear()
        self._end_request()

    # -- requests ---------------------------------------------------------------------
    def _on_window(self) -> None:
        """Drop results that do not belong to the new window or its page."""
        self._results.keep_page(self.page)
        self._is_stopped = False
        self.changed.emit()

    def _on_live_results(self) -> None:
        if not self._client.results.is_awaited:
            self._send_if_due()
            return
        self._is_stopped = False
        # The engine stops this request in favour of the live one; it is sent again
        # after the live request.
        if self.is_busy:
            self._end_request()
            self.changed.emit()

    def _send_if_due(self) -> None:
        with self._lock:
            state = self._state
            if self._is_stopped or self._client.results.is_awaited:
                return
            # Sent before the live request, this one would load the live model, too.
            if not self._client.is_up_to_date:
                return
            if state.session is None or state.window is None or state.mask is None:
                return
            tasks = tuple(t for t in self._tasks() if not self._results.has(t))
            names = {p.predictor for p in state.pins if isinstance(p.predictor, str)}
            # The live predictor is loaded by the live request, not by the pins.
            names.discard(str(self._client.predictor))
            # A request without tasks still has an effect: it releases predictors that
            # no pin uses any more.
            if not tasks and len(names) >= self._n_loaded:
                return
            # Sending the same tasks again would stop the running request, which has
            # already predicted a part.
            if self._is_requested(tasks):
                return
            self._n_loaded = len(names)
            self._request = PinRequest(
                state.session,
                state.window,
                state.device,
                tasks,
                frozenset(names),
                state.metric.name,
            )
            self._number = self._engine.submit(self._request, self._take)
        self._engine.start()
        self.changed.emit()

    def _end_request(self) -> None:
        self._request, self._number = None, _NO_REQUEST

    def _unfinished(self) -> list[PinTask]:
        """Return the tasks of the running request without a complete result."""
        tasks = () if self._request is None else self._request.tasks
        return [task for task in tasks if not self._results.has(task)]

    def _is_requested(self, tasks: tuple[PinTask, ...]) -> bool:
        """Whether exactly these tasks are being predicted."""
        unfinished = self._unfinished()
        return len(unfinished) == len(tasks) > 0 and all(
            is_same_task(one, other) for one, other in zip(unfinished, tasks, strict=True)
        )

    def _tasks(self) -> list[PinTask]:
        """Return all tasks: pins in the window, then spans, `LIVE` first."""
        # A window is fast to predict; a span has many windows.
        slots = [pin.slot for pin in self._state.pins if pin.is_shown]
        tasks = [self._task_of(slot, None) for slot in slots]
        page = self.page
        if page is not None and self._state.selection:
            tasks += [self._task_of(slot, page) for slot in (LIVE, *slots)]
        return [task for task in tasks if task is not None]

    def _task_of(self, slot: int, page: Page | None) -> PinTask | None:
        """Return the current task of a slot; None without a predictor."""
        # Over a page only the neurons of the traces are predicted; in the window all
        # targets, which colour the field.
        neurons = self._state.selection if page is not None else ()
        if slot == LIVE:
            mask, predictor = self._state.mask, self._client.predictor
            if mask is None or predictor is None:
                return None
            return PinTask(slot, mask, predictor, page, neurons)
        for pin in self._state.pins:
            if pin.slot == slot and not self._problem_of(pin):
                return PinTask(slot, pin.mask, pin.predictor, page, neurons)
        return None

    # -- answers, on the drawing thread -----------------------------------------------
    def _take(self, answer: Answer) -> None:
        with self._lock:
            if answer.kind == "stage":
                if answer.value is None or not self._fits(answer.request, answer.value):
                    return
                self._results.store(answer.value)
            elif answer.number != self._number:
                return
            else:
                # Errors of predictors arrive as results; this one is unexpected.
                # Storing it for all tasks prevents an endless repetition.
                if answer.kind == "error":
                    for task in answer.request.tasks:
                        self._results.store(PinResult(task, error=str(answer.error)))
                self._end_request()
        self.changed.emit()

    def _fits(self, request: PinRequest, result: PinResult) -> bool:
        """Whether a result belongs to the screen, which may have changed since."""
        state, task = self._state, result.task
        if request.session is not state.session:
            return False
        is_current = request.window is state.window
        if task.page is not None:
            is_current = task.page == self.page
        # The slot may hold another pin by now, or its predictor may have changed.
        return is_current and not self.is_old(result)
