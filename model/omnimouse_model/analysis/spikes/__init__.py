"""Scores of models of spikes: held-out entries, and decoded labels of trials."""
