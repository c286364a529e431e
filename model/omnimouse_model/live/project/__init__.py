"""Saving, restoring, exporting and reporting the state of the instrument."""
