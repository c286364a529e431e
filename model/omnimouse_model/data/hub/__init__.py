"""Access to the model hub: addresses, tokens, downloads, unpacking."""
