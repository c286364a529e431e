"""The napari window: docks, commands, readers, samples, settings."""
