"""Simulated mice: sessions in the official format with known ground truth."""

from omnimouse_model.public_names import public_names

__getattr__, __dir__ = public_names(__name__, __file__)
