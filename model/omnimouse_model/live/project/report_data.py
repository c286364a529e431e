"""Data of a report: the screen's content and the conditions compared with it.

The data are a snapshot, so that a report can be made while the state changes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from omnimouse_model.analysis.in_silico.counterfactual import WhatIf, edit_remarks
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.data.window import Window
from omnimouse_model.errors import ExportError
from omnimouse_model.live.compare.pins import Pins
from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.project.exports import ScreenContent, screen_content
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

LIVE_SWEEP: Final = "this window"
"""Name of the live sweep among saved sweeps."""
ConditionKind = Literal["screen", "baseline", "pin"]


@dataclass(frozen=True, slots=True, eq=False)
class ReportCondition:
    """A compared condition and its prediction.

    Attributes
    ----------
    kind, letter
        Condition on screen, its baseline, or a pin; letter of the pin, else "".
    predictor
        Id with the hash of the weights, if there is a prediction; else the name.
    scores
        float32 (P,), NaN without targets; None without a prediction.
    refusal
        Why there is no prediction, "" if there is one.
    """

    kind: ConditionKind
    letter: str
    name: str
    predictor: str
    mask: Mask
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    refusal: str = ""

    def trace(self, neuron: int) -> np.ndarray | None:
        """Return the prediction of a neuron (60,), None if there is none."""
        return column(self.prediction, neuron)

    def decoded_scores(self, window: Window) -> np.ndarray | None:
        """Return the correlation (C,) of decoded channels; None without decoding."""
        decoded = None if self.prediction is None else self.prediction.behavior
        if decoded is None or decoded.shape != window.behavior.shape:
            return None
        return np.asarray(correlation(decoded, recorded_behavior(window), axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """All data of a report.

    Attributes
    ----------
    title
        Name of the analysis, else session id.
    made
        Local time, such as "2026-03-01 14:05".
    content
        Recording, window, mask, selection and prediction on screen.
    model
        Name or path of the predictor.
    preset
        Label of the mask's preset, "" for a painted mask.
    conditions
        Condition on screen, then its baseline, then the pins.
    what_if, edits_text, edit_remarks
        Prediction under what-if edits, their description, and remarks on them.
    sweeps
        (name, sweep) of the live sweep and the compared saved sweeps.
    script, script_problem
        Python script that gives the same numbers, or why there is none.
    messages
        Messages about differences from the saved analysis.
    """

    title: str
    made: str
    content: ScreenContent
    model: str
    preset: str
    conditions: tuple[ReportCondition, ...]
    what_if: WhatIf | None = None
    edits_text: str = ""
    edit_remarks: tuple[str, ...] = ()
    sweeps: tuple[tuple[str, ContextSweep], ...] = ()
    script: str = ""
    script_problem: str = ""
    messages: tuple[str, ...] = ()


def column(prediction: Prediction | None, neuron: int) -> np.ndarray | None:
    """Return the prediction of one neuron (60,), None if there is none."""
    if prediction is None:
        return None
    found = np.flatnonzero(prediction.neurons == neuron)
    return np.asarray(prediction.responses[:, found[0]]) if len(found) else None


def recorded_behavior(window: Window) -> np.ndarray:
    """Return the recorded behaviour (40, C), z-scored, NaN if missing."""
    return np.where(window.valid["behavior"][:, None], window.behavior, np.nan)


def reported(controller: "Controller") -> ReportData:
    """Return the data of a report on the current state.

    Raises
    ------
    ExportError
        No session is open, or a prediction is unfinished.
    """
    state, results = controller.state, controller.results
    what = screen_content(state, results)
    # `screen_content` has checked the condition on screen; here the others.
    if controller.pins.is_busy or controller.baseline.is_awaited:
        raise ExportError(
            "The pinned conditions or the baseline are still being predicted: wait for "
            "them, then make the report."
        )
    analyses = controller.project
    script, why = "", ""
    try:
        script = controller.as_python()
    except ExportError as error:
        why = str(error)
    edits = state.edits
    failed = f" It failed: {results.what_if_error}" if results.what_if_error else ""
    return ReportData(
        title=analyses.name or what.session.id,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        content=what,
        model=state.predictor_name,
        preset=preset_named(state.preset).label if state.preset else "",
        conditions=(*_live_conditions(controller, what), *_pinned(controller.pins)),
        what_if=results.what_if if edits else None,
        edits_text=controller.stimulus_edits.text + failed if edits else "",
        edit_remarks=edit_remarks(edits, what.mask, results.needs),
        sweeps=_sweeps(controller),
        script=script,
        script_problem=why,
        messages=analyses.differences,
    )


def _live_conditions(
    controller: "Controller", what: ScreenContent
) -> list[ReportCondition]:
    """Return the condition on screen and its baseline."""
    state, results, beside = controller.state, controller.results, controller.baseline
    sources = [("screen", state.predictor_name, results)]
    if state.baseline_name:
        sources.append(("baseline", state.baseline_name, beside))
    name = controller.pins.condition_name
    made = []
    for kind, chosen, found in sources:
        answer = found.population
        # A baseline's results can be older than the mask on screen.
        if answer is not None and answer.mask_id != what.mask.mask_id:
            answer = None
        refusal = "" if answer is not None else found.error or "Nothing was predicted."
        made.append(
            ReportCondition(
                "screen" if kind == "screen" else "baseline",
                "",
                name if kind == "screen" else f"{name}, baseline",
                chosen if answer is None else answer.predictor_id,
                what.mask,
                answer,
                None if answer is None else found.scores,
                refusal,
            )
        )
    return made


def _pinned(pins: Pins) -> list[ReportCondition]:
    made = []
    for pin in pins.pinned:
        answer = pins.windows.get(pin.slot)
        prediction = None if answer is None else answer.prediction
        refusal = ""
        if answer is None and not pin.is_shown:
            refusal = "It is switched off, and was not predicted."
        elif answer is None:
            refusal = "It was not predicted: predicting was stopped before."
        elif prediction is None:
            refusal = answer.error or "Nothing is asked."
        made.append(
            ReportCondition(
                "pin",
                pin.letter,
                pin.name,
                pin.predictor_name if prediction is None else prediction.predictor_id,
                pin.mask,
                prediction,
                None if answer is None else answer.scores,
                refusal,
            )
        )
    return made


def _sweeps(controller: "Controller") -> tuple[tuple[str, ContextSweep], ...]:
    """Return the live sweep, if it is up to date, and the compared saved sweeps."""
    results, sweeps = controller.results, controller.sweeps
    found = []
    if results.sweep is not None and results.sweep_freshness == "fresh":
        found.append((LIVE_SWEEP, results.sweep))
    for path in sweeps.compared:
        kept = sweeps.entry_of(path)
        if kept is not None and kept.sweep is not None and kept.sweep.rows:
            found.append((kept.name, kept.sweep))
    return tuple(found)
