"""Scripts and style sheets of the page, concatenated without a build step."""

from functools import cache
from importlib.resources import files
from typing import Final

_STATIC: Final = files("omnimouse_widgets.jupyter") / "static"


@cache
def script(*names: str) -> str:
    """Return `common.js` and the named files as one module.

    The last file must contain `export default`.
    """
    # Concatenation replaces imports: anywidget passes one module as text to the page,
    # so a relative `import` would have no base address.
    return "\n".join((_STATIC / f"{name}.js").read_text("utf-8") for name in ("common", *names))


@cache
def style(*names: str) -> str:
    """Return the common style sheet followed by the named style sheets."""
    return "\n".join((_STATIC / f"{name}.css").read_text("utf-8") for name in ("style", *names))
