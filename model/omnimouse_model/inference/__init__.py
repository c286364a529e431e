"""Predictors by name, in another process, and on a Dask scheduler."""
