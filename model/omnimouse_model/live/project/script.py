"""Python script that reproduces the prediction on screen and its score."""

from pathlib import Path
from pprint import pformat

from omnimouse_model.analysis.counterfactual import edits_to_json
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.display import printable
from omnimouse_model.errors import ExportError, MaskError
from omnimouse_model.evaluation.tier_score import MAX_WINDOWS, TierScore
from omnimouse_model.inference.registry import load_line
from omnimouse_model.live.mask.presets import is_preset, mask_for, preset_named
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.simulate.demo import open_line

MAX_CHARACTERS = 2_000
"""Masks with a longer text are written to a file."""
BEHAVIOR_LINES = (
    'known = window.valid["behavior"][:, None]',
    "recorded = np.where(known, window.behavior, np.nan)",
    "r = correlation(prediction.behavior, recorded, axis=0)",
    "for name, value in zip(session.behavior_names, r):",
    '    print(f"in this window: {name}: r = {value:z.6f}")',
)
"""Lines that score decoded behaviour, per channel."""


def script_of(
    state: LiveState, score: TierScore | None, predictor: str, analysis: Path | None, folder: Path
) -> str:
    """Return a script that opens the session, predicts and prints the scores on screen.

    The mask is made by a strategy or preset if that gives the same mask, else it is
    read from the analysis file, else written out; a long mask is saved to a file.

    Parameters
    ----------
    score
        Score over the windows of a tier that is on screen, None without one. The script
        computes it over the same windows, and prints the same digits.
    predictor
        Name that loads the predictor, "" for a predictor object.
    analysis
        File that contains the mask; None if there is none.
    folder
        Folder for masks that are too long for a script.

    Raises
    ------
    ExportError
        A script cannot reproduce the prediction; the message says why.
    """
    session, window, mask = _checked(state, predictor)
    imports, mask_lines = _mask_lines(state, mask, analysis, folder)
    lines = [
        f'"""{_title(state)}"""',
        "",
        # The sorted order of imports: standard library, numpy, omnimouse.
        *[line for line in imports if "omnimouse" not in line],
        "import numpy as np",
        "import omnimouse_app as om",
        *[line for line in imports if "omnimouse" in line],
        *_score_import(state, mask, score),
        "",
        open_line(session),
        *_window_lines(window, mask_lines),
        f'assert mask.mask_id == "{mask.mask_id}", "not the mask that was on screen"',
        load_line(predictor, state.device),
        "prediction = predictor.predict(window, mask)",
    ]
    if score is not None:
        lines += _tier_lines(score)
    if scored_cells(mask).any():
        lines += _score_lines(state)
    if mask.has_behavior_target:
        lines += BEHAVIOR_LINES
    # After the prediction without edits, which the what-if needs.
    lines += _edit_lines(state)
    return "\n".join(lines) + "\n"


def _checked(state: LiveState, predictor: str) -> tuple[Session, Window, Mask]:
    """Return what the script is about, or raise an `ExportError`."""
    session, window, mask = state.session, state.window, state.mask
    if session is None or window is None or mask is None:
        raise ExportError("Open a recording first: there is nothing to write down.")
    if not predictor:
        raise ExportError(
            "The model was passed as an object, which a script cannot load: "
            "choose one by its name or file."
        )
    if not scored_cells(mask).any() and not mask.has_behavior_target:
        raise ExportError("There is no target: paint one, or choose a preset.")
    return session, window, mask


def _score_import(state: LiveState, mask: Mask, score: TierScore | None) -> list[str]:
    """Return the imports of the functions that score."""
    is_named = state.metric.name != "correlation"
    package = "omnimouse_model.evaluation"
    lines = [f"from {package}.running_score import window_scores"] if is_named else []
    if score is not None and not score.is_complete:
        lines.insert(0, f"from {package}.tier_score import TierScoring")
    metrics = []
    if score is not None and score.score is not None and not score.score.refusal:
        lines.insert(0, "from omnimouse_model.display import interval_text")
        metrics.append("METRICS")
    if mask.has_behavior_target or not is_named:
        metrics.append("correlation")
    if metrics:
        lines.append(f"from omnimouse_model.metrics import {', '.join(metrics)}")
    return lines


