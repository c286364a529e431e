"""A family of models as an example for authors: see `family` and `model`."""
