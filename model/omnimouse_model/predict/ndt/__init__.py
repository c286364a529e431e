"""Predictions of the neural data transformer."""
