"""The *OmniMouse* panel: one section per file."""
