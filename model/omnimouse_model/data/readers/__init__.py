"""Readers of recordings, one per format; each has `recognises` and `read`."""
