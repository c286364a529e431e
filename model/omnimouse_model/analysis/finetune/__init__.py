"""Fine-tuning: a trained model learns a new session."""
