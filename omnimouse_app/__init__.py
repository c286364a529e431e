"""OmniMouse Studio: `import omnimouse_app as om`.

`om` has the public names of `omnimouse_model`, `om.Explorer` (all widgets of a notebook
in one cell), `om.plot` (the figures) and `om.launch` (napari). A name is imported when
it is first used: the package itself loads no toolkit.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import omnimouse_model
from omnimouse_model.extras import named_extras
from omnimouse_model.public_names import shorten_signatures

if TYPE_CHECKING:
    from omnimouse_app.window.launch import launch as launch
    from omnimouse_model import *  # noqa: F403
    from omnimouse_widgets import figures as plot
    from omnimouse_widgets.jupyter.explorer import Explorer as Explorer

    __all__ = ["plot"]
    __version__: str

_FRONT_ENDS = {
    "launch": "omnimouse_app.window.launch",
    "Explorer": "omnimouse_widgets",
}
"""Public name of a front end -> the module or package that has it."""


def __getattr__(name: str) -> Any:
    """Return a public name, and import its module."""
    if name == "__version__":
        return version("omnimouse-app")
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "plot":
        from omnimouse_widgets import figures

        return figures
    with named_extras():
        home = _FRONT_ENDS.get(name)
        value = getattr(import_module(home) if home else omnimouse_model, name)
    shorten_signatures(value)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*dir(omnimouse_model), *_FRONT_ENDS, "plot"])
