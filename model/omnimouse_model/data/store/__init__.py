"""The store: a session in one zarr v3 group, and its reader."""
