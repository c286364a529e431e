"""Training speed on a CPU: prefetch, parallel micro-batches, compilation, memory."""
