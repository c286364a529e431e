"""Ready-made questions: a label, what it means, and the mask it makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask


@dataclass(frozen=True, slots=True)
class Preset:
    """A named mask, and the sentence a tooltip shows.

    `make` takes a session, and the selected neurons: whoever chooses one looks at them.
    """

    name: str
    label: str
    explanation: str
    make: Callable[[Session, Sequence[int]], Mask]


def _strategy(name: str, session: Session, _selected: Sequence[int]) -> Mask:
    from omnimouse_model.strategies import mask_from_strategy

    return mask_from_strategy(name, session)


def _half(session: Session, selected: Sequence[int]) -> Mask:
    from omnimouse_model.strategies import half_population_mask

    return half_population_mask(session, asked=selected)


def _nothing(session: Session, _selected: Sequence[int]) -> Mask:
    return Mask.nothing(session)


def _official(name: str, label: str, explanation: str) -> Preset:
    return Preset(name, label, explanation, partial(_strategy, f"test/{name}"))


PRESETS: tuple[Preset, ...] = (
    _official(
        "video_behavior",
        "Video + behaviour",
        "The video and behaviour are given; the second half of the window is predicted "
        "for every neuron.",
    ),
    _official(
        "video_only",
        "Video only",
        "Only the video is given; the second half of the window is predicted for every "
        "neuron.",
    ),
    _official(
        "responses_from_behavior",
        "Behaviour only",
        "Only running and the pupil are given; the second half of the window is "
        "predicted for every neuron.",
    ),
    Preset(
        "random_half_video_behavior",
        "Half of the population",
        "A random half of the neurons, video and behaviour are given; the other half, "
        "the selected neurons among it, is predicted.",
        _half,
    ),
    _official(
        "population_1024_response_video_behavior",
        "Population of 1,024",
        "Some neurons (1,024 of 4,096, in proportion), video and behaviour are given; "
        "the others are predicted.",
    ),
    _official(
        "causal_response_25_behavior",
        "Forecast",
        "The past of every neuron (25 samples) is given, and behaviour where there is "
        "any; the future is predicted.",
    ),
    _official(
        "causal_response_25_video_behavior",
        "Forecast with video",
        "The past of every neuron (25 samples), video and behaviour are given; the "
        "future is predicted.",
    ),
    _official(
        "all_response_only",
        "Decode behaviour",
        "Every neuron is given; running and the pupil are decoded from them.",
    ),
    _official(
        "all_response_video",
        "Decode behaviour with video",
        "Every neuron and the video are given; running and the pupil are decoded.",
    ),
    Preset(
        "nothing",
        "Nothing",
        "Nothing is given and nothing asked: paint your own question.",
        _nothing,
    ),
)

DEFAULT_PRESET = "video_behavior"
FORECAST = "causal_response_25_behavior"
"""The question that every recording answers: it takes responses alone."""


def preset_named(name: str) -> Preset:
    """Find a preset by name or label."""
    for preset in PRESETS:
        if name in (preset.name, preset.label):
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise ValueError(f"There is no preset {name!r}; there are {known}.")


def preset_for(name: str, session: Session) -> str:
    """The preset to begin with: this one, unless the session lacks all it is about.

    Where nothing would be given, or nothing asked, it is a forecast.
    """
    mask = mask_for(name, session)
    is_given = mask.visible.any() or mask.frames.any() or mask.shows_behavior
    is_asked = mask.target.any() or mask.asks_behavior
    is_meant = name == "nothing" or (is_given and is_asked)
    return name if is_meant else FORECAST


def mask_for(name: str, session: Session, selected: Sequence[int] = ()) -> Mask:
    """A preset's mask without what the session does not have, said in its note.

    `selected` are neurons that it asks for where it is free to choose whom.
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
