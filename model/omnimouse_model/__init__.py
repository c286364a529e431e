"""Sessions, masks, predictors and scores: the library, without a screen.

Names are looked up when first used, so importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimouse_model.analysis.alignment import check_alignment as check_alignment
    from omnimouse_model.analysis.evaluate import evaluate as evaluate
    from omnimouse_model.analysis.evaluate_all import evaluate_all as evaluate_all
    from omnimouse_model.analysis.paper_table import paper_table as paper_table
    from omnimouse_model.analysis.scaling import scaling_curves as scaling_curves
    from omnimouse_model.analysis.score_table import write_neurons as write_neurons
    from omnimouse_model.analysis.sweep import context_sweep as context_sweep
    from omnimouse_model.analysis.sweep_table import ContextSweep as ContextSweep
    from omnimouse_model.analysis.what_if import what_if as what_if
    from omnimouse_model.data.catalogue import Catalogue as Catalogue
    from omnimouse_model.data.catalogue import catalogue as catalogue
    from omnimouse_model.data.fetching import fetch_session as fetch_session
    from omnimouse_model.data.open import open_session as open_session
    from omnimouse_model.data.session import Session as Session
    from omnimouse_model.data.windows import Window as Window
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
    from omnimouse_model.masks.selecting import random_subset as random_subset
    from omnimouse_model.masks.selecting import select_areas as select_areas
    from omnimouse_model.masks.selecting import select_depths as select_depths
    from omnimouse_model.masks.selecting import select_near as select_near
    from omnimouse_model.masks.selecting import select_planes as select_planes
    from omnimouse_model.masks.selecting import select_polygon as select_polygon
    from omnimouse_model.masks.selecting import select_rectangle as select_rectangle
    from omnimouse_model.masks.selecting import select_scores as select_scores
    from omnimouse_model.masks.selecting import select_where as select_where
    from omnimouse_model.predict.catalogue import load_predictor as load_predictor
    from omnimouse_model.predict.ensemble import save_ensemble as save_ensemble
    from omnimouse_model.predict.predictor import Prediction as Prediction
    from omnimouse_model.predict.predictor import Predictor as Predictor
    from omnimouse_model.predict.released import fetch_checkpoint as fetch_checkpoint
    from omnimouse_model.strategies import find_strategy as find_strategy
    from omnimouse_model.strategies import mask_from_strategy as mask_from_strategy
    from omnimouse_model.strategies import strategy_names as strategy_names
    from omnimouse_model.train.finetune import finetune as finetune
    from omnimouse_model.train.finetune_progress import (
        FinetuneProgress as FinetuneProgress,
    )

_HOMES = {
    "Catalogue": "data.catalogue",
    "CheckpointError": "errors",
    "ContextSweep": "analysis.sweep_table",
    "FetchError": "errors",
    "FinetuneError": "errors",
    "FinetuneProgress": "train.finetune_progress",
    "Mask": "masks.mask",
    "MaskError": "errors",
    "Prediction": "predict.predictor",
    "Predictor": "predict.predictor",
    "Remark": "masks.remarks",
    "Session": "data.session",
    "SessionFormatError": "errors",
    "UnsupportedRequestError": "errors",
    "Window": "data.windows",
    "catalogue": "data.catalogue",
    "check_alignment": "analysis.alignment",
    "context_sweep": "analysis.sweep",
    "demo_session": "demo",
    "evaluate": "analysis.evaluate",
    "evaluate_all": "analysis.evaluate_all",
    "fetch_checkpoint": "predict.released",
    "fetch_session": "data.fetching",
    "find_strategy": "strategies",
    "finetune": "train.finetune",
    "load_predictor": "predict.catalogue",
    "mask_from_strategy": "strategies",
    "open_session": "data.open",
    "paper_table": "analysis.paper_table",
    "random_subset": "masks.selecting",
    "remarks_on": "masks.remarks",
    "save_ensemble": "predict.ensemble",
    "scaling_curves": "analysis.scaling",
    "select_areas": "masks.selecting",
    "select_depths": "masks.selecting",
    "select_near": "masks.selecting",
    "select_planes": "masks.selecting",
    "select_polygon": "masks.selecting",
    "select_rectangle": "masks.selecting",
    "select_scores": "masks.selecting",
    "select_where": "masks.selecting",
    "strategy_names": "strategies",
    "unseen_session": "demo",
    "what_if": "analysis.what_if",
    "write_neurons": "analysis.score_table",
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
