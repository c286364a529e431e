"""Scaling analysis: scores against data, model size or compute, with fits."""
