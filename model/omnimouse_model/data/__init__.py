"""Recordings: sessions, windows and the clocks they run on."""
