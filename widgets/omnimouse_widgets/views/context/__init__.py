"""The panel *Context*: its record, its curves, and the settings of a sweep."""
