"""The laboratory: experiments on models that see video.

`stimuli` are what is shown, `responses` and `events` the responses of a model,
`tuning` what follows from them, `experiments` all three together, `exciting_inputs` and
`exciting_search` the search for most exciting inputs, `recorded` the comparison with
recorded tuning.
"""

from typing import TYPE_CHECKING

from omnimouse_model.public_names import public_names

if TYPE_CHECKING:
    from omnimouse_model.lab import stimuli as stimuli
    from omnimouse_model.lab.barcode_decoding import decode_barcodes as decode_barcodes
    from omnimouse_model.lab.barcode_decoding import decode_label as decode_label
    from omnimouse_model.lab.exciting_search import search_starts as search_starts
    from omnimouse_model.lab.experiments import EXPERIMENTS as EXPERIMENTS
    from omnimouse_model.lab.experiments import run_experiment as run_experiment
    from omnimouse_model.lab.recorded.directions import (
        compare_directions as compare_directions,
    )
    from omnimouse_model.lab.recorded.places import compare_places as compare_places
    from omnimouse_model.lab.responses import model_responses as model_responses

_NAMES = {
    "": "stimuli",
    "barcode_decoding": "decode_barcodes",
    "exciting_search": "search_starts",
    "experiments": "EXPERIMENTS run_experiment",
    "label_decoding": "decode_label",
    "recorded.directions": "compare_directions",
    "recorded.places": "compare_places",
    "responses": "model_responses",
}
__getattr__, __dir__ = public_names(__name__, _NAMES)
