"""The families of this package, by text: the only place outside `families/` that names them.

Rooms below the families use it, too, and nothing is imported before it is used.
"""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

GROUP = "omnimouse.families"
"""Entry points by which other packages add families."""
OWN = (
    "omnimouse_model.families.omnimouse.family:FAMILY",
    "omnimouse_model.families.twin.family:FAMILY",
    "omnimouse_model.families.ndt.family:FAMILY",
    "omnimouse_model.families.sensorium_factorised.family:FAMILY",
    "omnimouse_model.families.latent_zig.family:FAMILY",
    "omnimouse_model.families.dwiseneuro.family:FAMILY",
    "omnimouse_model.families.poyo_calcium.family:FAMILY",
    "omnimouse_model.families.cebra.family:FAMILY",
    "omnimouse_model.families.classical.family:FAMILY",
    "omnimouse_model.families.prediction_file.family:FAMILY",
    "omnimouse_model.families.ensemble.family:FAMILY",
)
REGISTRY = "omnimouse_model.inference.registry"
"""Module that loads predictors by name, for families whose files name others."""
ATTACHMENTS = {"omnimouse": "omnimouse_model.families.omnimouse.token_layout"}
"""Family -> module that registers its attachment of masks."""


def family_points() -> Iterator[EntryPoint]:
    """Yield the families of this package, then those of other packages."""
    for place in OWN:
        yield EntryPoint(place.split(".")[2], place, GROUP)
    yield from entry_points(group=GROUP)
