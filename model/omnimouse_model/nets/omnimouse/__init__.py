"""OmniMouse's network: read `network`, then `encoder`, `trunk` and `readout`."""
