"""The predictor and the task in words; the state of a fine-tuning."""
