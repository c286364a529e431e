"""Mask presets: name, label, explanation and the mask for a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask


@dataclass(frozen=True, slots=True)
class Preset:
    """A named mask with its label and the sentence of its tooltip.

    `make` takes a session and the selected neurons and returns the mask.
    """

    name: str
    label: str
    explanation: str
    make: Callable[[Session, Sequence[int]], Mask]


def _strategy(name: str, session: Session, _selected: Sequence[int]) -> Mask:
    # Imported here: the tables of strategies are read only when a mask is made.
    from omnimouse_model.strategies import mask_from_strategy

    return mask_from_strategy(name, session)


def _half(session: Session, selected: Sequence[int]) -> Mask:
    from omnimouse_model.strategies import half_population_mask

    return half_population_mask(session, targets=selected)


def _nothing(session: Session, _selected: Sequence[int]) -> Mask:
    return Mask.nothing(session)


def _official(name: str, label: str, explanation: str) -> Preset:
    return Preset(name, label, explanation, partial(_strategy, f"test/{name}"))


HALF = "random_half_video_behavior"
"""Preset that the fitted baseline can always predict: half of the neurons."""
PRESETS: tuple[Preset, ...] = (
    _official(
        "video_behavior",
        "Video + behaviour",
        "The video and behaviour are visible; the second half of the window is "
        "predicted for every neuron.",
    ),
    _official(
        "video_only",
        "Video only",
        "Only the video is visible; the second half of the window is predicted for "
        "every neuron.",
    ),
    _official(
        "responses_from_behavior",
        "Behaviour only",
        "Only running and the pupil are visible; the second half of the window is "
        "predicted for every neuron.",
    ),
    Preset(
        HALF,
        "Half of the population",
        "A random half of the neurons, video and behaviour are visible; the other "
        "half, the selected neurons among it, is predicted.",
        _half,
    ),
    _official(
        "population_1024_response_video_behavior",
        "Population of 1,024",
        "Some neurons (1,024 of 4,096, in proportion), video and behaviour are "
        "visible; the others are predicted.",
    ),
    _official(
        "causal_response_25_behavior",
        "Forecast",
        "The past of every neuron (25 samples) is visible, and behaviour where there "
        "is any; the future is predicted.",
    ),
    _official(
        "causal_response_25_video_behavior",
        "Forecast with video",
        "The past of every neuron (25 samples), video and behaviour are visible; the "
        "future is predicted.",
    ),
    _official(
        "all_response_only",
        "Decode behaviour",
        "Every neuron is visible; running and the pupil are decoded from them.",
    ),
    _official(
        "all_response_video",
        "Decode behaviour with video",
        "Every neuron and the video are visible; running and the pupil are decoded.",
    ),
    Preset(
        "nothing",
        "Nothing",
        "Nothing is visible and there are no targets: paint your own mask.",
        _nothing,
    ),
)

DEFAULT_PRESET = "video_behavior"
FORECAST = "causal_response_25_behavior"
"""Preset that fits every recording, because it needs responses only."""


def preset_named(name: str) -> Preset:
    """Return the preset of a name or label; raise `ValueError` if there is none."""
    for preset in PRESETS:
        if name in (preset.name, preset.label):
            return preset
    names = ", ".join(preset.name for preset in PRESETS)
    raise ValueError(f"There is no preset {name!r}; there are {names}.")


def preset_for(name: str, session: Session) -> str:
    """Return `name`, or the forecast preset if `name` does not fit the session.

    A preset does not fit if its mask has no visible input or no target.
    """
    return name if is_complete(name, mask_for(name, session)) else FORECAST


def is_complete(name: str, mask: Mask) -> bool:
    """Whether the mask of a preset, fitted to a session or a spec, has its parts."""
    has_input = mask.visible.any() or mask.frames.any() or mask.has_visible_behavior
    has_target = mask.target.any() or mask.has_behavior_target
    # The preset "nothing" has neither inputs nor targets on purpose.
    return name == "nothing" or bool(has_input and has_target)


def mask_for(name: str, session: Session, selected: Sequence[int] = ()) -> Mask:
    """Return a preset's mask, without the streams that the session lacks.

    The mask's note names the missing streams. `selected` neurons become targets if the
    preset chooses its target neurons at random.
    """
    mask = preset_named(name).make(session, selected)
    lacking = []
    if session.stimulus is None and mask.frames.any():
        mask = mask.with_frames(False)
        lacking.append("no video")
    if not session.behavior_names and mask.behavior != "hidden":
        mask = mask.with_behavior(False)
        lacking.append("no behaviour")
    if not lacking:
        return mask
    return replace(mask, note=f"this session has {' and '.join(lacking)}")
