"""Settings under Preferences > Plugins > OmniMouse, read on opening."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preferences:
    """Settings of a new OmniMouse window.

    Attributes
    ----------
    predictor
        A name known to `load_predictor`, or a path; "" for the last one.
    in_process
        Compute inside napari's process instead of a worker process.
    brush_radius
        Screen pixels; 0 for the last radius used.
    """

    predictor: str = ""
    in_process: bool = False
    brush_radius: float = 0.0


def preferences() -> Preferences:
    """Return the saved settings, or the defaults if the plugin is not installed."""
    from napari.settings import get_plugin_settings, get_settings

    # napari keeps the settings of a plugin in a file beside its own, once they differ
    # from the defaults. To read them, it reads all manifests: 0.2 s of the start.
    own = get_settings().config_path
    if own is not None and not own.with_name("omnimouse-app.yaml").exists():
        return Preferences()
    try:
        saved = get_plugin_settings("omnimouse-app").opening
    except (KeyError, AttributeError, ValueError):
        # napari raises different errors for a plugin without stored settings.
        return Preferences()
    return Preferences(saved.predictor, saved.in_process, float(saved.brush_radius))
