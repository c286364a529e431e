"""Mask presets: name, label, explanation and the mask for a session.

A preset over regions can name one: "inter_region/CA1".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import numpy as np

from omnimouse_model.data.recording import cached
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.errors import MaskError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.cells import is_stored_slowly
from omnimouse_model.masks.schemes import RATIO, SchemeSettings, draw_scheme
from omnimouse_model.masks.strategies import find_strategy
from omnimouse_model.predict.predictor import Needs

Stream = Literal["video", "behaviour"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A named mask with its label and the sentence of its tooltip.

    `make` takes a session and the selected neurons and returns the mask. `scheme` is
    the masking scheme of a preset over regions, "" for others; `decodes` tells whether
    behaviour is its target, `has_streams` whether video or behaviour can be an input,
    `has_responses` whether responses are an input, and `one_of` the streams of which
    the session must have one.
    """

    name: str
    label: str
    explanation: str
    make: Callable[[Session, Sequence[int]], Mask]
    scheme: str = ""
    decodes: bool = False
    has_streams: bool = False
    has_responses: bool = True
    one_of: tuple[Stream, ...] = ()


def _strategy(name: str, session: Session, _selected: Sequence[int]) -> Mask:
    return Mask.from_strategy(name, session)


def _half(session: Session, selected: Sequence[int]) -> Mask:
    from omnimouse_model.masks.selection import half_population_mask

    return half_population_mask(session, targets=selected, spec=default_spec())


def _nothing(session: Session, _selected: Sequence[int]) -> Mask:
    return Mask.nothing(session, default_spec())


def _co_smoothing(session: Session, selected: Sequence[int]) -> Mask:
    """Ask the selected neurons and random others, in all bins."""
    drawn = _drawn("neuron", session, SchemeSettings())
    return drawn.ask(selected, slice(None)) if selected else drawn


def _causal(session: Session, _selected: Sequence[int]) -> Mask:
    """Ask the last bins of all neurons, from the bins before them."""
    n_bins = default_spec().n_samples
    last = tuple(range(round((1 - RATIO) * n_bins), n_bins))
    return _drawn("forward-pred", session, SchemeSettings(bins=last))


def _over_regions(scheme: str, region: str, session: Session, selected: Sequence[int]) -> Mask:
    """Ask one region, and in it the selected neurons."""
    drawn = _drawn(scheme, session, SchemeSettings(region=region))
    assert session.units.area is not None
    inside = [n for n in selected if session.units.area[n] == region]
    return drawn.ask(inside, slice(None)) if inside else drawn


def _drawn(scheme: str, session: Session, settings: SchemeSettings) -> Mask:
    areas = session.units.area
    regions = [""] * session.n_neurons if areas is None else areas.tolist()
    shape = (1, default_spec().n_samples, session.n_neurons)
    # A fixed seed: the same preset is the same mask, of which scores are known.
    # They are drawn for the default windows and mapped by time, as all presets are.
    masks = draw_scheme(scheme, shape, regions, np.random.default_rng(0), settings)
    return masks.mask_of(0, session, default_spec())


def _regional(name: str, scheme: str, label: str, explanation: str) -> Preset:
    return Preset(name, label, explanation, partial(_over_regions, scheme, ""), scheme)


def _official(
    name: str,
    label: str,
    explanation: str,
    *,
    decodes: bool = False,
    has_responses: bool = True,
    one_of: tuple[Stream, ...] = (),
) -> Preset:
    return Preset(
        name,
        label,
        explanation,
        partial(_strategy, f"test/{name}"),
        decodes=decodes,
        # The official names list video and behaviour.
        has_streams="video" in name or "behavior" in name,
        has_responses=has_responses,
        one_of=one_of,
    )


