"""Pinned conditions and spans longer than a window, compared with the prediction."""
