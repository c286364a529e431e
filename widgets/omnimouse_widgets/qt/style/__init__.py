"""Code that several panels share: forms, plots, colours, shortcuts, redrawing."""
