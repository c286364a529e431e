"""Texts and units that several panels share."""
