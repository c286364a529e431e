"""OmniMouse Studio: the napari plugin and the command line."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_app.window.launch import launch as launch

    __version__: str


def __getattr__(name: str) -> Any:
    """Import `launch` on first use, so that importing the package costs nothing."""
    if name == "__version__":
        return version("omnimouse-app")
    if name != "launch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("omnimouse_app.window.launch").launch


def __dir__() -> list[str]:
    """Return the public names."""
    return ["launch"]
