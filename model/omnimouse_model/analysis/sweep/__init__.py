"""Context sweeps: score as a function of the visible context."""
