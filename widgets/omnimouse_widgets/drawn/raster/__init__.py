"""The raster: order, rows, values and pixels."""
