"""Predictors: whatever maps a window and a mask to predictions."""
