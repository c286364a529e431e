"""Runs of the notebooks in a new kernel."""
