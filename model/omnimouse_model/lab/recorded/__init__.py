"""Recorded tuning beside that of a model, from trials of gratings or dots."""
