"""The *Raster* panel: neurons by samples, with the mask."""
