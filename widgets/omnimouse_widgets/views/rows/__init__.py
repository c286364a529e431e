"""Rows of the raster and of the traces: values to draw, without a record."""
