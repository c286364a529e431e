"""Public names of `omnimouse_model.simulate`, by the module that defines them."""

from . import simulation as simulation
from .specs import COMPANIONS as COMPANIONS
from .specs import DEMO_FURTHER as DEMO_FURTHER
from .specs import DEMO_MICE as DEMO_MICE
from .specs import DEMO_SHOWN as DEMO_SHOWN
from .specs import DEMO_TRAINING as DEMO_TRAINING
from .specs import SMOKE_MICE as SMOKE_MICE
from .specs import STUDY_MICE as STUDY_MICE
from .specs import TRAINING_MICE as TRAINING_MICE
from .specs import UNSEEN as UNSEEN
from .specs import HeldOut as HeldOut
from .specs import MouseSpec as MouseSpec
from .truth import Ceilings as Ceilings
from .truth import Truth as Truth
from .truth import has_truth as has_truth
from .truth import open_truth as open_truth
from .write import write_session as write_session
