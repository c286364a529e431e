"""The families of this package, by text: the only place outside `families/` that names them.

Rooms below the families use it, too, and nothing is imported before it is used.
"""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

GROUP = "omnimouse.families"
"""Entry points by which other packages add families."""
OWN = (
    "omnimouse",
    "twin",
    "ndt",
    "sensorium_factorised",
    "latent_zig",
    "dwiseneuro",
    "poyo_calcium",
    "cebra",
    "classical",
    "prediction_file",
    "ensemble",
)
REGISTRY = "omnimouse_model.inference.registry"
"""Module that loads predictors by name, for families whose files name others."""
ATTACHMENTS = {"omnimouse": "omnimouse_model.families.omnimouse.token_layout"}
"""Family -> module that registers its attachment of masks."""


def family_points() -> Iterator[EntryPoint]:
    """Yield the families of this package, then those of other packages."""
    for name in OWN:
        yield EntryPoint(name, f"omnimouse_model.families.{name}:FAMILY", GROUP)
    yield from entry_points(group=GROUP)
