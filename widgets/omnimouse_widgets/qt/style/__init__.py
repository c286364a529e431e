"""What several panels share: forms, plots, colours, shortcuts, redrawing."""
