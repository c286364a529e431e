"""Sessions, masks, predictors and scores: the library, without a screen.

Examples in docstrings use `om` for this package, `np` for NumPy and `session` for a
simulated session of 40 neurons.
"""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
