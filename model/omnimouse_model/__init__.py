"""Sessions, masks, predictors and scores: the library, without a screen.

Examples in docstrings use `om` for this package, `np` for NumPy and `session` for a
simulated session of 40 neurons.
"""

from typing import TYPE_CHECKING

from omnimouse_model.public_names import public_names

if TYPE_CHECKING:
    from omnimouse_model import lab as lab
    from omnimouse_model.analysis.clock_check import check_alignment as check_alignment
    from omnimouse_model.analysis.evaluate.evaluate import evaluate as evaluate
    from omnimouse_model.analysis.evaluate.paper_table import paper_table as paper_table
    from omnimouse_model.analysis.evaluate.results import write_neurons as write_neurons
    from omnimouse_model.analysis.evaluate.sharded import evaluate_all as evaluate_all
    from omnimouse_model.analysis.in_silico.counterfactual import what_if as what_if
    from omnimouse_model.analysis.neuron_match import join_neurons as join_neurons
    from omnimouse_model.analysis.neuron_match import match_neurons as match_neurons
    from omnimouse_model.analysis.predictions.run import (
        predict_session as predict_session,
    )
    from omnimouse_model.analysis.ranking.curve import pretrain_curve as pretrain_curve
    from omnimouse_model.analysis.ranking.rank import rank_sessions as rank_sessions
    from omnimouse_model.analysis.ranking.results_file import (
        read_ranking as read_ranking,
    )
    from omnimouse_model.analysis.scaling.fits import scaling_curves as scaling_curves
    from omnimouse_model.analysis.spikes.held_out_scores import (
        score_held_out as score_held_out,
    )
    from omnimouse_model.analysis.spikes.trial_labels import (
        decode_trial_labels as decode_trial_labels,
    )
    from omnimouse_model.analysis.sweep.run import context_sweep as context_sweep
    from omnimouse_model.analysis.sweep.table import ContextSweep as ContextSweep
    from omnimouse_model.data.clip import Clip as Clip
    from omnimouse_model.data.hub.fetch_session import fetch_session as fetch_session
    from omnimouse_model.data.open import open_session as open_session
    from omnimouse_model.data.session import Session as Session
    from omnimouse_model.data.session import Window as Window
    from omnimouse_model.data.session_index import Catalogue as Catalogue
    from omnimouse_model.data.session_index import catalogue as catalogue
    from omnimouse_model.data.window_spec import OMNIMOUSE as OMNIMOUSE
    from omnimouse_model.data.window_spec import WindowSpec as WindowSpec
    from omnimouse_model.demo import demo_session as demo_session
    from omnimouse_model.demo import unseen_session as unseen_session
    from omnimouse_model.errors import CheckpointError as CheckpointError
    from omnimouse_model.errors import FetchError as FetchError
    from omnimouse_model.errors import FinetuneError as FinetuneError
    from omnimouse_model.errors import MaskError as MaskError
    from omnimouse_model.errors import PredictionsFileError as PredictionsFileError
    from omnimouse_model.errors import SessionFormatError as SessionFormatError
    from omnimouse_model.errors import TimeRangeError as TimeRangeError
    from omnimouse_model.errors import (
        UnsupportedRequestError as UnsupportedRequestError,
    )
    from omnimouse_model.masks.mask import Mask as Mask
    from omnimouse_model.masks.remarks import Remark as Remark
    from omnimouse_model.masks.remarks import remarks_on as remarks_on
    from omnimouse_model.masks.selection import NeuronGroup as NeuronGroup
    from omnimouse_model.masks.selection import random_subset as random_subset
    from omnimouse_model.masks.selection import select_areas as select_areas
    from omnimouse_model.masks.selection import select_depths as select_depths
    from omnimouse_model.masks.selection import select_near as select_near
    from omnimouse_model.masks.selection import select_planes as select_planes
    from omnimouse_model.masks.selection import select_polygon as select_polygon
    from omnimouse_model.masks.selection import select_rectangle as select_rectangle
    from omnimouse_model.masks.selection import select_scores as select_scores
    from omnimouse_model.masks.selection import select_where as select_where
    from omnimouse_model.masks.strategies import find_strategy as find_strategy
    from omnimouse_model.masks.strategies import strategy_names as strategy_names
    from omnimouse_model.predict.omnimouse.hub_checkpoints import (
        fetch_checkpoint as fetch_checkpoint,
    )
    from omnimouse_model.predict.prediction_file.predictor import (
        open_predictions as open_predictions,
    )
    from omnimouse_model.predict.predictor import Prediction as Prediction
    from omnimouse_model.predict.predictor import Predictor as Predictor
    from omnimouse_model.predict.registry import load_predictor as load_predictor
    from omnimouse_model.predict.registry import save_ensemble as save_ensemble
    from omnimouse_model.predict.twin.twin import DigitalTwin as DigitalTwin
    from omnimouse_model.train.factory import model_factory as model_factory
    from omnimouse_model.train.finetune.run import finetune as finetune

_NAMES = {
    "": "lab",
    "analysis.clock_check": "check_alignment",
    "analysis.evaluate.evaluate": "evaluate",
    "analysis.evaluate.paper_table": "paper_table",
    "analysis.evaluate.sharded": "evaluate_all",
    "analysis.evaluate.results": "write_neurons",
    "analysis.in_silico.counterfactual": "what_if",
    "analysis.neuron_match": "join_neurons match_neurons",
    "analysis.predictions.run": "predict_session",
    "analysis.ranking.curve": "pretrain_curve",
    "analysis.ranking.rank": "rank_sessions",
    "analysis.ranking.results_file": "read_ranking",
    "analysis.scaling.fits": "scaling_curves",
    "analysis.spikes.held_out_scores": "score_held_out",
    "analysis.spikes.trial_labels": "decode_trial_labels",
    "analysis.sweep.run": "context_sweep",
    "analysis.sweep.table": "ContextSweep",
    "data.clip": "Clip",
    "data.hub.fetch_session": "fetch_session",
    "data.session": "Session Window",
    "data.session_index": "Catalogue catalogue",
    "data.window_spec": "OMNIMOUSE WindowSpec",
    "demo": "demo_session open_session unseen_session",
    "errors": "CheckpointError FetchError FinetuneError MaskError PredictionsFileError "
    "SessionFormatError TimeRangeError UnsupportedRequestError",
    "masks.mask": "Mask",
    "masks.remarks": "Remark remarks_on",
    "masks.selection": "NeuronGroup random_subset select_areas select_depths select_near "
    "select_planes select_polygon select_rectangle select_scores select_where",
    "masks.strategies": "find_strategy strategy_names",
    "predict.omnimouse.hub_checkpoints": "fetch_checkpoint",
    "predict.predictor": "Prediction Predictor",
    "predict.registry": "load_predictor save_ensemble",
    "predict.prediction_file.predictor": "open_predictions",
    "predict.twin.twin": "DigitalTwin",
    "train.factory": "model_factory",
    "train.finetune.run": "finetune",
}
"""Public names by the module that defines them."""
__getattr__, __dir__ = public_names(__name__, _NAMES)
