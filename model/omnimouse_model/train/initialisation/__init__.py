"""Start values from the data: tuning, motion energy, shared fluctuations."""
