"""Apply the engine's answers to the results; runs on the drawing thread."""

from collections.abc import Callable

import numpy as np

from omnimouse_model.live.inference.engine import Answer
from omnimouse_model.live.inference.stages import LiveRequest, LoadRequest, Stage
from omnimouse_model.live.results import Freshness, Results
from omnimouse_model.predict.capabilities import take_neurons


def mark_asked(
    results: Results, number: int, *, sweep: bool = False, what_if: bool = False
) -> None:
    """Mark the shown results as stale because request `number` was sent.

    `sweep` and `what_if` state whether the request includes these stages.
    """
    results.newest_request = number
    results.is_awaited = True
    results.error = None
    results.freshness = _waiting(results.selected is not None)
    results.population_freshness = _waiting(results.population is not None)
    if not sweep:
        results.sweep = None
    results.sweep_freshness = _waiting(results.sweep is not None) if sweep else "none"
    _expect_what_if(results, what_if)
    results.changed.emit()


def mark_edited(results: Results, number: int) -> None:
    """Mark only the what-if as requested; the results without edits stay fresh."""
    results.newest_request = number
    # `freshness` and `population_freshness` do not change: an edit does not affect the
    # prediction of the recorded stimulus.
    results.is_awaited = True
    _expect_what_if(results, True)
    results.changed.emit()


def forget_what_if(results: Results) -> None:
    """Remove the what-if results, because there are no edits."""
    _expect_what_if(results, False)
    results.changed.emit()


def _expect_what_if(results: Results, is_asked: bool) -> None:
    results.what_if_error = None
    if not is_asked:
        results.what_if = None
    known = results.what_if is not None
    results.what_if_freshness = _waiting(known) if is_asked else "none"


def mark_cancelled(results: Results) -> None:
    """Mark unfinished stages as stopped; keep the displayed results."""
    results.is_awaited = False
    if results.freshness in ("running", "stale"):
        results.freshness = "stopped"
    if results.population_freshness in ("running", "stale"):
        results.population_freshness = "stopped"
    if results.sweep_freshness in ("running", "stale"):
        results.sweep_freshness = "stopped"
    if results.what_if_freshness in ("running", "stale"):
        results.what_if_freshness = "stopped"
    results.changed.emit()


def take_selected(results: Results, selection: tuple[int, ...]) -> bool:
    """Take the selected neurons from a fresh population prediction.

    Return False if there is none or if it lacks one of the neurons.
    """
    if results.population is None or results.population_freshness != "fresh":
        return False
    selected = take_neurons(results.population, np.array(selection, np.int64))
    if selected is None:
        return False
    results.selected = selected
    results.changed.emit()
    return True


def apply_answer(
    results: Results,
    answer: Answer,
    is_on_screen: Callable[[LiveRequest | LoadRequest], bool],
) -> None:
    """Apply an answer to the results, if its request still belongs to the screen.

    `is_on_screen` returns whether a request's window and predictor are still current.
    Errors and ends of older requests are ignored.
    """
    # "done" and "stopped" of an older request must not end the wait for the newest.
    if answer.kind == "error":
        if answer.number == results.newest_request:
            _apply_error(results, answer)
    elif answer.kind == "stage":
        if is_on_screen(answer.value.request):
            _apply_stage(results, answer, answer.value)
    elif answer.number == results.newest_request and answer.kind == "stopped":
        mark_cancelled(results)
    elif answer.number == results.newest_request and results.is_awaited:
        results.is_awaited = False
        results.changed.emit()


def _apply_stage(results: Results, answer: Answer, stage: Stage) -> None:
    if stage.name == "begun":
        return
    # An older stage is shown until the newer request answers, but marked as stale.
    freshness: Freshness = (
        "fresh" if answer.number == results.newest_request else "stale"
    )
    results.shown_request = answer.number
    results.error = None
    if stage.needs is not None:
        results.needs, results.devices = stage.needs, stage.devices
        results.residence = stage.residence
    if stage.name == "loaded":
        pass
    elif stage.name == "nothing":
        results.clear()
        results.freshness = results.population_freshness = "none"
        results.sweep_freshness = results.what_if_freshness = "none"
    elif stage.name == "selected" and stage.prediction is not None:
        results.selected = stage.prediction
        results.behavior = stage.prediction.behavior
        results.freshness = freshness
        results.elapsed_ms = answer.elapsed_ms
    elif stage.name == "sweep":
        results.sweep = stage.sweep
        results.sweep_freshness = freshness
    elif stage.name == "what_if":
        results.what_if = stage.what_if
        results.what_if_error = stage.fault or None
        results.what_if_freshness = "error" if stage.fault else freshness
    else:
        results.population = stage.prediction
        results.scores = stage.scores
        results.population_freshness = freshness
    results.changed.emit()


def _apply_error(results: Results, answer: Answer) -> None:
    # An older prediction next to an error message would look like its result.
    results.clear()
    results.is_awaited = False
    # Some exceptions have no message, such as a bare `MemoryError`.
    results.error = str(answer.error) or type(answer.error).__name__
    results.freshness = results.population_freshness = "error"
    if results.sweep_freshness != "none":
        results.sweep_freshness = "error"
    if results.what_if_freshness != "none":
        results.what_if_freshness = "error"
    results.changed.emit()


def _waiting(has_something: bool) -> Freshness:
    return "stale" if has_something else "running"
