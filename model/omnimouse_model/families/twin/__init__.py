"""The digital twin of Wang et al. 2025 (Nature 640, 470-477)."""
