"""The model hub: addresses, tokens, downloads, unpacking, remote files."""
