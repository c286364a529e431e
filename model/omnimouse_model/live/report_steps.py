"""Progress messages of `omnimouse report`: numbered steps and finished shares."""

from pathlib import Path
from typing import Literal

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.results import Results

Step = Literal["opening", "prediction", "scores", "curves", "page"]


def step_text(step: Step, text: str, *, scores_tier: bool) -> str:
    """Return the message of a step: its number, of how many, and what is done.

    Examples
    --------
    >>> from omnimouse_model.live.report_steps import step_text
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
        text = (
            f"scores of {Path(name).name} over the {found.tier} tier, "
            f"{found.n_windows:,} of {found.n_total:,} windows"
        )
        tell("scores", text, found.n_windows / found.n_total)
        return True

    def on_results() -> None:
        results, curves = controller.results, controller.results.tier_curves
        if on_scores(results, state.predictor_name):
            return
        if curves is not None and not curves.is_complete:
            text = (
                f"context curves over the {curves.tier} tier, {curves.n_windows:,} of "
                f"{curves.n_total:,} windows"
            )
            tell("curves", text, curves.n_windows / curves.n_total)
        elif results.sweep is not None and results.sweep_freshness == "running":
            n_rows, n_planned = len(results.sweep.rows), results.sweep.n_planned
            text = f"curves of this window, {n_rows} of {n_planned} contexts"
            tell("prediction", text, n_rows / max(n_planned, 1))
        elif results.freshness == "running":
            tell("prediction", f"predicting with {Path(state.predictor_name).name}")

    def on_pins() -> None:
        if controller.pins.predictions.message:
            tell("prediction", controller.pins.predictions.message)

    controller.loader.changed.connect(on_loader)
    controller.results.changed.connect(on_results)
    controller.baseline.changed.connect(lambda: on_scores(controller.baseline, state.baseline_name))
    controller.pins.changed.connect(on_pins)
