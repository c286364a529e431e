"""The *Neurons* panel."""
