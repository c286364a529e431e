"""What predicts a neuron: sources, informants and areas, by errors under many masks."""
