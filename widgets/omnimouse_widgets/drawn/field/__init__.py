"""The imaging field: pixels, colours and labels of the neurons."""
