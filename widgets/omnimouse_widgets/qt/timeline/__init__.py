"""The *Time* and *Stimulus* panels, and playback."""
