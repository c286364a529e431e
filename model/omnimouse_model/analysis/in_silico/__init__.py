"""Counterfactual predictions: edits of the stimulus or of behaviour."""
