"""Mice whose answers are known: stimuli, population, behaviour, imaging, ceilings."""
