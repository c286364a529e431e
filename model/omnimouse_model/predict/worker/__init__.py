"""A predictor in another process or on a Dask worker."""
