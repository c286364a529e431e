"""One file per format; each says whether it recognises a path, and reads it."""
