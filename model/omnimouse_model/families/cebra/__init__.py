"""CEBRA through its own package: behaviour decoded from an embedding of the population."""
