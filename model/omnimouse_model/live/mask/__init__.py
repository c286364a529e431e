"""User actions that change the mask or the stimulus edits, and their undo."""
