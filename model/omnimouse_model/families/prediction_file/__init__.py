"""Predictions in a file, made here or elsewhere, as a family of models."""
