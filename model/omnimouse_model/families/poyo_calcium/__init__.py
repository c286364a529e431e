"""POYO+ for calcium imaging: behaviour decoded from the responses of neurons."""
