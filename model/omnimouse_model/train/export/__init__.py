"""From a training run to checkpoints that others can load."""