HALF = "random_half_video_behavior"
"""Preset that the fitted baseline can always predict: half of the neurons."""
CO_SMOOTHING: Final = "co_smoothing"
"""First preset of models that read responses only."""
PRESETS: tuple[Preset, ...] = (
    _official(
        "video_behavior",
        "Video + behaviour",
        "Video and behaviour are visible, where there are any; the second half of the "
        "window is predicted for every neuron.",
        has_responses=False,
        one_of=("video", "behaviour"),
    ),
    _official(
        "video_only",
        "Video only",
        "Only the video is visible; the second half of the window is predicted for every neuron.",
        has_responses=False,
        one_of=("video",),
    ),
    _official(
        "responses_from_behavior",
        "Behaviour only",
        "Only running and the pupil are visible; the second half of the window is "
        "predicted for every neuron.",
        has_responses=False,
        one_of=("behaviour",),
    ),
    Preset(
        HALF,
        "Half of the population",
        "A random half of the neurons is visible, with video and behaviour where there "
        "are any; the other half, the selected neurons among it, is predicted.",
        _half,
        has_streams=True,
    ),
    _official(
        "population_1024_response_video_behavior",
        "Part of the population",
        "Some neurons (1,024 of 4,096, in proportion) are visible, with video and "
        "behaviour where there are any; the others are predicted.",
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
        "The past of every neuron (25 samples) and the video are visible, and behaviour"
        " where there is any; the future is predicted.",
        one_of=("video",),
    ),
    _official(
        "all_response_only",
        "Decode behaviour",
        "Every neuron is visible; running and the pupil are decoded from them.",
        decodes=True,
    ),
    _official(
        "all_response_video",
        "Decode behaviour with video",
        "Every neuron and the video are visible; running and the pupil are decoded.",
        decodes=True,
        one_of=("video",),
    ),
    Preset(
        CO_SMOOTHING,
        "Co-smoothing",
        "Three of ten neurons, the selected ones among them, are predicted from the others.",
        _co_smoothing,
    ),
    Preset(
        "causal",
        "Causal",
        "The first 70 % of the window are visible; the rest is predicted, for every neuron.",
        _causal,
    ),
    _regional(
        "inter_region",
        "inter-region",
        "Between regions",
        "One region is predicted from all others.",
    ),
    _regional(
        "intra_region",
        "intra-region",
        "Within a region",
        "Three of ten neurons of one region are predicted from the others of that "
        "region; all other regions are hidden.",
    ),
    Preset(
        "nothing",
        "Nothing",
        "Nothing is visible and there are no targets: paint your own mask.",
        _nothing,
        has_responses=False,
    ),
)


def label_in(preset: Preset, n_neurons: int) -> str:
    """Return the label of a preset for a population: with the number that is visible.

    Examples
    --------
    >>> from omnimouse_model.live.mask.presets import label_in, preset_named
    >>> label_in(preset_named("population_1024_response_video_behavior"), 8000)
    '1,024 of 8,000 neurons visible'
    """
    if preset.name != "population_1024_response_video_behavior":
        return preset.label
    visible = find_strategy(preset.name).adapted(n_neurons).n_visible_neurons or n_neurons
    return f"{min(visible, n_neurons):,} of {n_neurons:,} neurons visible"


_REGION: Final = "/"
"""Between the name of a preset and its region."""
DEFAULT_PRESET = "video_behavior"
FORECAST = "causal_response_25_behavior"
"""Preset that needs responses only, and fits recordings of 2 Hz or more."""


def preset_named(name: str) -> Preset:
    """Return the preset of a name or label; raise `ValueError` if there is none.

    Examples
    --------
    >>> from omnimouse_model.live.mask.presets import preset_named
    >>> preset_named("inter_region/CA1").label
    'Between regions: CA1'
    """
    base, region = name_and_region(name)
    for preset in PRESETS:
        if name in (preset.name, preset.label):
            return preset
        if region and base == preset.name and preset.scheme:
            return replace(
                preset,
                name=name,
                label=f"{preset.label}: {region}",
                make=partial(_over_regions, preset.scheme, region),
            )
    names = ", ".join(preset.name for preset in PRESETS)
    raise ValueError(f"There is no preset {name!r}; there are {names}.")


def is_preset(name: str) -> bool:
    """Whether there is a preset of this name, which can end with a region."""
    base, region = name_and_region(name)
    return any(base == p.name and bool(p.scheme or not region) for p in PRESETS)


def name_and_region(name: str) -> tuple[str, str]:
    """Return the parts of a preset's name; the region is "" without one."""
    base, _, region = name.partition(_REGION)
    return base, region


def with_region(name: str, region: str) -> str:
    """Return the name of a preset over regions for one region."""
    return f"{name_and_region(name)[0]}{_REGION}{region}"


def regional_name(name: str, session: Session, selected: Sequence[int] = ()) -> str:
    """Return the name of a preset with its region, if it is one over regions.

    Without one in the name, it is that of the first selected neuron, or the first.

    Raises
    ------
    MaskError
        The session does not have several regions, or not this one.
    """
    regions = regions_of(session)
    if not preset_named(name).scheme:
        return name
    region = name_and_region(name)[1]
    if not region and regions:
        areas = session.units.area
        first = "" if areas is None or not selected else str(areas[selected[0]])
        region = first or regions[0]
    if region not in regions:
        raise MaskError(
            f"Preset {name!r} needs a region of {session.id!r}; it has "
            f"{', '.join(regions) or 'fewer than two'}."
        )
    return with_region(name, region)


def regions_of(session: Session | None) -> tuple[str, ...]:
    """Return the regions that presets can predict; none if there are fewer than two."""
    if session is None or (areas := session.units.area) is None:
        return ()
    # Once, because every change of the mask asks, and neurons may be many.
    names = cached(session, "regions", lambda: tuple(sorted({*areas.tolist()} - {""})))
    return names if len(names) > 1 else ()


