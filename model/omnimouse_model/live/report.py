"""Report: the data of the screen, or of an analysis file, as a snapshot.

A report of a file opens it and recomputes all predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from omnimouse_model.analysis.counterfactual import WhatIf, edit_remarks
from omnimouse_model.analysis.sweep.table import ContextSweep, read_sweep
from omnimouse_model.data.session import Window
from omnimouse_model.errors import AnalysisFileError, ExportError
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.current_point import WINDOW_SWEEP, live_sweeps
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.inference.tier_results import ScoreStore
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.laboratory_jobs import LabResult, label_of
from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.project.exports import ScreenContent, screen_content
from omnimouse_model.live.results import Results
from omnimouse_model.live.sources import Finding
from omnimouse_model.live.state import Device, LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Prediction
from omnimouse_model.storage.files import expanded

# -- progress messages of `omnimouse report`: numbered steps and finished shares ------
Step = Literal["opening", "prediction", "scores", "curves", "page"]


def step_text(step: Step, text: str, *, scores_tier: bool) -> str:
    """Return the message of a step: its number, of how many, and what is done.

    Examples
    --------
    >>> from omnimouse_model.live.report import step_text
    >>> step_text("page", "writing the page", scores_tier=False)
    'Step 3 of 3: writing the page'
    """
    steps: list[Step] = ["opening", "prediction", "page"]
    if scores_tier:
        steps[2:2] = ["scores", "curves"]
    number = steps.index(step) + 1
    return f"Step {number} of {len(steps)}: {text[0].lower()}{text[1:]}"


def report_steps(controller: Controller, report: ReportProgress) -> None:
    """Report the steps of a synchronous controller through its signals.

    It computes inside its methods, so signals are the only progress.
    """
    state = controller.state

    def tell(step: Step, text: str, share: float | None = None) -> None:
        report(step_text(step, text, scores_tier=state.scores_tier), share)

    def on_loader() -> None:
        if controller.loader.message:
            tell("opening", controller.loader.message)

    def on_scores(results: Results, name: str) -> bool:
        found = results.tier_score
        if found is None or found.is_complete:
            return False
        # Beside a sample, in how many windows all targets are.
        n_windows = found.n_windows if found.sample is None else found.sample.n_windows
        text = f"scores of {model_name(name)} over {found.windows}"
        tell("scores", text, n_windows / found.n_total)
        return True

    def on_results() -> None:
        results, curves = controller.results, controller.results.tier_curves
        if on_scores(results, state.predictor_name):
            return
        if curves is not None and not curves.is_complete:
            text = (
                f"context curves over the {curves.tier} part, {curves.n_windows:,} of "
                f"{curves.n_total:,} windows"
            )
            tell("curves", text, curves.n_windows / curves.n_total)
        elif results.sweep is not None and results.sweep_freshness == "running":
            n_rows, n_planned = len(results.sweep.rows), results.sweep.n_planned
            text = f"curves of this window, {n_rows} of {n_planned} contexts"
            tell("prediction", text, n_rows / max(n_planned, 1))
        elif results.freshness == "running":
            tell("prediction", f"predicting with {model_name(state.predictor_name)}")

    def on_pins() -> None:
        if controller.pins.predictions.message:
            tell("prediction", controller.pins.predictions.message)

    controller.loader.changed.connect(on_loader)
    controller.results.changed.connect(on_results)
    controller.baseline.changed.connect(lambda: on_scores(controller.baseline, state.baseline_name))
    controller.pins.changed.connect(on_pins)


# -- report: the data of the screen, or of an analysis file, as a snapshot ------------
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
    tier_score
        Score of the condition over a tier, if it is known.
    """

    kind: ConditionKind
    letter: str
    name: str
    predictor: str
    mask: Mask
    prediction: Prediction | None = None
    scores: np.ndarray | None = None
    refusal: str = ""
    tier_score: TierScore | None = None

    def decoded_scores(self, window: Window) -> np.ndarray | None:
        """Return the correlation (C,) of decoded channels; None without decoding."""
        decoded = None if self.prediction is None else self.prediction.behavior
        if decoded is None or decoded.shape != window.behavior.shape:
            return None
        return np.asarray(correlation(decoded, recorded_behavior(window), axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class ReportExperiment:
    """A result of the laboratory.

    Attributes
    ----------
    label
        Name of the experiment, search or decoding.
    result, columns
        The result; of an experiment, its columns of the neurons by name.
    """

    label: str
    result: LabResult
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """All data of a report.

    Attributes
    ----------
    title
        Name of the analysis, else session id.
    tier_score
        Score of the mask over a tier, so far; None without.
    baseline, baseline_tier_score
        Name or path of the baseline, and its score over the same windows.
    made
        Local time, such as "2026-03-01 14:05".
    content
        Recording, window, mask, selection and prediction on screen.
    model
        Name or path of the predictor.
    preset
        Label of the mask's preset, "" for a painted mask.
    conditions
        Condition on screen, then its baseline, then the pins; each question to a
        predictor once.
    what_if, edits_text, edit_remarks
        Prediction under what-if edits, their description, and remarks on them.
    sweeps
        (name, sweep) of the live sweep and the compared saved sweeps.
    experiments
        Results of the laboratory.
    sources
        Sources, informants and areas, as far as they were asked.
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
    experiments: tuple[ReportExperiment, ...] = ()
    sources: tuple[Finding, ...] = ()
    script: str = ""
    script_problem: str = ""
    messages: tuple[str, ...] = ()
    tier_score: TierScore | None = None
    baseline: str = ""
    baseline_tier_score: TierScore | None = None


def recorded_behavior(window: Window) -> np.ndarray:
    """Return the recorded behaviour (40, C), z-scored, NaN if missing."""
    return np.where(window.valid["behavior"][:, None], window.behavior, np.nan)


def report_of_screen(controller: Controller) -> ReportData:
    """Return the data of a report on the current state.

    Raises
    ------
    ExportError
        No session is open, or a prediction is unfinished.
    """
    state, results, project = controller.state, controller.results, controller.project
    content = screen_content(state, results, controller.colouring)
    # `screen_content` has checked the condition on screen; here the others.
    if controller.pins.predictions.is_busy or controller.baseline.is_awaited:
        raise ExportError(
            "The pinned conditions or the baseline are still being predicted: wait for "
            "them, then make the report."
        )
    # A report without a script is still a report: the reason is printed instead.
    script, problem = "", ""
    try:
        script = controller.project.script()
    except ExportError as error:
        problem = str(error)
    edits = state.edits
    failed = f" It failed: {results.what_if_error}" if results.what_if_error else ""
    return ReportData(
        title=project.name or content.session.id,
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        content=content,
        model=state.predictor_name,
        preset=preset_named(state.preset).label if state.preset else "",
        conditions=_distinct(
            [
                *_live_conditions(controller, content),
                *_pinned_conditions(controller),
            ]
        ),
        what_if=results.what_if if edits else None,
        edits_text=controller.stimulus_edits.text + failed if edits else "",
        edit_remarks=edit_remarks(edits, content.mask, results.needs),
        sweeps=_sweeps(controller),
        experiments=_experiments(controller.laboratory),
        sources=tuple(controller.sources.found.values()),
        script=script,
        script_problem=problem,
        messages=project.differences,
        tier_score=results.tier_score,
        baseline=state.compared_baseline,
        baseline_tier_score=controller.baseline.tier_score,
    )


def _distinct(conditions: Sequence[ReportCondition]) -> tuple[ReportCondition, ...]:
    """Return each condition once; its name lists the equal conditions."""
    distinct: dict[object, ReportCondition] = {}
    for condition in conditions:
        key: object = (condition.mask.mask_id, condition.predictor)
        if condition.prediction is None:
            key = condition
        if key not in distinct:
            distinct[key] = condition
            continue
        kept = distinct[key]
        repeat = condition.letter
        if condition.name != kept.name:
            repeat = f"{repeat} {condition.name}".strip()
        distinct[key] = replace(kept, name=f"{kept.name} (also {repeat})")
    return tuple(distinct.values())


def _live_conditions(controller: Controller, content: ScreenContent) -> list[ReportCondition]:
    """Return the condition on screen and its baseline."""
    state, name = controller.state, controller.pins.condition_name
    sources: list[tuple[ConditionKind, str, str, Results]] = [
        ("screen", name, state.predictor_name, controller.results)
    ]
    if baseline := state.compared_baseline:
        sources.append(("baseline", name, baseline, controller.baseline))
    conditions = []
    for kind, label, model, results in sources:
        predictor = model
        population, scores = results.population, results.scores
        problem = ""
        # A baseline's results can be older than the mask on screen.
        if population is None or population.mask_id != content.mask.mask_id:
            population, scores = None, None
            problem = results.error or "Nothing was predicted."
        else:
            predictor = population.predictor_id
        found = results.tier_score
        is_known = found is not None and found.mask.mask_id == content.mask.mask_id
        conditions.append(
            ReportCondition(
                kind,
                "",
                f"{label} · {model_name(model)}" if model else label,
                predictor,
                content.mask,
                population,
                scores,
                problem,
                found if is_known else None,
            )
        )
    return conditions


def _pinned_conditions(controller: Controller) -> list[ReportCondition]:
    conditions = []
    for pin in controller.state.pins:
        result = controller.pins.predictions.windows.get(pin.slot)
        prediction = None if result is None else result.prediction
        problem = ""
        if result is None and not pin.is_shown:
            problem = "It is switched off, and was not predicted."
        elif result is None:
            problem = "It was not predicted: predicting was stopped before."
        elif prediction is None:
            problem = result.error or "Its mask has no target."
        conditions.append(
            ReportCondition(
                "pin",
                pin.letter,
                pin.name,
                pin.predictor_name if prediction is None else prediction.predictor_id,
                pin.mask,
                prediction,
                None if result is None else result.scores,
                problem,
                None if result is None else result.find_tier_score(),
            )
        )
    return conditions


def _sweeps(controller: Controller) -> tuple[tuple[str, ContextSweep], ...]:
    """Return the live sweeps, if they are up to date, and the compared saved ones."""
    results, sweeps = controller.results, controller.sweeps
    named = list(live_sweeps(controller.state, results).items())
    if results.sweep_freshness != "fresh":
        named = [(name, sweep) for name, sweep in named if name != WINDOW_SWEEP]
    for path in sweeps.compared:
        entry = sweeps.entry_of(path)
        if entry is not None and entry.sweep is not None and entry.sweep.rows:
            named.append((entry.name, entry.sweep))
    return tuple(named)


def _experiments(laboratory: Laboratory) -> tuple[ReportExperiment, ...]:
    return tuple(
        ReportExperiment(label_of(name), result, laboratory.columns(result))
        for name, result in laboratory.results.items()
    )


# -- from a file --------------------------------------------------------------------
def no_report(message: str, share: float | None = None) -> None:
    """Ignore progress messages."""


def report_of_file(
    path: str | Path,
    *,
    recording: str | Path = "",
    device: Device = "auto",
    sweeps: Sequence[str | Path] = (),
    scores_tier: bool = True,
    scores: ScoreStore | None = None,
    report: ReportProgress = no_report,
) -> ReportData:
    """Open an analysis, run its predictions, and return the data of a report.

    Parameters
    ----------
    path
        Analysis file.
    recording
        Path of the recording, if it was moved.
    device
        Device of the predictors.
    sweeps
        Files of context sweeps that are compared with the live one.
    scores_tier
        Whether scores and context curves over the whole tier are computed.
    scores
        Where these are stored, as far as they are; by default nowhere.
    report
        Receives progress messages, which number the steps.

    Raises
    ------
    AnalysisFileError
        The analysis cannot be read, or its recording is not at its path.
    ExportError
        The model is not on this machine or fails, or a sweep cannot be read.
    """
    path = expanded(path).absolute()
    saved = [_saved_sweep(Path(sweep)) for sweep in sweeps]
    # No memory: making a report must not replace the user's last session.
    state = LiveState(device=device, scores_tier=scores_tier)
    controller = Controller(state=state, synchronous=True, scores=scores)
    try:
        report_steps(controller, report)
        _open(controller, path, recording)
        controller.requests.finish_scores()
        data = report_of_screen(controller)
    finally:
        controller.close()
    return replace(data, sweeps=(*data.sweeps, *saved))


def _saved_sweep(path: Path) -> tuple[str, ContextSweep]:
    entry = read_sweep(path)
    if entry.sweep is None:
        raise ExportError(f"The sweep {path.name} {entry.problem}.")
    return entry.name, entry.sweep


def _open(controller: Controller, path: Path, recording: str | Path) -> None:
    project = controller.project
    # Before the opening, so that the curves are computed with the first prediction.
    controller.requests.show_sweep()
    project.open(path, recording)
    error = project.error or controller.loader.error
    if isinstance(error, AnalysisFileError) and error.code == "moved":
        message = f"{error.message} As an option: --recording PLACE."
        raise AnalysisFileError("moved", message)
    if error is not None:
        raise error
    if controller.downloads.is_offered:
        name = controller.downloads.name
        raise ExportError(
            f"Its model, {name}, is on the model hub and not on this machine: get it "
            f"with `omnimouse fetch {name}`."
        )
    if not controller.state.predictor_name:
        absent = next((m for m in project.messages if m.startswith("Its model")), "")
        raise ExportError(
            f"{absent or f'{path.name} names no model.'} Put it back there, or open "
            "the analysis in the app, choose another and save it."
        )
    if controller.results.error is not None:
        raise ExportError(controller.results.error)
