"""The headless demo: real mouse and key events, pictures, and a report."""
