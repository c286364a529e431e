"""Figures as in the papers; plotly is imported when the first one is drawn."""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
