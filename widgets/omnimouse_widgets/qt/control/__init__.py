"""The docks *OmniMouse* and *Brush and view*: their sections."""
