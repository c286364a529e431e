"""Training: config, batches, the loop, fine-tuning."""
