"""Jupyter widgets; this package does not import Qt."""
