"""Fallback baseline for sessions that the model does not know."""

from typing import TYPE_CHECKING

from omnimouse_model.predict.compatibility import FALLBACK

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

HALF = "random_half_video_behavior"
"""Preset that the baseline always supports: predict half of the neurons."""


def ask_fitted(controller: "Controller") -> None:
    """Choose the fitted baseline, and a preset that it supports if necessary.

    The baseline needs visible neurons at all target samples; without them, the mask is
    replaced by the preset `HALF`, as one undo entry.
    """
    controller.choose_predictor(FALLBACK)
    mask = controller.state.mask
    if mask is None:
        return
    asked = mask.target.any(axis=1)
    if not mask.visible[asked].any(axis=1).all():
        controller.apply_preset(HALF)
