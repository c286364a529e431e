"""Make the data of a report from an analysis file; all predictions are recomputed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omnimouse_model.analysis.sweep.saved import read_sweep
from omnimouse_model.analysis.sweep.table import ContextSweep
from omnimouse_model.errors import AnalysisFileError, ExportError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.inference.background_task import ReportProgress
from omnimouse_model.live.project.report_data import ReportData, reported
from omnimouse_model.live.state import Device, LiveState


def silently(words: str, share: float | None = None) -> None:
    """Ignore progress messages."""


def report_of(
    path: str | Path,
    *,
    recording: str | Path = "",
    device: Device = "auto",
    sweeps: Sequence[str | Path] = (),
    report: ReportProgress = silently,
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
    tell
        Receives progress messages.

    Raises
    ------
    AnalysisFileError
        The analysis cannot be read, or its recording is not at its path.
    ExportError
        The model is not on this machine or fails, or a sweep cannot be read.
    """
    path = Path(path).expanduser().absolute()
    kept = [_kept(Path(sweep)) for sweep in sweeps]
    controller = Controller(state=LiveState(device=device), synchronous=True)
    try:
        _follow(controller, report)
        _open(controller, path, recording)
        found = reported(controller)
    finally:
        controller.close()
    return replace(found, sweeps=(*found.sweeps, *kept))


def _kept(path: Path) -> tuple[str, ContextSweep]:
    saved = read_sweep(path)
    if saved.sweep is None:
        raise ExportError(f"The sweep {path.name} {saved.problem}.")
    return saved.name, saved.sweep


def _follow(controller: Controller, report: ReportProgress) -> None:
    """Report the controller's progress through its signals.

    A synchronous controller computes inside its methods, so signals are the only
    progress.
    """

    def opening() -> None:
        if controller.loader.message:
            report(controller.loader.message)

    def predicting() -> None:
        results = controller.results
        if results.sweep is not None and results.sweep_freshness == "running":
            share = len(results.sweep.rows) / max(results.sweep.n_planned, 1)
            report("Curves over context", share)
        elif results.freshness == "running":
            report(f"Predicting with {Path(controller.state.predictor_name).name}")

    def comparing() -> None:
        if controller.pins.message:
            report(controller.pins.message)

    controller.loader.changed.connect(opening)
    controller.results.changed.connect(predicting)
    controller.pins.changed.connect(comparing)


def _open(controller: Controller, path: Path, recording: str | Path) -> None:
    analyses = controller.project
    controller.show_sweep()
    analyses.open(path, recording)
    fault = analyses.error or controller.loader.error
    if isinstance(fault, AnalysisFileError) and fault.code == "moved":
        words = f"{fault.message} As an option: --recording PLACE."
        raise AnalysisFileError("moved", words)
    if fault is not None:
        raise fault
    if controller.downloads.is_offered:
        name = controller.downloads.name
        raise ExportError(
            f"Its model, {name}, is on the model hub and not on this machine: get it "
            f"with `omnimouse fetch {name}`."
        )
    if not controller.state.predictor_name:
        words = next((w for w in analyses.messages if w.startswith("Its model")), "")
        raise ExportError(
            f"{words or f'{path.name} names no model.'} Put it back there, or open the "
            "analysis in the app, choose another and save it."
        )
    if controller.results.error is not None:
        raise ExportError(controller.results.error)
