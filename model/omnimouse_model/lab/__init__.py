"""The laboratory: experiments on models that see video.

`stimuli` are what is shown, `responses` the responses of a model, `tuning` what follows
from them, `experiments` all three together, `exciting_search` the search for most
exciting inputs, `barcode_decoding` labels from what a model has learned, `recorded_tuning` the
comparison with recorded tuning.
"""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
