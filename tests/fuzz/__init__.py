"""Damages sound sessions of every kind, and looks at what reading them comes to."""
