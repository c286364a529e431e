"""Opening a recording and moving between its trials."""
