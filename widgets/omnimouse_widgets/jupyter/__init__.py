"""Widgets for notebooks; they know no Qt."""
