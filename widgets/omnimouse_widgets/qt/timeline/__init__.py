"""Timelines of sessions, and the video player."""
