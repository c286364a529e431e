"""The imaging field in napari: layers, brush, colours, areas, planes."""
