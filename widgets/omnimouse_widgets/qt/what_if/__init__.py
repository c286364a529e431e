"""The *What if* panel: edits of the stimulus and of behaviour."""
