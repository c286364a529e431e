"""Properties of neurons computed from the recording: tuning, fields, repeats."""
