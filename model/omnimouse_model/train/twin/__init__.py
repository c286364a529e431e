"""Training of the digital twin."""
