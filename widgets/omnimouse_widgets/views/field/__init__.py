"""The imaging field: pixels, colours and texts of the neurons."""
