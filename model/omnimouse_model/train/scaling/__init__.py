"""Scaling studies: plans, and the runs that they contain."""
