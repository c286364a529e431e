"""What a report tells, as values: what is on screen, and beside it what is compared.

Taken at once, so that a page can be made of it while the screen goes on.
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
from omnimouse_model.live.project.exports import Shown, shown
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

LIVE_SWEEP: Final = "this window"
"""What the live sweep is called beside kept ones."""
Kind = Literal["screen", "baseline", "pin"]


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One of the conditions that are compared, and what was predicted under it.

    Attributes
    ----------
    kind, letter
        That on screen, its baseline, or a pin with its letter.
    predictor
        Its id, with the hash of its weights where it has some; else its name.
    scores
        float32 (P,), NaN where nothing was asked; None without a prediction.
    refusal
        Why there is no prediction, "" where there is one.
    """

    kind: Kind
    letter: str
    name: str
    predictor: str
    mask: Mask
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    refusal: str = ""

    def trace(self, neuron: int) -> np.ndarray | None:
        """What was predicted of a neuron (60,), None where nothing was."""
        return column(self.prediction, neuron)

    def decoded_scores(self, window: Window) -> np.ndarray | None:
        """Correlation (C,) of every decoded channel; None where none was decoded."""
        decoded = None if self.prediction is None else self.prediction.behavior
        if decoded is None or decoded.shape != window.behavior.shape:
            return None
        return np.asarray(correlation(decoded, recorded_behavior(window), axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Reported:
    """Everything a report tells.

    Attributes
    ----------
    title
        What the analysis is called, else the recording.
    made
        When, such as "2026-03-01 14:05".
    shown
        Recording, window, mask, selection and answer on screen.
    model
        What the predictor was chosen by.
    preset
        Label of the preset that the mask is, "" for one made by hand.
    conditions
        That on screen, then its baseline, then the pins.
    what_if, edit_words, edit_remarks
        The prediction under edits, what they are, and what to know of them.
    sweeps
        The live sweep and the kept ones compared, by name.
    script, why_no_script
        What gives the same numbers, or why nothing can.
    told
        What differs from when the analysis was saved.
    """

    title: str
    made: str
    shown: Shown
    model: str
    preset: str
    conditions: tuple[Condition, ...]
    what_if: WhatIf | None = None
    edit_words: str = ""
    edit_remarks: tuple[str, ...] = ()
    sweeps: tuple[tuple[str, ContextSweep], ...] = ()
    script: str = ""
    why_no_script: str = ""
    told: tuple[str, ...] = ()


def column(prediction: Prediction | None, neuron: int) -> np.ndarray | None:
    """What a prediction says of one neuron (60,), None where it says nothing."""
    if prediction is None:
        return None
    found = np.flatnonzero(prediction.neurons == neuron)
    return np.asarray(prediction.responses[:, found[0]]) if len(found) else None


def recorded_behavior(window: Window) -> np.ndarray:
    """Recorded behaviour (40, C), z-scored, NaN where it is missing."""
    return np.where(window.valid["behavior"][:, None], window.behavior, np.nan)


def reported(controller: "Controller") -> Reported:
    """Take what is on screen.

    Raises
    ------
    ExportError
        Nothing is open, or something of it is still being predicted.
    """
    state, results = controller.state, controller.results
    what = shown(state, results)
    if controller.pins.is_busy or controller.baseline.is_awaited:
        raise ExportError(
            "The pinned conditions or the baseline are still being predicted: wait for "
            "them, then make the report."
        )
    analyses = controller.analyses
    script, why = "", ""
    try:
        script = controller.as_python()
    except ExportError as error:
        why = str(error)
    edits = state.edits
    failed = f" It failed: {results.what_if_error}" if results.what_if_error else ""
    return Reported(
        title=analyses.name or what.session.id,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        shown=what,
        model=state.predictor_name,
        preset=preset_named(state.preset).label if state.preset else "",
        conditions=(*_live_conditions(controller, what), *_pinned(controller.pins)),
        what_if=results.what_if if edits else None,
        edit_words=controller.what_if.words + failed if edits else "",
        edit_remarks=edit_remarks(edits, what.mask, results.needs),
        sweeps=_sweeps(controller),
        script=script,
        why_no_script=why,
        told=analyses.differences,
    )


def _live_conditions(controller: "Controller", what: Shown) -> list[Condition]:
    """What is on screen, and the baseline beside it."""
    state, results, beside = controller.state, controller.results, controller.baseline
    sources = [("screen", state.predictor_name, results)]
    if state.baseline_name:
        sources.append(("baseline", state.baseline_name, beside))
    name = controller.pins.name_of_condition
    made = []
    for kind, chosen, found in sources:
        answer = found.population
        if answer is not None and answer.mask_id != what.mask.mask_id:
            answer = None
        refusal = "" if answer is not None else found.error or "Nothing was predicted."
        made.append(
            Condition(
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


def _pinned(pins: Pins) -> list[Condition]:
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
            Condition(
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
    """The live one where it is whole, then the kept ones that are compared."""
    results, sweeps = controller.results, controller.sweeps
    found = []
    if results.sweep is not None and results.sweep_freshness == "fresh":
        found.append((LIVE_SWEEP, results.sweep))
    for path in sweeps.compared:
        kept = sweeps.kept(path)
        if kept is not None and kept.sweep is not None and kept.sweep.rows:
            found.append((kept.name, kept.sweep))
    return tuple(found)
