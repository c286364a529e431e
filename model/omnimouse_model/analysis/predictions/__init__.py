"""Predictions of a whole recording or a tier, written to one file."""
