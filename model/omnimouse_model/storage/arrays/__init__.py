"""Arrays of untrusted files: .npy, .npz, HDF5, MATLAB, zarr and Parquet."""
