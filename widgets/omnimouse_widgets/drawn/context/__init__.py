"""Context curves: points and text."""
