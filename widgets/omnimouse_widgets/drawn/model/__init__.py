"""Text about the predictor and the task; the state of a fine-tuning."""
