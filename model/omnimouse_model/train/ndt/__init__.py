"""Training of the neural data transformer."""
