"""The table of neurons and the distribution of their scores."""
