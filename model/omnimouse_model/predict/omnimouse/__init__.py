"""OmniMouse as a predictor: loading, device memory, batches."""
