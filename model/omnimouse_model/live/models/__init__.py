"""The choice of a model: downloads, fine-tuning, fallback baselines."""
