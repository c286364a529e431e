"""Predictions of the neural data transformer for hidden spikes."""
