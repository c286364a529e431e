"""The way on where a model does not know the session: a baseline fitted to any."""

from typing import TYPE_CHECKING

from omnimouse_model.predict.compatibility import FITTED

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

HALF = "random_half_video_behavior"
"""The preset it can always answer: half of the neurons from the other half."""


def ask_fitted(controller: "Controller") -> None:
    """Ask it; where nothing is visible at the samples asked for, by another preset.

    The mask that was there comes back with `undo`.
    """
    controller.choose_predictor(FITTED)
    mask = controller.state.mask
    if mask is None:
        return
    asked = mask.target.any(axis=1)
    if not mask.visible[asked].any(axis=1).all():
        controller.apply_preset(HALF)
