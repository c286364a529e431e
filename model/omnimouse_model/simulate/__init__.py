"""Simulated mice: sessions in the official format with known ground truth."""

from typing import TYPE_CHECKING

from omnimouse_model.public_names import public_names

if TYPE_CHECKING:
    from omnimouse_model.simulate.ceilings import Ceilings as Ceilings
    from omnimouse_model.simulate.specs import COMPANIONS as COMPANIONS
    from omnimouse_model.simulate.specs import DEMO_FURTHER as DEMO_FURTHER
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

# A window that opens a recorded session needs no simulator.
_NAMES = {
    "": "calibration simulation",
    "ceilings": "Ceilings",
    "specs": (
        "COMPANIONS DEMO_FURTHER DEMO_MICE DEMO_SHOWN DEMO_TRAINING SMOKE_MICE "
        "STUDY_MICE TRAINING_MICE UNSEEN HeldOut MouseSpec"
    ),
    "truth": "Truth has_truth open_truth",
    "write": "write_session",
}
__getattr__, __dir__ = public_names(__name__, _NAMES)
