"""What runs in the page: plain modules, put together without a build step."""

from functools import cache
from importlib.resources import files
from typing import Final

_STATIC: Final = files("omnimouse_widgets.jupyter") / "static"


@cache
def script(*names: str) -> str:
    """One module of several files; the last has `export default`."""
    return "\n".join(
        (_STATIC / f"{name}.js").read_text("utf-8") for name in ("common", *names)
    )


@cache
def style(*names: str) -> str:
    """The one style sheet of all parts, and what one part has beside it."""
    return "\n".join(
        (_STATIC / f"{name}.css").read_text("utf-8") for name in ("style", *names)
    )
