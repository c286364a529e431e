"""Texts about the chosen model: its name, its task, and the age of its prediction."""

import re
from pathlib import Path
from typing import Final

import numpy as np

from omnimouse_model.inference.families import family_of_name, fit_names
from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.results import NOT_FITTED, Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import BehaviorMode, Mask
from omnimouse_model.masks.remarks import guard_text
from omnimouse_model.predict.compatibility import FALLBACK, Compatibility
from omnimouse_model.predict.predictor import Needs
from omnimouse_model.storage.files import plain_text
from omnimouse_widgets.palette import Tone

VIDEO_NAMES: Final = ("all", "none", "first", "last")
"""Names of parts of the window's video that the model sees."""
NO_VIDEO: Final = "This model reads no video."
HAS_NO_VIDEO: Final = "This recording has no video"
NO_BEHAVIOR: Final = "This model reads no behaviour."
HAS_NONE: Final = "This recording has no behaviour"
MODES: Final[dict[BehaviorMode, str]] = {
    "visible": "The model sees running and pupil",
    "target": "The model decodes running and pupil",
    "hidden": "The model neither sees nor decodes running and pupil",
}
"""Uses of behaviour in a mask, and what each means."""
BY_HAND: Final = "made by hand"
TITLE: Final = "OmniMouse Studio"
"""Title of a window without a recording."""

BASELINE_NOT_FITTED: Final = (
    "Not fitted yet: choose it as the model, and Fit to this recording… trains it."
)
FINETUNE_TIP: Final = "Adapt this model to the recording in the panel Fine-tuning"


def window_title(state: LiveState) -> str:
    """Return the title of a window: recording, model, and the name of the application."""
    session = state.session
    if session is None:
        return TITLE
    names = [session.id, model_name(state.predictor_name), TITLE]
    return " · ".join(plain_text(name, 60) for name in names if name)


def known_text(knowledge: Compatibility) -> str:
    """Return e.g. `✓ 1,000 of 1,000 neurons known`."""
    sign = "✓" if knowledge.is_supported else "✕"
    known = " known" if knowledge.n_known else ""
    return f"{sign} {knowledge.text}{known}"


def stand_in_text(unfamiliar: str, name: str) -> str:
    """Return why another model answers: `name`, in the place of `unfamiliar`, or ""."""
    if not unfamiliar:
        return ""
    text = f"{unfamiliar} does not know this recording. {name} answers in its place"
    fitted = ": it is fitted to the train part of this recording." if name == FALLBACK else "."
    return text + fitted


def model_title(predictor_id: str, chosen: str) -> str:
    """Return what the model of a result is called on screen, without the hash of its weights.

    Results have the id of their model; that of the `chosen` one is called as in the list of
    models.
    """
    # The last one: a file may be called "model (1)" or "a@b".
    name = re.sub(r"(@\w+| \([^()]*\))$", "", predictor_id)
    is_chosen = Path(chosen).name in (name, predictor_id)
    return model_name(chosen) if is_chosen else name


def is_unfitted(name: str, results: Results) -> bool:
    """Return whether a model has to be fitted before it can predict anything."""
    is_to_be_fitted = name in fit_names() and results.needs is None
    return is_to_be_fitted and (results.error is None or results.is_refused)


def failure_text(state: LiveState, results: Results) -> str:
    """Return why the request on screen has no prediction."""
    is_to_be_fitted = is_unfitted(state.predictor_name, results)
    return NOT_FITTED if is_to_be_fitted else f"No prediction: {results.error}"


def task_text(state: LiveState) -> str:
    """Return the meaning of the preset, and its adaptation to a small population."""
    if state.mask is None:
        return ""
    if not state.preset:
        return "Mask painted by hand."
    parts = [preset_named(state.preset).explanation]
    session = state.session
    unread = {
        "video": (state.spec.video, session is None or session.stimulus is not None),
        "behaviour": (state.spec.behavior, session is None or bool(session.behavior_names)),
    }
    # What the recording lacks is no fault of the model, and the controls say so.
    if missing := [name for name, (spec, has) in unread.items() if spec is None and has]:
        parts.append(f"This model reads no {' and no '.join(missing)}.")
    if note := state.mask.note:
        parts.append(f"{note[0].upper()}{note[1:]}.")
    mask = state.mask
    # The guard matters where the same neuron is visible and a target.
    if (mask.visible.any(axis=0) & mask.target.any(axis=0)).any():
        parts.append(guard_text(mask))
    return " ".join(parts)


