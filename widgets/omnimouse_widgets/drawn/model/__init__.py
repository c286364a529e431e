"""Text about the score over a tier."""
