"""The *OmniMouse* panel: its sections."""
