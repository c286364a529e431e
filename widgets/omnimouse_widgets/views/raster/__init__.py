"""The panel *Raster*: order and binning of its rows, and its record."""
