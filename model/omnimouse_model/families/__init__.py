"""Families of models: each folder holds all that belongs to one family."""