def _tier_lines(score: TierScore) -> list[str]:
    """Return lines that compute the score over a tier, over the windows that it has."""
    tier, metric = score.tier, "correlation" if score.score is None else score.score.metric
    if score.is_complete:
        lines = [
            f"scores = om.evaluate(predictor, session, mask, tier={tier!r}, "
            f"metric={metric!r}, max_windows={MAX_WINDOWS})"
        ]
        responses, behavior = "scores.scores[0]", "scores.behavior"
        low, high = "ci_low", "ci_high"
    else:
        # The score of all targets begins with as many windows as that of their sample.
        is_sample = "found.sample" if score.sample else "not found.sample"
        lines = [
            f"scoring = TierScoring(predictor, session, mask, {tier!r}, {metric!r})",
            "for found in scoring.refine(lambda: False):",
            f"    if found.n_windows == {score.n_windows} and {is_sample}:",
            "        break",
        ]
        responses, behavior = "found.estimate", "found.behavior"
        low, high = "low", "high"
    evidence = f"over {score.windows}"
    if score.score is not None and not score.score.refusal:
        lines += [
            f"score = {responses}",
            f"shown = interval_text(score.value, score.{low}, score.{high}, 2)",
            f"print(METRICS[{metric!r}].named(shown), {evidence!r})",
        ]
    if score.behavior:
        lines += [
            f"for one in {behavior}:",
            f'    print(f"{{one.channel}}: r = {{one.value:z.2f}}", {evidence!r})',
        ]
    return lines


def _score_lines(state: LiveState) -> list[str]:
    """Return the lines that score the prediction of the responses."""
    metric = state.metric
    if metric.name != "correlation":
        return [
            f"score = window_scores(prediction, window, {metric.name!r})",
            "score = score[np.isfinite(score)]",
            f'print(f"in this window: median {{np.median(score):.6f}} {metric.symbol} over '
            '{len(score)} neurons")',
        ]
    return [
        "recorded = window.responses[:, prediction.neurons]",
        "r = correlation(prediction.responses, recorded, axis=0)",
        "r = r[np.isfinite(r)]",
        'print(f"in this window: median r = {np.median(r):z.6f} over {len(r)} neurons")',
    ]


def _window_lines(window: Window, mask_lines: list[str]) -> list[str]:
    """Return lines that make window and mask, in the order that the spec needs."""
    # Milliseconds are easier to read, if they give the same window.
    start_s = round(window.start_s, 3)
    if window.session.window(start_s, window.spec).key != window.key:
        start_s = window.start_s
    # A window of another spec takes the spec from the mask.
    if window.spec == default_spec():
        return [f"window = session.window({start_s!r})", *mask_lines]
    return [*mask_lines, f"window = session.window({start_s!r}, mask.spec)"]


def _edit_lines(state: LiveState) -> list[str]:
    """Return lines that also predict under the what-if edits."""
    if not state.edits:
        return []
    text = pformat(edits_to_json(state.edits), width=80, sort_dicts=False)
    return [
        "",
        "from omnimouse_model.analysis.counterfactual import edits_from_json",
        "",
        f"edits = edits_from_json(\n    {text}\n)",
        "changed = om.what_if(predictor, window, mask, edits, unedited=prediction)",
        "change = changed.change",
        'print(f"{changed.description}: median change {np.nanmedian(change):z.6f}")',
    ]


def _title(state: LiveState) -> str:
    assert state.session is not None
    assert state.window is not None
    task = preset_named(state.preset).label if state.preset else "a mask by hand"
    name = printable(state.session.id).replace("\\", "/").replace('"', "'")
    return f"{name}, from {state.window.start_s:z.2f} s: {task}."


def _mask_lines(
    state: LiveState, mask: Mask, analysis: Path | None, folder: Path
) -> tuple[list[str], list[str]]:
    """Return imports, and lines that make the mask."""
    session = state.session
    assert session is not None
    try:
        if mask.name and Mask.from_strategy(mask.name, session) == mask:
            return [], [f"mask = om.Mask.from_strategy({mask.name!r}, session)"]
    except MaskError:  # the mask's name is not a strategy
        pass
    # Some presets depend on the selection; the shorter script, without it, is tried
    # first.
    for selected in ((), state.selection) if is_preset(state.preset) else ():
        if mask_for(state.preset, session, selected) == mask:
            argument = f", {list(selected)}" if selected else ""
            return ["from omnimouse_model.live.mask.presets import mask_for"], [
                f"mask = mask_for({state.preset!r}, session{argument})"
            ]
    if analysis is not None:
        return ["import json", "from pathlib import Path"], [
            f"analysis = json.loads(Path({str(analysis)!r}).read_text('utf-8'))",
            'mask = om.Mask.from_dict(analysis["mask"])',
        ]
    text = pformat(mask.to_dict(), width=84, sort_dicts=False)
    if len(text) <= MAX_CHARACTERS:
        return [], [f"mask = om.Mask.from_dict(\n    {text}\n)"]
    # Named by its id: the same mask is written once.
    path = mask.save(folder / "masks" / f"{mask.mask_id}.json")
    return [], [f"mask = om.Mask.load({str(path)!r})"]
