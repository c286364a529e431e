"""Scores over strategies, sessions and contexts."""
