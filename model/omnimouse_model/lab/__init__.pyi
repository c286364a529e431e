"""Public names of `omnimouse_model.lab`, by the module that defines them."""

from . import stimuli as stimuli
from .barcode_decoding import decode_barcodes as decode_barcodes
from .barcode_decoding import decode_label as decode_label
from .exciting_search import search_starts as search_starts
from .experiments import EXPERIMENTS as EXPERIMENTS
from .experiments import run_experiment as run_experiment
from .recorded_tuning import compare_directions as compare_directions
from .recorded_tuning import compare_places as compare_places
from .responses import model_responses as model_responses
