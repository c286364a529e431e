"""Steps shared by the readers: from the parts of a file to a session."""
