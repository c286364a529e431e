"""The file of predictions: its arrays and metadata, whoever wrote it."""
