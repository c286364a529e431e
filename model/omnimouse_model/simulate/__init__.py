"""Simulated mice: sessions in the official format with known ground truth."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_model.simulate.ceilings import Ceilings as Ceilings
    from omnimouse_model.simulate.specs import COMPANIONS as COMPANIONS
    from omnimouse_model.simulate.specs import DEMO_MICE as DEMO_MICE
    from omnimouse_model.simulate.specs import DEMO_SHOWN as DEMO_SHOWN
    from omnimouse_model.simulate.specs import DEMO_TRAINING as DEMO_TRAINING
    from omnimouse_model.simulate.specs import SMOKE_MICE as SMOKE_MICE
    from omnimouse_model.simulate.specs import STUDY_MICE as STUDY_MICE
    from omnimouse_model.simulate.specs import TRAINING_MICE as TRAINING_MICE
    from omnimouse_model.simulate.specs import UNSEEN as UNSEEN
    from omnimouse_model.simulate.specs import HeldOut as HeldOut
    from omnimouse_model.simulate.specs import MouseSpec as MouseSpec
    from omnimouse_model.simulate.truth import Truth as Truth
    from omnimouse_model.simulate.truth import has_truth as has_truth
    from omnimouse_model.simulate.truth import open_truth as open_truth
    from omnimouse_model.simulate.write import write_session as write_session

# Submodules are imported at the first use of a name, so that reading a spec does not
# import the writer and its dependencies.
_HOMES = {
    "ceilings": ("Ceilings",),
    "specs": (
        "COMPANIONS",
        "DEMO_MICE",
        "DEMO_SHOWN",
        "DEMO_TRAINING",
        "HeldOut",
        "MouseSpec",
        "SMOKE_MICE",
        "STUDY_MICE",
        "TRAINING_MICE",
        "UNSEEN",
    ),
    "truth": ("Truth", "has_truth", "open_truth"),
    "write": ("write_session",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