def presets_of(session: Session | None, needs: Needs | None = None) -> tuple[Preset, ...]:
    """Return the presets that a session can have and a model can answer.

    Some need several regions, others a model that reads video or behaviour, one that
    predicts responses, or one that decodes behaviour; `needs` is None while no model is
    loaded. A model of video that reads no responses gets no preset whose difference is in
    the visible responses.
    """
    has_regions = bool(regions_of(session))
    decodes = needs is None or needs.predicts_behavior
    predicts = needs is None or needs.predicts_responses
    reads = needs is None or needs.sees_video or needs.sees_behavior
    # What reads nothing at all, such as the mean, answers every preset in one way.
    is_blind = needs is not None and reads and not needs.sees_responses
    return tuple(
        preset
        for preset in PRESETS
        if (has_regions or not preset.scheme)
        and (decodes or not preset.decodes)
        and (predicts or preset.decodes or preset.name == "nothing")
        and (reads or not preset.has_streams)
        and not (is_blind and preset.has_responses)
    )


def lack(name: str, session: Session) -> str:
    """Return what a preset lacks in a session, as a sentence; "" for nothing.

    A stream, or a target that interpolation of a slow recording does not reveal.

    Examples
    --------
    >>> from omnimouse_model.live.mask.presets import lack
    >>> recording = {"responses": np.ones((600, 5)), "rate_hz": 30.0}
    >>> lack("video_only", om.open_session(recording))
    'This recording has no video.'
    """
    preset = preset_named(name)
    has = {
        "video": session.stimulus is not None,
        "behaviour": bool(session.behavior_names),
    }
    if preset.decodes and not has["behaviour"]:
        return "This recording has no behaviour to decode."
    if preset.one_of and not any(has[stream] for stream in preset.one_of):
        return f"This recording has no {' and no '.join(preset.one_of)}."
    # Only then are masks made for the question: a menu asks it of every preset.
    if is_stored_slowly(session) and not preset.scheme:
        mask = mask_for(name, session)
        if not is_complete(name, mask):
            return (
                f"Recorded at {mask.recording_rate_hz:.3g} Hz: interpolation would "
                "reveal every target."
            )
    return ""


def preset_of(mask: Mask, session: Session) -> str:
    """Return the name of the preset that has this mask, "" if none has."""
    for preset in presets_of(session):
        if preset.scheme or lack(preset.name, session):
            continue
        if mask_for(preset.name, session).stretched(mask.spec) == mask:
            return preset.name
    return ""


def preset_for(name: str, session: Session) -> str:
    """Return `name` if it fits the session, else the first of three others that does.

    A preset does not fit if it needs a stream or a region that the session lacks, or if
    its mask has no visible input or no target.
    """
    choices = (name, DEFAULT_PRESET, FORECAST)
    return next((one for one in choices if _fits(one, session)), HALF)


def _fits(name: str, session: Session) -> bool:
    if lack(name, session):
        return False
    if preset_named(name).scheme:
        region = name_and_region(name)[1]
        regions = regions_of(session)
        return bool(regions) and (not region or region in regions)
    return is_complete(name, mask_for(name, session))


def is_complete(name: str, mask: Mask) -> bool:
    """Whether the mask of a preset, fitted to a session or a spec, has its parts."""
    has_input = mask.visible.any() or mask.frames.any() or mask.has_visible_behavior
    has_target = scored_cells(mask).any() or mask.has_behavior_target
    # The preset "nothing" has neither inputs nor targets on purpose.
    return name == "nothing" or bool(has_input and has_target)


def is_possible(name: str, mask: Mask) -> bool:
    """Whether a preset, as a mask of a spec, is complete and offered for the spec."""
    is_offered = _has_streams(mask.spec) or not preset_named(name).has_streams
    return is_offered and is_complete(name, mask)


def fallback_for(spec: WindowSpec) -> str:
    """Return the preset for a spec in which the one on screen is not possible."""
    return FORECAST if _has_streams(spec) else CO_SMOOTHING


def _has_streams(spec: WindowSpec) -> bool:
    return spec.video is not None or spec.behavior is not None


def mask_for(name: str, session: Session, selected: Sequence[int] = ()) -> Mask:
    """Return a preset's mask, without the streams that the session lacks.

    The mask's note names the missing streams. `selected` neurons become targets if the
    preset chooses its target neurons at random.
    """
    name = regional_name(name, session, selected)
    mask = preset_named(name).make(session, selected)
    notes, lacking = [mask.note] if mask.note else [], []
    if session.stimulus is None and mask.frames.any():
        mask = mask.with_frames(False)
        lacking.append("no video")
    if not session.behavior_names and mask.behavior != "hidden":
        mask = mask.with_behavior(False)
        lacking.append("no behaviour")
    if not lacking:
        return mask
    notes.append(f"this recording has {' and '.join(lacking)}")
    return replace(mask, note="; ".join(notes))
