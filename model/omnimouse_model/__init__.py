"""Sessions, masks, predictors and scores: the library, without a screen.

Names are looked up when first used, so importing this package costs nothing.

Examples in docstrings use `om` for this package, `np` for NumPy and `session` for a
simulated session of 40 neurons.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_model.analysis.clock_check import check_alignment as check_alignment
    from omnimouse_model.analysis.evaluate.evaluate import evaluate as evaluate
    from omnimouse_model.analysis.evaluate.paper_table import paper_table as paper_table
    from omnimouse_model.analysis.evaluate.sharded import evaluate_all as evaluate_all
    from omnimouse_model.analysis.evaluate.table import write_neurons as write_neurons
    from omnimouse_model.analysis.in_silico.counterfactual import what_if as what_if
    from omnimouse_model.analysis.scaling.fits import scaling_curves as scaling_curves
    from omnimouse_model.analysis.sweep.run import context_sweep as context_sweep
    from omnimouse_model.analysis.sweep.table import ContextSweep as ContextSweep
    from omnimouse_model.data.clip import Clip as Clip
    from omnimouse_model.data.hub.fetch_session import fetch_session as fetch_session
    from omnimouse_model.data.open import open_session as open_session
    from omnimouse_model.data.session import Session as Session
    from omnimouse_model.data.session_index import Catalogue as Catalogue
    from omnimouse_model.data.session_index import catalogue as catalogue
    from omnimouse_model.data.window import Window as Window
    from omnimouse_model.data.window_spec import OMNIMOUSE as OMNIMOUSE
    from omnimouse_model.data.window_spec import WindowSpec as WindowSpec
    from omnimouse_model.demo import demo_session as demo_session
    from omnimouse_model.demo import unseen_session as unseen_session
    from omnimouse_model.errors import CheckpointError as CheckpointError
    from omnimouse_model.errors import FetchError as FetchError
    from omnimouse_model.errors import FinetuneError as FinetuneError
    from omnimouse_model.errors import MaskError as MaskError
    from omnimouse_model.errors import SessionFormatError as SessionFormatError
    from omnimouse_model.errors import (
        UnsupportedRequestError as UnsupportedRequestError,
    )
    from omnimouse_model.masks.mask import Mask as Mask
    from omnimouse_model.masks.remarks import Remark as Remark
    from omnimouse_model.masks.remarks import remarks_on as remarks_on
    from omnimouse_model.masks.selection import random_subset as random_subset
    from omnimouse_model.masks.selection import select_areas as select_areas
    from omnimouse_model.masks.selection import select_depths as select_depths
    from omnimouse_model.masks.selection import select_near as select_near
    from omnimouse_model.masks.selection import select_planes as select_planes
    from omnimouse_model.masks.selection import select_polygon as select_polygon
    from omnimouse_model.masks.selection import select_rectangle as select_rectangle
    from omnimouse_model.masks.selection import select_scores as select_scores
    from omnimouse_model.masks.selection import select_where as select_where
    from omnimouse_model.predict.omnimouse.hub_checkpoints import (
        fetch_checkpoint as fetch_checkpoint,
    )
    from omnimouse_model.predict.predictor import Prediction as Prediction
    from omnimouse_model.predict.predictor import Predictor as Predictor
    from omnimouse_model.predict.registry import load_predictor as load_predictor
    from omnimouse_model.predict.registry import save_ensemble as save_ensemble
    from omnimouse_model.strategies import find_strategy as find_strategy
    from omnimouse_model.strategies import mask_from_strategy as mask_from_strategy
    from omnimouse_model.strategies import strategy_names as strategy_names
    from omnimouse_model.train.finetune.progress import (
        FinetuneProgress as FinetuneProgress,
    )
    from omnimouse_model.train.finetune.run import finetune as finetune

_HOMES = {
    "OMNIMOUSE": "data.window_spec",
    "Catalogue": "data.session_index",
    "CheckpointError": "errors",
    "ContextSweep": "analysis.sweep.table",
    "FetchError": "errors",
    "FinetuneError": "errors",
    "FinetuneProgress": "train.finetune.progress",
    "Mask": "masks.mask",
    "MaskError": "errors",
    "Prediction": "predict.predictor",
    "Predictor": "predict.predictor",
    "Remark": "masks.remarks",
    "Session": "data.session",
    "SessionFormatError": "errors",
    "UnsupportedRequestError": "errors",
    "Clip": "data.clip",
    "Window": "data.window",
    "WindowSpec": "data.window_spec",
    "catalogue": "data.session_index",
    "check_alignment": "analysis.clock_check",
    "context_sweep": "analysis.sweep.run",
    "demo_session": "demo",
    "evaluate": "analysis.evaluate.evaluate",
    "evaluate_all": "analysis.evaluate.sharded",
    "fetch_checkpoint": "predict.omnimouse.hub_checkpoints",
    "fetch_session": "data.hub.fetch_session",
    "find_strategy": "strategies",
    "finetune": "train.finetune.run",
    "load_predictor": "predict.registry",
    "mask_from_strategy": "strategies",
    "open_session": "data.open",
    "paper_table": "analysis.evaluate.paper_table",
    "random_subset": "masks.selection",
    "remarks_on": "masks.remarks",
    "save_ensemble": "predict.registry",
    "scaling_curves": "analysis.scaling.fits",
    "select_areas": "masks.selection",
    "select_depths": "masks.selection",
    "select_near": "masks.selection",
    "select_planes": "masks.selection",
    "select_polygon": "masks.selection",
    "select_rectangle": "masks.selection",
    "select_scores": "masks.selection",
    "select_where": "masks.selection",
    "strategy_names": "strategies",
    "unseen_session": "demo",
    "what_if": "analysis.in_silico.counterfactual",
    "write_neurons": "analysis.evaluate.table",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *_HOMES})
