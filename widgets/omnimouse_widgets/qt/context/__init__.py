"""The *Context* panel: score against context."""
