"""Conversion of a session into a store, and the check of what was written."""
