"""Rates that the neural data transformer predicts for hidden entries."""
