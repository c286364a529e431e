"""Our store: a session in one zarr v3 group, in pieces that windows and films need."""
