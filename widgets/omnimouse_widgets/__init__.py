"""What a user touches; every part takes a Controller."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_widgets.jupyter.explorer import Explorer as Explorer


def __getattr__(name: str) -> Any:
    """Import `Explorer` when it is first used: the Qt panels need no ipywidgets."""
    if name != "Explorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("omnimouse_widgets.jupyter.explorer").Explorer
