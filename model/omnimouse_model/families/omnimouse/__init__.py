"""OmniMouse: network, checkpoints, predictor, training and transfer."""
