"""Networks, which take and return tensors, and their checkpoint files."""
