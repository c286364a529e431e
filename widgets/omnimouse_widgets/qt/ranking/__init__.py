"""Ranking panel: which sessions to train on, from a stored ranking."""
