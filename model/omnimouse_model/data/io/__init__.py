"""File access that is safe for untrusted files: size limits, no pickles."""
