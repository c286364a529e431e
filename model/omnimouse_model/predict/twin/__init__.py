"""Predictions of the digital twin."""
