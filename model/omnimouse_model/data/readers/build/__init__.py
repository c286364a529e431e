"""Steps that several readers share to build a session from the parts of a file."""