def caveats(mask: Mask, needs: Needs) -> list[str]:
    """Return warnings where a predictor ignores or leaks parts of a mask."""
    # A mask states what a predictor may see; whether the predictor reads this input, or
    # excludes hidden input, depends on the predictor (`Needs`).
    if needs.is_stored:
        return ["⚠ Predictions of a file: what this mask shows changes nothing."]
    warnings = []
    if mask.frames.any() and not needs.sees_video:
        warnings.append("⚠ This model does not read video.")
    if not needs.withholds_video and not mask.frames.all():
        warnings.append("⚠ Hidden frames can still inform this model.")
    if mask.has_visible_behavior and not needs.sees_behavior:
        warnings.append("⚠ This model does not use behaviour.")
    if mask.target.any() and not needs.predicts_responses:
        warnings.append("⚠ This model does not predict responses.")
    if mask.has_behavior_target and not needs.predicts_behavior:
        warnings.append("⚠ This model does not decode behaviour.")
    if mask.visible.any() and not needs.sees_responses:
        warnings.append("⚠ This model does not read visible neurons.")
    return warnings


def video_name(frames: np.ndarray) -> str:
    """Return which of `VIDEO_NAMES` these frames are; "" for another choice."""
    for name in VIDEO_NAMES:
        part = np.zeros(len(frames), bool)
        part[video_span(name, len(frames))] = True
        if np.array_equal(frames, part):
            return name
    return ""


def video_span(name: str, n_frames: int) -> slice:
    """Return the frames of one of `VIDEO_NAMES`: all, none, or a half."""
    half = n_frames // 2
    spans = {"all": (0, n_frames), "none": (0, 0), "first": (0, half)}
    return slice(*spans.get(name, (half, n_frames)))


def half_text(duration_s: float) -> str:
    """Return how long half a window is: "second", or such as "1.5 s"."""
    return "second" if duration_s == 2 else f"{duration_s / 2:.3g} s"


MEANINGS: Final = {
    "demo": "transformer",
    "demo-plain": "no context part",
    "twin-demo": "digital twin",
    "ndt-demo": "spike model",
    "mean": "each neuron's mean",
    "last": "last visible value",
    "interpolation": "nearest visible values",
    "ridge": "own past",
    "context-ridge": "visible neurons",
    "video-ridge": "motion energy",
    "linear-gaussian": "all that is visible",
}


def model_text(name: str) -> str:
    """Return the name of a predictor with a short description, if there is one."""
    if name in fit_names():
        return f"{name} · to be fitted"
    return f"{name} · {MEANINGS[name]}" if name in MEANINGS else name


def model_tip(name: str) -> str:
    """Return what a predictor of a name is, and can answer, in one sentence."""
    family = fit_names().get(name) or family_of_name(name)
    return "" if family is None else f"{family.title}: {family.summary}"


SILENT = (
    "The process of the model has not answered for 5 s: it is stopped, or the machine has no "
    "time or memory for it."
)


def waiting_text(results: Results, name: str = "") -> str:
    """Return what a long request waits for, e.g. a fit; `name` is the model's name."""
    if results.needs is not None:
        return "predicting…"
    # Its file is small: what takes long is the fit, before the first share of it is known.
    return f"fitting {FALLBACK}…" if name == FALLBACK else "loading the model…"


def freshness_text(
    results: Results, *, is_long: bool, fit: str = "", name: str = ""
) -> tuple[str, Tone, str]:
    """Return sign, tone and text; the signs differ in shape, not only in colour.

    `fit` says how far the fit of a baseline is, for which the request waits; `name` is that of
    the model.
    """
    if results.is_awaited and fit:
        return "◌", "waiting", f"fit: {fit}"
    if results.error is not None and results.is_refused:
        return "–", "waiting", "no prediction"
    if results.error is not None:
        return "✕", "problem", "error"
    if results.freshness == "streamed":
        return "▶", "good", "streamed, not scored"
    # The selected neurons are predicted before the population, so their freshness can
    # differ.
    if results.freshness == "fresh" and results.population_freshness != "fresh":
        return "◑", "waiting", f"selected fresh, population {_population(results)}"
    if results.freshness == "fresh":
        took = "" if results.took_ms is None else f" · took {_duration(results.took_ms)}"
        return "●", "good", f"fresh{took}"
    if results.freshness == "stopped":
        if results.is_old:
            return "◐", "waiting", "stopped: an older prediction is shown"
        return "○", "waiting", "stopped"
    # Before "stale" and "running": a long wait is reported in both cases.
    if is_long:
        return "◌", "waiting", waiting_text(results, name)
    if results.freshness == "stale":
        return "◐", "waiting", "older"
    if results.freshness == "running":
        return "◌", "waiting", "requested"
    return "○", "quiet", "no request"


def _population(results: Results) -> str:
    if results.population_freshness == "stopped":
        return "stopped"
    return "older" if results.is_population_old else "requested"


def _duration(elapsed_ms: float) -> str:
    if elapsed_ms < 1000:
        return f"{elapsed_ms:z.0f} ms"
    return f"{elapsed_ms / 1000:z.1f} s"
