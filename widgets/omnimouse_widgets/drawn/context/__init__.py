"""Context curves: points, text and the form of a sweep."""
