"""Text about context curves: names, freshness and reasons for missing curves."""

from typing import Final

from omnimouse_model.analysis.evaluate.tier_score import PRELIMINARY
from omnimouse_model.analysis.sweep.saved import SavedSweep
from omnimouse_model.analysis.sweep.tier_sweep import TierCurves
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.live.sweep.current_point import CurrentPoint
from omnimouse_model.live.sweep.live_sweeps import (
    SELECTED_SWEEP,
    WINDOW_SWEEP,
    live_sweeps,
    selected_sweep,
)
from omnimouse_model.live.sweep.sweeps import MAX_COMPARED, Sweeps
from omnimouse_widgets.drawn.context.points import DrawnSweep
from omnimouse_widgets.drawn.model.tier_score import train_warning, window_tier_text

SELECTED_LINE: Final = MAX_COMPARED + 1
"""Line style of the selected neurons beside all held-out ones, which have 0."""
NO_SESSION: Final = "No session is open"
NO_SELECTION: Final = "Select neurons: Ctrl-click on the field,\nor a row of the table"
NO_MODEL: Final = "Choose a model"
NO_TARGET: Final = "There is no target: paint targets,\nor choose a preset"
NO_RESPONSES: Final = "This model reads no neurons: curves are flat"
NOT_LIVE: Final = "Tick Live, or a saved sweep"


def sweeps_on_screen(
    state: LiveState, results: Results, sweeps: Sweeps, *, is_live: bool
) -> list[DrawnSweep]:
    """Return the sweeps to draw: the live ones, then the saved ones."""
    lines = {SELECTED_SWEEP: SELECTED_LINE}
    live = live_sweeps(state, results) if is_live else {}
    drawn = [
        # Pale, because one window gives shapes and no numbers.
        DrawnSweep(name, sweep, lines.get(name, 0), is_pale=name == WINDOW_SWEEP)
        for name, sweep in live.items()
    ]
    # Line style 0 is reserved for live curves, whether or not they are shown.
    for number, path in enumerate(sweeps.compared, start=1):
        entry = sweeps.entry_of(path)
        if entry is not None and entry.sweep is not None:
            name = entry.name
            if any(name == other.name for other in drawn):
                # Names need not be unique, but the legend and the cache of points use
                # them as keys.
                name = f"{name} ({entry.started})"
            drawn.append(DrawnSweep(name, entry.sweep, number))
    return drawn


def live_problem(state: LiveState, results: Results, *, is_live: bool) -> str:
    """Return the reason why there is no live curve, or ""."""
    # The order matters: only the first missing precondition is reported.
    if not is_live:
        return NOT_LIVE
    if state.window is None or state.mask is None:
        return NO_SESSION
    if not state.predictor_name:
        return NO_MODEL
    if not (state.selection or results.has_tier_curves):
        return NO_SELECTION
    if results.freshness == "error":
        return f"No prediction: {results.error}"
    if not state.mask.target.any() and not state.mask.has_behavior_target:
        return NO_TARGET
    return ""


def tier_name(curves: TierCurves) -> str:
    """Return the name of curves over a tier: "test tier, 64 of 172 windows"."""
    windows = f"{curves.n_windows:,} of {curves.n_total:,} windows"
    if curves.is_complete:
        windows = f"{curves.n_total:,} windows"
    return f"{curves.tier} tier, {windows}"


def live_text(state: LiveState, results: Results) -> str:
    """Return evidence and progress of the live curves."""
    sweep, curves = results.sweep, results.tier_curves
    parts = [] if curves is None else [_tier_text(curves)]
    if curves is not None and curves.is_shown:
        sweep = curves.sweep
        parts.append(_selected_text(curves, state.selection))
    else:
        parts += [_window_text(state), _window_progress(results)]
    if results.needs is not None and not results.needs.sees_responses:
        parts.insert(0, NO_RESPONSES)  # a narrow panel cuts the end
    refusals = [] if sweep is None else [r.refusal for r in sweep.rows if r.refusal]
    parts += [f"refused in part: {refusals[0]}"] if refusals else []
    return " · ".join(filter(None, parts))


def _window_progress(results: Results) -> str:
    """Return progress and freshness of the curves of the window; "" for none."""
    sweep = results.sweep
    if results.sweep_freshness == "fresh" and sweep is not None:
        if sweep.is_complete:
            return "● fresh"
        return f"◌ {len(sweep.rows)} of {sweep.n_planned} points"
    return {
        "running": "◌ computing",
        "stale": "◌ older, computing",
        "stopped": "stopped",
    }.get(results.sweep_freshness, "")


def _tier_text(curves: TierCurves) -> str:
    """Return windows and neurons of the curves over a tier."""
    n_targets = max(row.n_neurons for row in curves.sweep.rows)
    plan = curves.sweep.plan
    name = f"{tier_name(curves)}, {n_targets:,} {plan.targets_name} from {plan.pool_name}"
    # Before that, the curves would be biased.
    least = min(PRELIMINARY, curves.n_total)
    waits = "" if curves.is_shown else f" (drawn from {least} windows on)"
    return f"{name[0].upper()}{name[1:]}{waits}"


def _selected_text(curves: TierCurves, selection: tuple[int, ...]) -> str:
    """Return how many of the selected neurons have curves over the tier."""
    selected = selected_sweep(curves, selection)
    n_curves = 0 if selected is None else max(r.n_neurons for r in selected.rows)
    n = len(selection)
    if n_curves == n:
        return f"{n} selected" if n else ""
    return f"{n_curves} of {n} selected (the others are context)"


def _window_text(state: LiveState) -> str:
    """Return neurons and tier of the curves of the window."""
    n, only = len(state.selection), "this window only (preliminary)"
    if state.window is not None:
        tier = window_tier_text(state.window)
        fitted = ", to which models are fitted" if train_warning(state.window) else ""
        only = f"this window only (preliminary; {tier}{fitted})"
    return f"{n} neuron{'s' * (n != 1)}, {only}"


def no_curve_text(results: Results) -> str:
    """Return why no curve is drawn although nothing is missing for one."""
    sweep = results.sweep
    refusals = [] if sweep is None else [r.refusal for r in sweep.rows if r.refusal]
    if refusals:
        return f"No point: {refusals[0]}"
    return "stopped" if results.sweep_freshness == "stopped" else "◌ computing…"


def point_text(mark: CurrentPoint | None) -> str:
    """Return e.g. "★ this mask: r = 0.43 here"; "" without a mark.

    The place of the mark in the plots tells the context.
    """
    if mark is None:
        return ""
    return f"{'★' if mark.is_comparable else '☆'} this mask: {mark.score_text}"


def entry_text(entry: SavedSweep, *, is_running: bool = False) -> str:
    """Return name and, in a second line, e.g. "2026-03-01 14:05 · 12 of 56 points"."""
    parts = [entry.started] if entry.started else []
    if entry.sweep is None:
        parts.append("cannot be read")
    elif is_running or not entry.is_complete:
        running = "running, " if is_running else ""
        n_rows, n_planned = len(entry.sweep.rows), entry.sweep.n_planned
        parts.append(f"{running}{n_rows:,} of {n_planned:,} points")
    return "\n".join([entry.name, *([" · ".join(parts)] if parts else [])])
