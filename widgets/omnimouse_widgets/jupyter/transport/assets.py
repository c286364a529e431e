"""Scripts and style sheets of the page, concatenated without a build step."""

from functools import cache
from pathlib import Path
from typing import Final

from omnimouse_model.storage.files import read_text

_STATIC: Final = Path(__file__).parent.parent / "static"
_MOST: Final = 2**20


@cache
def script(*names: str) -> str:
    """Return `common.js` and the named files as one module.

    The last file must contain `export default`.
    """
    # Concatenation replaces imports: anywidget passes one module as text to the page,
    # so a relative `import` would have no base address.
    return "\n".join(read_text(_STATIC / f"{name}.js", _MOST) for name in ("common", *names))


@cache
def style(*names: str) -> str:
    """Return the common style sheet followed by the named style sheets."""
    return "\n".join(read_text(_STATIC / f"{name}.css", _MOST) for name in ("style", *names))
