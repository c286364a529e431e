"""Traces: rows, text, time axis and trial bands."""
