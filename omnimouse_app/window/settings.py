"""The user's choices under Preferences > Plugins > OmniMouse, read when opening."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opening:
    """What OmniMouse opens with.

    Attributes
    ----------
    predictor
        A name known to `load_predictor`, or a path; "" for the one used last.
    in_process
        Compute inside napari's own process, not in a worker process.
    brush_radius
        Screen pixels; 0 for the size used last.
    """

    predictor: str = ""
    in_process: bool = False
    brush_radius: float = 0.0


def opening() -> Opening:
    """The settings as saved, or the defaults where the plugin is not installed."""
    from napari.settings import get_plugin_settings

    try:
        saved = get_plugin_settings("omnimouse-app").opening
    except (KeyError, AttributeError, ValueError):
        return Opening()
    return Opening(saved.predictor, saved.in_process, float(saved.brush_radius))
