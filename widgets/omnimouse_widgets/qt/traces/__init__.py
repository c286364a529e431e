"""The *Traces* panel, and the stack of rows that records draw."""
